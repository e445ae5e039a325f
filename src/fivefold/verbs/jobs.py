"""The five jobs, from data to files: each gives the figures that are said of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fivefold.config import JobNumbers
from fivefold.errors import DataError, UsageError
from fivefold.verbs.opened import OpenModel
from fivefold.verbs.options import beside, parse_columns, parse_reading

if TYPE_CHECKING:
    import numpy as np

    from fivefold.items import Items

Figures = dict[str, Any]


def encode(
    model: OpenModel, data: Any, output: Path, *, std: bool = False, force: bool = False, **reading: Any
) -> Figures:
    """Posterior means to `.npy`, with `std` deviations beside as `NAME.std.npy`; or both to `.npz`."""
    ending = output.suffix.lower()
    if ending not in (".npy", ".npz"):
        raise UsageError(f"`output` must be .npy or .npz, got {output}")
    from fivefold.atomic import atomic_file, check_free

    paths = [output, output.with_suffix(".std.npy")] if std and ending == ".npy" else [output]
    for path in paths:
        check_free(path, force)
    dataset = model.open(data, "encode", {}, **reading)

    import numpy as np

    from fivefold.arrays import write_npy
    from fivefold.jobs.codes import encode

    mu, sigma = encode(model.fitted, dataset)
    for path, codes in zip(paths, (mu, sigma), strict=False):
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            if ending == ".npz":
                np.savez(file, mean=mu, std=sigma)
            else:
                write_npy(file, [codes], codes.shape, codes.dtype)
    latent_dim, values = model.fitted.latent_dim, model.schema.size
    figures = {"items": len(mu), "latent_dim": latent_dim, "values": values, "latent_fraction": latent_dim / values}
    return {**figures, "output": str(output)}


def decode(model: OpenModel, codes: Any, output: Path, *, force: bool = False) -> Figures:
    """Items of codes `(n, latent_dim)`: an array, or in an `.npy` or `.npz` file."""
    place = model.modality.data.place(output, force)
    z = _read_codes(Path(codes)) if isinstance(codes, str | Path) else codes
    from fivefold.jobs.codes import decode_items

    return _write_new(place, model, decode_items(model.fitted, z))


def _read_codes(path: Path) -> np.ndarray:
    from fivefold.arrays import read_npy, read_npz

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix.lower() not in (".npy", ".npz"):
        raise DataError(f"{path}: must be .npy or .npz")
    return read_npz(path, ("mean",))[0] if path.suffix.lower() == ".npz" else read_npy(path)


def generate(
    model: OpenModel,
    output: Path,
    *,
    n: int = 64,
    like: Any = None,
    temperature: float = 1.0,
    nearest: Any = None,
    seed: int = 0,
    force: bool = False,
    **asked: Any,
) -> Figures:
    """New items, and the known ones that are `nearest` to them beside; `asked` is what not all modalities take."""
    JobNumbers(n=n, seed=seed, temperature=temperature, steps=asked["steps"])
    modality = model.modality
    asked["given"] = parse_columns("given", asked["given"])
    modality.refuse("generate", **asked, like=like, nearest=nearest)
    place = modality.data.place(output, force)
    near = None if nearest is None else modality.data.place(beside(output, "nearest"), force)
    item = None if like is None else _read_one(like, model)
    among = None if nearest is None else modality.data.open(nearest, model.schema, split="train").all_items()
    from fivefold.jobs.generate import new_items

    found = new_items(model.fitted, n, seed, temperature=temperature, like=item, **asked)
    figures = {} if among is None else _write_nearest(near, model, found.values, among)
    place.write_new(model.schema, found.values, found.labels, model.data_record)
    return {**found.counts, **figures, "output": str(output)}


def morph(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    start: int,
    end: int,
    steps: int = 12,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """Items from number `start` of the data to number `end`, both included."""
    if steps < 2:
        raise UsageError(f"`steps` must be at least 2, got {steps}")
    place = model.modality.data.place(output, force)
    items = model.open(data, "morph", {}, **reading).all_items()
    for name, index in (("start", start), ("end", end)):
        if not 0 <= index < len(items):
            raise UsageError(f"`{name}` must be an item's number from 0 to {len(items) - 1}, got {index}")
    import numpy as np

    from fivefold.jobs.codes import encode
    from fivefold.jobs.generate import morph_items

    codes, _ = encode(model.fitted, items.select(np.array([start, end])))
    return _write_new(place, model, morph_items(model.fitted, codes[0], codes[1], steps))


def denoise(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    std: Path | None = None,
    report: Path | None = None,
    threshold: float | None = None,
    seed: int = 0,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """Clean data; beside them standard deviations, or a report of the cells that were replaced."""
    JobNumbers(seed=seed, threshold=threshold)
    if std is not None and std.resolve() == output.resolve():
        raise UsageError(f"`std` must be another file than `output`, got {std} for both")
    modality = model.modality
    modality.refuse("denoise", std=std, report=report, threshold=threshold)
    outputs = {"": (output, ""), "std": (std, "std"), "changes": (report, "report")}
    places = {role: modality.data.place(path, force, name) for role, (path, name) in outputs.items() if path}
    dataset = model.open(data, "denoise", places, **reading)
    from fivefold.jobs.denoise import denoise

    found = denoise(model.fitted, dataset, threshold=threshold, seed=seed)
    replaced = {"replaced": found.changed} if modality.jobs.EXTRA_ROLE == "changes" else {}
    return {modality.settings.WORDS.items: len(dataset), **replaced, "output": str(output)}


def impute(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    draws: int = 0,
    interval: float | None = None,
    free: bool = False,
    seed: int = 0,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """Completed data; beside them draws, and the ends of intervals."""
    JobNumbers(n_draws=draws, interval=interval, seed=seed)
    modality = model.modality
    modality.refuse("impute", free=free)
    roles = [f"draw{number}" for number in range(1, draws + 1)] + (["lower", "upper"] if interval is not None else [])
    outputs = {"": output, **{role: beside(output, role) for role in roles}}
    places = {role: modality.data.place(path, force) for role, path in outputs.items()}
    dataset = model.open(data, "impute", places, **reading)
    from fivefold.jobs.impute import impute

    found = impute(model.fitted, dataset, n_draws=draws, interval=interval, seed=seed, free=free)
    return {modality.settings.WORDS.items: len(dataset), "missing": found.missing, "output": str(output)}


def detect(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    false_alarm_rate: float | None = None,
    fdr: float | None = None,
    top: int | None = None,
    normal: Any = None,
    heatmaps: Path | None = None,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """A table of scores; of series also of windows and events, beside; and the surprise of each element. With `top` a table of
    the strangest alone, and why they are. What is like `normal` data is not flagged."""
    JobNumbers(false_alarm_rate=false_alarm_rate, fdr=fdr, top=top)
    if top is not None and heatmaps is not None:
        raise UsageError("`heatmaps` does not go with `top`, which says itself what is strange")
    from fivefold.tables.files import TableOutput

    modality = model.modality
    roles = modality.settings.REPORTS if top is None else ("",)
    tables = {role: TableOutput.at(beside(output, role), force) for role in roles}
    places = {} if heatmaps is None else {"surprise": modality.data.place(heatmaps, force, "heatmaps")}
    dataset = model.open(data, "detect", places, **reading)
    known = None if normal is None else model.modality.data.open(normal, model.schema)
    from fivefold.jobs.detect import USUAL_RATE, detect_in, strangest_in

    rate = USUAL_RATE if false_alarm_rate is None else false_alarm_rate
    if top is not None:
        found = strangest_in(model.fitted, dataset, top, rate, known)
        tables[""].write([found.strangest])
        counts = {"strangest": len(found.score), "anomalies": int(found.anomaly.sum()), "false_alarm_rate": rate}
        return {**counts, "calibrated_on": found.calibrated_on, "output": str(output)}
    found = detect_in(model.fitted, dataset, rate, fdr, known, heatmaps=heatmaps is not None)
    columns = {"score": found.score, "p_value": found.p_value, "anomaly": found.anomaly}
    for role, parts in dataset.report(columns, found.windows, found.events).items():
        tables[role].write(parts)
    figures: Figures = {modality.settings.WORDS.items: len(dataset), "anomalies": int(found.anomaly.sum())}
    figures |= {} if found.events is None else {modality.settings.REPORTS[-1]: len(found.events)}
    figures |= {"false_alarm_rate": rate} if fdr is None else {"fdr": fdr}
    figures |= {} if heatmaps is None else {"heatmaps": str(heatmaps)}
    return {**figures, "calibrated_on": found.calibrated_on, "output": str(output)}


def drift(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    false_alarm_rate: float | None = None,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """A table of p-values: whether data are still like those of the fit, as a whole and column by column."""
    JobNumbers(false_alarm_rate=false_alarm_rate)
    from fivefold.tables.files import TableOutput

    place = TableOutput.at(output, force)
    dataset = model.open(data, "detect", {}, **reading)
    from fivefold.jobs.detect import USUAL_RATE
    from fivefold.jobs.drift import drift

    found, rate = drift(model.fitted, dataset), false_alarm_rate or USUAL_RATE
    place.write([found.table(rate)])
    drifted = int((found.corrected <= rate).sum())
    figures = {"p_value": found.p_value, "drifted_columns": drifted, "compared_with": found.compared_with}
    return {**figures, "false_alarm_rate": rate, "output": str(output)}


def stream(
    model: OpenModel,
    data: Any,
    output: Path,
    *,
    state: Path,
    false_alarm_rate: float | None = None,
    force: bool = False,
    **reading: Any,
) -> Figures:
    """Scores and events of the next piece of series, as far as they are decided; `state` is the file to go on from, now if it is
    there, and next time."""
    JobNumbers(false_alarm_rate=false_alarm_rate)
    how = parse_reading(reading)
    model.modality.refuse("detect", state=state, **how)
    from fivefold.atomic import check_free, locked
    from fivefold.tables.files import TableOutput

    tables = {name: TableOutput.at(beside(output, role), force) for name, role in (("steps", ""), ("events", "events"))}
    check_free(state, force=True)
    with locked(state):
        room = model.modality.room("stream")
        if state.exists():
            going_on = room.Stream.load(model.fitted, state, false_alarm_rate)
        else:
            going_on = room.Stream(model.fitted, *(() if false_alarm_rate is None else (false_alarm_rate,)))
        found = going_on.detect(data, **how)
        for name, table in tables.items():
            table.write([getattr(found, name)])
        going_on.save(state)
    counts = {"steps": len(found.steps), "anomalies": int(found.steps["anomaly"].to_numpy().sum())}
    return {**counts, "events": len(found.events), "delayed": found.delayed, "output": str(output), "state": str(state)}


def surprise(model: OpenModel, data: Any, output: Path, *, force: bool = False, **reading: Any) -> Figures:
    """How far each element costs more than expected, in files like those of `detect`'s `heatmaps`."""
    place = model.modality.data.place(output, force, "surprise")
    dataset = model.open(data, "surprise", {"surprise": place}, **reading)
    from fivefold.jobs.detect import surprise

    surprise(model.fitted, dataset)
    return {model.modality.settings.WORDS.items: len(dataset), "output": str(output)}


