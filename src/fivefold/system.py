"""The machine and the software that a figure was measured with."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from typing import Any


def environment() -> dict[str, Any]:
    """Versions and the machine, for whoever wants to repeat a figure."""
    packages = ("fivefold", "torch", "lightning", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }
