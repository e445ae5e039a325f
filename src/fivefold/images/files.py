"""Folders of image files, read and written, and results as `.npy` and `.npz`."""

from __future__ import annotations

import math
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from fivefold.arrays import Bools, Ints, read_array_file, write_npy
from fivefold.atomic import atomic_file, atomic_folder, check_free
from fivefold.errors import DataError, UsageError
from fivefold.findings import Doubt
from fivefold.images.formats import (
    IMAGE_ENDINGS,
    TIFF_ENDINGS,
    Picture,
    Reading,
    encode_png,
    opaque_value,
    read_picture,
    resized_mask,
    write_tiff,
)
from fivefold.images.schema import ImageSchema
from fivefold.items import Items

IMAGE_OR = f"an image ({' '.join(sorted(IMAGE_ENDINGS))}), "  # what else than an array's file there may be
_NAMED = 20  # unreadable files
_GAP = 2  # pixels between the images of a sheet
_WHITE = 10.0  # deviations of surprise that are white in heat maps
_PNG_TYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool))


@dataclass(frozen=True)
class ImageFiles:
    """From which files items come; the `origin` of `Items`.

    Attributes
    ----------
    paths : of all files
    of : `(n,)`, the number of the file of each item
    single : `(files,)`, whether a file is one item, just as it was read
    alpha : whether the items' last channel says how opaque they are
    findings : what reading them took, by what
    doubts : what may be meant otherwise
    """

    paths: tuple[Path, ...]
    of: Ints
    single: Bools
    alpha: bool
    findings: Mapping[str, str]
    doubts: tuple[Doubt, ...] = ()

    def select(self, indices: np.ndarray | slice) -> ImageFiles:
        """See `items.Origin`."""
        return replace(self, of=self.of[indices])

    def hold_out(self, share: float, rng: np.random.Generator, source: str) -> None:
        """None: any items will do."""


@dataclass(frozen=True)
class Images:
    """Images as they were read: `values`, and what is known of them besides; see `Items`."""

    values: np.ndarray
    labels: np.ndarray | None = None
    names: tuple[str, ...] | None = None
    hidden: np.ndarray | None = None
    origin: ImageFiles | None = None


def list_images(folder: Path) -> tuple[list[Path], Counter[str]]:
    """All image files below `folder` in sorted order, hidden ones left out; and how many others there are of each ending."""
    images, others = list[Path](), Counter[str]()
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        if (ending := path.suffix.lower()) in IMAGE_ENDINGS:
            images.append(path)
        else:
            others[ending or "without an ending"] += 1
    return images, others


def read_folder(folder: Path, schema: ImageSchema | None, reading: Reading) -> Images:
    """All images below a folder; those in sub-folders are labelled by them. Raises `DataError`."""
    paths, others = list_images(folder)
    counted = ", ".join(f"{count:,} {ending}" for ending, count in others.most_common(9))
    if not paths:
        found = f"; it has {counted}" if counted else ""
        raise DataError(f"{folder}: holds no images ({' '.join(sorted(IMAGE_ENDINGS))}){found}")
    images = read_images(paths, folder, schema, reading)
    origin = cast(ImageFiles, images.origin)
    if counted:
        doubt = Doubt(str(folder), f"{others.total():,} files are not read: {counted}")
        origin = replace(origin, doubts=(*origin.doubts, doubt))
    below = np.array([path.relative_to(folder).parent.as_posix() for path in origin.paths])[origin.of]
    return replace(images, labels=below if set(below) != {"."} else None, origin=origin)


