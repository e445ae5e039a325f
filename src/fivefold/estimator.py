"""Estimators in the manner of scikit-learn: one fitted VAE, with the five jobs as methods."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import narwhals as nw
import numpy as np
import pyarrow as pa
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fivefold.arrays import count_axes
from fivefold.config import JobNumbers
from fivefold.dataset import open_data
from fivefold.modality import Dataset, modality_for
from fivefold.progress import silenced

if TYPE_CHECKING:
    from fivefold.jobs.detect import Detection
    from fivefold.jobs.impute import Imputed
    from fivefold.model.fitted import FittedModel

_FILES = ("config.json", "model.safetensors", "README.md")


class _Model(BaseEstimator):
    """Parameters, `fit` and validation of all estimators."""

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        kind: str | None = None,
        time: str | None = None,
        ids: str | None = None,
        epochs: int | None = None,
        max_minutes: float | None = None,
        schema: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        false_alarm_rate: float = 0.05,
        accelerator: str = "auto",
        verbose: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.latent_dim = latent_dim
        self.kind = kind
        self.time = time
        self.ids = ids
        self.epochs = epochs
        self.max_minutes = max_minutes
        self.schema = schema
        self.settings = settings
        self.false_alarm_rate = false_alarm_rate
        self.accelerator = accelerator
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit one VAE.

        Parameters
        ----------
        X : a table: a pandas or polars DataFrame, a pyarrow Table, an array `(n, d)`, a list of rows or a dict of columns, with
            NaN, None, … where cells are missing; or images: an array `(n, h, w)` or `(n, h, w, c)`; or, with `kind="series"`, an
            array `(n, t)` or `(n, t, channels)`, a list of arrays `(t,)` or `(t, channels)`, or, with `time`, a table with a
            row per step; or the path of a file of those
        y : ignored

        Raises
        ------
        DataError, UsageError : both are `ValueError`s
        TrainingError : if training can't go on

        Examples
        --------
        >>> detector = fivefold.VAEOutlierDetector(epochs=1, random_state=0, settings={"shortest_epoch": 8})
        >>> detector.fit(trees[["height", "girth"]]).n_features_in_
        2
        """
        from fivefold.training import examination
        from fivefold.training.fit import fit

        JobNumbers(false_alarm_rate=self.false_alarm_rate)
        reading: dict[str, Any] = {"time": self.time, "ids": self.ids, "schema": self.schema}
        modality = modality_for(X, self.kind, reading)
        data = self._checked(X, modality.kind, reset=True)
        self.seed_ = int(check_random_state(self.random_state).randint(1 << 31))
        with silenced(not self.verbose), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "detection compares with")  # at another rate than this one's
            self.model_ = fit(
                data,
                kind=modality.name,
                latent_dim=self.latent_dim,
                epochs=self.epochs,
                max_minutes=self.max_minutes,
                seed=self.seed_,
                accelerator=self.accelerator,
                **{name: value for name, value in reading.items() if value is not None},
                **(self.settings or {}),
            )
        self._n_features_out = self.model_.latent_dim
        normality = self.model_.normality
        if normality is not None:
            self.offset_ = normality.threshold(self.false_alarm_rate)
        examination.warn_of_few(self.model_, self.false_alarm_rate)
        return self

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the fitted model's folder, which `fivefold.load` and the command line read; nothing is pickled.

        Raises `UsageError` if `path` exists (with `force`: and is no model).

        >>> vae.save("tree-vae")
        >>> fivefold.load("tree-vae").latent_dim
        2
        """
        from fivefold.storage import save

        save(self._fitted, path, force=force)

    def _checked(self, X: Any, kind: str, reset: bool = False) -> Any:
        """Arrays of rows as scikit-learn checks them; of frames the fit remembers the columns, which then go by their names."""
        if kind != "table" or isinstance(X, str | Path):
            return X
        columns = isinstance(X, Mapping) and count_axes(X) is None  # a sparse array may be a mapping
        if not columns and not hasattr(X, "columns") and not hasattr(X, "column_names"):
            return validate_data(
                self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=2 if reset else 1
            )
        if reset:
            validate_data(self, pa.table({str(name): [] for name in X}) if columns else X, skip_check_array=True)
        return X

    @property
    def _fitted(self) -> FittedModel:
        """The model; raises `NotFittedError` before `fit`."""
        check_is_fitted(self)
        model: FittedModel = self.model_
        return model

    def _open(self, X: Any) -> Dataset:
        """Data of the fit's kind."""
        schema = self._fitted.schema
        names = (("time", self.time), ("ids", self.ids))
        reading = {name: value for name, value in names if value is not None}
        return open_data(self._checked(X, schema.kind), schema, **reading)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                self.save(Path(folder) / "model")
                state["model_"] = {name: (Path(folder) / "model" / name).read_bytes() for name in _FILES}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "model_" in state:
            from fivefold.storage import load

            with tempfile.TemporaryDirectory() as folder:
                for name in _FILES:
                    (Path(folder) / name).write_bytes(state["model_"][name])
                state["model_"] = load(folder)
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        return tags


