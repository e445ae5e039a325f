"""Write the golden files anew: `python tests/golden/make.py`. They are only to change with the format's version.

A tiny model, a few items it expects and one it does not, and their archive.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import fivefold

HERE = Path(__file__).parent


def items() -> np.ndarray:
    """`(12, 8, 6, 3)` uint8: slopes, flat parts, and a block of noise at the end."""
    rng = np.random.default_rng(0)
    start, slope = rng.integers(0, 30, (2, 12, 1, 1))
    y, x = np.mgrid[:8, :6]
    smooth = np.stack([start + slope // 4 * y, 4 * x + 0 * start, 100 + 0 * x + 0 * start], axis=-1).astype(np.uint8)
    smooth[8:] = rng.integers(0, 256, (4, 8, 6, 3))
    return smooth


def pack(model: fivefold.FittedModel) -> bytes:
    """The archive: two blocks coded, one raw."""
    return fivefold.compress(model, items(), step=1, block_items=4)


def main() -> None:
    """Fit, save, compress."""
    settings = {"latent_dim": 3, "hidden": 16, "first_channels": 4, "window": 5, "context_width": 16, "positions": 64}
    known = np.concatenate([items()[:8]] * 25)
    model = fivefold.fit(known, **settings, epochs=8, batch_size=16, context_learning_rate=4e-2, accelerator="cpu")
    fivefold.save(model, HERE / "model", force=True)
    (HERE / "items.ff").write_bytes(pack(fivefold.load(HERE / "model", "cpu")))


if __name__ == "__main__":
    main()
