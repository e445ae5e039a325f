"""Fill the tables in README.md and docs/choosing.md from benchmarks/results: `python tools/figures.py [--check]`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def main() -> int:
    """Rewrite the pages, or with `--check` say whether they are current."""
    elbo, report = (json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("elbo", "mnist"))
    tables = {"README.md": _readme(elbo, report), "docs/choosing.md": _choosing(report)}
    stale = []
    for name, table in tables.items():
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        before, rest = text.split("<!-- figures -->\n")
        filled = f"{before}<!-- figures -->\n{table}\n<!-- /figures -->{rest.partition('<!-- /figures -->')[2]}"
        if filled != text:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(filled, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run python tools/figures.py", file=sys.stderr)
        return 1
    return 0


def _readme(elbo: dict[str, Any], report: dict[str, Any]) -> str:
    bound = elbo["results"]
    letters, impute = report["detect"], report["impute"]
    denoise = "; ".join(
        f"{float(level):.0%}: {row['psnr_noisy']:.1f} → **{row['psnr']:.1f}** dB"
        for level, row in report["denoise"].items()
    )
    rows = [
        (
            "the model",
            f"negative ELBO **{bound['default']['negative_elbo']:.1f}** nats with corruption, "
            f"{bound['default, trained clean']['negative_elbo']:.1f} trained clean; the publication's network "
            f"**{bound['paper']['negative_elbo']:.1f}**",
        ),
        (
            "compress",
            f"{report['compress']['latent_fraction']:.2%} of the numbers, **{report['compress']['psnr']:.1f}** dB",
        ),
        (
            "generate",
            f"FID **{report['generate']['fid']:.0f}** (floor {report['generate']['fid_floor']:.1f}; GAN "
            f"{report['gan']['fid']:.0f}; autoencoder {report['autoencoder']['fid']:.0f}), coverage "
            f"**{report['generate']['coverage']:.2f}** (GAN {report['gan']['coverage']:.2f})",
        ),
        ("denoise", denoise),
        (
            "detect",
            f"letters against digits: AUROC **{letters['auroc_letters']:.3f}**; "
            f"{letters['false_alarms']['0.01']:.2%} false alarms at a nominal 1 %",
        ),
        (
            "impute",
            f"RMSE **{impute['random_0.5']['rmse']:.3f}** with half hidden (mean fill "
            f"{impute['random_0.5']['rmse_mean_fill']:.3f}), **{impute['block']['rmse']:.3f}** with a block hidden "
            f"({impute['block']['rmse_mean_fill']:.3f})",
        ),
    ]
    environment = report["environment"]
    return _table(("", "MNIST test set, 10 latent numbers"), rows) + (
        f"\n\nMeasured on {environment['date']} with {environment['cores']} cores, torch {environment['versions']['torch']}; "
        f"{report['epochs']} epochs ({elbo['epochs']} for the ELBO row). "
        "`make bench` repeats it; the results are in [benchmarks/results](benchmarks/results)."
    )


def _choosing(report: dict[str, Any]) -> str:
    autoencoder, gan = report["autoencoder"], report["gan"]
    vae_runs, gan_runs = gan["vae_seeds"], gan["seeds"]

    def spread(runs: list[dict[str, float]], name: str, digits: int) -> str:
        values = [run[name] for run in runs]
        return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"

    vae = autoencoder["vae"]
    rows = [
        (
            "training, s",
            spread(vae_runs, "train_seconds", 0),
            f"{autoencoder['train_seconds']:.0f}",
            spread(gan_runs, "train_seconds", 0),
        ),
        ("reconstruction, PSNR in dB", f"{vae['psnr']:.2f}", f"{autoencoder['psnr']:.2f}", "none"),
        (
            "drawn from N(0, I): FID",
            spread(vae_runs, "fid", 0),
            f"{autoencoder['fid']:.0f}",
            spread(gan_runs, "fid", 0),
        ),
        *(
            (
                f"drawn from N(0, I): {name}",
                spread(vae_runs, name, 2),
                f"{autoencoder[name]:.2f}",
                spread(gan_runs, name, 2),
            )
            for name in ("precision", "recall", "density", "coverage")
        ),
        ("classes covered, of 10", _each(vae_runs), "–", _each(gan_runs)),
        ("sharpness (test images: 1)", spread(vae_runs, "sharpness", 2), "–", spread(gan_runs, "sharpness", 2)),
        (
            "half-way between two items: FID",
            f"{vae['interpolation_fid']:.0f}",
            f"{autoencoder['interpolation_fid']:.0f}",
            "no encoder",
        ),
        (
            "half-way between two items: precision",
            f"{vae['interpolation_precision']:.2f}",
            f"{autoencoder['interpolation_precision']:.2f}",
            "no encoder",
        ),
        (
            "spread of the codes (prior: 1)",
            f"{vae['code_deviation']:.2f}",
            f"{autoencoder['code_deviation']:.2f}",
            "no encoder",
        ),
    ]
    return _table(("", "VAE", "autoencoder", "GAN"), rows)


def _each(runs: list[dict[str, float]]) -> str:
    return ", ".join(str(run["classes_covered"]) for run in runs)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
