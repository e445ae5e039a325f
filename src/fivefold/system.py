"""The machine and the software: what a figure was measured with, and where networks run."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fivefold.errors import UsageError

if TYPE_CHECKING:
    import torch


def environment() -> dict[str, Any]:
    """Versions and the machine, for whoever wants to repeat a figure."""
    packages = ("fivefold", "torch", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }


def find_device(name: str, parameter: str) -> torch.device:
    """A device of PyTorch's by its name; `auto` is the accelerator if there is one, `gpu` the accelerator.

    Raises `UsageError`, which names the `parameter`, if there is none.
    """
    import torch

    there = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return there or torch.device("cpu")
    if name == "gpu":
        if there is None:
            raise UsageError(f"`{parameter}` gpu can't be used: there is none that this PyTorch was built for")
        return there
    try:
        trial = torch.empty(0, device=name)
        trial.cpu()  # nothing comes back from the device `meta`
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"`{parameter}` {name} can't be used: {str(error).splitlines()[0]}") from None
    return trial.device