class _Imputes(_Model):
    """Imputation."""

    def impute(self, X: Any, n_draws: int | None = None) -> Any:
        """`X` with its missing cells filled in, in its own kind, types and index; what was there is untouched.

        Numbers take their expected values, classes the likeliest. With `n_draws`, a list of so many completed `X`
        instead, drawn from what the missing cells may be.

        >>> int(rows["height"].isna().sum()), int(vae.impute(rows)["height"].isna().sum())
        (18, 0)
        >>> len(vae.impute(rows, n_draws=3))
        3
        """
        filled = self._impute(X, n_draws=n_draws or 0)
        return filled.data if n_draws is None else filled.draws

    def impute_interval(self, X: Any, share: float = 0.9) -> tuple[Any, Any]:
        """Ends of the interval in which each missing number lies with probability `share`; like `X`, the rest untouched.

        Missing classes stay missing. Raises `UsageError` for a share outside (0, 1).

        >>> lower, upper = vae.impute_interval(rows, share=0.8)
        >>> bool((lower["height"] <= upper["height"]).all())
        True
        """
        filled = self._impute(X, interval=share)
        return filled.lower, filled.upper

    def _impute(self, X: Any, **options: Any) -> Imputed:
        from fivefold.jobs.impute import impute

        data = self._open(X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "nothing is missing")
            return impute(self.model_, data, seed=self.seed_, **options)


class _Scores(OutlierMixin, _Model):
    """Anomaly scores by comparison with held-out items."""

    def score_samples(self, X: Any) -> Any:
        """How normal each item is, `(n,)` float64, nats; higher is more normal, NaN where nothing is visible.

        Of series each step: of a table one number per row, of an array `(n, t)`, of a list a list of arrays `(t,)`.

        >>> score = vae.score_samples(rows)
        >>> score.shape, score.dtype
        ((300,), dtype('float64'))
        """
        return self._detect(X).score

    def decision_function(self, X: Any) -> Any:
        """`score_samples` less `offset_`, nats: negative for anomalies at `false_alarm_rate`.

        Of series it is log p-value less log `false_alarm_rate`, since an alarm raises the bar for those after it.

        >>> bool((vae.decision_function(rows) == vae.score_samples(rows) - vae.offset_).all())
        True
        """
        found = self._detect(X)
        if found.window_score is None:
            return _per_part(lambda score: score - self.offset_, found.score)
        return _per_part(lambda p_value: np.log(p_value / self.false_alarm_rate), found.p_value)

    def predict(self, X: Any) -> Any:
        """1 for normal items, -1 for anomalies, int64; of normal items about `false_alarm_rate` are called anomalies.

        >>> vae.predict(rows.assign(girth=900.0))[:3]
        array([-1, -1, -1])
        """
        return _per_part(lambda anomaly: np.where(anomaly, -1, 1), self._detect(X).anomaly)

    def p_values(self, X: Any) -> Any:
        """How often a normal item scores as low, like `score_samples`, by comparison with items held out in the fit.

        >>> p = vae.p_values(rows)
        >>> bool(((0 < p) & (p <= 1)).all())
        True
        """
        return self._detect(X).p_value

    def strangest(self, X: Any, n: int = 20) -> pa.Table:
        """The `n` items that are least normal, the strangest first, and what is strange about each; see `fivefold.detect`.

        >>> vae.strangest(rows.assign(girth=900.0), 2).select(["column", "found"]).to_pylist()
        [{'column': 'girth', 'found': '900'}, {'column': 'girth', 'found': '900'}]
        """
        return self._detect(X, top=n).strangest

    def _detect(self, X: Any, **options: Any) -> Detection:
        from fivefold.jobs.detect import detect

        data = self._open(X)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* nothing can be flagged")
            return detect(self.model_, data, false_alarm_rate=self.false_alarm_rate, **options)


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, _Imputes):
    """Imputation of missing values, as a step of a pipeline; parameters and attributes are those of `VAE`.

    >>> imputer = fivefold.VAEImputer(epochs=1, random_state=0, settings={"shortest_epoch": 8})
    >>> imputer.fit_transform(trees[["height", "girth"]]).isna().sum().sum()
    np.int64(0)
    """

    def transform(self, X: Any) -> Any:
        """`impute`, with the columns of the fit: further ones are left out, and carried ones that are absent are missing.

        >>> imputer = fivefold.VAEImputer(epochs=1, random_state=0, settings={"shortest_epoch": 8})
        >>> list(imputer.fit(rows).transform(trees).columns)
        ['kind', 'height', 'girth']
        """
        filled = self.impute(X)
        names = getattr(self, "feature_names_in_", None)
        if names is None or not hasattr(filled, "columns") or list(filled.columns) == list(names):
            return filled
        frame = nw.from_native(filled)
        return frame.select(
            nw.col(name) if name in frame.columns else nw.lit(None).alias(name) for name in names
        ).to_native()


