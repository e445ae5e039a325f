"""Models as tools of assistants, by the Model Context Protocol: the verbs, from file to file, within folders that are allowed."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations

from fivefold import __version__
from fivefold.errors import DataError, FivefoldError, UsageError, suggest
from fivefold.modality import options_of
from fivefold.model.figures import figure_rows
from fivefold.progress import silence
from fivefold.verbs.catalogue import VERBS, Option, Verb, call
from fivefold.verbs.opened import OpenModel, said, strictly
from fivefold.verbs.options import renamed

_FILES = {"std", "report", "heatmaps", "mask", "like", "nearest", "after", "normal"}  # options that are paths here
_TAKES = {"data": "data", "codes": "codes", "archive": "archive"}  # arguments, by what a verb takes
_READS = {
    "data": "What to read: a file, or a folder of images.",
    "codes": "Latent numbers, (n, latent_dim), .npy or .npz.",
    "archive": "An archive, as compress writes it.",
}
_WRITES = {
    "items": "Where the result goes, which must not exist: of tables .csv, .parquet, .arrow or .xlsx, of series also .npy, "
    "of images a folder, .npy or .png.",
    "scores": "A table that must not exist: .csv, .parquet, .arrow or .xlsx.",
    "codes": "A file that must not exist: .npy or .npz.",
    "archive": "A file that must not exist: .ff.",
}
_DESCRIBE = "describe"


@dataclass(frozen=True)
class Folders:
    """Those in which files may be read and written.

    Attributes
    ----------
    paths : without links; what is relative is in the first
    """

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Folders:
        """Raises `UsageError` for what is no folder."""
        if missing := [path for path in paths if not path.is_dir()]:
            raise UsageError(f"`allow` must be a folder, got {missing[0]}")
        return cls(tuple(path.resolve() for path in paths))

    def find(self, name: str, text: str) -> Path:
        """The place of an argument, without links; of a folder all that is in it must be allowed, too.

        Raises `UsageError` for what is elsewhere.
        """
        try:
            path = (self.paths[0] / text).resolve()
            outside = not self._hold(path) or any(not self._hold(link.resolve()) for link in _links(path))
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(f"`{name}` {text!r}: can't be a path ({error})") from None
        if outside:
            raise UsageError(f"`{name}` {text}: lies or leads outside of {', '.join(map(str, self.paths))}")
        return path

    def _hold(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.paths)


def _links(path: Path) -> list[Path]:
    """All symbolic links in a folder."""
    return [inner for inner in path.rglob("*") if inner.is_symlink()] if path.is_dir() else []


@dataclass(frozen=True)
class Tools:
    """What an assistant may ask of models.

    Attributes
    ----------
    models : by name
    folders
    """

    models: Mapping[str, OpenModel]
    folders: Folders

    def listed(self) -> list[Tool]:
        """All of them, with the options that any of the models takes."""
        model = {"type": "string", "enum": list(self.models), "description": "Which model."}
        described = {"type": "object", "properties": {"model": model}, "required": self._required()}
        about = Tool(
            name=_DESCRIBE,
            description="What a model is of, how it did beside simple alternatives, and its columns or channels.",
            input_schema={**described, "additionalProperties": False},
            annotations=ToolAnnotations(read_only_hint=True),
        )
        return [about, *(self._tool(verb, model) for verb in VERBS.values())]

    def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Do what a tool does; what is to be said of it. Raises `FivefoldError`."""
        given = dict(arguments)
        model = self._model(given.pop("model", None))
        if name == _DESCRIBE:
            return dict(figure_rows(model.stored)) | {"columns": model.schema.findings()}
        if name not in VERBS:
            raise UsageError(f"there is no tool {name!r}{suggest(name, VERBS)}")
        verb = VERBS[name]
        data = self._path(given, verb.takes) if verb.takes in _TAKES else None
        output = self._path(given, "output")
        files = {
            name: self._file(name, given.pop(name))
            for name in sorted(given.keys() & _FILES)
            if self._is_file(verb, name)
        }
        options = verb.parse({name: _texts(value) for name, value in given.items() if value is not None}) | files
        with said() as remarks, strictly(bool(options.pop("strict", False))):
            figures = call(verb, model, None if data is None else str(data), output, options)
        return {**figures, "warnings": remarks} if remarks else figures

    def _tool(self, verb: Verb, model: dict[str, Any]) -> Tool:
        texts = {"output": _WRITES[verb.gives]}
        if verb.takes in _TAKES:
            texts = {verb.takes: _READS[verb.takes], **texts}
        properties = {"model": model, **{name: {"type": "string", "description": text} for name, text in texts.items()}}
        options = {name: option for name, option in verb.options.items() if self._is_taken(verb, option)}
        properties |= {
            name: {"type": "string", "description": "A path."} if self._is_file(verb, name) else option.json_schema
            for name, option in options.items()
        }
        needed = [name for name, option in options.items() if option.default is inspect.Parameter.empty]
        schema = {"type": "object", "properties": properties, "required": [*self._required(), *texts, *needed]}
        return Tool(name=verb.name, description=verb.summary, input_schema={**schema, "additionalProperties": False})

    def _is_taken(self, verb: Verb, option: Option) -> bool:
        """Whether one of the models takes it."""
        taken = [model.modality.options(verb.name) for model in self.models.values()]
        return option.name not in options_of(verb.name) or any(option.name in names for names in taken)

    def _is_file(self, verb: Verb, name: str) -> bool:
        """Whether an option is a path; the deviations of `encode` have a place of their own."""
        return name in _FILES and name in verb.options and (verb.name, name) != ("encode", "std")

    def _required(self) -> list[str]:
        return ["model"] if len(self.models) > 1 else []

    def _model(self, name: Any) -> OpenModel:
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise UsageError(f"`model` must be one of {', '.join(self.models)}; got {name!r}")
        return self.models[name]

    def _path(self, given: dict[str, Any], name: str) -> Path:
        """A path that must be given."""
        text = given.pop(name, None)
        if not isinstance(text, str):
            raise UsageError(f"`{name}` must be given, a path")
        return self.folders.find(name, text)

    def _file(self, name: str, text: Any) -> Any:
        """The path of an option, as verbs take it; `like` may end in `#NUMBER`."""
        if not isinstance(text, str):
            raise UsageError(f"`{name}` must be a path, got {text!r}")
        path, hash, number = text.rpartition("#") if name == "like" and "#" in text else (text, "", "")
        found = self.folders.find(name, path)
        return f"{found}{hash}{number}" if name in ("like", "nearest", "after") else found


