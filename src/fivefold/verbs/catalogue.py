"""The verbs as others call them, over HTTP or as tools: by the command line's names, with the same options and defaults."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fivefold.archive.write import ArchiveOptions
from fivefold.errors import UsageError, suggest
from fivefold.modality import options_of
from fivefold.verbs import archives, jobs
from fivefold.verbs.opened import OpenModel
from fivefold.verbs.options import DRAWING, NAMES, READING, parse_reading

Takes = Literal["data", "codes", "archive", "nothing"]
Gives = Literal["items", "scores", "codes", "archive"]
_FILES = frozenset({"mask", "like", "nearest", "after", "normal"})  # what a request brings as a part
_BESIDE = frozenset({"std", "report", "heatmaps"})  # files beside the results, which a request only asks for
_NOT_ASKED = frozenset(
    {"force", "workers", "model", "data", "output", "codes", "archive", "reading", "asked", "options"}
)
_JSON_TYPES = {int: "integer", float: "number", bool: "boolean"}
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_TRUE, _FALSE = ("", "1", "true", "yes"), ("0", "false", "no")


@dataclass(frozen=True)
class Option:
    """What a request may say besides its data.

    Attributes
    ----------
    name : of the parameter of the verb
    kind : its type
    default : what holds if it is not given; `inspect.Parameter.empty` if it must be
    """

    name: str
    kind: Any
    default: Any = None

    @property
    def public(self) -> str:
        """What users call it."""
        return NAMES.get(self.name, self.name)

    @property
    def is_file(self) -> bool:
        """Whether it is a part of the body."""
        return self.name in _FILES

    @property
    def is_drawing(self) -> bool:
        """Whether `generate` passes it on to what a modality draws by."""
        return self.name in DRAWING or self.name in READING

    @property
    def json_schema(self) -> dict[str, Any]:
        """Its type and default, as JSON Schema has them."""
        schema: dict[str, Any] = {"type": _JSON_TYPES.get(self.kind, "string")}
        if get_origin(self.kind) is list:
            schema = {"type": "array", "items": {"type": "string"}}
        elif choices := get_args(self.kind):
            schema["enum"] = list(choices)
        return schema if self.default in (None, inspect.Parameter.empty) else {**schema, "default": self.default}

    def parse(self, texts: Sequence[str]) -> Any:
        """Its value, as it was given once or, if it is a list, several times; raises `UsageError`."""
        if get_origin(self.kind) is list:
            return list(texts)
        if len(texts) > 1:
            raise UsageError(f"`{self.public}` must be given once, got it {len(texts)} times")
        return self._parse_one(texts[0])

    def _parse_one(self, text: str) -> Any:
        if self.kind is bool:
            if text.lower() not in (*_TRUE, *_FALSE):
                raise UsageError(f"`{self.public}` must be true or false, got {text!r}")
            return text.lower() in _TRUE
        if self.kind is int:
            if not _INTEGER.fullmatch(text):
                raise UsageError(f"`{self.public}` must be an integer, got {text!r}")
            return int(text)
        if self.kind is float:
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise UsageError(f"`{self.public}` must be a number, got {text!r}")
            return number
        choices = get_args(self.kind)
        if choices and text not in choices:
            raise UsageError(f"`{self.public}` must be one of {', '.join(choices)}; got {text!r}")
        return text


@dataclass(frozen=True)
class Verb:
    """One thing that a model can do.

    Attributes
    ----------
    name
    run : the verb from file to file
    takes : what the body is
    gives : what the answer is
    summary : in a line
    """

    name: str
    run: Callable[..., dict[str, Any]]
    takes: Takes
    gives: Gives
    summary: str

    @property
    def options(self) -> Mapping[str, Option]:
        """By what users call them."""
        return _options(self.name)

    def parse(self, given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Options from the query of a request, by parameter; raises `UsageError` for what is none, or lacks."""
        found: dict[str, Any] = {}
        for raw, texts in given.items():
            name = raw.replace("-", "_")
            option = self.options.get(name)
            if option is None:
                raise UsageError(f"`{name}` is no option of {self.name}{suggest(name, self.options, complete=False)}")
            if option.is_file:
                raise UsageError(f"`{name}` must be a part of the body, a file of multipart/form-data")
            found[option.name] = option.parse(texts)
        for option in self.options.values():
            if option.default is inspect.Parameter.empty and option.name not in found:
                raise UsageError(f"`{option.public}` must be given")
        return found