class VAEOutlierDetector(_Scores):
    """Anomaly detection: `predict`, `score_samples`, `p_values`; parameters and attributes are those of `VAE`.

    >>> detector = fivefold.VAEOutlierDetector(epochs=1, random_state=0, settings={"shortest_epoch": 8})
    >>> strange = trees[["height", "girth"]].assign(girth=900.0)
    >>> detector.fit(trees[["height", "girth"]]).predict(strange[1:4])
    array([-1, -1, -1])
    """


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Scores, _Imputes):
    """One variational autoencoder for five jobs on a table, on images, or on series.

    Parameters
    ----------
    latent_dim : numbers that an item is compressed to; by default 8 for tables, 16 for images and windows of series
    kind : `images`, `tables` or `series`, of which `transform` gives a code per window, and scores are per step; by default what
        the data look like
    time, ids : of series in a table, the columns that say when a step is, and of which series
    epochs, max_minutes : how long to train, at most
    schema : what the columns of a table are, where it is not as inferred: `{"columns": {name: {"kind": …, "missing": […]}}}`
    settings : further settings of a fit by name; see `fivefold.fit`
    false_alarm_rate : share of normal items that `predict` may call anomalies
    accelerator : where to train: `auto`, `cpu`, `gpu`, …
    verbose : show progress
    random_state : seed of the fit and of all draws

    Attributes
    ----------
    model_ : the fitted model, for the functions of the package
    offset_ : score below which `predict` calls an item an anomaly; not of series
    n_features_in_, feature_names_in_ : of a table

    Raises
    ------
    NotFittedError : by all methods before `fit`, as scikit-learn's own
    DataError : a `ValueError`, by all that take `X`, if that is unlike the data of the fit
    ModelError : likewise, by `score_samples`, `decision_function`, `predict` and `p_values` if too few items were held out

    Examples
    --------
    >>> rows = trees[["kind", "height", "girth"]]
    >>> vae = fivefold.VAE(latent_dim=2, epochs=1, random_state=0, settings={"shortest_epoch": 8}).fit(rows)
    >>> vae.transform(rows).shape
    (300, 2)
    >>> vae.model_.schema.describe()
    '3 columns (1 category, 2 real)'
    """

    def transform(self, X: Any) -> np.ndarray:
        """The means of the items' latent numbers, `(n, latent_dim)` float64; of series, of each window.

        >>> vae.transform(rows[:10]).shape
        (10, 2)
        """
        from fivefold.jobs.codes import encode

        return encode(self._fitted, self._open(X))[0].astype(np.float64)

    def inverse_transform(self, X: np.ndarray) -> Any:
        """The mean items of latent numbers `(n, latent_dim)`, like the data of the fit; raises `DataError` for other shapes.

        >>> vae.inverse_transform(np.zeros((4, 2))).shape
        (4, 3)
        """
        from fivefold.jobs.codes import decode

        return decode(self._fitted, np.asarray(X))

    def sample(self, n: int = 1, **options: Any) -> Any:
        """`n` new items, like the data of the fit; see `fivefold.generate` for `options` and errors.

        >>> vae.sample(2, given={"kind": "oak"})["kind"].to_list()
        ['oak', 'oak']
        """
        from fivefold.jobs.generate import generate

        return generate(self._fitted, n, self.seed_, **options)

    def explain(self, X: Any) -> Any:
        """How far each element costs more than expected, like `X`: the higher, the stranger; see `fivefold.surprise`.

        >>> vae.explain(rows.assign(girth=900.0)).iloc[1].idxmax()
        'girth'
        """
        from fivefold.jobs.detect import surprise

        return surprise(self._fitted, self._open(X))

    def denoise(self, X: Any) -> Any:
        """`X` without its noise: of a table, with the cells replaced that do not belong into their rows.

        >>> vae.denoise(rows).shape
        (300, 3)
        """
        from fivefold.jobs.denoise import denoise

        return denoise(self._fitted, self._open(X), seed=self.seed_).data

    def compress(self, X: Any, **options: Any) -> bytes:
        """`X` as an archive; `fivefold.decompress(archive, vae.model_)` gives it back bit for bit.

        See `fivefold.compress` for `options` and errors, and `fit` for `X`.

        >>> fivefold.decompress(vae.compress(rows), vae.model_).equals(rows)
        True
        """
        from fivefold.archive.write import compress

        return compress(self._fitted, self._checked(X, self.model_.schema.kind), **options)


def _per_part(function: Callable[[Any], Any], scores: Any) -> Any:
    """`function` of scores, or of those of each of several series."""
    return [function(part) for part in scores] if isinstance(scores, list) else function(scores)
