"""One-class MNIST: fit on one digit, find the others; the mean of ten short fits."""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from fivefold.images.settings import configure
from fivefold.items import Items
from fivefold.jobs.detect import detect
from fivefold.model.fitted import FittedModel
from fivefold.system import environment
from fivefold.training.fit import fit_items

SETTINGS = {  # many short steps: a digit has few items; chosen on held-out training items of digits 2, 5 and 8
    "epochs": 10,
    "validation": 0.2,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "positions": 16,
}


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """AUROC of each digit's test items against all the others, under the `default` preset and one rule."""
    assert train.labels is not None
    assert test.labels is not None
    auroc, seconds = {}, []
    for digit in range(10):
        fitted = fit_items(train.select(np.flatnonzero(train.labels == digit)), configure(**SETTINGS))
        seconds.append(fitted.record["train_seconds"])
        score = detect(fitted, test, false_alarm_rate=0.5).score
        auroc[str(digit)] = float(roc_auc_score(test.labels == digit, score))
        print(f"{digit}: {auroc[str(digit)]:.4f}", file=sys.stderr)
    mean = statistics.mean(auroc.values())
    return {"auroc": auroc, "mean": mean, "fit_seconds": seconds, "settings": SETTINGS, "environment": environment()}
