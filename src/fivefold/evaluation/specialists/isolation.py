"""Packages that use the global random numbers, kept apart from the rest of the program."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fivefold.seeds import derive_seed


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Let a package seed and use the global random numbers, and set variables of the environment: nothing is kept."""
    environment, python, legacy = dict(os.environ), random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
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
