"""`fit` and `info`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fivefold.cli import options, series, tables
from fivefold.cli.app import app, present
from fivefold.config import (
    ContextConfig,
    LoggerName,
    NetworkConfig,
    TrainingConfig,
)
from fivefold.errors import UsageError
from fivefold.modality import MODALITIES
from fivefold.progress import silence
from fivefold.series.settings import SeriesConfig, SeriesNetworkName

_TRAINING = "training"  # in the model folder: state and logs


@app.command()
def fit(
    data: options.Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Folder for the model.")],
    preset: Annotated[
        str,
        typer.Option(
            help="default: one model for all five jobs; archive: the same with a wider context decoder; paper: the "
            "publication's network and loss."
        ),
    ] = "default",
    latent_dim: Annotated[int | None, options.setting(NetworkConfig, "latent_dim")] = None,
    epochs: Annotated[int | None, options.setting(TrainingConfig, "epochs")] = None,
    max_minutes: Annotated[float | None, options.setting(TrainingConfig, "max_minutes")] = None,
    batch_size: Annotated[int | None, options.setting(TrainingConfig, "batch_size")] = None,
    learning_rate: Annotated[float | None, options.setting(TrainingConfig, "learning_rate")] = None,
    kl_warmup: Annotated[float | None, options.setting(TrainingConfig, "kl_warmup")] = None,
    likelihood: Annotated[str | None, options.setting(NetworkConfig, "likelihood")] = None,
    window: Annotated[int | None, options.setting(ContextConfig, "window")] = None,
    context_width: Annotated[int | None, options.setting(ContextConfig, "context_width")] = None,
    context_depth: Annotated[int | None, options.setting(ContextConfig, "context_depth")] = None,
    context_learning_rate: Annotated[float | None, options.setting(ContextConfig, "context_learning_rate")] = None,
    positions: Annotated[int | None, options.setting(ContextConfig, "positions")] = None,
    corruption: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=SHARE,…",
            help="Shares of items to train on corrupted: hide, block, uniform, gaussian, salt_and_pepper; or none.",
        ),
    ] = None,
    validation: Annotated[float | None, options.setting(TrainingConfig, "validation")] = None,
    test: Annotated[
        str | None, typer.Option(metavar="DATA", help="Items to report figures on; mnist has its own.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", help='What columns of a table are: {"columns": {NAME: {"kind": …, "missing": […]}}}.'
        ),
    ] = None,
    kind: Annotated[
        Literal["series"] | None,
        typer.Option(help="series: DATA are series, one after the other in time.", show_default=False),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Of series in a table: when each step is. Implies --kind series."),
    ] = None,
    ids: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Likewise: of which series each row is.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(help="Of series: steps from one window to the next. [default: a quarter of --window]")
    ] = None,
    network: Annotated[SeriesNetworkName | None, options.setting(SeriesConfig, "series_network", "network")] = None,
    mask: options.Mask = None,
    resize: options.Resize = None,
    seed: Annotated[int | None, options.setting(TrainingConfig, "seed")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted fit, or a finished one.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, gpu, mps, …")] = "auto",
    logger: Annotated[LoggerName, typer.Option(help="Format of the logs.")] = "csv",
    force: options.Force = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Fit a model to DATA (mnist: its training split) and write it to the folder MODEL."""
    settings: dict[str, Any] = {
        "latent_dim": latent_dim,
        "epochs": epochs,
        "max_minutes": max_minutes,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "kl_warmup": kl_warmup,
        "likelihood": likelihood,
        "window": window,
        "context_width": context_width,
        "context_depth": context_depth,
        "context_learning_rate": context_learning_rate,
        "positions": positions,
        "corruption": corruption,
        "validation": validation,
        "seed": seed,
    }
    of_series = kind == "series" or time is not None or ids is not None or Path(data).suffix.lower() == ".wav"
    if of_series:
        settings |= {"series_network": network, "window": None if window is None or window > 0 else 0}
        series.refuse(mask=mask, resize=resize, likelihood=likelihood, positions=positions, context_depth=context_depth)
    elif stride is not None or network is not None:
        raise UsageError(f"--{'stride' if network is None else 'network'} goes with series")
    MODALITIES["series" if of_series else "image"].settings.configure(preset, **settings)
    size = options.parse_size(resize)
    if not output.name:
        raise UsageError(f"--output must be a folder with a name, got {output}")
    workdir = output.with_name(output.name + ".fitting")
    if quiet:
        silence()
    from fivefold.images.dataset import read_items
    from fivefold.storage import check_model_path, save
    from fivefold.tables.rows import read_rows

    check_model_path(output, force or resume)
    if workdir.exists() and not (resume or force):
        raise UsageError(f"{workdir} holds an interrupted fit: continue it with --resume, or drop it with --force")
    overrides = tables.read_overrides(schema)
    if of_series:
        from fivefold.series.dataset import read_series

        found = read_series(data, time=time, ids=ids, window=window or None, stride=stride, overrides=overrides)
        tables.tell_carried(found.schema.channels)
        items = found.examples()
        if window is None and not quiet:
            print(f"{found.schema.describe()}, from one to the next {found.schema.stride}", file=sys.stderr)
    elif tables.is_table(data) and mask is None and resize is None:
        items = read_rows(data, overrides=overrides)
        tables.tell_carried(items.schema)
    elif overrides is not None:
        raise UsageError(f"--schema goes with tables; {data} is none")
    else:
        items = read_items(data, mask=mask, resize=size, split="train")
    test_items = None if test is None else read_items(test, items.schema, resize=size)
    if workdir.exists() and not resume:
        shutil.rmtree(workdir)
    copied = resume and not workdir.exists() and (output / _TRAINING).is_dir()
    if copied:
        shutil.copytree(output / _TRAINING, workdir)

    from fivefold.training.fit import STATE_FILE, fit

    try:
        model = fit(
            items,
            preset=preset,
            test=test_items,
            accelerator=accelerator,
            workdir=workdir,
            resume=resume,
            logger=logger,
            **settings,
        )
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
    save(model, output, force=True, training=workdir)
    shutil.rmtree(workdir)
    present(_fit_figures(model, output), json, quiet)


