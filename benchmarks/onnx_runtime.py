"""ONNX Runtime beside this package: rows scored, and pictures encoded, per second of processor time, one thread each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch
from results_file import write_result
from sklearn.datasets import load_breast_cancer

import fivefold
from fivefold.images.builtin import load_mnist
from fivefold.modality import modality_of
from fivefold.system import environment

_ROUNDS, _BATCHES = 5, (1, 100, 500, 5000)


def main() -> None:
    torch.set_num_threads(1)
    rows: pd.DataFrame = load_breast_cancer(as_frame=True).data
    images = load_mnist("train")[0]
    parts = {
        "detect of rows of 30 numbers": measured(
            "detect", fivefold.fit(rows), rows.sample(5000, replace=True, random_state=0)
        ),
        "encode of MNIST": measured("encode", fivefold.fit(images[:2000], epochs=1), images[:5000]),
    }
    write_result("onnx", {"environment": environment(), "items_per_processor_second": parts})


def measured(job: str, model: Any, data: Any) -> dict[str, Any]:
    """Of each, by how many items are given at once."""
    room, items = modality_of(model.schema).graphs, model.read(data)
    with tempfile.TemporaryDirectory() as folder:
        differences = fivefold.export(model, path := Path(folder) / "model.onnx", job)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options)
    found: dict[str, Any] = {"greatest_difference": max(differences.values())}
    for size in _BATCHES:
        batch = items.select(slice(0, size))
        feeds = room.feeds(model, job, batch)
        ours = per_second(size, lambda batch=batch: room.results(model, job, batch))
        found[str(size)] = {
            "fivefold": ours,
            "onnxruntime": per_second(size, lambda feeds=feeds: session.run(None, feeds)),
        }
    return found


def per_second(size: int, work: Callable[[], Any]) -> float:
    """The median of some rounds, after one that does not count."""
    work()
    seconds = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return round(size / float(np.median(seconds)), 1)


if __name__ == "__main__":
    main()
