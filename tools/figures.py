"""Fill the tables in README.md and docs from benchmarks/results: `python tools/figures.py [--check]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import benchmarks_page
import performance_page
from benchmarks_page import OURS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    """Rewrite the pages, or with `--check` say whether they are current."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")}
    tables = {
        ("README.md", "figures"): _readme(results),
        ("docs/benchmarks.md", "figures"): benchmarks_page.render(results),
        ("docs/performance.md", "figures"): performance_page.speed(results),
        ("docs/performance.md", "growth"): performance_page.growth(results),
        ("docs/choosing.md", "figures"): _choosing(results["mnist"]),
        ("docs/choosing.md", "points"): _points(results["mnist"]),
        ("docs/plug-in.md", "onnx"): _runtimes(results["onnx"]),
        ("docs/plug-in.md", "ray"): _cluster(results["ray"]),
        ("docs/plug-in.md", "ray-fit"): _fits_together(results["ray_fit"]),
    }
    stale = []
    for (name, marker), table in tables.items():
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
        filled = f"{text.partition(start)[0]}{start}\n{table}\n{end}{text.partition(end)[2]}"
        if filled != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(filled, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run python tools/figures.py", file=sys.stderr)
        return 1
    return 0


def _readme(results: dict[str, Any]) -> str:
    """A line per job: ours, and the best of the others."""
    denoise, impute, detect, generate = (results[job][job] for job in ("denoise", "impute", "detect", "generate"))
    archive = results["archive"]
    fid = {name: row["fid"] for name, row in generate.items() if isinstance(row, dict) and "fid" in row}
    bits = {OURS: archive["bits_per_element"]} | {name: way["one_stream"] for name, way in archive["others"].items()}
    cases = (("random_0.5", "half hidden"), ("block", "a block hidden"))
    rows = [
        (f"denoise, {float(level):.0%} replaced, dB", *_beside(row["psnr"], 1, higher=True))
        for level, row in denoise["uniform"].items()
    ]
    rows += [(f"impute, {label}, RMSE", *_beside(impute[case]["rmse"], 3)) for case, label in cases]
    rows += [
        ("detect letters among digits, AUROC", *_beside(detect["auroc"], 3, higher=True)),
        ("generate, FID", *_beside(fid, 1)),
        ("compress, bits per pixel on disk", *_beside(bits, 3)),
    ]
    environment = results["denoise"]["environment"]
    alarms = detect["false_alarms"]["0.01"]
    pending = "" if "about" in denoise else " The specialists have not been measured beside this model yet."
    return _table(("", OURS, "best of the others"), rows) + (
        f"\n\nOne model, fitted in {results['denoise']['fit_minutes']:.0f} minutes on {environment['cores']} cores; MNIST's test "
        f"set, {environment['date']}, torch {environment['versions']['torch']}. At a nominal 1 %, {alarms:.2%} of the test "
        "digits are flagged. All tables: "
        f"[docs/benchmarks.md](docs/benchmarks.md); `make bench` repeats them.{pending}\n\n{_of_tables(results)}{_of_series(results)}"
    )


def _of_series(results: dict[str, Any]) -> str:
    """Likewise, of series; means over the sets."""
    if "series" not in results:
        return ""
    means = benchmarks_page.series_means(results["series"])
    count = len(results["series"]["sets"])
    rows = [
        *((f"compress, bits per value, {part}, mean", *_beside(row, 2)) for part, row in means["compress"].items()),
        (f"impute, mean rank of {len(means['impute']['mean rank'])}", *_beside(means["impute"]["mean rank"], 2)),
        *(
            (f"denoise at {level}, gain in dB", *_beside(row, 1, higher=True))
            for level, row in means["denoise"].items()
        ),
        *((f"detect, {kind}, AUROC per step", *_beside(row, 3, higher=True)) for kind, row in means["auroc"].items()),
    ]
    return f"\n\n{_table((f'on {count} sets of series', OURS, 'best of the others'), rows)}"


def _of_tables(results: dict[str, Any]) -> str:
    """Likewise, of tables; each with the default settings."""
    rows: list[tuple[str, str, str]] = []
    anomalies = results["tables_anomalies"]
    for protocol, about in (("unsupervised", "fitted to all rows"), ("normals", "fitted to normal rows")):
        auroc = {
            name: statistics.mean(row["auroc"] for row in each.values()) for name, each in anomalies[protocol].items()
        }
        count = len(anomalies[protocol][OURS])
        rows.append((f"detect, {about}, mean AUROC on {count} tables", *_beside(auroc, 4, higher=True)))
    imputed = results["tables_imputation"]
    ranks = imputed["mean_rank"]
    rows.append((f"impute, mean rank of {len(ranks)} on {len(imputed['errors'])} cases", *_beside(ranks, 2)))
    if made := results.get("tables_rows", {}).get("tables"):
        names = [name for name in next(iter(made.values())) if name != "real"]
        fooled = {name: statistics.mean(each[name]["fooled"] for each in made.values()) for name in names}
        rows.append(("generate, how far a classifier is fooled", *_beside(fooled, 2, higher=True)))
    if "tables_archive" in results:
        sizes = results["tables_archive"]["tables"]["diamonds"]["bytes"]
        rows.append(("compress diamonds, 53,940 rows, bytes", *_beside(sizes, 0)))
    return _table(("on tables", OURS, "best of the others"), rows) + (
        "\n\nThe calibration of new rows was chosen on these tables, for want of others, the rule for anomalies on some of them too; the commands are "
        "with the tables in docs/benchmarks.md."
    )


def _beside(row: dict[str, float], digits: int, higher: bool = False) -> tuple[str, str]:
    """Our figure, and the best other with its name; the better of the two in bold."""
    others = {name: value for name, value in row.items() if not name.startswith(OURS)}
    best = (max if higher else min)(others, key=others.__getitem__)
    ours, theirs = f"{row[OURS]:,.{digits}f}", f"{others[best]:,.{digits}f} ({best})"
    ahead = row[OURS] > others[best] if higher else row[OURS] < others[best]
    return (f"**{ours}**", theirs) if ahead else (ours, f"**{theirs}**")


def _choosing(report: dict[str, Any]) -> str:
    plain, vae = report["autoencoder"], report["autoencoder"]["vae"]
    vae_runs, gan_runs = _runs(report)
    classes = [", ".join(str(run["classes_covered"]) for run in runs) for runs in (vae_runs, gan_runs)]
    rows = [
        (
            "training, s",
            _spread(vae_runs, "train_seconds", 0),
            f"{plain['train_seconds']:.0f}",
            _spread(gan_runs, "train_seconds", 0),
        ),
        ("reconstruction, PSNR in dB", f"{vae['psnr']:.2f}", f"{plain['psnr']:.2f}", "none"),
        ("drawn from N(0, I): FID", _spread(vae_runs, "fid", 0), f"{plain['fid']:.0f}", _spread(gan_runs, "fid", 0)),
        *(
            (
                f"drawn from N(0, I): {name}",
                _spread(vae_runs, name, 2),
                f"{plain[name]:.2f}",
                _spread(gan_runs, name, 2),
            )
            for name in ("precision", "recall", "density", "coverage")
        ),
        ("classes covered, of 10", classes[0], "–", classes[1]),
        ("sharpness (test images: 1)", _spread(vae_runs, "sharpness", 2), "–", _spread(gan_runs, "sharpness", 2)),
        (
            "half-way between two items: FID",
            f"{vae['interpolation_fid']:.0f}",
            f"{plain['interpolation_fid']:.0f}",
            "–",
        ),
        (
            "half-way between two items: precision",
            f"{vae['interpolation_precision']:.2f}",
            f"{plain['interpolation_precision']:.2f}",
            "–",
        ),
        ("spread of the codes (prior: 1)", f"{vae['code_deviation']:.2f}", f"{plain['code_deviation']:.2f}", "–"),
    ]
    return _table(("", "VAE", "autoencoder", "GAN"), rows)


def _points(report: dict[str, Any]) -> str:
    """The publication's points, each with the numbers for or against it."""
    plain, vae = report["autoencoder"], report["autoencoder"]["vae"]
    vae_runs, gan_runs = _runs(report)

    def compare(name: str, digits: int) -> str:
        return f"VAE {_spread(vae_runs, name, digits)}, GAN {_spread(gan_runs, name, digits)}"

    def higher(name: str, sign: int = 1) -> str:
        """Whether the VAE's figure is clearly higher than the GAN's (with sign −1: lower)."""
        ours, theirs = ([sign * run[name] for run in runs] for runs in (vae_runs, gan_runs))
        noise = sum(statistics.stdev(values) for values in (ours, theirs) if len(values) > 1)
        difference = statistics.mean(ours) - statistics.mean(theirs)
        return "no clear difference" if abs(difference) <= noise else _verdict(difference > 0)

    def steadier() -> str:
        """Whether the VAE's FID varies clearly less over the seeds; with few seeds, by a factor of 2."""
        if len(vae_runs) < 2:
            return "not measured"
        ours, theirs = (statistics.stdev(run["fid"] for run in runs) for runs in (vae_runs, gan_runs))
        return "no clear difference" if 0.5 < ours / theirs < 2 else _verdict(ours < theirs)

    fewest = [min(run["classes_covered"] for run in runs) for runs in (vae_runs, gan_runs)]
    points = [
        ("the GAN's images are sharper", compare("sharpness", 2), higher("sharpness", -1)),
        ("the VAE's are more consistent", f"precision: {compare('precision', 2)}", higher("precision")),
        ("the VAE trains faster", f"seconds: {compare('train_seconds', 0)}", higher("train_seconds", -1)),
        ("the VAE trains stably", f"FID over seeds: {compare('fid', 0)}", steadier()),
        (
            "the VAE has no mode collapse, the GAN may",
            f"fewest classes covered: VAE {fewest[0]}, GAN {fewest[1]}; recall: {compare('recall', 2)}",
            higher("recall"),
        ),
        (
            "the VAE generates, the autoencoder doesn't",
            f"FID from N(0, I): {vae['fid']:.0f} against {plain['fid']:.0f}; "
            f"coverage {vae['coverage']:.2f} against {plain['coverage']:.2f}",
            _verdict(vae["fid"] < plain["fid"]),
        ),
        (
            "the VAE's latent space is structured: the way from item to item leads through items",
            f"precision half-way: VAE {vae['interpolation_precision']:.2f}, "
            f"autoencoder {plain['interpolation_precision']:.2f}",
            _verdict(vae["interpolation_precision"] > plain["interpolation_precision"]),
        ),
        (
            "reconstruction is built in; a GAN has none",
            f"VAE {vae['psnr']:.1f} dB (autoencoder {plain['psnr']:.1f} dB)",
            "holds",
        ),
    ]
    return _table(("the publication says", "measured", ""), points)


def _runtimes(report: dict[str, Any]) -> str:
    """Items per second of processor time, by how many are given at once."""
    parts = report["items_per_processor_second"]
    rows = [
        (f"{name}, {size} at once", *(f"{row[runtime]:,.0f}" for runtime in ("fivefold", "onnxruntime")))
        for name, part in parts.items()
        for size, row in part.items()
        if isinstance(row, dict)
    ]
    return _table(("a second of a core", "Fivefold", "ONNX Runtime"), rows)


def _cluster(report: dict[str, Any]) -> str:
    """Detection in shards, by whole commands."""
    names = {
        "one_thread": "one process, one thread",
        "one_process": f"one process, {report['environment']['cores']} threads",
        "ray": f"Ray, {report['workers']} workers",
        "ray_actor_killed": "the same, one of them killed",
    }
    what = f"{report['rows']:,} rows of {report['columns']} numbers in {report['shards']} files"
    rows = []
    for key, name in names.items():
        run = report[key]
        memory = f"{run['actor_gigabytes']:.2f} GB" if "actor_gigabytes" in run else ""
        seconds = f"{run['seconds']:,.0f} s", f"{run['processor_seconds']:,.0f} s", f"{run['rows_per_second']:,.0f}"
        rows.append((name, *seconds, memory))
    return _table((what, "with its start", "of processors", "rows/s", "largest worker"), rows)


def _fits_together(report: dict[str, Any]) -> str:
    """One fit by one process, and by two."""
    names = {
        "one_process": "one process",
        "two_workers": f"{report['workers']} workers",
        "two_workers_one_killed": "the same, one of them killed",
    }
    runs = ((name, report[key]) for key, name in names.items())
    rows = [
        (
            name,
            f"{run['held_out_negative_elbo']:.3f}",
            f"{run['held_out_context']:.3f}",
            f"{run['train_seconds']:,.0f} s",
        )
        for name, run in runs
    ]
    what = f"{report['rows']:,} rows of {report['columns']} numbers"
    return _table((what, "negative ELBO, held-out", "context loss", "training"), rows)


def _verdict(holds: bool) -> str:
    return "holds" if holds else "does not hold here"


def _runs(report: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Figures of the VAE and of the GAN, a row per seed."""
    gan = report["gan"]
    return gan.get("vae_seeds", [gan["vae"]]), gan.get("seeds", [gan])


def _spread(runs: list[dict[str, Any]], name: str, digits: int) -> str:
    values = [run[name] for run in runs]
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
