"""`fit`: its options are made from the configuration, and from what modalities say that they take."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from fivefold.atomic import locked
from fivefold.cli import options
from fivefold.cli.app import app, present, printable, with_flags
from fivefold.config import ContextConfig, LoggerName, NetworkConfig, TrainingConfig
from fivefold.errors import FivefoldWarning, UsageError
from fivefold.modality import MODALITIES, Dataset, modality_for, options_of
from fivefold.progress import silence
from fivefold.training.recipe import STATE_FILE, check_resumable
from fivefold.verbs.options import parse_columns, parse_reading

_TRAINING = "training"  # in the model folder: state and logs
_CORRUPTION = "Shares of items to train on corrupted: hide, block, uniform, gaussian, salt_and_pepper; or none."
_CONTEXT = "Whether to fit a context decoder. [default: as the preset has it]"
_SCHEMA = 'What columns are, in a file or itself: {"columns": {NAME: {"kind": …, "missing": […], "format": …}}}.'
_READING: dict[str, tuple[Any, typer.models.OptionInfo]] = {
    "corruption": (str, typer.Option(metavar="KIND=SHARE,…", help=_CORRUPTION)),
    "schema": (str, typer.Option(metavar="JSON", help=_SCHEMA)),
    "kind": (
        str,
        typer.Option(help="What DATA are: images, tables, series, pictures, parts. [default: what they look like]"),
    ),
    "window": (int, typer.Option(help="Steps of a window. [default: chosen from the data]")),
    "stride": (int, typer.Option(help="Steps from one window to the next. [default: a quarter of --window]")),
    "context": (bool, typer.Option("--context/--no-context", help=_CONTEXT)),
} | {name: option for name, option in options.READING.items() if name in options_of("fit")}
_FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (NetworkConfig, ("latent_dim", "likelihood")),
    (ContextConfig, ("field", "context_width", "context_depth", "context_learning_rate", "positions")),
    (TrainingConfig, ("epochs", "max_minutes", "batch_size", "learning_rate", "kl_warmup", "validation", "seed")),
)


def _settings() -> dict[str, tuple[Any, typer.models.OptionInfo]]:
    """All options that are settings of a fit, by name: their type, and how they are shown."""
    found: dict[str, tuple[Any, typer.models.OptionInfo]] = {}
    for config, names in _FIELDS:
        hints = get_type_hints(config)
        found |= {name: (hints[name], options.setting(config, name)) for name in names}
    for modality in MODALITIES.values():
        own: Any = modality.settings.CONFIG
        for name, flag in modality.settings.FLAGS.items():
            found[name] = get_type_hints(own)[name], options.setting(own, name, flag)
    found |= _READING
    for name, (hint, option) in found.items():
        if get_origin(hint) is Literal:  # checked by the configuration, which answers in one line
            option.metavar = "|".join(get_args(hint))
            found[name] = str, option
        takers = [m.name for m in MODALITIES.values() if name in m.settings.OPTIONS["fit"]]
        training = name in dataclasses.asdict(TrainingConfig()) or name == "corruption"
        panel = "training" if training else takers[0] if len(takers) == 1 else "all data"
        option.rich_help_panel = panel.capitalize()
    return found


_SETTINGS = _settings()


@app.command()
@options.spelled_out({name: _SETTINGS[name] for name in _SETTINGS if name in {"kind", *options_of("check")}})
def check(data: options.Data, *, json: options.Json = False, **settings: Any) -> None:
    """Say what DATA are taken for, doubts first, and how to settle them; nothing is fitted."""
    from fivefold.jobs.check import check

    found = check(data, **_parsed(settings))
    if json:
        doubts = [dataclasses.asdict(doubt) for doubt in found.doubts]
        present({"data": found.summary, "doubts": doubts, "findings": dict(found.findings)}, json)
        return
    print(printable(found.summary))
    for title, lines in (
        ("doubts", [with_flags(str(doubt)) for doubt in found.doubts]),
        ("taken for", [f"{name}: {text}" for name, text in found.findings.items()]),
    ):
        if lines:
            print(f"\n{title}", *map(printable, lines), sep="\n  ")


@app.command()
@options.spelled_out(_SETTINGS)
def fit(
    data: options.Data,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Folder for the model.")],
    preset: Annotated[
        str,
        typer.Option(
            help="default: one model for all five jobs; archive: the same with a wider context decoder; paper: the "
            "publication's network and loss."
        ),
    ] = "default",
    test: Annotated[
        str | None, typer.Option(metavar="DATA", help="Items to report figures on; mnist has its own.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted fit, or a finished one.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, mps, …")] = "auto",
    logger: Annotated[LoggerName, typer.Option(help="Format of the logs.")] = "csv",
    verdicts: Annotated[
        bool, typer.Option(help="Try each job on held-out items afterwards, beside its simplest alternative.")
    ] = True,
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    **settings: Any,
) -> None:
    """Fit a model to DATA (mnist: its training split) and write it to the folder MODEL."""
    if not output.name:
        raise UsageError(f"--output must be a folder with a name, got {output}")
    if quiet:
        silence()
    workdir = output.with_name(output.name + ".fitting")
    how = {"preset": preset, "test": test, "accelerator": accelerator, "logger": logger, "verdicts": verdicts}
    with locked(output):
        dataset, others = _open(data, preset, settings, output, workdir, force, resume)
        for doubt in dataset.check().doubts:
            warnings.warn(str(doubt), stacklevel=1)
        model = _train(dataset, output, workdir, resume=resume, **how, **others)
        from fivefold.storage import read, save

        if model is None:
            model = read(output)
        else:
            save(model, output, force=True, training=workdir)
        shutil.rmtree(workdir)
    present({"data": dataset.summary, **_figures(model, output)}, json, quiet)


def _open(
    data: str, preset: str, settings: Mapping[str, Any], output: Path, workdir: Path, force: bool, resume: bool
) -> tuple[Dataset, dict[str, Any]]:
    """The data, and the settings that are not about how they are read; all is checked before they are."""
    given = _parsed(settings)
    kind = given.pop("kind", None)
    modality = modality_for(data, kind, given)
    modality.refuse("fit", **{name: given.get(name) for name in options_of("fit")})
    reading, others = modality.settings.split_reading(given)
    modality.settings.configure(preset, **others)
    from fivefold.storage import check_model_path

    check_model_path(output, force or resume)
    if resume:
        check_resumable(workdir, output / _TRAINING)
    if (workdir / STATE_FILE).exists() and not (resume or force):
        raise UsageError(f"{workdir} holds an interrupted fit: continue it with --resume, or drop it with --force")
    return modality.data.open(data, **reading), others


def _parsed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are given, those that are written in a way of their own read."""
    given = {name: value for name, value in settings.items() if value is not None}
    given |= parse_reading({name: given.pop(name) for name in options.READING if name in given})
    if missing := parse_columns("missing", given.pop("missing", None)):
        given["missing"] = {name: value.split("|") for name, value in missing.items()}
    return given | ({"schema": options.read_json("schema", given["schema"])} if "schema" in given else {})


