"""Values of any type as a block, and back: coded where that is shorter, else as they are. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from fivefold.codec.mixtures import MOST_SYMBOLS
from fivefold.images.coding import BlockCodec, DamagedLayerError
from fivefold.images.latent import LatentGrid
from fivefold.images.schema import ImageSchema

RAW, CODED = 0, 1


def encode_block(
    codec: BlockCodec,
    grid: LatentGrid | None,
    values: np.ndarray,
    symbols: np.ndarray | None,
    lossy: bool,
    verify: bool,
) -> tuple[int, int, list[bytes]]:
    """Number of items, method, layers.

    Parameters
    ----------
    grid : of the codes; it is chosen after the codec was shared with the processes, and takes the place of its own
    values : `(n, h, w, c)` of any numeric type
    symbols : of the codes on the grid, `(n, latent_dim)`; None: there are none
    lossy : only the codes
    verify : decode, and compare
    """
    codec = dataclasses.replace(codec, grid=grid)
    codes = b"" if symbols is None else codec.encode_codes(symbols)
    if lossy:
        return len(values), CODED, [codes, b""]
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    levels = _levels(values, codec.decoder.schema)
    if levels is not None:
        layers = [codes, codec.encode_elements(levels, symbols)]
        if len(layers[0]) + len(layers[1]) < len(raw):
            if verify:
                _compare(values, decode_block(codec, len(values), CODED, layers, False, values.dtype.name))
            return len(values), CODED, layers
    return len(values), RAW, [b"", raw]


def _compare(values: np.ndarray, decoded: Any) -> None:
    if isinstance(decoded, str) or decoded.tobytes() != values.tobytes():
        raise RuntimeError("a block did not come back as it was written; that is a defect of the program")


def _levels(values: np.ndarray, schema: ImageSchema) -> np.ndarray | None:
    """The values counted from the lowest; None if they are not whole numbers within the model's range, bit for bit, or
    have too many levels to code.
    """
    assert schema.levels is not None
    if schema.levels > MOST_SYMBOLS:
        return None
    with np.errstate(invalid="ignore"):
        levels = np.nan_to_num(values.astype(np.float64) - schema.low, nan=-1).astype(np.int64)
    inside = 0 <= levels.min() and levels.max() < schema.levels
    return levels if inside and _values(levels, schema, values.dtype).tobytes() == values.tobytes() else None


def _values(levels: np.ndarray, schema: ImageSchema, dtype: np.dtype) -> np.ndarray:
    return (levels + schema.low).astype(dtype)


def decode_block(codec: BlockCodec, items: int, method: int, layers: list[bytes], lossy: bool, dtype: str) -> Any:
    """Values `(items, h, w, c)`, or what is wrong, as text."""
    schema, kind = codec.decoder.schema, np.dtype(dtype)
    if method == RAW:
        size = items * schema.size * kind.itemsize
        if len(layers[1]) != size:
            return f"it should have {size} bytes, got {len(layers[1])}"
        return np.frombuffer(layers[1], kind.newbyteorder("<")).astype(kind).reshape(items, *schema.shape)
    if method != CODED:
        return f"its method is {method}"
    try:
        symbols = None if codec.grid is None else codec.decode_codes(layers[0], items)
        if lossy:
            assert symbols is not None
            return schema.from_unit(codec.expected(symbols), kind)
        return _values(codec.decode_elements(layers[1], items, symbols), schema, kind)
    except DamagedLayerError as error:
        return str(error)
