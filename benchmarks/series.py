"""Jobs on series beside their specialists: `python benchmarks/series.py MODELS [SET …] [--jobs impute,detect,denoise]`.

Sets are those of `series_data.py`; one default setting for all. Models are kept in the folder MODELS and fitted when they are
not there. Sets and jobs that are not named keep what was measured of them before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from results_file import read_result, write_result
from series_data import LOADERS

from fivefold import fit, load, save
from fivefold.evaluation.series import COMPARISONS
from fivefold.evaluation.series.material import SeriesMaterial
from fivefold.series.dataset import read_series
from fivefold.system import environment


def main() -> None:
    """Measure, and write the result after each set."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", type=Path)
    options.add_argument("sets", nargs="*", default=[])
    options.add_argument("--jobs", default=",".join(COMPARISONS))
    given = options.parse_args()
    if unknown := set(given.sets) - LOADERS.keys():
        options.error(f"SET must be one of {', '.join(LOADERS)}; got {sorted(unknown)[0]}")
    for name in given.sets or LOADERS:
        train, test = LOADERS[name]()
        folder = given.models / name
        if not folder.exists():
            given.models.mkdir(parents=True, exist_ok=True)
            save(fit(train, kind="series"), folder)
        model = load(folder)
        known, series = (read_series(part, model.schema) for part in (train, test))
        material = SeriesMaterial(model, series, known, Path(), against=True)
        entry = {"items": model.schema.describe(), "fit_seconds": model.record["train_seconds"]}
        for job in given.jobs.split(","):
            section = COMPARISONS[job](material)
            entry[job] = section.figures
            print(
                name,
                job,
                *(f"\n  {row}" for table in section.tables for row in (table.header, *table.rows)),
                file=sys.stderr,
            )
            print(*(f"  {each}" for each in section.sentences), sep="\n", file=sys.stderr)
        result = read_result("series")
        result.setdefault("sets", {}).setdefault(name, {}).update(entry)
        write_result("series", {**result, "environment": environment()})


if __name__ == "__main__":
    main()