def read_images(paths: Sequence[Path], root: Path, schema: ImageSchema | None, reading: Reading) -> Images:
    """All images as one array, and where their alpha says that nothing is there.

    Alpha is the mask if it is all or nothing, and a channel like the others if any pixel is half transparent. The
    model's schema decides where there is one.
    """
    pictures, paths, doubts = read_all(paths, root, reading)
    if schema is not None:
        keep_alpha = schema.channels in (2, 4)
    else:
        keep_alpha = any(picture.alpha and is_soft(picture.pixels[..., -1]) for picture in pictures)
    colours = [picture.pixels[..., :-1] if picture.alpha else picture.pixels for picture in pictures]
    channels = max(max(colour.shape[3] for colour in colours), 3 if schema and schema.channels >= 3 else 1)
    if channels == 3:
        colours = [np.repeat(colour, 3, axis=3) if colour.shape[3] == 1 else colour for colour in colours]
    _check_alike(colours, paths)
    values = np.concatenate(colours)
    counts = np.array([len(picture.pixels) for picture in pictures])
    has_alpha = any(picture.alpha for picture in pictures)
    lacks_alpha = schema is not None and schema.channels == channels + 1 and keep_alpha
    kept = keep_alpha and (has_alpha or lacks_alpha)
    single = (counts == 1) & (reading.resize is None)
    origin = ImageFiles(
        tuple(paths), np.repeat(np.arange(len(paths)), counts), single, kept, _findings(pictures), tuple(doubts)
    )
    images = Images(values, names=picture_names(paths, root, counts), hidden=_missing(pictures, colours), origin=origin)
    if not (has_alpha or lacks_alpha):
        return images
    opaque = opaque_value(values.dtype)
    alpha = np.concatenate(
        [
            p.pixels[..., -1:] if p.alpha else np.full_like(c[..., :1], opaque)
            for p, c in zip(pictures, colours, strict=True)
        ]
    )
    if kept:
        hidden = None if images.hidden is None else np.concatenate((images.hidden, np.zeros(alpha.shape, bool)), axis=3)
        return replace(images, values=np.concatenate((values, alpha), axis=3), hidden=hidden)
    return replace(images, hidden=alpha == 0 if images.hidden is None else images.hidden | (alpha == 0))


def _missing(pictures: Sequence[Picture], colours: Sequence[np.ndarray]) -> Bools | None:
    """What files say is missing of `colours`, all but alpha of the pictures; None if nothing is."""
    if all(picture.missing is None for picture in pictures):
        return None
    parts = (
        np.zeros(colour.shape, bool)
        if picture.missing is None
        else np.broadcast_to(picture.missing[..., : -1 if picture.alpha else None], colour.shape)
        for picture, colour in zip(pictures, colours, strict=True)
    )
    return np.concatenate(list(parts))


def read_all(paths: Sequence[Path], root: Path, reading: Reading) -> tuple[list[Picture], list[Path], list[Doubt]]:
    """The pictures that can be read, and their paths; raises `DataError` for the others, if they are not to be skipped."""
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        results = list(pool.map(partial(_attempt, reading=reading), paths))
    errors = [result for result in results if isinstance(result, DataError)]
    readable = [(result, path) for result, path in zip(results, paths, strict=True) if isinstance(result, Picture)]
    if not errors:
        return [picture for picture, _ in readable], list(paths), []
    said = "; ".join(str(error).replace(f"{root}/", "", 1) for error in errors[:_NAMED])
    said += f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    if len(paths) == 1:
        raise errors[0]
    if not (readable and reading.skip_unreadable):
        raise DataError(
            f"{root}: {len(errors)} of {len(paths)} images can't be read (`skip_unreadable` leaves them out): {said}"
        )
    doubt = Doubt(str(root), f"{len(errors)} of {len(paths)} images are left out, since they can't be read: {said}")
    return [picture for picture, _ in readable], [path for _, path in readable], [doubt]


def _attempt(path: Path, reading: Reading) -> Picture | DataError:
    try:
        return read_picture(path, reading)
    except DataError as error:
        return error


