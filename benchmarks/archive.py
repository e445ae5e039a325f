"""Archives of the test items in bytes: how small, how fast, and whether they come back."""

from __future__ import annotations

import lzma
import math
import os
import time
from typing import Any

import numpy as np

from fivefold.data import Items
from fivefold.jobs.compress import compress, decompress
from fivefold.model.fitted import FittedModel
from fivefold.system import environment


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """One process per core. Fails if an item does not come back bit for bit."""
    workers = os.cpu_count() or 1
    start = time.monotonic()
    packed = compress(model, test, verify=False, workers=workers)
    middle = time.monotonic()
    back = decompress(packed, model, workers=workers)
    end = time.monotonic()
    if not np.array_equal(back, test.values):
        raise AssertionError("the items did not come back")
    with_model, lossy = (
        compress(model, test, embed_model=True, verify=False, workers=workers),
        compress(model, test, lossy=True),
    )
    xz, model_bytes = len(lzma.compress(test.values.tobytes())), len(with_model) - len(packed)
    saved = (xz - len(packed)) / len(test)
    return {
        "items": len(test),
        "bytes": len(packed),
        "bits_per_element": 8 * len(packed) / test.values.size,
        "seconds": {"compress": middle - start, "decompress": end - middle},
        "lossy_bytes_per_item": len(lossy) / len(test),
        "model_bytes": model_bytes,
        "xz_bytes": xz,
        "items_from_which_the_model_pays": math.ceil(model_bytes / saved) if saved > 0 else None,
        "workers": workers,
        "environment": environment(),
    }
