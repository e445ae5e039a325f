"""docs/benchmarks.md's tables, from benchmarks/results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

OURS = "Fivefold"
_FAR_AHEAD = 0.1  # in AUROC
_JOBS = {
    "compress": "Compress",
    "generate": "Generate",
    "denoise": "Denoise",
    "impute": "Impute",
    "detect": "Detect",
}


def render(results: dict[str, Any]) -> str:
    """A chapter per job, then what else was measured."""
    chapters = [f"## {title}\n\n{_CHAPTERS[job](results[job][job])}" for job, title in _JOBS.items() if job in results]
    if "archive" in results:
        chapters.insert(1, f"## Archives\n\n{_archive(results['archive'], results.get('archive_preset'))}")
    for name, (title, render_part) in _ARCHIVES.items():
        if name in results:
            chapters.append(f"## {title}\n\n{render_part(results[name])}")
    if "one_class" in results:
        chapters.append(f"## One-class MNIST\n\n{_one_class(results['one_class'])}")
    if "colour" in results:
        chapters.append(f"## Colour\n\n{_colour(results['colour'])}")
    for name, (title, render_part) in _TABLES.items():
        if name in results:
            chapters.append(f"## {title}\n\n{render_part(results[name])}\n\n`{results[name]['command']}`")
    if "cost" in results:
        chapters.append(f"## What the context decoder costs\n\n{_cost(results['cost'])}")
    if "windows" in results:
        chapters.append(f"## The size of the context decoder\n\n{_windows(results['windows'])}")
    if "prior" in results:
        chapters.append(f"## Which prior to fit\n\n{_prior(results['prior'])}")
    if "about" not in results["denoise"]["denoise"]:
        chapters.insert(
            0, "**The specialists have not been measured beside this model yet**; what follows is the model by itself."
        )
    environment = results["denoise"]["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    chapters.append(
        f"## Where and when\n\n{environment['date']}, {environment['cores']} cores, Python {environment['python']}, {versions}."
    )
    return "\n\n".join(chapters)


def _compress(figures: dict[str, Any]) -> str:
    ideal = min(figures["ideal"]["without z"], figures["ideal"]["with z"])
    rows = {
        label: {f"{OURS} (ideal)": ideal} | {name: sizes[way] for name, sizes in figures["sizes"].items()}
        for way, label in (("one_stream", "one stream"), ("per_image", "image by image"))
    }
    return _table("bits per pixel", rows, 3) + _sentences(figures)


_PUBLISHED = {
    "Bit-Swap (published, coded)": "1.27–1.29",
    "BB-ANS (published, coded)": "1.41",
    "HCLT (published, coded)": "1.24",
    "Sparse PC (published, ideal)": "1.14",
}


def _archive(result: dict[str, Any], preset: dict[str, Any] | None) -> str:
    seconds, pays = result["seconds"], result["items_from_which_the_model_pays"]
    rows: list[tuple[str, str, str]] = [(f"**{OURS}**", f"**{result['bits_per_element']:.4f}**", "")]
    if preset:
        rows.append((f"**{OURS}, `archive` preset**", f"**{preset['bits_per_element']:.4f}**", ""))
    rows += [(name, f"{ways['one_stream']:.3f}", f"{ways['per_image']:.3f}") for name, ways in result["others"].items()]
    rows += [(name, bits, "") for name, bits in _PUBLISHED.items()]
    lines = ["| bits per pixel, bytes on disk | one stream or sheet | image by image |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    text = "\n".join(lines) + (
        f"\n\nOf the {result['items']:,} test items, in bytes: {result['bytes']:,} with everything in it but the model; all came back "
        f"bit for bit. Writing took {seconds['compress']:.0f} s, with verifying {seconds['verified']:.0f} s, reading "
        f"{seconds['decompress']:.0f} s: whole commands, {result['workers']} processes. The model embedded is {result['model_bytes']:,} bytes more"
        + (f", which pays from {pays:,} items on (against xz)." if pays else ".")
        + f" The lossy archive has {result['lossy_bytes_per_item']:.1f} bytes per item. With ideal bits-back coding of z in the place of "
        f"a grid it would be {result['bits_back']:.4f} bits per pixel. An archive of noise is {result['noise_over_raw']:.3%} longer than the noise."
    )
    if preset:
        took = preset["seconds"]
        text += (
            f"\n\nThe `archive` preset, fitted in {preset['fit_minutes']:.0f} minutes: {preset['bytes']:,} bytes, written in "
            f"{took['compress']:.0f} s and read in {took['decompress']:.0f} s, timed within a process."
        )
    return text


def _memory(result: dict[str, Any]) -> str:
    peaks = [
        f"{int(items):,} items: {peak['compress']:.2f} GB to write, {peak['decompress']:.2f} GB to read"
        for items, peak in result["gigabytes"].items()
    ]
    return f"At its highest, all processes together: {'; '.join(peaks)}."


def _rate_distortion(result: dict[str, Any]) -> str:
    lines = [
        "![bytes per image against PSNR](images/rate_distortion.png)",
        "",
        "| | bytes per image: dB |",
        "| --- | --- |",
    ]
    for name, points in result["curves"].items():
        lines.append(f"| {name} | {', '.join(f'{size:.1f}: {quality:.1f}' for size, quality in points)} |")
    return "\n".join(lines)


def _everywhere(result: dict[str, Any]) -> str:
    foreign = result["foreign"]
    return (
        f"The archive of {result['items']:,} items decoded to the same items under: {', '.join(f'`{each}`' for each in result['same'])}. On a simulated "
        f"machine whose results are off by a relative {foreign['noise']:g}, {foreign['right']} of {foreign['blocks']} blocks came back; without "
        f"hints {foreign['right_without_hints']}. The hints take {result['hint_bytes'] / result['bytes']:.3%} of the archive."
    )


def _damage(result: dict[str, Any]) -> str:
    ends = ", ".join(f"{name}: {count:,}" for name, count in sorted(result["ends"].items(), key=lambda each: -each[1]))
    kills = result["kills"]
    return (
        f"{result['mutants']:,} mutants of an archive ended thus: {ends}. The slowest took {result['slowest_seconds']:.2f} s. `compress` "
        f"killed at {sum(kills.values())} random moments left no archive {kills.get('absent', 0)} times, a complete one "
        f"{kills.get('complete', 0)} times, and never anything else."
    )


def _generate(figures: dict[str, Any]) -> str:
    measured = {name: row for name, row in figures.items() if isinstance(row, dict) and "fid" in row}
    rows = {name: {"FID": row["fid"]} | {k: v for k, v in row.items() if k != "fid"} for name, row in measured.items()}
    return _table("", rows, 2) + f"\n\nTraining items have an FID of {figures['fid_floor']:.2f}." + _sentences(figures)


def _denoise(figures: dict[str, Any]) -> str:
    rows = {
        f"{kind}, {level}": row["psnr"]
        for kind, levels in figures.items()
        if isinstance(levels, dict) and kind != "about"
        for level, row in levels.items()
    }
    return _table("PSNR in dB", rows, 2) + _sentences(figures)


def _impute(figures: dict[str, Any]) -> str:
    cases = {"random_0.5": "half at random", "block": "a 14×14 block"}
    return _table("RMSE", {label: figures[case]["rmse"] for case, label in cases.items()}, 4) + _sentences(figures)


def _detect(figures: dict[str, Any]) -> str:
    return _table("", {name: {"AUROC": value} for name, value in figures["auroc"].items()}, 4) + _sentences(figures)


def _one_class(result: dict[str, Any]) -> str:
    rows = {f"{digit}": {"AUROC": value} for digit, value in result["auroc"].items()} | {
        "mean": {"AUROC": result["mean"]}
    }
    seconds = sum(result["fit_seconds"]) / len(result["fit_seconds"])
    text = (
        f"Fitted on one digit for {result['settings']['epochs']} epochs ({seconds:.0f} s each), to find the others.\n\n"
    )
    return text + _table("digit", rows, 4)


def _colour(result: dict[str, Any]) -> str:
    return f"{result['about']}\n\n" + _table("", result["rows"], 3)


def _cost(result: dict[str, Any]) -> str:
    bound, seconds, memory = result["negative_elbo"], result["seconds_per_epoch"], result["peak_memory_gb"]
    return (
        f"The core's negative ELBO is {bound['default']:.2f} nats per test item; fitted clean and without a context decoder "
        f"for as many epochs ({result['epochs']}) it is {bound['clean']:.2f} ({bound['excess']:+.1%}). An epoch takes "
        f"{seconds['ratio']:.2f} times as long as the core's alone (medians of runs in turn), the whole fit "
        f"{result['fit_seconds'] / 60:.1f} minutes. `fivefold fit` takes at most {memory['fit']:.2f} GB, of which the data "
        f"{memory['data']:.2f} GB."
    )


def _windows(result: dict[str, Any]) -> str:
    text = (
        f"Each variant learnt causal windows beside the fitted VAE for {result['minutes']:g} minute; bits per element of held-out "
        "training items, z not counted.\n\n"
    )
    return text + _table("", {name: {"bits": bits} for name, bits in result["bits"].items()}, 4)


def _prior(result: dict[str, Any]) -> str:
    seconds = result["seconds"]
    text = (
        f"Mean log density of held-out codes in nats. The mixture took {seconds['mixture']:.0f} s, the flow {seconds['flow']:.0f} "
        f"s, both on {result['codes']:,} codes.\n\n"
    )
    return text + _table("", {name: {"nats": nats} for name, nats in result["nats"].items()}, 2)


def _table_anomalies(result: dict[str, Any]) -> str:
    parts = []
    for protocol, about in (
        ("unsupervised", "Fitted to all rows and scored on the same; labels serve the AUROC alone."),
        ("normals", "Fitted to a random half of the normal rows, scored on the others."),
    ):
        found = result[protocol]
        rows: dict[str, dict[str, float | None]] = {
            table: {name: by_table[table]["auroc"] for name, by_table in found.items()} for table in found[OURS]
        }
        rows["mean"] = {name: sum(row[name] or 0 for row in rows.values()) / len(rows) for name in found}
        best = {
            table: max((name for name in row if name != OURS), key=lambda name: row[name])
            for table, row in rows.items()
        }
        won = sum(row[OURS] >= row[best[table]] for table, row in rows.items() if table != "mean")
        mean, other = rows["mean"], best["mean"]
        verdict = "ahead of" if mean[OURS] >= mean[other] else "behind"
        parts.append(
            f"{about} On average {OURS} is {verdict} the best of the others, {other} ({mean[OURS]:.4f} against {mean[other]:.4f}); it is "
            f"first on {won} of {len(rows) - 1} tables.\n\n{_table('AUROC', rows, 3)}"
        )
    slowest = max(each["seconds"] for each in result["unsupervised"][OURS].values())
    return "\n\n".join(parts) + (
        f"\n\n{result['seeds']} seed{'s' * (result['seeds'] > 1)}; at most {slowest:.0f} s a table, beside other programs. {OURS}'s widths were chosen on "
        "these tables, its rule on their first 1,500 rows and on other tables, below ([architecture.md](architecture.md))."
    )


def _table_strange(result: dict[str, Any]) -> str:
    """Each half and protocol; the tables on which another is far ahead."""
    parts = []
    for half, tables in result["halves"].items():
        for protocol in (name for name in result if name == "clean" or name.endswith("contaminated")):
            found = {name: by_table for name, by_table in result[protocol].items() if set(tables) & by_table.keys()}
            known = [table for table in tables if all(table in by_table for by_table in found.values())]
            if known:
                parts.append(_strange(f"{half}, {protocol}", {name: found[name] for name in found}, known))
    seeds = result["seeds"]
    return (
        "Tables with real anomalies (macrOData, arXiv:2602.09329), fitted to normal rows, which in *contaminated* tables some anomalies are "
        "among. The rule was chosen on the half *choose*; *confirm* is the other. Rank 1 is the highest AUROC of a table.\n\n"
        + "\n\n".join(parts)
        + f"\n\n{seeds} seed{'s' * (seeds > 1)}, on a machine that was busy with other jobs."
    )


def _strange(title: str, found: Mapping[str, Mapping[str, Mapping[str, float]]], tables: list[str]) -> str:
    rows = {table: {name: by_table[table]["auroc"] for name, by_table in found.items()} for table in tables}
    ranks = {
        name: _mean(
            1 + sum((other > row[name]) + (other == row[name]) / 2 for other in row.values()) - 0.5
            for row in rows.values()
        )
        for name in found
    }
    means = {name: _mean(row[name] for row in rows.values()) for name in found}
    behind = {
        table: max(row, key=row.__getitem__)
        for table, row in rows.items()
        if max(row.values()) > row[OURS] + _FAR_AHEAD
    }
    listed = "; ".join(
        f"{table} {rows[table][name]:.2f} ({name}) for {rows[table][OURS]:.2f}" for table, name in behind.items()
    )
    table = _table(f"{title}, {len(tables)} tables", {"mean AUROC": means, "mean rank": ranks}, 3)
    return f"{table}\n\nAnother is ahead by more than {_FAR_AHEAD}: {listed or 'nowhere'}."


def _table_imputation(result: dict[str, Any]) -> str:
    rows = {
        case: {
            name: sum(known)
            if (known := [each[part] for part in ("rmse", "wrong") if each[part] is not None])
            else None
            for name, each in row.items()
        }
        for case, row in result["errors"].items()
    }
    ranks = {"mean rank": result["mean_rank"]}
    by_mechanism: dict[str, list[float]] = {}
    for case, share in result["coverage"].items():
        by_mechanism.setdefault(case.rpartition(", ")[2], []).append(share)
    coverage = ", ".join(f"{name} {sum(each) / len(each):.1%}" for name, each in by_mechanism.items())
    return (
        "RMSE of numbers in standard deviations, plus the share of wrong categories where there are some. "
        f"An imputer that failed on a table (–) is last there. {OURS}'s 90 % intervals hold: {coverage}.\n\n{_table('', {**rows, **ranks}, 3)}"
    )


def _table_rows(result: dict[str, Any]) -> str:
    figures = {"shapes": "shapes of columns", "pairs": "trends of pairs", "fooled": "fooled", "useful": "useful"}
    parts = []
    for figure, name in figures.items():
        rows = {table: {each: run[figure] for each, run in runs.items()} for table, runs in result["tables"].items()}
        rows["mean"] = {each: sum(row[each] for row in rows.values()) / len(rows) for each in next(iter(rows.values()))}
        parts.append(_table(name, rows, 3))
    seconds = {table: {each: run["seconds"] for each, run in runs.items()} for table, runs in result["tables"].items()}
    parts.append(_table("seconds", seconds, 0))
    return (
        "Higher is better in all. *Shapes* and *trends* are sdmetrics', against rows left out of the fit; *fooled*: 1 if a "
        "classifier can't tell new rows from those, 0 if it always can; *useful*: R² or balanced accuracy of a column of "
        "those, told by gradient boosting trained on new rows. *Real* are the rows fitted to, in the place of new ones. "
        f"TVAE trains about as long as {OURS} (see the seconds), and for its own 300 epochs. That columns are calibrated was "
        f"chosen on these tables and on wages. {result['seeds']} seed{'s' * (result['seeds'] > 1)}."
        + "".join(f"\n\n{part}" for part in parts)
    )


def _table_archive(result: dict[str, Any]) -> str:
    rows = {f"{name}, {each['rows']:,} rows": each["bytes"] for name, each in result["tables"].items()}
    seconds = ", ".join(
        f"{what} {value:.0f} s" for what, value in next(iter(result["tables"].values()))["seconds"].items()
    )
    return (
        "Bytes; every archive is read back and compared bit for bit. A model is fitted to each table, default settings. "
        f"Of the first: {seconds}.\n\n{_table('', rows, 0)}"
    )


def _table_large(result: dict[str, Any]) -> str:
    rows = {
        job: {
            "rows per second": result[job].get("rows_per_second"),
            "seconds": result[job]["seconds"],
            "peak memory, GB": result[job]["peak_gigabytes"],
        }
        for job in ("fit", "detect", "impute")
    }
    return (
        f"{result['rows']:,} rows of {result['columns']} columns as Parquet, whole commands; the fit is to the first 20,000 "
        f"rows, {result['environment']['cores']} cores.\n\n{_table('', rows, 2)}"
    )


def series_means(result: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Of each job on series, under each condition, each competitor's mean over the sets; of imputation the mean rank."""
    sets = [each for each in result["sets"].values() if "impute" in each]
    cases = [row["rmse"] for each in sets for row in each["impute"].values()]
    ranks = {name: _mean(sorted(row.values()).index(row[name]) + 1 for row in cases) for name in cases[0]}
    gains = [each["denoise"]["gain"] for each in sets]
    gain = {level: {name: _mean(row[level][name] for row in gains) for name in gains[0][level]} for level in gains[0]}
    events = [each["detect"]["events"] for each in sets]

    def strange(part: str) -> dict[str, dict[str, float]]:
        kinds = events[0]
        return {
            kind: {name: _mean(row[kind][part][name] for row in events if kind in row) for name in kinds[kind][part]}
            for kind in kinds
        }

    bits = [each["compress"]["bits"] for each in sets]
    codecs = [name for name in bits[0]["whole archive"] if all(name in row["whole archive"] for row in bits)]
    packed = {part: {name: _mean(row[part][name] for row in bits) for name in codecs} for part in bits[0]}
    return {
        "compress": packed,
        "impute": {"mean rank": ranks},
        "denoise": gain,
        "auroc": strange("auroc"),
        "place": strange("place"),
    }


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)


