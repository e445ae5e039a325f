from itertools import pairwise

import pytest
import torch

from fivefold.tables import mixtures


@pytest.fixture
def mixture():
    torch.manual_seed(0)
    shape = (9, 5, 1, 3)
    log_weights = torch.log_softmax(torch.randn(shape, dtype=torch.float64), dim=1)
    scales = torch.exp(torch.randn(shape, dtype=torch.float64) - 1)
    return [part.requires_grad_() for part in (log_weights, 2 * torch.randn(shape, dtype=torch.float64), scales)]


def test_gradients_of_log_probabilities(mixture):
    middle = 2 * torch.randn(9, 1, 1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *parts: mixtures.log_prob(*parts, middle - 0.01, middle + 0.01), mixture)


def test_log_probabilities_of_all_cells_add_up(mixture):
    edges = torch.linspace(-200, 200, 4001, dtype=torch.float64)
    cells = [
        mixtures.log_prob(*mixture, lower.expand(9, 1, 1, 3), upper.expand(9, 1, 1, 3)).exp()
        for lower, upper in pairwise(edges)
    ]
    torch.testing.assert_close(sum(cells), torch.ones(9, 1, 1, 3, dtype=torch.float64))


def test_gradients_of_expectations(mixture):
    _, locations, scales = mixture
    high = torch.full((1, 1, 1, 3), 2.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *parts: mixtures.expected_sinh(*parts, -high, high), (locations, scales))


def test_far_from_all_logistics_gradients_are_finite(mixture):
    far = torch.full((9, 1, 1, 3), 1e3, dtype=torch.float64)
    mixtures.log_prob(*mixture, far, far + 0.01).sum().backward()
    assert all(part.grad.isfinite().all() for part in mixture)


def test_what_lies_far_out_has_finite_gradients():
    """Columns whose middle is tiny beside their ends: squares of what is reached would be too large."""
    locations, scales = (torch.full((1, 1, 1, 1), value, requires_grad=True) for value in (75.0, 0.1))
    low, high = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 95.0)
    mixtures.expected_sinh(locations, scales, low, high).sum().backward()
    assert torch.isfinite(locations.grad).all()
    assert torch.isfinite(scales.grad).all()
