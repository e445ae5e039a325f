"""Write the golden files anew: `python tests/golden/make.py`. They are only to change with the format's version.

Per modality a tiny model; an archive of data that it expects and some that it does not; and what every job gives from the
model as it is loaded, on the encoded data. Fits differ from machine to machine, so models are fitted only where there are none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import fivefold
from fivefold.dataset import open_data
from fivefold.jobs.codes import decode_items
from fivefold.jobs.generate import draw_items, morph_items, new_items
from fivefold.modality import modality_of
from fivefold.storage import fingerprint

HERE = Path(__file__).parent


def items() -> np.ndarray:
    """`(12, 8, 6, 3)` uint8: slopes, flat parts, and a block of noise at the end."""
    rng = np.random.default_rng(0)
    start, slope = rng.integers(0, 30, (2, 12, 1, 1))
    y, x = np.mgrid[:8, :6]
    smooth = np.stack([start + slope // 4 * y, 4 * x + 0 * start, 100 + 0 * x + 0 * start], axis=-1).astype(np.uint8)
    smooth[8:] = rng.integers(0, 256, (4, 8, 6, 3))
    return smooth


def rows(n: int = 300, seed: int = 1) -> pd.DataFrame:
    """Trees: a key, a class, two reals, an integer, a date and a boolean that hang together; some cells are missing."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["oak", "elm", "ash"], n, p=[0.5, 0.3, 0.2])
    height = np.select([kind == "oak", kind == "elm"], [20.0, 14.0], 9.0) + rng.normal(0, 0.8, n)
    girth = 8 * height + rng.normal(0, 3, n)
    age = np.rint(girth / 3 + rng.normal(0, 2, n)).astype(int)
    frame = pd.DataFrame(
        {
            "id": [f"tree-{number:04d}" for number in range(n)],
            "kind": kind,
            "height": height.round(2),
            "girth": girth,
            "age": age,
            "planted": pd.Timestamp("2020-01-01") - pd.to_timedelta(age * 365, unit="D"),
            "healthy": age < 40,
        }
    )
    frame.loc[::17, "height"] = np.nan
    frame.loc[5::23, "kind"] = None
    return frame


def steps() -> pd.DataFrame:
    """Two series of 150 hours, two channels that follow each other; some values are missing, and three rows."""
    rng, hours = np.random.default_rng(2), np.arange(150)
    parts = []
    for name, phase in (("north", 0.0), ("south", 1.0)):
        load = np.sin(hours * np.pi / 12 + phase) + 0.1 * rng.normal(size=150)
        heat = np.rint(200 + 50 * np.roll(load, 2) + 3 * rng.normal(size=150)) / 10
        when = pd.Timestamp("2026-01-01") + pd.to_timedelta(hours, unit="h")
        parts.append(pd.DataFrame({"site": name, "hour": when, "load": load, "heat": heat, "note": "–"}))
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[20:26, "load"] = np.nan
    frame.loc[[100, 210, 211], "heat"] = np.nan
    return frame.drop(index=[60, 61, 250]).reset_index(drop=True)


@dataclass(frozen=True)
class Case:
    """One modality: how it is fitted, what is packed, and what jobs are asked."""

    name: str
    settings: dict[str, Any]
    train: Any
    packed: tuple[Any, ...]
    options: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return HERE / self.name

    def load(self) -> fivefold.FittedModel:
        """The model as it was written."""
        return fivefold.load(self.folder / "model", "cpu")

    def archives(self, model: fivefold.FittedModel) -> dict[str, bytes]:
        """By file name."""
        names = ["archive-2.ff", "arrays-2.ff"]  # of the format's version 2
        return {
            name: fivefold.compress(model, data, **self.options) for name, data in zip(names, self.packed, strict=False)
        }

    def results(self, model: fivefold.FittedModel) -> dict[str, np.ndarray]:
        """What every job gives, by name."""
        return {"images": _of_images, "tables": _of_rows, "series": _of_steps}[self.name](model)

    def facts(self, model: fivefold.FittedModel) -> dict[str, Any]:
        """What a model is: the names and shapes of its weights, and its fingerprint."""
        weights = model.networks.state_dict()
        return {
            "fingerprint": fingerprint(model),
            "weights": {name: list(weight.shape) for name, weight in weights.items()},
        }


def cases() -> list[Case]:
    """All of them."""
    small = {"accelerator": "cpu", "batch_size": 16}
    of_images = {"latent_dim": 3, "hidden": 16, "first_channels": 4, "field": 5, "context_width": 16, "positions": 64}
    of_rows = {"latent_dim": 3, "hidden": 16, "context_width": 16, "members": 2, "shortest_epoch": 30}
    of_steps = {"hidden": 16, "first_channels": 8, "context_width": 8, "latent_dim": 3, "window": 24, "reach": 4}
    of_steps |= {"shortest_epoch": 10, "longest_epoch": 10, "kind": "series", "time": "hour", "ids": "site"}
    images, frame, series = items(), rows(), steps()
    odd = frame.iloc[:120].copy()
    odd.loc[7, "height"], odd.loc[9, "kind"], odd.loc[11, "girth"] = 1e6, "yew", -0.0
    stacked = np.random.default_rng(3).normal(size=(3, 40, 2)).round(3)
    return [
        Case(
            "images",
            {**small, **of_images, "epochs": 8, "context_learning_rate": 4e-2},
            np.concatenate([images[:8]] * 25),
            (images,),
            {"step": 1, "block_items": 4},
        ),
        Case("tables", {**small, **of_rows, "epochs": 6}, frame, (odd,), {"block_items": 50}),
        Case("series", {**small, **of_steps, "epochs": 3}, series, (series, stacked), {"block_items": 200}),
    ]


