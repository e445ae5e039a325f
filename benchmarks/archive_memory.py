"""Memory of `compress` and `decompress`, for the test items and for ten times as many."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peak_memory import peak_gigabytes

from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.storage import save
from fivefold.system import environment

_COPIES = 10


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Peak resident gigabytes of both commands, all processes together, for the items and for many times as many."""
    values, found = test.values, dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "model")
        for copies in (1, _COPIES):
            np.save(folder / "items.npy", np.concatenate([values] * copies))
            found[str(copies * len(values))] = {
                "compress": peak_gigabytes(
                    folder, "compress", "model", "items.npy", "-o", "items.ff", "--no-verify", "--force"
                ),
                "decompress": peak_gigabytes(
                    folder, "decompress", "items.ff", "--model", "model", "-o", "back.npy", "--force"
                ),
            }
            back, items = (np.load(folder / f"{each}.npy", mmap_mode="r") for each in ("back", "items"))
            if not np.array_equal(back, items):
                raise AssertionError("the items did not come back")
    return {"gigabytes": found, "environment": environment()}