def make_server(models: Mapping[str, Path], folders: Sequence[Path]) -> Server[Any]:
    """A server of models, for any transport; raises `FivefoldError`."""
    tools = Tools({name: OpenModel.read(path) for name, path in models.items()}, Folders.of(folders))
    one_at_a_time = anyio.CapacityLimiter(1)

    async def show(*_: Any) -> ListToolsResult:
        return ListToolsResult(tools=tools.listed())

    async def work(_: Any, asked: Any) -> CallToolResult:
        task = partial(_answer, tools, asked.name, asked.arguments or {})
        return await anyio.to_thread.run_sync(task, limiter=one_at_a_time)

    about = "; ".join(
        f"{name}: {model.modality.name}, {model.schema.describe()}" for name, model in tools.models.items()
    )
    places = ", ".join(map(str, tools.folders.paths))
    instructions = f"Models: {about}. Files are read and written in {places} alone; relative paths are in the first."
    return Server("fivefold", version=__version__, instructions=instructions, on_list_tools=show, on_call_tool=work)


def run(models: Mapping[str, Path], folders: Sequence[Path]) -> None:
    """Serve models on stdin and stdout until these are closed; raises `FivefoldError`."""
    silence()
    server = make_server(models, folders)

    async def serve() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(serve)


def _answer(tools: Tools, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
    """What a tool says; errors that the caller can mend are results, too."""
    try:
        figures = tools.call(name, arguments)
    except FivefoldError as error:
        return _text(renamed(str(error), str), failed=True)
    except MemoryError:
        return _text("the data does not fit into memory", failed=True)
    except OSError as error:
        return _text(f"{error.filename or 'reading or writing'}: {error.strerror or error}", failed=True)
    return CallToolResult(content=[TextContent(type="text", text=json.dumps(figures))], structured_content=figures)


def _text(text: str, *, failed: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=failed)


def _texts(value: Any) -> list[str]:
    """A value of JSON as the texts that options are read from."""
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if not isinstance(value, str | int | float):
        raise DataError(f"options must be texts, numbers, booleans or lists of these, got {value!r}")
    return [str(value)]
