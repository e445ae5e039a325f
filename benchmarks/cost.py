"""What the context decoder costs: the core's bound against one trained clean and alone, time per epoch, memory."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from peak_memory import peak_gigabytes

from fivefold.config import FitConfig
from fivefold.images.settings import configure
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.model.scoring import evaluate_elbo
from fivefold.system import environment
from fivefold.training.fit import train_networks

_TURNS = 3


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """A clean fit of the core alone, as long as the model's; then epochs with and without context decoder in turn."""
    epochs = len(model.record["history"])
    clean = _fit(train, configure(field=0, corruption="none", epochs=epochs))
    seconds: dict[str, list[float]] = {"core": [], "with the context decoder": []}
    for _ in range(_TURNS):
        for name, settings in (("core", {"field": 0}), ("with the context decoder", {})):
            seconds[name].append(_fit(train, configure(epochs=1, **settings)).record["train_seconds"])
    with tempfile.TemporaryDirectory() as folder:
        peak = peak_gigabytes(Path(folder), "fit", "mnist", "--epochs", "1", "-o", "model")
    core, both = (statistics.median(values) for values in seconds.values())
    bounds = {name: evaluate_elbo(each, test).negative_elbo for name, each in (("default", model), ("clean", clean))}
    return {
        "negative_elbo": {**bounds, "excess": bounds["default"] / bounds["clean"] - 1},
        "seconds_per_epoch": {**seconds, "ratio": both / core},
        "peak_memory_gb": {"fit": peak, "data": train.values.nbytes / 1e9},
        "fit_seconds": model.record["train_seconds"],
        "epochs": epochs,
        "environment": environment(),
    }


def _fit(train: Items, config: FitConfig) -> FittedModel:
    return train_networks(train, config)
