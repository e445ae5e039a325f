"""The optimizer of the context decoder's hidden layers."""

from __future__ import annotations

import pytest
import torch

from fivefold.training.muon import Muon


def _stepped(make: type, shape: tuple[int, int], **settings: object) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(shape))
    optimizer = make([{"params": [weight], "lr": 0.1}], **settings)
    for _ in range(3):
        weight.grad = torch.randn(shape, generator=generator)
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_it_moves_weights_as_pytorch_does_but_for_the_precision(shape: tuple[int, int]) -> None:
    settings = {"weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3}
    expected = _stepped(torch.optim.Muon, shape, **settings)
    assert torch.allclose(_stepped(Muon, shape), expected, atol=0.02 * float(expected.abs().max()))


def test_a_step_is_about_as_long_in_all_directions() -> None:
    weight = torch.nn.Parameter(torch.zeros(5, 8))
    weight.grad = torch.diag(torch.tensor([8.0, 7.0, 6.0, 5.0, 4.0])) @ torch.eye(5, 8)
    Muon([{"params": [weight], "lr": 1.0}]).step()
    lengths = torch.linalg.svdvals(weight.detach()) / (0.2 * 8**0.5)
    assert ((lengths > 0.5) & (lengths < 1.5)).all()


def test_weights_without_a_gradient_stay_and_the_closure_is_called() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    assert Muon([{"params": [weight], "lr": 1.0}]).step(lambda: 7) == 7
    assert torch.equal(weight, torch.ones(2, 3))