def _series(result: dict[str, Any]) -> str:
    sets, means = result["sets"], series_means(result)
    cases = {f"{name}, {case}": row["rmse"] for name, each in sets.items() for case, row in each["impute"].items()}
    coverage: dict[str, list[float]] = {}
    for each in sets.values():
        for case, row in each["impute"].items():
            coverage.setdefault(case, []).append(row["coverage"])
    told = ", ".join(
        f"{case} {_mean(shares):.1%} ({min(shares):.1%}–{max(shares):.1%})" for case, shares in coverage.items()
    )
    gains = {f"{name}, {level}": row for name, each in sets.items() for level, row in each["denoise"]["gain"].items()}
    by_mean = {part: {**means[part], "mean": _columns_mean(means[part])} for part in ("denoise", "auroc", "place")}
    alarms = ", ".join(f"{name} {each['detect']['false_alarms']['0.01']:.1%}" for name, each in sets.items())
    told_apart = {name: each["generate"]["told"][OURS] for name, each in sets.items()}
    made = ", ".join(f"{name} {auroc:.3f}" for name, auroc in told_apart.items() if auroc is not None)
    packed = {
        f"{name} ({each['compress']['dtype']}, {each['compress']['values']:,} values), {part}": row
        for name, each in sets.items()
        for part, row in each["compress"]["bits"].items()
    }
    packed |= {f"mean, {part}": row for part, row in means["compress"].items()}
    about = ", ".join(f"{name} ({each['items']}; {each['fit_seconds']:.0f} s)" for name, each in sets.items())
    return (
        f"One default setting for all; set (windows; fit): {about}. Single series are measured on a random quarter of their "
        "blocks, sets on a quarter of their series. Busy machine: seconds are for comparison with each other.\n\n"
        "**Archives** of what was not fitted to, bits per value, bit for bit. An archive has names, types and shape besides, some 400 "
        "bytes; the model, some 1.5 MB, is kept beside it.\n\n"
        f"{_table('', packed, 2)}\n\n"
        f"**Missing steps**, RMSE in standard deviations; 90 % intervals hold: {told}.\n\n"
        f"{_table('', {**cases, **means['impute']}, 3)}\n\n"
        "**White noise**, gain in decibels; filters with the parameters that do best on noisy training series.\n\n"
        f"{_table('', {**gains, 'mean': by_mean['denoise']['mean']}, 2)}\n\n"
        "**Events** put into series that were not fitted to, means over the sets: AUROC per step.\n\n"
        f"{_table('', by_mean['auroc'], 3)}\n\n"
        "What a step's score is made of was chosen with events in co2, sunspots, temperatures, power, weather and elnino in view, and "
        "how normal steps are calibrated with the false alarms of the single series in view, for want of others. "
        "How often the strangest step of the window around an event is in it:\n\n"
        f"{_table('', by_mean['place'], 3)}\n\n"
        f"Steps flagged at a nominal 1 %, without events: {alarms}. Series that change from time to time are flagged too "
        "often, the more so the fewer stretches of them could be held out in the fit.\n\n"
        f"**New windows** are told from real ones by a forest with AUROC {made}; 0.5 would be chance. Their nearest training "
        "window is as far as that of real ones times "
        + ", ".join(
            f"{each['generate']['nearest_ratio']:.2f} ({name})" for name, each in sets.items() if "generate" in each
        )
        + "."
    )


