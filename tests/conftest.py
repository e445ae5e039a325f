"""What several test modules share: data, a small fitted model, and a model whose right answers are known."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import make
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fivefold.config import ContextConfig, FitConfig, NetworkConfig, TrainingConfig
from fivefold.images import builtin
from fivefold.images.builtin import load_mnist
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import configure
from fivefold.modality import modality_of
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Gaussian
from fivefold.model.vae import VAE, Posterior
from fivefold.series import networks as series_networks
from fivefold.training import examination

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("unhurried")

_EXAMINE, _WARN, _FEWEST = examination.examine, examination.warn_of_few, examination.FEWEST_TO_COMPARE
SMALL = {
    "hidden": 32,
    "first_channels": 4,
    "max_channels": 8,
    "field": 5,
    "context_width": 16,
    "positions": 16,
    "context_learning_rate": 4e-2,  # a few steps are to be enough
    "batch_size": 32,
    "epochs": 2,
    "learning_rate": 5e-3,
    "accelerator": "cpu",
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _plain_fits():
    """Fits neither try their jobs nor hold out all rows in turn, which takes seconds; `examined` brings that back. Those to
    series look at fewer windows of which a part is hidden."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "examine", lambda *_: None)
        patch.setattr(examination, "warn_of_few", lambda *_: None)
        patch.setattr(examination, "FEWEST_TO_COMPARE", 0)
        patch.setattr(series_networks, "_WINDOWS_PER_RUN", 40)
        patch.setattr(series_networks, "_WINDOWS_PER_SHORT_RUN", 80)
        yield


@pytest.fixture(scope="module")
def examined():
    """Fits are as users have them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examination, "examine", _EXAMINE)
        patch.setattr(examination, "warn_of_few", _WARN)
        patch.setattr(examination, "FEWEST_TO_COMPARE", _FEWEST)
        yield


@pytest.fixture(scope="session")
def small_settings() -> dict[str, Any]:
    """Settings of a fit that takes a fraction of a second."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """900 MNIST digits `(n, 28, 28, 1)` uint8; the model is fitted on the first 600."""
    images = load_mnist("test")[0][:900]
    images.setflags(write=False)
    return images


@pytest.fixture(scope="session")
def model(digits) -> FittedModel:
    """4 latent numbers and a context decoder, the default preset; nothing may change it."""
    from fivefold.training.fit import fit

    settings = SMALL | {"latent_dim": 4, "epochs": 5, "first_channels": 8, "max_channels": 16, "hidden": 64}
    settings |= {"field": 7, "context_width": 32, "positions": 32}
    return fit(digits[:600], **settings)


@pytest.fixture(scope="session")
def untrained() -> FittedModel:
    """Freshly initialised networks of items of 8×6 pixels and 3 channels, with no prior and no normality."""
    settings = {name: value for name, value in SMALL.items() if name != "accelerator"}
    config = configure(**{**settings, "latent_dim": 3})
    schema = ImageSchema(8, 6, 3, "uint8", 0.0, 255.0)
    networks = modality_of(schema).networks.build(schema, config, seed=0).eval()
    return FittedModel(schema=schema, config=config, **dict(networks.named_children()))


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory) -> Path:
    """24 PNGs of 32×24 pixels and 3 channels: a disc on a gradient."""
    folder = tmp_path_factory.mktemp("colour")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:32, :24]
    for index in range(24):
        row, column = random.uniform(5, 20, 2)
        image = np.stack([8 * y, 10 * x, np.full_like(x, 60)], axis=-1)
        image[(y - row) ** 2 + (x - column) ** 2 < 15] = random.integers(0, 256, 3)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{index:02d}.png")
    return folder


class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(Wz + b, σ²I), W with orthogonal columns: the exact posterior is independent normals.

    Items are rows of `features` numbers, as images of `(1, features, 1)`, or `(n, 1, 1, features)` tensors.
    """

    def __init__(self, weights: Tensor, bias: Tensor, sigma: float) -> None:
        gram = weights.T @ weights
        assert torch.allclose(gram, gram.diag().diag(), atol=1e-9)
        self.weights, self.bias, self.sigma = weights, bias, sigma
        self.posterior_var = sigma**2 / (gram.diag() + sigma**2)
        self.covariance = weights @ weights.T + sigma**2 * torch.eye(len(bias), dtype=weights.dtype)

    @property
    def latent_dim(self) -> int:
        return self.weights.shape[1]

    def posterior_mean(self, x: Tensor) -> Tensor:
        """Of rows `(n, features)`."""
        return (x - self.bias) @ self.weights * self.posterior_var / self.sigma**2

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log-likelihood of rows `(n, features)`."""
        return torch.distributions.MultivariateNormal(self.bias, self.covariance).log_prob(x)

    def expected(self, x: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """One row with what is hidden replaced by its expected value given the rest, as the normal's theory has it."""
        covariance, bias = self.covariance.numpy(), self.bias.numpy()
        gain = covariance[np.ix_(~visible, visible)] @ np.linalg.inv(covariance[np.ix_(visible, visible)])
        filled = x.copy()
        filled[~visible] = bias[~visible] + gain @ (x[visible] - bias[visible])
        return filled

    def vae(self, posterior: Callable[[Tensor], Posterior] | None = None) -> VAE:
        """With the exact posterior (all elements visible), or another `(n, features)` → `Posterior`."""
        return VAE(_LinearEncoder(self, posterior), _LinearDecoder(self), self.latent_dim)

    def fitted(self, posterior: Callable[[Tensor], Posterior] | None = None) -> FittedModel:
        """As a fitted model of float32 items in [0, 1]."""
        schema = ImageSchema(1, len(self.bias), 1, "float32", 0.0, 1.0)
        network = NetworkConfig(latent_dim=self.latent_dim, likelihood="gaussian")
        config = FitConfig("default", network, ContextConfig(field=0), training=TrainingConfig())
        return FittedModel(self.vae(posterior).eval(), schema, config)