def _of_images(model: fivefold.FittedModel) -> dict[str, np.ndarray]:
    data = items()
    mask = np.zeros(data.shape[:3], bool)
    mask[:, 2:5, 1:4] = True
    clean = fivefold.denoise(model, data, seed=1)
    found = fivefold.detect(model, data)
    codes, deviations = fivefold.encode(model, data)
    return {
        "encode": np.stack((codes, deviations)),
        "decode": decode_items(model, codes, "float32"),
        "generate": fivefold.generate(model, 5, 1),
        "generate_sharp": fivefold.generate(model, 5, 1, prior="fitted", sharp=True, temperature=0.8),
        "generate_like": fivefold.generate(model, 3, 1, like=data[:1]),
        "morph": fivefold.morph(model, codes[0], codes[9], 4),
        "denoise": clean.data,
        "denoise_std": clean.std,
        "statistics": modality_of(model.schema).jobs.statistics(model, open_data(data, model.schema).all_items()),
        "score": found.score,
        "p_value": found.p_value,
        "surprise": fivefold.surprise(model, data),
        **_imputed(fivefold.impute(model, data, mask=mask, n_draws=2, interval=0.9, seed=1)),
    }


def _of_rows(model: fivefold.FittedModel) -> dict[str, np.ndarray]:
    data = open_data(rows().iloc[:60], model.schema).all_items()
    jobs = modality_of(model.schema).jobs
    cleaned = jobs.denoise(model, data, seed=1)
    found = fivefold.detect(model, data)
    codes, deviations = fivefold.encode(model, data)
    given = {"kind": model.schema.columns[0].categories[1], "age": 30}
    return {
        "cells": data.values,
        "encode": np.stack((codes, deviations)),
        "decode": decode_items(model, codes),
        "generate": new_items(model, 20, 1).values,
        "generate_given": new_items(model, 5, 1, given=given).values,
        "generate_codes": draw_items(model, 5, 1, prior="fitted", sharp=True),
        "morph": morph_items(model, codes[0], codes[9], 4),
        "denoise": cleaned[""][0],
        "denoise_probability": cleaned["changes"][0][..., 1:],
        "denoise_expected": cleaned["changes"][0][..., :1],
        "statistics": jobs.statistics(model, data),
        "score": found.score,
        "p_value": found.p_value,
        "surprise": fivefold.surprise(model, data),
        **_imputed(fivefold.impute(model, data, n_draws=2, interval=0.9, seed=1)),
    }


def _of_steps(model: fivefold.FittedModel) -> dict[str, np.ndarray]:
    data = replace(open_data(steps(), model.schema), encoded=True)
    clean, found = fivefold.denoise(model, data), fivefold.detect(model, data, false_alarm_rate=0.05)
    codes, deviations = fivefold.encode(model, data)
    events = found.events
    return {
        "cells": data.values,
        "encode": np.stack((codes, deviations)),
        "decode": decode_items(model, codes),
        "generate": new_items(model, 5, 1).values,
        "generate_after": fivefold.generate(model, 3, 1, after=steps(), steps=10),
        "morph": morph_items(model, codes[0], codes[9], 4),
        "denoise": clean.data,
        "denoise_std": clean.std,
        "statistics": modality_of(model.schema).jobs.statistics(model, data.all_items()),
        "score": found.score,
        "p_value": found.p_value,
        "windows": np.stack((found.window_score, found.window_p_value)),
        "events": np.stack([events.series, events.start, events.end, events.peak]),
        "surprise": fivefold.surprise(model, data),
        **_imputed(fivefold.impute(model, data, n_draws=2, interval=0.9, seed=1)),
    }


def _imputed(filled: Any) -> dict[str, np.ndarray]:
    return {
        "impute": filled.data,
        "impute_draws": np.stack(filled.draws),
        "impute_lower": filled.lower,
        "impute_upper": filled.upper,
    }


def main() -> None:
    """Fit where there is no model, then do every job."""
    torch.set_num_threads(1)
    for case in cases():
        if not (case.folder / "model").exists():
            fivefold.save(fivefold.fit(case.train, **case.settings), case.folder / "model")
        model = case.load()
        for name, content in case.archives(model).items():
            (case.folder / name).write_bytes(content)
        np.savez_compressed(case.folder / "results.npz", **case.results(model))
        (case.folder / "facts.json").write_text(json.dumps(case.facts(model), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