VERBS = {
    verb.name: verb
    for verb in (
        Verb("encode", jobs.encode, "data", "codes", "Compress each item to its latent numbers, the posterior means."),
        Verb("decode", jobs.decode, "codes", "items", "Turn latent numbers back into items."),
        Verb("generate", jobs.generate, "nothing", "items", "Draw new items."),
        Verb("morph", jobs.morph, "data", "items", "Change one item into another along a line in latent space."),
        Verb("denoise", jobs.denoise, "data", "items", "Remove noise; its kind and level need not be known."),
        Verb(
            "detect", jobs.detect, "data", "scores", "Score each item (higher = more normal), and flag the anomalies."
        ),
        Verb("impute", jobs.impute, "data", "items", "Fill in what is missing; the rest comes back untouched."),
        Verb("surprise", jobs.surprise, "data", "items", "How far each element costs more than expected."),
        Verb("compress", archives.compress, "data", "archive", "An archive from which items come back bit for bit."),
        Verb("decompress", archives.decompress, "archive", "items", "Bring back the items of an archive."),
    )
}
_STRICT = frozenset({"generate", "denoise", "impute", "detect", "compress"})


@cache
def _options(verb: str) -> dict[str, Option]:
    """All of a verb, whatever the modality: it refuses those that it doesn't take."""
    run = VERBS[verb].run
    hints = get_type_hints(run, localns={"FittedModel": Any, "StoredModel": Any, "Archive": Any, "ArchiveOptions": Any})
    found = {
        name: Option(name, bool if name in _BESIDE else _plain(hints[name]), parameter.default)
        for name, parameter in inspect.signature(run).parameters.items()
        if name not in _NOT_ASKED
    }
    if verb == "compress":
        kinds = get_type_hints(ArchiveOptions)
        fields = (field for field in dataclasses.fields(ArchiveOptions) if field.name not in ("workers", "strict"))
        found |= {field.name: Option(field.name, _plain(kinds[field.name]), field.default) for field in fields}
    if verb == "generate":
        found |= {name: Option(name, kind) for name, kind in DRAWING.items()}
    found |= {name: Option(name, READING[name]) for name in READING if name in options_of(verb)}
    if verb in _STRICT:
        found["strict"] = Option("strict", bool, False)
    return {option.public: option for option in found.values()}


def call(verb: Verb, model: OpenModel, data: Any, output: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """A verb of `data`, to a file; its figures. `strict` is not among its `options`."""
    options = dict(options)
    if verb.name == "generate":
        drawing = [option.name for option in verb.options.values() if option.is_drawing]
        asked = {parameter: options.pop(parameter, None) for parameter in drawing}
        return verb.run(model, output, **asked, **options)
    if verb.name == "decompress":
        with archives.archive_in(Path(data)) as archive:
            return archives.decompress(archive, output, model.stored, **options)
    if verb.name == "compress":
        fields = {field: options.pop(field) for field in ArchiveOptions.__dataclass_fields__ if field in options}
        return archives.compress(model, data, output, ArchiveOptions(**fields), **parse_reading(options))
    return verb.run(model, data, output, **options)


def _plain(hint: Any) -> Any:
    """The type without None; text for what may be anything."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    kind = kinds[0] if kinds and get_origin(hint) not in (list, Literal) else hint
    return str if kind in (Any, Path) else kind