def _findings(pictures: Sequence[Picture]) -> dict[str, str]:
    """How many pictures took what to be read."""
    counts = Counter(note for picture in pictures for note in picture.notes)
    found = {note: f"{count:,} of {len(pictures):,} pictures" for note, count in counts.most_common()}
    if paged := sum(len(picture.pixels) > 1 for picture in pictures):
        found["pages, each an item"] = f"{paged:,} of {len(pictures):,} files"
    return found


def picture_names(paths: Sequence[Path], root: Path, counts: Ints) -> tuple[str, ...]:
    """Of each item: its file's, with the page's number where a file has several."""
    names: list[str] = []
    for path, count in zip(paths, counts.tolist(), strict=True):
        name, digits = path.relative_to(root), len(str(count - 1))
        pages = (name.with_stem(f"{name.stem}-{page:0{digits}d}") for page in range(count)) if count > 1 else (name,)
        names += [page.as_posix() for page in pages]
    return tuple(names)


def is_soft(alpha: np.ndarray) -> bool:
    """Whether some of it is neither nothing nor all."""
    return bool(((alpha != 0) & (alpha != opaque_value(alpha.dtype))).any())


def _check_alike(images: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    first = images[0]
    for image, path in zip(images, paths, strict=True):
        what, ours, theirs, hint = "depth", str(first.dtype), str(image.dtype), ""
        if image.shape[1:] != first.shape[1:]:
            what, ours, theirs = "shape", *("×".join(map(str, i.shape[1:])) for i in (first, image))
            if image.shape[1:3] != first.shape[1:3]:
                hint = "; bring them to one size with `resize` HxW, or, to find defects in parts, fit with `kind` parts"
        if ours != theirs:
            raise DataError(
                f"{path}: all images must have one {what}: {paths[0].name} is {ours}, this is {theirs}{hint}"
            )


def read_mask(mask: str | Path | np.ndarray, reading: Reading, names: tuple[str, ...] | None) -> np.ndarray:
    """A mask `(n or 1, h, w, 1)` from image files, or whatever an array or its file holds; raises `DataError`."""
    if isinstance(mask, np.ndarray):
        return mask
    path = Path(mask)
    if not path.exists():
        raise DataError(f"`mask` {path}: no such file or folder")
    if not path.is_dir() and path.suffix.lower() not in IMAGE_ENDINGS:
        return read_array_file(path, IMAGE_OR)[0]
    paths = list_images(path)[0] if path.is_dir() else [path]
    if not paths:
        raise DataError(f"`mask` {path}: holds no images")
    if names is not None and len(paths) == len(names) > 1:
        for file, name in zip(paths, names, strict=True):
            if file.relative_to(path).with_suffix("") != Path(name).with_suffix(""):
                raise DataError(f"`mask` {path}: masks must be named like the items, got {file.name} for {name}")
    masks = []
    for file in paths:
        picture = read_picture(file, replace(reading, resize=None))
        colour = picture.pixels[..., :-1] if picture.alpha else picture.pixels
        pages = (colour != 0).any(axis=3)
        if reading.resize is not None:
            pages = np.stack([resized_mask(page, reading.resize) for page in pages])
        masks.append(pages[..., None])
    _check_alike(masks, paths)
    return np.concatenate(masks)


@dataclass(frozen=True)
class Output:
    """A place for images, checked before any work is done."""

    path: Path

    @classmethod
    def at(cls, path: str | Path, force: bool = False, flag: str = "output") -> Output:
        """Raises `UsageError`, which names `flag`, if `path` exists (without `force`) or can't be written by its ending."""
        path = Path(path)
        if path.suffix.lower() not in ("", ".npy", ".npz", ".png", *TIFF_ENDINGS):
            raise UsageError(f"`{flag}` must be a folder, .npy, .npz, .png or .tif; got {path}")
        check_free(path, force)
        if path.exists() and path.is_dir() != (path.suffix == ""):
            raise UsageError(f"{path} is a {'folder' if path.is_dir() else 'file'}; give another `{flag}`")
        return cls(path)

    def put(self, items: Items, values: np.ndarray, replace: bool) -> None:
        """Results like `items`, under their names; if they don't `replace` values, as they are, or in PNGs from 0 to 10.

        In a folder, files that hold one item of which nothing changed are copied.
        """
        schema = cast(ImageSchema, items.schema)
        origin = items.origin if isinstance(items.origin, ImageFiles) else None
        if replace:
            files = None if origin is None or self.path.suffix else _Files.of(items, values, origin)
            self.write([values], values.shape, values.dtype, schema.low, schema.high, items.names, files)
            return
        shown = shown_surprise(values) if self.path.suffix.lower() in ("", ".png") else values
        self.write([shown], shown.shape, shown.dtype, 0.0, _WHITE, items.names)

    def put_pictures(
        self,
        pictures: Sequence[np.ndarray],
        low: float,
        high: float,
        names: Sequence[str] | None,
        paths: Sequence[Path] | None,
    ) -> None:
        """Pictures `(h, w, c)` of one type and the range `[low, high]`, of any sizes in a folder; notes in files are kept.

        Raises `UsageError` for several sizes in one file.
        """
        first = pictures[0]
        if self.path.suffix and len({picture.shape for picture in pictures}) > 1:
            raise UsageError(f"pictures of several sizes go to a folder, not to {self.path}")
        files = None if paths is None or self.path.suffix else _Files.like_those(paths, first)
        parts = (picture[None] for picture in pictures)
        self.write(parts, (len(pictures), *first.shape), first.dtype, low, high, names, files)

    def write_new(
        self, schema: ImageSchema, values: np.ndarray, labels: Mapping[str, np.ndarray], record: Mapping[str, Any]
    ) -> None:
        """New images, numbered."""
        self.write([values], values.shape, values.dtype, schema.low, schema.high)

    def write(
        self,
        parts: Iterable[np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype,
        low: float,
        high: float,
        names: Sequence[str] | None = None,
        files: _Files | None = None,
    ) -> None:
        """Write values of the range `[low, high]` that come in parts, and have `shape` `(n, h, w, c)` and `dtype` in all.

        `.npy` and `.npz` (array `images`) hold them as they are, `.tif` as pages. A folder gets a file per item under its
        name, or its number: a PNG, or a TIFF of what came from one or what a PNG can't hold. A `.png` is a sheet, which needs
        all parts at once; what isn't uint8 or uint16 is scaled to 8 bits there.

        Raises `DataError` if a name leads out of the folder.
        """
        ending, images = self.path.suffix.lower(), (image for part in parts for image in part)
        if ending == "":
            with atomic_folder(self.path, merge=True) as folder:
                files = files or _Files.new(shape, dtype)
                targets = _file_names(names, files.endings)
                for number, (name, image) in enumerate(zip(targets, images, strict=True)):
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    files.write(number, target, image)
            return
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            if ending == ".npy":
                write_npy(file, parts, shape, dtype)
            elif ending in TIFF_ENDINGS:
                write_tiff(file, images, shape, dtype)
            elif ending == ".npz":
                with (
                    zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                    archive.open("images.npy", "w", force_zip64=True) as member,
                ):
                    write_npy(member, parts, shape, dtype)
            else:
                file.write(encode_png(make_sheet(_png_pixels(np.stack(list(images)), low, high))))


@dataclass(frozen=True)
class _Files:
    """How each item becomes a file: by its ending; like the file from which it came, or as that file itself."""

    endings: tuple[str, ...]
    alpha: bool = True
    like: tuple[Path | None, ...] = ()
    same: Bools | None = None

    @classmethod
    def new(cls, shape: tuple[int, ...], dtype: np.dtype) -> _Files:
        """Of items that are from no files."""
        return cls((".png" if dtype in _PNG_TYPES else ".tif",) * shape[0], like=(None,) * shape[0])

    @classmethod
    def of(cls, items: Items, values: np.ndarray, origin: ImageFiles) -> _Files:
        """Of items that are from files, and now have other `values`."""
        like = tuple(origin.paths[number] for number in origin.of)
        same = origin.single[origin.of] & (values.dtype == items.values.dtype)
        for number in np.flatnonzero(same):
            hidden = None if items.hidden is None else items.hidden[number % len(items.hidden)]
            equal = np.array_equal(values[number], items.values[number], equal_nan=values.dtype.kind == "f")
            same[number] = equal and (hidden is None or not hidden.any())
        fits = values.dtype in _PNG_TYPES and (origin.alpha or values.shape[3] in (1, 3))
        endings = (
            path.suffix if kept else ".png" if fits and path.suffix.lower() not in TIFF_ENDINGS else ".tif"
            for path, kept in zip(like, same, strict=True)
        )
        return cls(tuple(endings), origin.alpha, like, same)

    @classmethod
    def like_those(cls, paths: Sequence[Path], first: np.ndarray) -> _Files:
        """Of new pictures like the `first`, each from a file."""
        fits = first.dtype in _PNG_TYPES and first.shape[2] in (1, 3)
        endings = (".png" if fits and path.suffix.lower() not in TIFF_ENDINGS else ".tif" for path in paths)
        return cls(tuple(endings), alpha=False, like=tuple(paths))

    def write(self, number: int, target: Path, image: np.ndarray) -> None:
        """An image `(h, w, c)` to its file."""
        like = self.like[number]
        if self.same is not None and self.same[number] and like is not None:
            shutil.copyfile(like, target)
        elif self.endings[number] == ".png":
            target.write_bytes(encode_png(_png_pixels(image, 0.0, 1.0), like))
        else:
            write_tiff(target, [image], (1, *image.shape), image.dtype, self.alpha, like)


def make_sheet(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """`(n, h, w, c)` images as one, row by row, with gaps of the highest value (opaque white for 8 bits)."""
    n, h, w, c = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    white = np.iinfo(images.dtype).max
    sheet = np.full((rows, h + _GAP, columns, w + _GAP, c), white, images.dtype)
    for index, image in enumerate(images):
        sheet[index // columns, :h, index % columns, :w] = image
    return sheet.reshape(rows * (h + _GAP), columns * (w + _GAP), c)[:-_GAP, :-_GAP]


def shown_surprise(values: np.ndarray) -> np.ndarray:
    """Deviations as grey levels, uint8: 0 black, 10 white."""
    return _png_pixels(values, 0.0, _WHITE)


def _png_pixels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if values.dtype in (np.uint8, np.uint16):
        return values
    unit = (values.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _file_names(names: Sequence[str] | None, endings: Sequence[str]) -> list[str]:
    """A distinct file name per item: its own with the ending exchanged where that is free, else added.

    Names that collide still, or differ in case only, get a number.
    """
    if names is None:
        digits = len(str(len(endings) - 1))
        return [f"{index:0{digits}d}{ending}" for index, ending in enumerate(endings)]
    for name in names:
        path = Path(name)
        if path.anchor or ".." in path.parts or not path.name or "\0" in name:
            raise DataError(f"an item is called {name!r}, which can't be a file in the output folder")
    exchanged = [Path(name).with_suffix(ending).as_posix() for name, ending in zip(names, endings, strict=True)]
    counts = Counter(name.lower() for name in exchanged)
    taken = {name for name, count in counts.items() if count == 1}
    distinct, repeats = [], Counter[str]()
    for name, new, ending in zip(names, exchanged, endings, strict=True):
        if counts[new.lower()] > 1:
            new = f"{name}{ending}"
            while new.lower() in taken:
                repeats[name] += 1
                new = f"{name}.{repeats[name] + 1}{ending}"
            taken.add(new.lower())
        distinct.append(new)
    return distinct
