"""Arguments and options that commands share; those of a fit take their help from the configuration."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fivefold.errors import UsageError
from fivefold.modality import MODALITIES, options_of


def setting(config: type, name: str, flag: str | None = None) -> typer.models.OptionInfo:
    """The option for a field of a configuration dataclass, called like it or `flag`; not given means the preset's value.

    The help tells that of the first modality's default preset, or of the dataclass.
    """
    field = next(each for each in dataclasses.fields(config) if each.name == name)
    presets = vars(next(iter(MODALITIES.values())).settings.configure())
    default = next((getattr(part, name) for part in presets.values() if isinstance(part, config)), field.default)
    help = f"{field.metadata['help']} [default: {'none' if default is None else default}]"
    return typer.Option("--" + (flag or name).replace("_", "-"), help=help, show_default=False)


MASK = "Nonzero = missing: an array or images, for all items or each."
RESIZE = "Bring image files to this size."
_TEXT, _FOUND = "Of a table that is text:", "[default: as found]"
READING: dict[str, tuple[Any, typer.models.OptionInfo]] = {
    "separator": (str, typer.Option(metavar="CHAR", help=f"{_TEXT} between cells: a character, or tab. {_FOUND}")),
    "decimal": (str, typer.Option(metavar="MARK", help=f"{_TEXT} . or , where numbers may have either. {_FOUND}")),
    "encoding": (str, typer.Option(help=f"{_TEXT} such as utf-8, cp1252. {_FOUND}")),
    "header": (str, typer.Option(help=f"{_TEXT} first, if the first row are names, or none. {_FOUND}")),
    "missing": (
        list[str],
        typer.Option(metavar="COLUMN=VALUE|…", help="What stands for missing, such as price=-999|?."),
    ),
    "mask": (Path, typer.Option(metavar="MASKS", help=MASK)),
    "resize": (str, typer.Option(metavar="HxW", help=RESIZE)),
}
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model folder.", show_default=False)]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="mnist, mnist:train, mnist:test, letters, a folder of images, an image, .npy, .npz or IDX (.gz too), a table, .wav.",
        show_default=False,
    ),
]
Items = Annotated[
    Path,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT",
        help="Of images a folder (a PNG per item), .npy, .npz, or .png (a sheet); of tables a table; of series .npy or a table.",
    ),
]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report.")]
Mask = Annotated[
    Path | None,
    typer.Option("--mask", metavar="MASKS", help=MASK),
]
Resize = Annotated[str | None, typer.Option("--resize", metavar="HxW", help=RESIZE)]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")]


def reading(verb: str) -> dict[str, tuple[Any, typer.models.OptionInfo]]:
    """How a verb's data are to be read."""
    return {name: option for name, option in READING.items() if name in options_of(verb)}


def spelled_out(settings: Mapping[str, tuple[Any, typer.models.OptionInfo]]) -> Callable[[Any], Any]:
    """Of a command: its `**settings` as options, by name their types and how they are shown."""

    def spell_out(command: Any) -> Any:
        signature = inspect.signature(command, eval_str=True)
        *shown, _ = signature.parameters.values()
        for name, (kind, option) in settings.items():
            hint: Any = Annotated[kind | None, option]
            shown.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint))
        command.__signature__ = signature.replace(parameters=shown)
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        return command

    return spell_out


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`HxW` as `(height, width)`; raises `UsageError`."""
    if text is None:
        return None
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdecimal() and width.isdecimal() and 0 < int(height) <= 1 << 14 and 0 < int(width) <= 1 << 14):
        raise UsageError(f"--resize must be HxW with sides from 1 to {1 << 14}, such as 64x48; got {text!r}")
    return int(height), int(width)


def check_seed(seed: int) -> None:
    """Raise `UsageError` for a negative seed."""
    if seed < 0:
        raise UsageError(f"--seed must be at least 0, got {seed}")


def parse_columns(flag: str, texts: list[str] | None) -> dict[str, str] | None:
    """`COLUMN=VALUE` by column, as `--flag` was given; raises `UsageError`."""
    given = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--{flag} must be COLUMN=VALUE with a column of the table, got {text!r}")
        given[name] = value
    return given or None


def read_json(flag: str, path: Path) -> Any:
    """What a JSON file holds; raises `UsageError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--{flag} {path}: can't be read as JSON ({error})") from None


def beside(output: Path, name: str) -> Path:
    """`OUT-name` with the endings of `output`; `output` itself without a name."""
    if not name:
        return output
    if not output.name:
        raise UsageError(f"--output must have a name for the others to be called after, got {output}")
    ending = "".join(output.suffixes[-2:]) if output.suffix == ".gz" else output.suffix
    return output.with_name(f"{output.name.removesuffix(ending)}-{name}{ending}")
