"""What moves the weights, beside PyTorch's own."""

from __future__ import annotations

import sys
from subprocess import run

import pytest
import torch
from torch import Tensor

from fivefold.model.context import ParameterGroup
from fivefold.training.optimizers import Adam, Muon, Optimizer


def _stepped(weight: Tensor, optimizer: torch.optim.Optimizer | Optimizer, *args: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step(*args)
    return weight.detach()


def _zeros(*shape: int) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(shape))


def test_adam_moves_weights_as_pytorch_does():
    theirs, ours = _zeros(4, 9), _zeros(4, 9)
    expected = _stepped(theirs, torch.optim.Adam([theirs], lr=0.05, fused=True))
    assert torch.equal(_stepped(ours, Adam([ParameterGroup([ours], 0.1)]), 0.5), expected)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_muon_moves_weights_as_pytorch_does_but_for_the_precision(shape: tuple[int, int]) -> None:
    theirs, ours = _zeros(*shape), _zeros(*shape)
    muon = torch.optim.Muon([theirs], lr=0.05, weight_decay=0.0, adjust_lr_fn="match_rms_adamw", ns_steps=3)
    expected = _stepped(theirs, muon)
    moved = _stepped(ours, Muon([ParameterGroup([ours], 0.1)]), 0.5)
    assert torch.allclose(moved, expected, atol=0.02 * float(expected.abs().max()))


def test_muon_moves_a_convolution_as_the_matrix_of_its_channels() -> None:
    matrix, convolution = _zeros(4, 9), _zeros(4, 1, 3, 3)
    for weight in (matrix, convolution):
        weight.grad = torch.randn((4, 9), generator=torch.Generator().manual_seed(0)).view_as(weight)
        Muon([ParameterGroup([weight], 0.1)]).step(1.0)
    assert torch.equal(convolution.flatten(1), matrix)


def test_a_step_is_about_as_long_in_all_directions() -> None:
    weight = _zeros(5, 8)
    weight.grad = torch.diag(torch.tensor([8.0, 7.0, 6.0, 5.0, 4.0])) @ torch.eye(5, 8)
    Muon([ParameterGroup([weight], 1.0)]).step(1.0)
    lengths = torch.linalg.svdvals(weight.detach()) / (0.2 * 8**0.5)
    assert ((lengths > 0.5) & (lengths < 1.5)).all()


@pytest.mark.parametrize("optimizer", [Adam, Muon])
def test_weights_without_a_gradient_stay(optimizer: type[Optimizer]) -> None:
    still, moved = _zeros(2, 3), _zeros(2, 3)
    moved.grad = torch.ones(2, 3)
    optimizer([ParameterGroup([still, moved], 1.0)]).step(0.1)
    assert torch.equal(still, torch.zeros(2, 3))
    assert (moved < 0).all()


def test_a_fit_does_not_import_pytorchs_compiler():
    program = """
import numpy as np, sys, fivefold
fivefold.fit(np.random.default_rng(0).normal(size=(60, 3)), epochs=1, shortest_epoch=2, folds=1)
sys.exit("torch._dynamo" in sys.modules)
"""
    assert run([sys.executable, "-W", "ignore", "-c", program]).returncode == 0
