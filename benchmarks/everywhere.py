"""An archive under other libraries' settings, other processors' instructions, and a simulated foreign machine."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fivefold.archive.container import ArchiveReader, Block
from fivefold.archive.layers import DamagedLayerError
from fivefold.archive.write import ArchiveOptions, write_archive
from fivefold.images.coding import ImageCodec
from fivefold.images.exact import ExactCodeFeatures, ExactDecoder, LatentGrid
from fivefold.items import Items
from fivefold.model.calibrations import FittedPrior
from fivefold.model.fitted import FittedModel
from fivefold.storage import as_stored, save
from fivefold.system import environment

_ITEMS, _BLOCK = 2_048, 512
_STEP = 4.0
_NOISE = 1e-10
_HEAD = struct.Struct("<HI")  # of a layer: lanes, bytes of hints; see docs/format.md
_SETTINGS: tuple[dict[str, str], ...] = (
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    *({"ATEN_CPU_CAPABILITY": each} for each in ("default", "avx2", "avx512")),
    *({"MKL_ENABLE_INSTRUCTIONS": each} for each in ("SSE4_2", "AVX2")),
    {"MKL_CBWR": "COMPATIBLE"},
    *({"OPENBLAS_CORETYPE": each} for each in ("Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX", "Zen")),
    {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
)
_READ = """
import hashlib, sys
from fivefold.archive.read import open_archive
from fivefold.storage import load
archive, model, workers = sys.argv[1], load(sys.argv[2], "cpu"), int(sys.argv[3])
items = slice(*map(int, sys.argv[4:])) if sys.argv[4:] else slice(None)
with open(archive, "rb") as file:
    print(hashlib.sha256(open_archive(file).read(model, items=items, workers=workers).tobytes()).hexdigest())
"""


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Fails if the items are not the same everywhere, or if the foreign machine reads them without hints too."""
    items = test.select(slice(0, _ITEMS))
    right = hashlib.sha256(items.values.tobytes()).hexdigest()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "model")
        with (folder / "items.ff").open("wb") as file:
            write_archive(model, items, file, ArchiveOptions(step=_STEP, block_items=_BLOCK, verify=False))
        same = {" ".join(map("=".join, each.items())): _read(folder, each) == right for each in _SETTINGS}
        same["2 processes"] = _read(folder, {}, workers=2) == right
        third = items.values[2 * _BLOCK : 3 * _BLOCK]
        alone = _read(folder, {}, items=(2 * _BLOCK, 3 * _BLOCK))
        same["a block alone"] = alone == hashlib.sha256(third.tobytes()).hexdigest()
        with (folder / "items.ff").open("rb") as file:
            reader = ArchiveReader(file)
            hints = sum(_HEAD.unpack_from(reader.layer(b, layer))[1] for b in reader.blocks for layer in (0, 1))
            grid = LatentGrid(np.array(reader.facts["steps"]))
            foreign = _foreign(ImageCodec.of(as_stored(model), grid, items.values.dtype.name))
            with_hints = [_same(foreign, reader, block, items.values, hints=True) for block in reader.blocks]
            without = [_same(foreign, reader, block, items.values, hints=False) for block in reader.blocks]
        size = (folder / "items.ff").stat().st_size
    if not all(same.values()) or not all(with_hints) or all(without):
        raise AssertionError(f"{same}, foreign machine: {with_hints}, without hints: {without}")
    return {
        "items": _ITEMS,
        "same": same,
        "foreign": {
            "noise": _NOISE,
            "blocks": len(without),
            "right": sum(with_hints),
            "right_without_hints": sum(without),
        },
        "hint_bytes": hints,
        "bytes": size,
        "environment": environment(),
    }


def _read(folder: Path, settings: dict[str, str], workers: int = 1, items: tuple[int, ...] = ()) -> str:
    """SHA-256 of the items as another process reads them."""
    command = [sys.executable, "-c", _READ, "items.ff", "model", str(workers), *map(str, items)]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class _Foreign(ExactDecoder):
    """Whose results are off by a relative noise."""

    def __init__(self, decoder: ExactDecoder) -> None:
        self.schema, self.config, self.weights = decoder.schema, decoder.config, decoder.weights
        self._rng = np.random.default_rng(0)

    def disturb(self, x: np.ndarray) -> np.ndarray:
        """The same, but for the noise."""
        return x * (1 + _NOISE * self._rng.uniform(-1, 1, x.shape))

    def code_features(self, z: np.ndarray) -> ExactCodeFeatures:
        features = super().code_features(z)
        return ExactCodeFeatures(self.disturb(features.coarse), self.disturb(features.mean))

    def context(self, hidden: np.ndarray) -> np.ndarray:
        return self.disturb(super().context(hidden))


def _foreign(codec: ImageCodec) -> ImageCodec:
    decoder, prior = _Foreign(codec.decoder), codec.prior
    assert prior is not None
    noisy = {name: decoder.disturb(array) for name, array in vars(prior).items()}
    return ImageCodec(decoder, FittedPrior(**noisy), codec.grid, codec.dtype)


def _same(codec: ImageCodec, reader: ArchiveReader, block: Block, values: np.ndarray, hints: bool) -> bool:
    """Whether a block comes back."""
    layers = [reader.layer(block, number) for number in (0, 1)]
    if not hints:
        layers = [_without_hints(layer) for layer in layers]
    try:
        levels = codec.decode_elements(layers[1], block.items, codec.decode_codes(layers[0], block.items))
    except DamagedLayerError:
        return False
    return bool((levels == values[block.first : block.first + block.items]).all())


def _without_hints(layer: bytes) -> bytes:
    lanes, size = _HEAD.unpack_from(layer)
    return _HEAD.pack(lanes, 0) + layer[_HEAD.size + size :]