def _fit_figures(model: Any, output: Path) -> dict[str, Any]:
    from fivefold.modelcard import describe_units

    figures = {
        "model": str(output),
        "epochs": len(model.record["history"]),
        "train_seconds": model.record["train_seconds"],
        "parameters": model.parameters,
    }
    for name, values in model.record["figures"].items():
        figures |= {f"{name}_{part}": values[part] for part in ("negative_elbo", "reconstruction", "kl")}
    return {**figures, "latent_units": describe_units(model)}


@app.command()
def info(
    model: Annotated[Path, typer.Argument(metavar="PATH", help="A model folder, or an archive.", show_default=False)],
    json: options.Json = False,
) -> None:
    """Say what is in a model (schema, sizes, training history, figures) or in an archive (items, sizes, integrity)."""
    if model.is_file():
        from fivefold.cli.archives import describe_archive

        present(describe_archive(model), json)
        return
    from fivefold.modelcard import describe_units, figure_rows
    from fivefold.storage import read

    stored = read(model)
    if json:
        facts = {
            "schema": stored.schema.to_json(),
            "fit": stored.config.to_json(),
            "parameters": stored.parameters,
            "latent_units": describe_units(stored),
            **stored.record,
        }
        present(facts, json=True)
        return
    present(dict(figure_rows(stored)), json=False)
    for line in stored.schema.lines():
        print(f"  {line}")
    print(f"\n{describe_units(stored)}\n")
    print("epoch  negative ELBO  held-out  seconds")
    for row in stored.record["history"]:
        held_out = row.get("validation_negative_elbo", float("nan"))
        print(f"{row['epoch'] + 1:5d}  {row['negative_elbo']:13.2f}  {held_out:8.2f}  {row['seconds']:7.1f}")
