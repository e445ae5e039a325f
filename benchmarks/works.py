"""What speed.py and growth.py time, in a folder where what was fitted is kept: `python benchmarks/works.py …`

- `fit TOOL DATA`: one of `TOOLS`;
- `call TOOL METHOD DATA`: a method of the fitted one;
- `write`: the files that commands read.

DATA are one of scikit-learn's tables; an .npz of ADBench's, of which at most 1,500 rows are taken; `2000x20`, rows and columns
that hang together by six hidden factors; `2000x1500x30`, where they do in the first 30 columns, and the others are noise;
`wave2000`, a series; `images400x28`, images of 28×28. A tenth of the cells is missing in what is imputed.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timed import timed

import fivefold

_FACTORS, _MISSING, _MOST_ROWS = 6, 0.1, 1500
_ROWS, _STEPS = 1_000_000, 10_000_000
_EPOCHS, _UNET_MINUTES = 3, 0.1


class _UNet:
    """A small U-Net as rivals of `denoise` are, its seconds those of as many epochs as the VAE's."""

    def fit(self, images: np.ndarray) -> None:
        from fivefold.evaluation.rivals.networks import fit_unet
        from fivefold.images.dataset import read_items
        from fivefold.images.networks import build_vae
        from fivefold.images.settings import configure
        from fivefold.model.fitted import FittedModel

        items, config, seen = read_items(images), configure(), []
        like = FittedModel(build_vae(items.schema, config.network, 0), items.schema, config)

        def damage(x: Any, generator: Any) -> tuple[Any, Any]:
            seen.append(len(x))
            return x + 0.2 * x.new_empty(x.shape).normal_(generator=generator), x == x

        self.network = fit_unet(items, like=like, damage=damage, minutes=_UNET_MINUTES)
        self.figures = {"seconds": self.network.seconds * _EPOCHS * len(images) / sum(seen), "imports": 0.0}

    def denoise(self, images: np.ndarray) -> np.ndarray:
        unit = images[..., None].astype(np.float32) / 255
        return self.network.restore(unit, np.ones(unit.shape, bool))


def _detector(name: str) -> Any:
    from fivefold.evaluation.rivals import require

    return getattr(require(f"pyod.models.{name.lower()}"), name)()


def _iterative() -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(random_state=0)


TOOLS: dict[str, Callable[[], Any]] = {
    "VAE": lambda: fivefold.VAE(random_state=0),
    "VAE of series": lambda: fivefold.VAE(kind="series", random_state=0),
    "VAE of images": lambda: fivefold.VAE(kind="images", epochs=_EPOCHS, random_state=0, settings={"verdicts": False}),
    "IForest": lambda: _detector("IForest"),
    "KNN": lambda: _detector("KNN"),
    "IterativeImputer": _iterative,
    "U-Net": _UNet,
}


def fit(tool: str, name: str) -> None:
    """Fit, and keep what was fitted."""
    made, data = TOOLS[tool](), _data(name, holes=tool == "IterativeImputer")
    with timed() as figures:
        made.fit(data)
        figures |= getattr(made, "figures", {})
    _kept(tool, name).write_bytes(pickle.dumps(made))


def call(tool: str, method: str, name: str) -> None:
    """Call a method of what was fitted; `sample` draws as many rows as there are."""
    made = pickle.loads(_kept(tool, name).read_bytes())
    data = _data(name, holes=method in ("impute", "transform"))
    with timed():
        getattr(made, method)(len(data) if method == "sample" else data)


def write() -> None:
    """Write into this folder."""
    from series_large import write_series
    from sklearn import datasets
    from tables_large import write_tables

    write_tables(Path(), _ROWS)
    write_series(Path(), _STEPS)
    iris = datasets.load_iris(as_frame=True).data
    iris.to_csv("iris.csv", index=False)
    iris.iloc[:1].to_csv("one-row.csv", index=False)


def _kept(tool: str, name: str) -> Path:
    return Path(f"{tool} {Path(name).stem}.pickle")


def _data(name: str, holes: bool = False) -> np.ndarray:
    rows = _whole(name)
    return np.where(np.random.default_rng(1).random(rows.shape) < _MISSING, np.nan, rows) if holes else rows


def _whole(name: str) -> np.ndarray:
    if name.endswith(".npz"):
        rows = np.load(name)["X"].astype(np.float64)
        return rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:_MOST_ROWS])]
    if name.startswith("wave"):
        from series_large import wave

        return wave(int(name.removeprefix("wave")))[None]
    if name.startswith("images"):
        return _images(*map(int, name.removeprefix("images").split("x")))
    if name[0].isdigit():
        return _factor_table(*map(int, name.split("x")))
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")().data


def _factor_table(rows: int, columns: int, alike: int | None = None) -> np.ndarray:
    """As tables_large.py's; beyond the first `alike` columns only noise."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(_FACTORS, columns)) * (np.arange(columns) < (alike or columns))
    signal = np.tanh(rng.normal(size=(rows, _FACTORS)) @ weights * 0.7) * 3
    return signal + rng.normal(size=signal.shape) * 0.5


def _images(count: int, side: int) -> np.ndarray:
    """Waves across, with noise, `(count, side, side)` uint8."""
    rng = np.random.default_rng(0)
    ways, phases = rng.normal(size=(2, count, 1, 1)) * 8 / side, rng.uniform(0, 2 * np.pi, (count, 1, 1))
    down, across = np.mgrid[:side, :side]
    waves = np.sin(ways[0] * down + ways[1] * across + phases) + 0.1 * rng.normal(size=(count, side, side))
    return np.clip(127.5 + 110 * waves, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    {"fit": fit, "call": call, "write": write}[sys.argv[1]](*sys.argv[2:])
