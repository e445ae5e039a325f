"""Are generated windows as good to learn from as real ones? `python benchmarks/series_labels.py MODELS [SET …]`.

One model per class is fitted to the training windows of that class, and as many windows are generated of each class as there
are. A forest trained on these is tested on real windows, beside one trained on the real training windows. Models are kept in
the folder MODELS and fitted when they are not there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from results_file import read_result, write_result
from series_data import LABELLED, labelled
from sklearn.ensemble import RandomForestClassifier

from fivefold import fit, generate, load, save
from fivefold.system import environment

_SEEDS = 5  # of forests, and of what is generated


def main() -> None:
    """Measure, and write the result after each set."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", type=Path)
    options.add_argument("sets", nargs="*", default=[])
    given = options.parse_args()
    if unknown := set(given.sets) - LABELLED.keys():
        options.error(f"SET must be one of {', '.join(LABELLED)}; got {sorted(unknown)[0]}")
    for name in given.sets or LABELLED:
        (windows, labels), test = labelled(name)
        models = {}
        for label in np.unique(labels):
            folder = given.models / f"{name}-{label}"
            if not folder.exists():
                given.models.mkdir(parents=True, exist_ok=True)
                save(fit(windows[labels == label], kind="series"), folder)
            models[label] = load(folder)
        accuracy: dict[str, list[float]] = {"real": [], "generated": []}
        for seed in range(_SEEDS):
            drawn = [generate(model, int((labels == label).sum()), seed) for label, model in models.items()]
            told = np.concatenate([np.full(len(part), label) for part, label in zip(drawn, models, strict=True)])
            for kind, known in (("real", (windows, labels)), ("generated", (np.concatenate(drawn), told))):
                accuracy[kind].append(_accuracy(*known, *test, seed))
        means = {kind: float(np.mean(each)) for kind, each in accuracy.items()}
        print(name, means, file=sys.stderr)
        result = read_result("series_labels")
        entry = {"accuracy": means, "runs": accuracy, "windows": len(windows), "tested": len(test[0])}
        result.setdefault("sets", {})[name] = entry
        write_result("series_labels", {**result, "environment": environment()})


def _accuracy(known: np.ndarray, labels: np.ndarray, windows: np.ndarray, truth: np.ndarray, seed: int) -> float:
    forest = RandomForestClassifier(500, random_state=seed).fit(known.reshape(len(known), -1), labels)
    return float((forest.predict(windows.reshape(len(windows), -1)) == truth).mean())


if __name__ == "__main__":
    main()