def _train(dataset: Dataset, output: Path, workdir: Path, *, resume: bool, **settings: Any) -> Any:
    """Fit in `workdir`, which is kept if the fit can be resumed; None if nothing was left to train, and all is in `output`."""
    if workdir.exists() and not resume:
        shutil.rmtree(workdir)
    copied = resume and not workdir.exists() and (output / _TRAINING).is_dir()
    if copied:
        shutil.copytree(output / _TRAINING, workdir)
    from fivefold.training.fit import fit

    try:
        with warnings.catch_warnings():
            if copied and settings["test"] is None:
                warnings.filterwarnings("error", "nothing was left to train")
            return fit(dataset, workdir=workdir, resume=resume, **settings)
    except FivefoldWarning as warning:
        warnings.warn(warning, stacklevel=2)
        return None
    except KeyboardInterrupt:  # Typer ends with exit code 130, and says nothing
        hint = "continue with --resume" if (workdir / STATE_FILE).exists() else "nothing is kept"
        typer.echo(f"interrupted; {hint}", err=True)
        raise
    except UsageError:  # a refused --resume
        if copied:
            shutil.rmtree(workdir)
        raise
    finally:
        if workdir.exists() and not (workdir / STATE_FILE).exists():
            shutil.rmtree(workdir)


def _figures(model: Any, output: Path) -> dict[str, Any]:
    from fivefold.model.figures import describe_units, verdict_rows

    figures = {
        "model": str(output),
        "epochs": len(model.record["history"]),
        "train_seconds": model.record["train_seconds"],
        "parameters": model.parameters,
    }
    for name, values in model.record["figures"].items():
        figures |= {f"{name}_{part}": values[part] for part in ("negative_elbo", "reconstruction", "kl")}
    relations = {"relations": "; ".join(model.record["relations"])} if "relations" in model.record else {}
    return {**figures, "latent_units": describe_units(model), **relations, **dict(verdict_rows(model))}
