"""What a training step makes a GPU wait for: how many items each kind of damage has, and nothing per item or element."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fivefold.training.fit import fit
from fivefold.training.module import VAETraining

WAITING = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "aten.equal",
)  # results or shapes that Python needs


class Watch(TorchDispatchMode):
    """Counts what is called, and what of that waits."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.waits = 0, Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        by_mask = "index" in name and any(
            isinstance(part, torch.Tensor) and part.dtype == torch.bool
            for part in (args[1] if isinstance(args[1], list | tuple) else ())
        )
        self.calls += 1
        self.waits[name] += by_mask or any(word in name for word in WAITING)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def watch_step(monkeypatch):
    """The third step of a fit, watched."""

    def watch(data: Any, **settings: Any) -> Watch:
        watched, step = list[Watch](), VAETraining.step

        def watched_step(self: VAETraining, batch: Any) -> torch.Tensor:
            watched.append(Watch())
            with watched[-1]:
                return step(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(VAETraining, "step", watched_step)
            fit(data, **settings | {"epochs": 3})
        return watched[2]

    return watch


@pytest.mark.parametrize("kind", ["tables", "images"])
def test_a_step_waits_as_often_for_many_items_as_for_few(
    watch_step, kind, trees, digits, table_settings, small_settings
):
    data, settings = (trees[:300], table_settings) if kind == "tables" else (digits[:200], small_settings)
    few, many = (watch_step(data, **settings | {"batch_size": size}) for size in (16, 64))
    assert few.waits.total() == many.waits.total() <= 12
    assert abs(few.calls - many.calls) < 20
