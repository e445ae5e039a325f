"""The tools that a user would otherwise pick, at their sensible defaults; and what keeps them apart from the program."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

import numpy as np
import torch

from fivefold.errors import UsageError
from fivefold.seeds import derive_seed

Series = tuple[np.ndarray, np.ndarray]
"""Values `(total, c)`, one series after the other, and their lengths."""


class TimeUpError(Exception):
    """Ends the training of a rival in the middle of an epoch."""


def require(module: str) -> ModuleType:
    """Import `module` (`package` or `package.module`); raises `UsageError` if it isn't installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise UsageError(f"the comparison with {package} needs an extra: pip install fivefold[bench]") from None


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Let a package warn, seed and use the global random numbers, and set variables of the environment: nothing is kept."""
    environment, python, legacy = dict(os.environ), random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        random.seed(short := short_seed(seed, purpose))
        np.random.seed(short)  # noqa: NPY002
        torch.manual_seed(short)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            for variable in os.environ.keys() - environment.keys():
                del os.environ[variable]
            os.environ.update(environment)


def short_seed(seed: int, purpose: str) -> int:
    """A seed of 32 bits, the most that NumPy's global random numbers take."""
    return derive_seed(seed, purpose) % (1 << 32)