def _series_labels(result: dict[str, Any]) -> str:
    rows = {
        f"{name}, {each['windows']} windows, tested on {each['tested']}": each["accuracy"]
        for name, each in result["sets"].items()
    }
    return (
        "One model per class, fitted to its windows; of each class as many windows are generated as there are. Accuracy on real windows "
        "of a forest that learnt from real ones, and of one that learnt from generated ones; means of five seeds. That windows are "
        "drawn through a copula was chosen with gunpoint in view, where drawing step by step gave 0.85.\n\n"
        f"{_table('', rows, 3)}"
    )


def _series_anomalies(result: dict[str, Any]) -> str:
    """Each half; and on which series another is far ahead."""
    parts = []
    names = {
        "vus_pr": "VUS-PR",
        "vus_roc": "VUS-ROC",
        "auroc": "AUROC",
        "average_precision": "average precision",
        "nab": "NAB score",
    }
    for half in (half for half in ("choose", "confirm") if half in result):
        series, detectors = result[half]["series"], result[half]["detectors"]
        labelled = {name: row for name, row in series.items() if "vus_pr" in row[OURS]}
        rows = {names[key]: {name: each[key] for name, each in detectors.items()} for key in names}
        behind = []
        for name, row in labelled.items():
            best = max((other for other in row if other != OURS), key=lambda other: row[other]["vus_pr"])
            if row[best]["vus_pr"] > row[OURS]["vus_pr"] + 0.1:
                behind.append(f"{name} {row[best]['vus_pr']:.2f} ({best}) for {row[OURS]['vus_pr']:.2f}")
        ours = detectors[OURS]
        parts.append(
            f"{_table(f'{half}, {len(labelled)} of {len(series)} series with labels', rows, 3)}\n\n"
            f"Another's VUS-PR is ahead by more than 0.1: {', '.join(behind) or 'nowhere'}. Outside of labels "
            f"{ours['flagged']:.2%} of the steps are flagged at a nominal 1 % (worst series {ours['flagged_worst']:.2%})."
        )
    return (
        "The Numenta Anomaly Benchmark, each series fitted to its first 35 % and measured on the rest. The rule was chosen on the half "
        "*choose*; *confirm* is the other half, by a hash of the names. Our fits are short (3 epochs), made before the "
        "statistics of windows were, which were then fitted to the same rows; the others have their defaults, "
        "their windows the length of a period. VUS-PR and VUS-ROC soften labels by up to 100 steps. Much of what puts Fivefold ahead there is "
        "that its scores are means over two windows to either side, as labels are wide; the NAB score is of alarms.\n\n"
        + "\n\n".join(parts)
    )


