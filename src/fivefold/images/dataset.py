"""From whatever the user names to items: a built-in set, a folder of images, one image, an array or its file."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from fivefold.arrays import read_idx, read_npy, read_npz
from fivefold.errors import DataError, UsageError
from fivefold.images.files import IMAGE_ENDINGS, list_images, read_image, resize_mask
from fivefold.images.schema import ImageSchema
from fivefold.items import Items, make_items
from fivefold.modality import Schema
from fivefold.series.schema import SeriesSchema
from fivefold.tables.rows import is_table, read_rows
from fivefold.tables.schema import TableSchema

Source = Any  # a name, a path, an array, a frame, or `Items`
Mask = str | Path | np.ndarray | None
Split = Literal["train", "test"]
_ALPHA_ENDINGS = (".png", ".webp")


def read_items(
    source: Source,
    schema: Schema | None = None,
    *,
    mask: Mask = None,
    resize: tuple[int, int] | None = None,
    split: Split = "test",
) -> Items:
    """Read and check a set of items.

    Parameters
    ----------
    source : `mnist`, `mnist:train`, `mnist:test`, `letters`; a folder of images (sub-folders' names become labels); an
        image; a `.npy`, `.npz` or IDX file (`.gz` too); or an array `(n, h, w[, c])`. A table: a frame, a `.csv`, `.tsv`,
        `.parquet`, `.arrow` or `.feather` file; or an array `(n, d)`, if the schema is a table's
    schema : that of a fitted model, which the items must fit; of series, the items are the windows that `read_series` cuts
    mask : nonzero = missing; an array, an array file, an image or a folder of images of the items' shape, or of one's
    resize : `(height, width)` to bring images of a folder to
    split : what `mnist` alone means

    Raises
    ------
    DataError : if it can't be read or doesn't fit; the message names the file or the item
    UsageError : if `resize` is given for what isn't images in files
    """
    if isinstance(schema, SeriesSchema) and not isinstance(source, Items):
        if mask is not None or resize is not None:
            raise UsageError(f"--{'mask' if mask is not None else 'resize'} goes with images, not with series")
        from fivefold.series.dataset import read_series

        return read_series(source, schema).items()
    if isinstance(source, Items):
        if schema in (None, source.schema) and mask is None and resize is None:
            return source
        if not isinstance(source.schema, ImageSchema) or not isinstance(schema, ImageSchema | None):
            raise DataError(
                f"{source.source}: must be {schema.describe() if schema else 'images'}, got {source.schema.describe()}"
            )
        values, labels, names, name = source.values, source.labels, source.names, source.source
        hidden = source.hidden
    elif isinstance(schema, TableSchema) or is_table(source):
        if mask is not None or resize is not None:
            raise UsageError(f"--{'mask' if mask is not None else 'resize'} goes with images, not with tables")
        return read_rows(source, schema)
    elif isinstance(source, np.ndarray):
        values, labels, names, name, hidden = source, None, None, "array", None
    else:
        name = str(source)
        values, labels, names, hidden = _read_named(name, cast(ImageSchema | None, schema), resize, split)
    if resize is not None and (names is None or isinstance(source, Items)):
        raise UsageError(f"--resize goes with image files; {name} is none")
    masks = (hidden, None if mask is None else _read_mask(mask, resize, names))
    images = cast(ImageSchema | None, schema)  # others were dealt with
    return make_items(values, images, name, [each for each in masks if each is not None], names, labels)


_Parts = tuple[np.ndarray, np.ndarray | None, tuple[str, ...] | None, np.ndarray | None]


def _read_named(name: str, schema: ImageSchema | None, resize: tuple[int, int] | None, split: Split) -> _Parts:
    builtin, _, asked = name.partition(":")
    if builtin == "mnist" and asked in ("", "train", "test"):
        from fivefold.images.builtin import load_mnist

        return *load_mnist(asked or split), None, None
    if name == "letters":
        from fivefold.images.letters import render_letters

        return *render_letters(), None, None
    path = Path(name)
    if not path.exists():
        raise DataError(f"{name}: no such file or folder, nor a built-in set (mnist, mnist:train, mnist:test, letters)")
    if path.is_dir():
        return _read_folder(path, schema, resize)
    if path.suffix.lower() in IMAGE_ENDINGS:
        return _read_images([path], path.parent, schema, resize)
    values, labels = _read_array(path)
    return values, labels, None, None


def _read_array(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    ending = path.suffix.lower()
    if ending == ".npy":
        return read_npy(path), None
    if ending == ".npz":
        return read_npz(path)
    if ending in (".gz", ".idx") or "-ubyte" in path.name:
        return read_idx(path), None
    raise DataError(
        f"{path}: must be an image ({' '.join(sorted(IMAGE_ENDINGS))}), .npy, .npz or IDX (.idx, -ubyte, .gz) file"
    )


def _read_folder(folder: Path, schema: ImageSchema | None, resize: tuple[int, int] | None) -> _Parts:
    paths = list_images(folder)
    if not paths:
        raise DataError(f"{folder}: holds no images ({' '.join(sorted(IMAGE_ENDINGS))})")
    values, _, names, hidden = _read_images(paths, folder, schema, resize)
    below = [path.relative_to(folder).parent.as_posix() for path in paths]
    return values, np.array(below) if set(below) != {"."} else None, names, hidden


def _read_images(
    paths: Sequence[Path], root: Path, schema: ImageSchema | None, resize: tuple[int, int] | None
) -> _Parts:
    """All images as one array, and where their alpha says that nothing is there.

    Alpha is the mask if it is all or nothing, and a channel like the others if any pixel is half transparent. The
    model's schema decides where there is one.
    """
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        images = list(pool.map(lambda path: read_image(path, resize), paths))
    has_alpha = [
        p.suffix.lower() in _ALPHA_ENDINGS and i.shape[2] in (2, 4) for p, i in zip(paths, images, strict=True)
    ]
    if schema is not None:
        keep_alpha = schema.channels in (2, 4)
    else:
        keep_alpha = any(_is_soft(image[..., -1]) for image, alpha in zip(images, has_alpha, strict=True) if alpha)
    colours = [image[..., :-1] if alpha else image for image, alpha in zip(images, has_alpha, strict=True)]
    alphas = [image[..., -1:] if alpha else None for image, alpha in zip(images, has_alpha, strict=True)]
    channels = max(max(colour.shape[2] for colour in colours), 3 if schema and schema.channels >= 3 else 1)
    if channels == 3:
        colours = [np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour for colour in colours]
    _check_alike(colours, paths)
    values = np.stack(colours)
    names = tuple(path.relative_to(root).as_posix() for path in paths)
    lacks_alpha = schema is not None and schema.channels == channels + 1 and values.dtype.kind == "u" and keep_alpha
    if all(alpha is None for alpha in alphas) and not lacks_alpha:
        return values, None, names, None
    opaque = np.full_like(values[0, ..., :1], np.iinfo(values.dtype).max)
    stacked = np.stack([opaque if alpha is None else alpha for alpha in alphas])
    if keep_alpha:
        return np.concatenate([values, stacked], axis=3), None, names, None
    return values, None, names, stacked == 0


def _is_soft(alpha: np.ndarray) -> bool:
    return bool(((alpha != 0) & (alpha != np.iinfo(alpha.dtype).max)).any())


def _check_alike(images: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    first = images[0]
    for image, path in zip(images, paths, strict=True):
        if image.shape != first.shape:
            ours, theirs = ("×".join(map(str, i.shape)) for i in (first, image))
            hint = "; bring them to one size with --resize HxW" if image.shape[:2] != first.shape[:2] else ""
            raise DataError(
                f"{path}: all images must have one shape: {paths[0].name} is {ours}, this is {theirs}{hint}"
            )
        if image.dtype != first.dtype:
            raise DataError(
                f"{path}: all images must have one depth: {paths[0].name} is {first.dtype}, this is {image.dtype}"
            )


def _read_mask(
    mask: str | Path | np.ndarray, resize: tuple[int, int] | None, names: tuple[str, ...] | None
) -> np.ndarray:
    if isinstance(mask, np.ndarray):
        return mask
    path = Path(mask)
    if not path.exists():
        raise DataError(f"--mask {path}: no such file or folder")
    if path.is_dir() or path.suffix.lower() in IMAGE_ENDINGS:
        paths = list_images(path) if path.is_dir() else [path]
        if not paths:
            raise DataError(f"--mask {path}: holds no images")
        if names is not None and len(paths) == len(names) > 1:
            for each, name in zip(paths, names, strict=True):
                if each.relative_to(path).with_suffix("") != Path(name).with_suffix(""):
                    raise DataError(f"--mask {path}: masks must be named like the items, got {each.name} for {name}")
        images = [read_image(each) for each in paths]
        colours = [image[..., : -1 if image.shape[2] in (2, 4) else None] for image in images]
        masks = [(each != 0).max(axis=2, keepdims=True) for each in colours]
        if resize is not None:
            masks = [resize_mask(each[..., 0], resize)[..., None] for each in masks]
        _check_alike(masks, paths)
        return np.stack(masks)
    return _read_array(path)[0]
