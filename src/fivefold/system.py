"""The machine and the software: what a figure was measured with, and where networks run."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

from fivefold.errors import UsageError

if TYPE_CHECKING:
    import torch

_TRIM, _MAP = -1, -3  # of mallopt(3): M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_KEPT, _LARGEST = 1 << 28, 1 << 25  # bytes


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


def keep_freed_memory() -> bool:
    """Ask glibc to keep up to 256 MB of what is freed, in pieces of up to 32 MB, for what is allocated next; whether it does.

    Else it gives back what each step of a network has used, and the system fetches and clears the same pages for the next one.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    import ctypes

    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(set_option(*pair) == 1 for pair in ((_TRIM, _KEPT), (_MAP, _LARGEST)))
