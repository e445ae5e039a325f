"""Pictures of any size as a dataset: folders of mixed sizes, files, arrays and lists of arrays. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np

from fivefold.arrays import read_array_file
from fivefold.dataset import IndependentItems
from fivefold.errors import DataError, UsageError
from fivefold.findings import Check, Doubt
from fivefold.images.files import IMAGE_OR, Output, is_soft, list_images, picture_names, read_all
from fivefold.images.formats import IMAGE_ENDINGS, Reading, arrange
from fivefold.inputs import check_file
from fivefold.items import Block, Collector, Items
from fivefold.pictures.noise import estimate_noise
from fivefold.pictures.patches import Patches, PatchPlaces
from fivefold.pictures.schema import LEAST_SIDE, PictureSchema, infer_schema
from fivefold.progress import progress_bar
from fivefold.seeds import derive_seed

TEST_SETS: Mapping[str, str] = {}
TRAINING_SETS: Mapping[str, str] = {}
SHARDS: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """How pictures came: whether as one array, with one picture only, without an axis of channels."""

    stacked: bool = False
    single: bool = False
    flat: bool = False

    def of(self, pictures: Sequence[np.ndarray]) -> Any:
        """Pictures `(h, w, c)` in that form."""
        given = [picture[..., 0] if self.flat else picture for picture in pictures]
        return given[0] if self.single else np.stack(given) if self.stacked else given


@dataclass(frozen=True)
class PictureSet(IndependentItems):
    """Pictures of any sizes, each `(h, w, c)` of one type, NaN where missing; results are in their form, or go to `places`.

    `half_seen` is what to call one whose pixels are half transparent, which is left out; None if none is.
    """

    pictures: Sequence[np.ndarray]
    schema: PictureSchema
    source: str = "array"
    came: Form = Form()
    names: tuple[str, ...] | None = None
    paths: tuple[Path, ...] | None = None
    doubts: tuple[Doubt, ...] = ()
    half_seen: str | None = None
    places: Mapping[str, Output] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def elements(self) -> int:
        return sum(picture.size for picture in self.pictures)

    @property
    def summary(self) -> str:
        sizes = sorted({picture.shape[:2] for picture in self.pictures})
        said = "×".join(map(str, sizes[0])) if len(sizes) == 1 else f"{len(sizes)} sizes"
        return f"{self.source}: {len(self):,} of {said}, {self.schema.describe()}"

    def name(self, number: int) -> str:
        """What to call a picture in messages."""
        return f"{self.source}: picture {self.names[number] if self.names else number}"

    def check(self) -> Check:
        """What the noise is taken for."""
        noise = estimate_noise(self.sample(), "auto")
        return Check(self.summary, {"noise": noise.describe(self.schema.high - self.schema.low)}, self.doubts)

    def sample(self) -> list[np.ndarray]:
        """The pictures on the unit scale, as far as it takes to know their noise."""
        return sample_units(self.pictures, self.schema)

    def blocks(self, doing: str) -> Iterator[Block]:
        """A picture each."""
        with progress_bar(doing, len(self)) as bar:
            for number, picture in enumerate(self.pictures):
                yield Block(Items(picture[None], self.schema, self.source), number, number or None)
                bar.advance()

    def all_items(self) -> NoReturn:
        """Raise `UsageError`: pictures of any size are no items of one shape."""
        raise UsageError(
            "pictures of any size have no codes of their own: compress and denoise are what can be done with them"
        )

    def examples(self) -> Items:
        """Patches at random places."""
        rng = np.random.default_rng(derive_seed(0, "patches"))
        patches = Patches.drawn(self.pictures, self.schema.patch, rng)
        sizes = tuple(picture.shape[:2] for picture in self.pictures)
        origin = PatchPlaces(cast(Any, sizes), patches.side, patches.corners)
        return Items(cast(Any, patches), self.schema, self.source, origin=origin)

    def collector(self, role: str = "", *, replace: bool = True) -> Collector | None:
        if not self.places:
            return PictureCollector(self, None)
        return PictureCollector(self, self.places[role]) if role in self.places else None

    def report(
        self, scores: Mapping[str, np.ndarray], windows: Any = None, events: Any = None
    ) -> dict[str, Iterable[Any]]:
        """Raise `UsageError`: there are no scores."""
        self.all_items()

    def to(self, places: Mapping[str, Any]) -> PictureSet:
        return dataclasses.replace(self, places=places)


class PictureCollector(Collector):
    """Results picture by picture."""

    def __init__(self, data: PictureSet, place: Output | None) -> None:
        self._data, self._place, self._found = data, place, list[np.ndarray]()

    def _put(self, block: Block, values: np.ndarray, where: np.ndarray) -> int:
        self._found.append(values[0])
        return int(where.sum())

    def result(self) -> Any:
        data = self._data
        if self._place is None:
            return data.came.of(self._found)
        self._place.put_pictures(self._found, data.schema.low, data.schema.high, data.names, data.paths)
        return self._place.path


def sample_units(pictures: Sequence[np.ndarray], schema: PictureSchema, most: int = 1 << 22) -> list[np.ndarray]:
    """Pictures on the unit scale, in their order but every so many left out, until there are about `most` elements."""
    step = max(1, sum(picture.size for picture in pictures) // most) if len(pictures) > 1 else 1
    side = int(np.sqrt(most))
    return [schema.to_unit(picture[:side, :side]) for picture in pictures[::step]]


def recognises(source: Any) -> bool:
    """Only what is one already: that pictures are noisy is said by the user."""
    return isinstance(source, PictureSet)


def place(path: Path, force: bool, role: str = "") -> Output:
    """Where pictures go; see `Output.at`."""
    return Output.at(path, force, role or "output")


def new(schema: PictureSchema, values: np.ndarray, record: Mapping[str, Any] | None = None) -> np.ndarray:
    """New patches `(n, h, w, c)` as they are."""
    return values


def open(source: Any, schema: PictureSchema | None = None, **reading: Any) -> PictureSet:
    """Read and check pictures of any sizes.

    Parameters
    ----------
    source : a folder of images of any sizes; an image; an array `(h, w)`, `(n, h, w)` or `(n, h, w, c)`, or its file; a list of
        arrays `(h, w)` or `(h, w, c)`
    schema : that of a fitted model, which the pictures must fit
    reading : `axes`, `pages` and `skip_unreadable`; see `images.formats.Reading`

    Raises
    ------
    DataError : if they can't be read or don't fit; the message names the file or the picture
    """
    if isinstance(source, PictureSet):
        found = source
    elif isinstance(source, str | Path):
        found = _read_named(Path(source), schema, Reading(**reading))
    else:
        found = _from_arrays(source, schema, "array", Reading(**reading))
    pictures = [_checked(picture, found, number) for number, picture in enumerate(found.pictures)]
    if schema is None:
        schema = infer_schema(pictures, found.pictures[0].dtype, found.source)
    _check_fit(pictures, schema, found)
    return dataclasses.replace(found, pictures=pictures, schema=schema)


_UNKNOWN = PictureSchema(LEAST_SIDE, 1, "uint8", 0.0, 255.0)


def _read_named(path: Path, schema: PictureSchema | None, reading: Reading) -> PictureSet:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_dir() and path.suffix.lower() not in IMAGE_ENDINGS:
        check_file(path)
        return _from_arrays(read_array_file(path, IMAGE_OR)[0], schema, str(path), reading)
    paths = list_images(path)[0] if path.is_dir() else [path]
    if not paths:
        raise DataError(f"{path}: holds no images ({' '.join(sorted(IMAGE_ENDINGS))})")
    root = path if path.is_dir() else path.parent
    found, paths, doubts = read_all(paths, root, reading)
    pictures: list[np.ndarray] = []
    for one in found:
        missing = np.zeros(one.pixels.shape, bool) if one.missing is None else one.missing
        colours = one.pixels[..., :-1] if one.alpha else one.pixels
        missing = missing[..., : colours.shape[3]] | (one.pixels[..., -1:] == 0 if one.alpha else False)
        pictures += [_holey(page, holes) for page, holes in zip(colours, missing, strict=True)]
    counts = np.array([len(one.pixels) for one in found])
    each = tuple(path for path, count in zip(paths, counts.tolist(), strict=True) for _ in range(count))
    names = picture_names(paths, root, counts)
    soft = (str(path) for path, one in zip(paths, found, strict=True) if one.alpha and is_soft(one.pixels[..., -1]))
    about: dict[str, Any] = {"doubts": tuple(doubts), "half_seen": next(soft, None)}
    return PictureSet(pictures, _UNKNOWN, str(path), names=names, paths=each, **about)


def _holey(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """NaN where pixels are missing."""
    return np.where(missing, np.nan, picture.astype(np.float32)) if missing.any() else picture


def _from_arrays(source: Any, schema: PictureSchema | None, name: str, reading: Reading) -> PictureSet:
    if isinstance(source, list | tuple):
        arrays = [np.asarray(one) for one in source]
        if not arrays or any(array.ndim not in (2, 3) for array in arrays):
            raise DataError(f"{name}: a list must hold pictures (h, w) or (h, w, c)")
        flat = all(array.ndim == 2 for array in arrays)
        return PictureSet([_with_channels(array) for array in arrays], _UNKNOWN, name, Form(flat=flat))
    values = np.asarray(source)
    if reading.axes is not None:
        return PictureSet(list(arrange(values, reading.axes, reading.pages, name)), _UNKNOWN, name, Form(stacked=True))
    if values.ndim == 3 and values.shape[2] in (3, 4):
        if schema is None or schema.channels != values.shape[2]:
            raise DataError(
                f"{name}: shape {values.shape} may be one picture or many; say which with `axes`: YXC or NYX"
            )
        return PictureSet([values], _UNKNOWN, name, Form(single=True))
    if values.ndim not in (2, 3, 4):
        raise DataError(f"{name}: pictures must be (h, w), (n, h, w) or (n, h, w, c), got shape {values.shape}")
    single, flat = values.ndim == 2, values.ndim < 4
    pictures = [values] if single else list(values)
    return PictureSet([_with_channels(one) for one in pictures], _UNKNOWN, name, Form(not single, single, flat))


def _with_channels(picture: np.ndarray) -> np.ndarray:
    return picture[..., None] if picture.ndim == 2 else picture


def _checked(picture: np.ndarray, data: PictureSet, number: int) -> np.ndarray:
    """A picture of numbers, not too small, with something to see; raises `DataError`."""
    name, first = data.name(number), data.pictures[0]
    if picture.dtype.kind not in "uif" or picture.shape[2] > 4:
        raise DataError(f"{name}: must be numbers (h, w, 1 to 4 channels), got {picture.dtype} {picture.shape}")
    if picture.shape[2] != first.shape[2]:
        raise DataError(
            f"{name}: all pictures must have {first.shape[2]} channels as the first, got {picture.shape[2]}"
        )
    if min(picture.shape[:2]) < LEAST_SIDE:
        raise DataError(
            f"{name}: sides must be at least {LEAST_SIDE} pixels, got {picture.shape[0]}×{picture.shape[1]}"
        )
    if picture.dtype.kind == "f" and (np.isinf(picture).any() or np.isnan(picture).all()):
        raise DataError(f"{name}: has infinite values, or none that is not missing")
    return picture


def _check_fit(pictures: Sequence[np.ndarray], schema: PictureSchema, data: PictureSet) -> None:
    """Raise `DataError` for pictures unlike those of the fit."""
    for number, picture in enumerate(pictures):
        if picture.shape[2] != schema.channels:
            channels = f"{schema.channels} channels as the model was fitted, got {picture.shape[2]}"
            raise DataError(f"{data.name(number)}: must have {channels}")
    high = max(float(np.nanmax(picture)) for picture in pictures)
    if pictures[0].dtype.kind == "f" and schema.dtype[0] in "ui" and 0 < high <= 1 < schema.high:
        raise DataError(
            f"{data.source}: values must be in [{schema.low:g}, {schema.high:g}] as the model was fitted, "
            f"got numbers up to {high:g}: scale them back"
        )