def _series_large(result: dict[str, Any]) -> str:
    names = {"seconds": "seconds", "steps_per_second": "steps per second", "peak_gigabytes": "peak memory, GB"}
    jobs = ("fit", "detect", "compress", "decompress")
    rows = {
        f"{job}, {result[job]['steps']:,} steps": {name: result[job][key] for key, name in names.items()}
        for job in jobs
    }
    return (
        "A single series as float32 .npy, whole commands, on a machine that was busy with one other job. The memory of `compress` and "
        "`decompress`, which work in two processes, is that of all together.\n\n"
        f"{_table('', rows, 2)}"
    )


def _columns_mean(rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: _mean(row[name] for row in rows.values()) for name in next(iter(rows.values()))}


_TABLES = {
    "tables_anomalies": ("Anomalies in tables", _table_anomalies),
    "tables_strange": ("Anomalies in tables fitted to normal rows", _table_strange),
    "tables_imputation": ("Missing cells of tables", _table_imputation),
    "tables_rows": ("New rows of tables", _table_rows),
    "tables_archive": ("Archives of tables", _table_archive),
    "tables_large": ("A million rows", _table_large),
    "series": ("Series", _series),
    "series_anomalies": ("Anomalies in labelled series", _series_anomalies),
    "series_large": ("Ten million steps", _series_large),
    "series_labels": ("Learning from generated series", _series_labels),
}
_ARCHIVES = {
    "rate_distortion": ("Lossy archives", _rate_distortion),
    "archive_memory": ("Memory of archives", _memory),
    "everywhere": ("The same on every machine", _everywhere),
    "damage": ("Damaged archives", _damage),
}
_CHAPTERS = {"compress": _compress, "generate": _generate, "denoise": _denoise, "impute": _impute, "detect": _detect}


def _sentences(figures: dict[str, Any]) -> str:
    return "".join(f"\n\n{sentence}" for sentence in figures["sentences"])


def _table(corner: str, rows: Mapping[str, Mapping[str, float | None]], digits: int) -> str:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [(corner, *names), ("---",) * (1 + len(names))]
    for label, row in rows.items():
        values = (row.get(name) for name in names)
        lines.append((label, *("–" if value is None else f"{value:.{digits}f}" for value in values)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
