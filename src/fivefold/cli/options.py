"""Arguments and options that commands share; those of a fit take their help from the configuration."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from fivefold.errors import UsageError
from fivefold.modality import MODALITIES, options_of
from fivefold.verbs import options as verbs


def setting(config: type, name: str, flag: str | None = None) -> typer.models.OptionInfo:
    """The option for a field of a configuration dataclass, called like it or `flag`; not given means the preset's value.

    The help tells that of the first modality's default preset, or of the dataclass.
    """
    field = next(each for each in dataclasses.fields(config) if each.name == name)
    presets = vars(next(iter(MODALITIES.values())).settings.configure())
    default = next((getattr(part, name) for part in presets.values() if isinstance(part, config)), field.default)
    help = f"{field.metadata['help']} [default: {'none' if default is None else default}]"
    option: typer.models.OptionInfo = typer.Option(
        "--" + (flag or name).replace("_", "-"), help=help, show_default=False
    )
    return option


_TEXT = "Of a table in text:"
_FOUND = "[default: what is found]"
_READING: dict[str, typer.models.OptionInfo] = {
    "time": typer.Option(metavar="COLUMN", help="When each step is. Implies --kind series."),
    "ids": typer.Option("--id", metavar="COLUMN", help="Likewise: of which series each row is."),
    "separator": typer.Option(metavar="CHAR", help=f"{_TEXT} between cells: a character, or tab. {_FOUND}"),
    "decimal": typer.Option(metavar="MARK", help=f"{_TEXT} . or , where numbers may have either. {_FOUND}"),
    "encoding": typer.Option(help=f"{_TEXT} such as utf-8, cp1252. {_FOUND}"),
    "header": typer.Option(help=f"{_TEXT} first, if the first row are names, or none. {_FOUND}"),
    "sheet": typer.Option(metavar="NAME", help="Of a workbook: which sheet. [default: the first that has rows]"),
    "missing": typer.Option(metavar="COLUMN=VALUE|…", help="What stands for missing, such as price=-999|?."),
    "mask": typer.Option(metavar="MASKS", help="Nonzero = missing: an array or images, for all items or each."),
    "resize": typer.Option(metavar="HxW", help="Bring image files to this size."),
    "axes": typer.Option(metavar="LETTERS", help="Of an array or a TIFF: Y, X: sides, C: channels, others: items."),
    "pages": typer.Option(help="What several pictures in one file are: items, channels, or first for that alone."),
    "skip_unreadable": typer.Option("--skip-unreadable", help="Leave out image files that can't be read."),
    "tolerance": typer.Option(help="Share of a step that time stamps may be off an even grid. [default: 0.5]"),
    "time_zone": typer.Option(metavar="ZONE", help="Of local time stamps, such as Europe/Berlin."),
    "adapt": typer.Option("--adapt", help="Of series: once level or amplitude has changed for good, go on from that."),
}


def typed(
    shown: Mapping[str, typer.models.OptionInfo], types: Mapping[str, Any]
) -> dict[str, tuple[Any, typer.models.OptionInfo]]:
    """Options with their types, by name."""
    return {name: (types[name], option) for name, option in shown.items()}


READING = typed(_READING, verbs.READING)
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model folder, or hf://user/name@revision.", show_default=False)
]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="mnist, mnist:train, mnist:test, letters, a folder of images, an image, .npy, .npz or IDX (.gz too), a table, .wav.",
        show_default=False,
    ),
]
Shards = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="As of fit; or several files, each to one of its name in the folder OUT: 'rows/*.parquet', or a folder of tables.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Of several files: processes. [default: 1]", show_default=False)
]
Items = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Of images a folder (a PNG per item), .npy, .npz, or .png (a sheet); of tables a table; of series also .wav.",
    ),
]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")]


def spelled_out(named: Mapping[str, tuple[Any, typer.models.OptionInfo]]) -> Callable[[Any], Any]:
    """Of a command: its last parameter, of further options by name, spelled out as these; None where one is not given."""

    def spell_out(command: Any) -> Any:
        signature = inspect.signature(command, eval_str=True)
        *shown, _ = signature.parameters.values()
        for name, (kind, option) in named.items():
            how: dict[str, Any] = {"default": None, "annotation": Annotated[kind | None, option]}
            shown.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, **how))
        command.__signature__ = signature.replace(parameters=shown)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        return command

    return spell_out


def strictly(command: Callable[..., None]) -> Callable[..., None]:
    """A job's command with the option --strict, which refuses what is otherwise warned of."""
    text = "Refuse a job that did worse than its simplest alternative after the fit."
    hint = Annotated[bool, typer.Option("--strict", help=text)]
    given = inspect.signature(command, eval_str=True)
    shown = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in given.parameters.values()]
    shown.append(inspect.Parameter("strict", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hint))

    @wraps(command)
    def run(*, strict: bool, **options: Any) -> None:
        from fivefold.verbs.opened import strictly

        with strictly(strict):
            command(**options)

    run.__dict__["__signature__"] = given.replace(parameters=shown)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run


def reading(verb: str) -> Callable[[Any], Any]:
    """Of a command: its `**reading` spelled out as how the data of this verb may be read."""
    return spelled_out(reading_of(verb))


def reading_of(verb: str) -> dict[str, tuple[Any, typer.models.OptionInfo]]:
    """The options that say how the data of this verb may be read."""
    return {name: option for name, option in READING.items() if name in options_of(verb)}


def read_json(flag: str, given: str) -> Any:
    """What a JSON file holds, or JSON that is given itself; raises `UsageError`."""
    try:
        return json.loads(given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--{flag} {given}: {error.strerror}; it must be a file of JSON, or JSON in {{}}") from None
    except ValueError as error:
        raise UsageError(f"--{flag} {given}: can't be read as JSON ({error})") from None