class _LinearEncoder(nn.Module):
    def __init__(self, toy: LinearGaussian, posterior: Callable[[Tensor], Posterior] | None) -> None:
        super().__init__()
        self._toy, self._posterior = toy, posterior

    def forward(self, x: Tensor, visible: Tensor) -> Posterior:
        rows = x.flatten(1)
        if self._posterior is not None:
            return self._posterior(rows)
        return Posterior(self._toy.posterior_mean(rows), self._toy.posterior_var.log().expand(len(rows), -1))


class _LinearDecoder(nn.Module):
    def __init__(self, toy: LinearGaussian) -> None:
        super().__init__()
        self.weights, self.bias = nn.Parameter(toy.weights), nn.Parameter(toy.bias)
        self._log_sigma = float(np.log(toy.sigma))

    def forward(self, z: Tensor) -> Gaussian:
        mean = (z @ self.weights.T + self.bias)[:, None, None]
        return Gaussian(torch.cat((mean, torch.full_like(mean, self._log_sigma)), dim=1))


@pytest.fixture(scope="session")
def linear_gaussian() -> type[LinearGaussian]:
    """The class: tests can't import each other's modules."""
    return LinearGaussian


@pytest.fixture(scope="session")
def three_of_each_letter() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels."""
    values, labels = builtin.render_letters()
    few = np.concatenate([np.flatnonzero(labels == label)[::13] for label in np.unique(labels)])
    return values[few], labels[few]


@pytest.fixture(scope="module")
def _few_letters(three_of_each_letter):
    """Three of each letter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "render_letters", lambda: three_of_each_letter)
        yield


@pytest.fixture
def _light_reports(monkeypatch):
    """Classifiers between new items and real ones are small, events few, pictures coarse: what is measured stays the same."""
    from fivefold.evaluation import drawing
    from fivefold.evaluation.series import comparisons as of_series
    from fivefold.evaluation.series import events
    from fivefold.evaluation.tables import comparisons as of_tables

    monkeypatch.setattr(of_series, "ExtraTreesClassifier", partial(of_series.ExtraTreesClassifier, 10))
    boosting = partial(of_tables.HistGradientBoostingClassifier, max_iter=10)
    monkeypatch.setattr(of_tables, "HistGradientBoostingClassifier", boosting)
    monkeypatch.setattr(events, "_FEWEST_EVENTS", 1)
    for name, value in {"savefig.dpi": 40, "figure.constrained_layout.use": False}.items():
        monkeypatch.setitem(drawing._STYLE, name, value)


@pytest.fixture
def _blurry(monkeypatch):
    """Items are not drawn element by element, which takes seconds."""
    from fivefold.evaluation.images import material

    generate = material.generate
    monkeypatch.setattr(material, "generate", lambda *words, sharp=False, **settings: generate(*words, **settings))


TABLE_SETTINGS = {
    "accelerator": "cpu",
    "epochs": 8,
    "shortest_epoch": 40,
    "hidden": 32,
    "context_width": 48,
    "members": 2,
    "learning_rate": 4e-3,
    "context_learning_rate": 8e-3,
}


@pytest.fixture(scope="session")
def trees() -> pd.DataFrame:
    """400 rows of all kinds of columns that hang together; `id` is to be carried, some cells are missing."""
    return make.rows(400, seed=0)


@pytest.fixture(scope="session")
def table_settings() -> dict[str, Any]:
    """Settings of a fit to a table that takes a few seconds."""
    return dict(TABLE_SETTINGS)


@pytest.fixture(scope="session")
def table_model(trees) -> FittedModel:
    """Fitted to the first 300 trees; nothing may change it."""
    from fivefold.training.fit import fit

    return fit(trees[:300], **TABLE_SETTINGS)


@pytest.fixture(scope="session")
def waves() -> np.ndarray:
    """One series `(1, 600)`: a wave whose strength changes, and a little noise."""
    steps = np.arange(600)
    values = (1 + 0.3 * np.sin(steps / 7)) * np.sin(steps / 4) + 0.05 * np.random.default_rng(0).normal(size=600)
    values.setflags(write=False)
    return values[None]


@pytest.fixture(scope="session")
def series_settings() -> dict[str, Any]:
    """Settings of a fit to series that takes a second."""
    return {
        "hidden": 16,
        "first_channels": 8,
        "context_width": 8,
        "latent_dim": 4,
        "window": 32,
        "epochs": 3,
        "shortest_epoch": 10,
        "longest_epoch": 10,
        "reach": 8,
        "accelerator": "cpu",
    }


@pytest.fixture(scope="session")
def series_model(waves, series_settings) -> FittedModel:
    """Fitted to `waves`."""
    from fivefold.training.fit import fit

    return fit(waves, kind="series", **series_settings)


@pytest.fixture(scope="session")
def series_model_of_table(series_settings) -> tuple[FittedModel, Any]:
    """A model of hourly loads, and the frame it was fitted to."""
    import polars as pl

    from fivefold.training.fit import fit

    hours = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 13), "1h", eager=True)[:280]
    load = np.sin(np.arange(280) * np.pi / 12) + 0.1 * np.random.default_rng(0).normal(size=280)
    frame = pl.DataFrame({"hour": hours, "load": load, "note": ["–"] * 280})
    return fit(frame, kind="series", time="hour", **{**series_settings, "epochs": 1}), frame
