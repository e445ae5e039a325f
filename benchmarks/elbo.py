"""The bound on MNIST's test set, by preset: `python benchmarks/elbo.py [--epochs 6] [--seed 0]`.

Writes benchmarks/results/elbo.json. The test set is looked at once, after the fit.
"""

from __future__ import annotations

import argparse
import sys

from results_file import write_result

import fivefold
from fivefold.system import environment

PARTS = ("negative_elbo", "reconstruction", "kl", "inactive_units")
CASES = {
    "paper": {"preset": "paper"},
    "default": {"preset": "default", "field": 0},
    "default, trained clean": {"preset": "default", "field": 0, "corruption": "none"},
}


def main() -> None:
    """Fit each case and write down what it gets."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    results = {}
    for name, settings in CASES.items():
        model = fivefold.fit("mnist", latent_dim=10, epochs=given.epochs, seed=given.seed, **settings)
        figures = {part: model.record["figures"]["test"][part] for part in PARTS}
        results[name] = {**figures, "train_seconds": model.record["train_seconds"], "parameters": model.parameters}
        print(f"{name}: {figures['negative_elbo']:.2f} nats, {results[name]['train_seconds']:.0f} s", file=sys.stderr)
    write_result("elbo", {"epochs": given.epochs, "results": results, "environment": environment()})


if __name__ == "__main__":
    main()
