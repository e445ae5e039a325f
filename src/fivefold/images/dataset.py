"""Images as datasets: built-in sets, folders of image files, one image, arrays and their files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from fivefold.arrays import count_axes, read_array_file
from fivefold.dataset import ItemSet
from fivefold.errors import DataError, UsageError
from fivefold.findings import Check, Doubt
from fivefold.images.files import IMAGE_OR, ImageFiles, Images, Output, read_folder, read_images, read_mask
from fivefold.images.formats import IMAGE_ENDINGS, Reading, arrange
from fivefold.images.schema import ImageSchema, infer_schema
from fivefold.inputs import check_file
from fivefold.items import Items

Mask = str | Path | np.ndarray | None
Split = Literal["train", "test"]
TEST_SETS = {"mnist": "mnist:test", "mnist:train": "mnist:test"}
TRAINING_SETS = {"mnist": "mnist:train", "mnist:test": "mnist:train"}
SHARDS: tuple[str, ...] = ()
_CHUNK_ELEMENTS = 1 << 24
_CHECKED = 256  # items looked at together for what is missing


def recognises(source: Any) -> bool:
    """Whether it names anything, or is an array of more than two axes."""
    if isinstance(source, str | Path | Items | ItemSet):
        return True
    return (count_axes(source) or 0) > 2


class ImageSet(ItemSet):
    """Images in memory."""

    def check(self) -> Check:
        """What the files were taken for, and what is missing."""
        schema, origin = cast(ImageSchema, self.schema), self.items.origin
        findings = {
            "images": f"{schema.describe()}, {'real numbers' if schema.levels is None else f'{schema.levels:,} levels'}"
        }
        doubts: list[Doubt] = []
        if isinstance(origin, ImageFiles):
            findings |= {"files": f"{len(origin.paths):,}"} | dict(origin.findings)
            if schema.channels in (2, 4):
                findings["alpha"] = (
                    "a channel like the others" if origin.alpha else "none: the last channel is no opacity"
                )
            doubts += origin.doubts
        if self.items.labels is not None:
            findings["labels"] = f"{len(np.unique(self.items.labels)):,}"
        if hidden := sum(int((~self.items.visible(rows)).sum()) for rows in self.items.batches(_CHECKED)):
            findings["missing"] = f"{hidden:,} of {self.items.values.size:,} elements"
        if len(self) == 1:  # no doubt: a fit refuses it
            findings["for a fit"] = "one picture is too few; cut it into tiles, or give more"
        return Check(self.summary, findings, doubts)


def open(source: Any, schema: ImageSchema | None = None, **reading: Any) -> ItemSet:
    """See `read_items`."""
    return ImageSet(read_items(source, schema, **reading))


def place(path: Path, force: bool, role: str = "") -> Output:
    """Where images go; see `Output.at`. Standard deviations go to `.npy` files alone."""
    if role == "std" and path.suffix.lower() != ".npy":
        raise UsageError(f"`std` must be .npy, got {path}")
    return Output.at(path, force, role or "output")


def new(schema: ImageSchema, values: np.ndarray, record: Mapping[str, Any] | None = None) -> np.ndarray:
    """New images `(n, h, w, c)` as they are."""
    return values


def read_items(
    source: Any,
    schema: ImageSchema | None = None,
    *,
    mask: Mask = None,
    split: Split = "test",
    **reading: Any,
) -> Items:
    """Read and check a set of images.

    Parameters
    ----------
    source : `mnist`, `mnist:train`, `mnist:test`, `letters`; a folder of images (sub-folders' names become labels); an
        image; a `.npy`, `.npz` or IDX file (`.gz` too); or an array `(n, h, w[, c])`, or `(h, w)` of one image
    schema : that of a fitted model, which the items must fit
    mask : nonzero = missing; an array, an array file, an image or a folder of images of the items' shape, or of one's
    split : what `mnist` alone means
    reading : `axes`, `pages`, `resize` and `skip_unreadable`; see `formats.Reading`. Of arrays `axes` and `pages`

    Raises
    ------
    DataError : if it can't be read or doesn't fit; the message names the file or the item
    UsageError : if `resize` is given for what isn't images in files
    """
    how = Reading(**reading)
    if isinstance(source, ItemSet):
        source = source.items
    if isinstance(source, Items):
        if schema in (None, source.schema) and mask is None and how == Reading():
            return source
        if not isinstance(source.schema, ImageSchema):
            wanted = schema.describe() if schema else "images"
            raise DataError(f"{source.source}: must be {wanted}, got {source.schema.describe()}")
        origin = source.origin if isinstance(source.origin, ImageFiles) else None
        images, name = Images(source.values, source.labels, source.names, source.hidden, origin), source.source
    elif isinstance(source, str | Path):
        name = str(source)
        images = _read_named(name, schema, how, split)
    else:
        images, name = Images(_as_array(source)), "array"
    if how.resize is not None and (images.names is None or isinstance(source, Items)):
        raise UsageError(f"`resize` goes with image files; {name} is none")
    if how.axes is not None and images.origin is None:
        images = replace(images, values=arrange(images.values, how.axes, how.pages, name))
    elif schema is None and images.values.ndim == 3 and images.values.shape[2] in (3, 4):
        shape = images.values.shape
        raise DataError(
            f"{name}: shape {shape} may be one picture in colour or {shape[0]} in grey; say which with `axes`: YXC or NYX"
        )
    masks = (images.hidden, None if mask is None else read_mask(mask, how, images.names))
    present = [array for array in masks if array is not None]
    named = None if mask is None else f"`mask` {mask}" if isinstance(mask, str | Path) else "`mask`"
    items = make_items(images.values, schema, name, present, images.names, images.labels, named)
    return replace(items, origin=images.origin)


def _as_array(source: Any) -> np.ndarray:
    if hasattr(source, "columns") or hasattr(source, "column_names") or isinstance(source, dict):
        raise DataError("must be images as the model was fitted, got a table")
    return np.asarray(source)


def _read_named(name: str, schema: ImageSchema | None, how: Reading, split: Split) -> Images:
    builtin, _, asked = name.partition(":")
    if builtin == "mnist" and asked in ("", "train", "test"):
        from fivefold.images.builtin import load_mnist

        return Images(*load_mnist(asked or split))
    if name == "letters":
        from fivefold.images.builtin import render_letters

        return Images(*render_letters())
    path = Path(name)
    if not path.exists():
        raise DataError(f"{name}: no such file or folder, nor a built-in set (mnist, mnist:train, mnist:test, letters)")
    if path.is_dir():
        return read_folder(path, schema, how)
    if path.suffix.lower() in IMAGE_ENDINGS:
        return read_images([path], path.parent, schema, how)
    check_file(path)
    return Images(*read_array_file(path, IMAGE_OR))


def make_items(
    values: np.ndarray,
    schema: ImageSchema | None = None,
    source: str = "array",
    masks: Sequence[np.ndarray] = (),
    names: tuple[str, ...] | None = None,
    labels: np.ndarray | None = None,
    mask: str | None = None,
) -> Items:
    """Check `values` and wrap them as `Items`; without a `schema`, infer it from them.

    Parameters
    ----------
    values : `(n, h, w, c)`, `(n, h, w)` or one image `(h, w)`; c from 1 to 4; numbers or bool
    schema : that of a fitted model, which the values must fit
    masks : nonzero = missing; each of the shape of all items or of one, its channel axis may be left out or be 1
    mask : what to call a mask that was given

    Raises
    ------
    DataError : no items, a wrong shape, an infinite visible value, an item with nothing visible, values in
        another scale than the schema's
    """
    values = _as_images(np.asarray(values), schema, source)
    if schema is not None and values.shape[1:] != schema.shape:
        wanted, found = _by(schema.shape), _by(values.shape[1:])
        raise DataError(f"{source}: items must be {wanted} as the model was fitted, got {found}")
    if labels is not None:
        if labels.size != len(values):
            raise DataError(f"{source}: there must be a label per item, got {labels.size} for {len(values)} items")
        labels = labels.reshape(len(values))
    hidden = None
    for hiding in masks:
        shaped = _shape_mask(np.asarray(hiding), values.shape, mask or "mask")
        hidden = shaped if hidden is None else hidden | shaped
    low, high = _scan(values, hidden, source, names, mask)
    if schema is None:
        schema = infer_schema(values, low, high)
    else:
        _check_range(low, high, values.dtype, schema, source)
    return Items(values, schema, source, hidden, names, labels)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _as_images(values: np.ndarray, schema: ImageSchema | None, source: str) -> np.ndarray:
    if values.dtype.kind not in "buif":
        raise DataError(f"{source}: values must be numbers, got {values.dtype}")
    if values.ndim == 3 and schema is not None and values.shape == schema.shape:
        values = values[None]
    elif values.ndim == 2:
        values = values[None, ..., None]
    elif values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4 or not 1 <= values.shape[3] <= 4:
        hint = "; name them with `axes`, as NCYX" if values.ndim > 2 else ""
        raise DataError(
            f"{source}: images must be (items, height, width) or (items, height, width, 1 to 4 channels), "
            f"got shape {values.shape}{hint}"
        )
    if 0 in values.shape:
        raise DataError(f"{source}: there is nothing in it (shape {values.shape})")
    return values


def _shape_mask(mask: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    n, h, w, c = shape
    if mask.dtype.kind not in "buif":
        raise DataError(f"{name}: must hold numbers, got {mask.dtype}")
    if mask.ndim >= 2:
        candidates = (mask,) if mask.ndim == 4 else (mask[None], mask[..., None], mask[None, ..., None])
        for candidate in candidates:
            fits = candidate.ndim == 4 and candidate.shape[1:3] == (h, w)
            if fits and candidate.shape[0] in (1, n) and candidate.shape[3] in (1, c):
                return candidate.astype(bool)
    wanted = f"the items' shape {_by(shape)} or one item's {_by(shape[1:])}"
    raise DataError(f"{name}: must have {wanted}, got {_by(mask.shape)}")


def _scan(
    values: np.ndarray, hidden: np.ndarray | None, source: str, names: tuple[str, ...] | None, mask: str | None
) -> tuple[float, float]:
    """The visible values' minimum and maximum, in bounded memory; raises for what can't be learnt from."""
    step = max(1, _CHUNK_ELEMENTS // values[0].size)
    low, high = np.inf, -np.inf
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        seen = np.invert(np.isnan(chunk)) if chunk.dtype.kind == "f" else np.ones((len(chunk), 1, 1, 1), bool)
        there = np.asarray(seen.any(axis=(1, 2, 3)))
        if hidden is not None:
            seen = seen & ~(hidden if len(hidden) == 1 else hidden[start : start + step])
        blank = np.invert(seen.any(axis=(1, 2, 3)))
        infinite = (np.isinf(chunk) & seen).any(axis=(1, 2, 3)) if chunk.dtype.kind == "f" else np.zeros_like(blank)
        if len(bad := np.flatnonzero(blank | infinite)):
            index = start + int(bad[0])
            missing = f"{mask} hides all of it" if mask is not None and there[bad[0]] else "all are missing"
            what = f"no visible value: {missing}" if blank[bad[0]] else "infinite values"
            raise DataError(f"{source}: item {names[index] if names else index} has {what}")
        if hidden is not None:
            chunk = chunk[np.broadcast_to(seen, chunk.shape)]
        low = min(low, float(np.nanmin(chunk)))
        high = max(high, float(np.nanmax(chunk)))
    return low, high


def _check_range(low: float, high: float, dtype: np.dtype, schema: ImageSchema, source: str) -> None:
    if dtype.kind == "f" and schema.levels is not None and schema.high > 1 and 0 <= low and 0 < high <= 1:
        raise DataError(
            f"{source}: values must be in [{schema.low:g}, {schema.high:g}] as the model was fitted, "
            f"got numbers in [{low:g}, {high:g}]: scale them back"
        )
    if low < schema.low or high > schema.high:
        warnings.warn(
            f"{source}: values in [{low:g}, {high:g}] are clipped to the model's range "
            f"[{schema.low:g}, {schema.high:g}]",
            stacklevel=5,
        )