def _write_nearest(place: Any, model: OpenModel, values: np.ndarray, known: Items) -> Figures:
    """The nearest known item of each new one; which place they went to, and how near the nearest is."""
    from fivefold.dataset import open_data
    from fivefold.jobs.generate import nearest_items

    index, distance = nearest_items(open_data(values, model.schema).all_items(), known)
    place.write_new(model.schema, known.values[index], {}, model.data_record)
    return {"nearest": str(place.path), "smallest_distance": float(distance.min())}


def _read_one(source: Any, model: OpenModel) -> Any:
    """One item: `DATA`, or `DATA#NUMBER` of a set."""
    name, separator, number = source.rpartition("#") if isinstance(source, str) else ("", "", "")
    if not separator or not number.isdecimal():
        return model.modality.data.open(source, model.schema)
    items = model.modality.data.open(name, model.schema).all_items()
    if int(number) >= len(items):
        raise UsageError(f"`like` {source}: the number must be from 0 to {len(items) - 1}")
    return items.select(slice(int(number), int(number) + 1))


def _write_new(place: Any, model: OpenModel, values: np.ndarray) -> Figures:
    import numpy as np

    place.write_new(model.schema, values, {"sample": np.arange(len(values))}, model.data_record)
    return {"items": len(values), "output": str(place.path)}
