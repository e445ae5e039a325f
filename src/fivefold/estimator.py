"""The scikit-learn face: one fitted VAE for tables, images and series, with the five jobs as methods."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OneToOneFeatureMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fivefold.errors import DataError, UsageError
from fivefold.images.dataset import read_items
from fivefold.items import Items
from fivefold.progress import silenced
from fivefold.series.dataset import SeriesSet, as_given, by_step, read_series
from fivefold.series.schema import SeriesSchema
from fivefold.tables.dataset import Table, as_items, as_native, decode_rows
from fivefold.tables.inference import infer_table_schema
from fivefold.tables.schema import TableSchema

_FILES = ("config.json", "model.safetensors", "README.md")


class _Model(BaseEstimator):
    """What all three estimators share: their parameters, `fit`, and how data become items."""

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        kind: Literal["series"] | None = None,
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
        X : a table: a pandas or polars DataFrame, a pyarrow Table, or an array `(n, d)`, with NaN, None, … where cells are
            missing; or images: an array `(n, h, w)` or `(n, h, w, c)`; or, with `kind="series"`, what `read_series` takes
        y : ignored

        Raises
        ------
        DataError, UsageError : both are `ValueError`s
        """
        from fivefold.training.fit import fit

        data = self._check(X, reset=True)
        if not 0 < self.false_alarm_rate < 1:
            raise UsageError(f"false_alarm_rate must be between 0 and 1, got {self.false_alarm_rate:g}")
        items: Any = data
        settings = dict(self.settings or {})
        if isinstance(data, SeriesSet):
            settings = {name: value for name, value in settings.items() if name not in ("window", "stride")}
        if isinstance(data, Table):
            schema = infer_table_schema(data, self.schema)
            items = as_items(data.cells(schema), schema, data.source)
        self.seed_ = int(check_random_state(self.random_state).randint(1 << 31))
        with silenced(not self.verbose):
            self.model_ = fit(
                items,
                latent_dim=self.latent_dim,
                epochs=self.epochs,
                max_minutes=self.max_minutes,
                seed=self.seed_,
                accelerator=self.accelerator,
                **settings,
            )
        self._n_features_out = self.model_.latent_dim
        if isinstance(data, Table):
            self._kind = data.kind
        normality = self.model_.normality
        if normality is not None:
            self.offset_ = normality.threshold(self.false_alarm_rate)
        return self

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the fitted model's folder, which `fivefold.load` and the command line read; nothing is pickled."""
        from fivefold.storage import save

        check_is_fitted(self)
        save(self.model_, path, force=force)

    def _check(self, X: Any, reset: bool = False) -> Table | Items | SeriesSet:
        """The data as a table, as images, or as series."""
        if not reset:
            check_is_fitted(self)
        if self.kind not in (None, "series"):
            raise UsageError(f"kind must be None or 'series', got {self.kind!r}")
        if self.kind == "series":
            cut = {name: (self.settings or {}).get(name) for name in ("window", "stride")} if reset else {}
            schema = None if reset else self.model_.series_schema
            return read_series(X, schema, time=self.time, ids=self.ids, overrides=self.schema, **cut)
        if getattr(X, "ndim", 2) > 2:
            return read_items(np.asarray(X), None if reset else self.model_.image_schema)
        if hasattr(X, "columns") or hasattr(X, "column_names"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return Table.of(X)
        return Table.of(validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False))

    def _series(self, X: Any) -> SeriesSet | None:
        """The data as series, if that is what was fitted."""
        if self.kind != "series":
            return None
        data = self._check(X)
        assert isinstance(data, SeriesSet)
        return data

    def _read(self, X: Any) -> tuple[Table | None, Items]:
        data = self._check(X)
        if isinstance(data, SeriesSet):
            return None, data.items()
        if isinstance(data, Items):
            return None, data
        schema = self.model_.table_schema
        return data, as_items(data.cells(schema), schema, data.source)

    def _back(self, table: Table | None, values: np.ndarray, where: np.ndarray) -> Any:
        """Items as they came, with `values` in the place of some elements."""
        if table is None:
            return values
        return table.replace(self.model_.table_schema, values[:, 0, :, 0], where[:, 0, :, 0])

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
    """Those that fill in what is missing."""

    def impute(self, X: Any, n_draws: int | None = None) -> Any:
        """`X` with its missing cells filled in, in its own kind, types and index; what was there is untouched.

        Numbers take their expected values, classes the likeliest. With `n_draws`, a list of so many completed `X`
        instead, drawn from what the missing cells may be.
        """
        from fivefold.jobs.impute import impute
        from fivefold.series.jobs import impute_series

        if (series := self._series(X)) is not None:
            filled = impute_series(self.model_, series, n_draws=n_draws or 0, seed=self.seed_)
            if n_draws is None:
                return as_given(series, filled.values)
            return [as_given(series, draw) for draw in filled.draws]
        table, items = self._read(X)
        missing = ~items.visible()
        if not missing.any():
            return (
                self._back(table, items.values, missing)
                if n_draws is None
                else [self._back(table, items.values, missing)] * n_draws
            )
        found = impute(self.model_, items, n_draws=n_draws or 0, seed=self.seed_)
        if n_draws is None:
            return self._back(table, found.items, missing)
        return [self._back(table, draw, missing) for draw in found.draws]

    def impute_interval(self, X: Any, share: float = 0.9) -> tuple[Any, Any]:
        """Ends of the interval in which each missing number lies with probability `share`; like `X`, the rest untouched.

        Missing classes stay missing.
        """
        from fivefold.jobs.impute import impute
        from fivefold.series.jobs import impute_series

        if (series := self._series(X)) is not None:
            filled = impute_series(self.model_, series, interval=share, seed=self.seed_)
            assert filled.lower is not None
            assert filled.upper is not None
            return as_given(series, filled.lower), as_given(series, filled.upper)
        table, items = self._read(X)
        missing = ~items.visible()
        found = impute(self.model_, items, interval=share, seed=self.seed_)
        assert found.lower is not None
        assert found.upper is not None
        return self._back(table, found.lower, missing), self._back(table, found.upper, missing)


class _Scores(OutlierMixin, _Model):
    """Those that tell normal items from strange ones."""

    def score_samples(self, X: Any) -> np.ndarray:
        """How normal each item is, `(n,)` float64, nats; higher is more normal.

        Of series each step: of a table one number per row, of an array `(n, t)`.
        """
        from fivefold.images.statistics import item_statistics
        from fivefold.series.jobs import detect_series

        if (series := self._series(X)) is not None:
            return by_step(series, detect_series(self.model_, series).score)
        _, items = self._read(X)
        return self._normality.score(item_statistics(self.model_, items))

    def decision_function(self, X: Any) -> np.ndarray:
        """`score_samples` less `offset_`: negative for anomalies at `false_alarm_rate`."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """1 for normal items, -1 for anomalies; of normal items about `false_alarm_rate` are called anomalies."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(self, X: Any) -> np.ndarray:
        """How often a normal item scores as low, `(n,)`, by comparison with items held out in the fit."""
        return self._normality.p_value(self.score_samples(X))

    @property
    def _normality(self) -> Any:
        check_is_fitted(self)
        if self.model_.normality is None:
            raise DataError("the model was fitted on too few items to score others: there must be 10 or more")
        return self.model_.normality


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, _Imputes):
    """Fills in missing values, as a step of a pipeline."""

    def transform(self, X: Any) -> Any:
        """See `impute`."""
        return self.impute(X)


class VAEOutlierDetector(_Scores):
    """Finds anomalies: `predict`, `score_samples`, `p_values`."""


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Scores, _Imputes):
    """One variational autoencoder for five jobs on a table, on images, or on series.

    Parameters
    ----------
    latent_dim : numbers that an item is compressed to; by default 8 for tables, 16 for images and windows of series
    kind : `series` if the data are series; `transform` then gives a code per window, scores are per step
    time, ids : of series in a table, the columns that say when a step is, and of which series
    epochs, max_minutes : how long to train, at most
    schema : what the columns of a table are, where it is not as inferred; see `infer_table_schema`
    settings : further settings of a fit by name; see `fivefold.fit`
    false_alarm_rate : share of normal items that `predict` may call anomalies
    accelerator : where to train: `auto`, `cpu`, `gpu`, …
    verbose : show progress
    random_state : seed of the fit and of all draws

    Attributes
    ----------
    model_ : the fitted model, for the functions of the package
    offset_ : score below which `predict` calls an item an anomaly
    n_features_in_, feature_names_in_ : of a table
    """

    def transform(self, X: Any) -> np.ndarray:
        """The means of the items' latent numbers, `(n, latent_dim)` float64."""
        from fivefold.jobs.codes import encode

        return encode(self.model_, self._read(X)[1])[0].astype(np.float64)

    def inverse_transform(self, X: np.ndarray) -> Any:
        """The mean items of latent numbers `(n, latent_dim)`, like the data of the fit."""
        from fivefold.jobs.codes import decode

        check_is_fitted(self)
        return self._new(decode(self.model_, np.asarray(X)))

    def sample(self, n: int = 1) -> Any:
        """`n` new items, like the data of the fit."""
        from fivefold.jobs.generate import generate
        from fivefold.model.conditioning import Conditioning
        from fivefold.tables.generate import generate_rows

        check_is_fitted(self)
        if isinstance(self.model_.schema, TableSchema):
            return self._new(generate_rows(self.model_, n, self.seed_))
        if isinstance(self.model_.schema, SeriesSchema):
            sharp = self.model_.has_learnt(Conditioning.CAUSAL)
            return self.model_.schema.snap(generate(self.model_, n, self.seed_, prior="fitted", sharp=sharp))[..., 0]
        return generate(self.model_, n, self.seed_, prior="fitted", sharp=self.model_.context is not None)

    def explain(self, X: Any) -> Any:
        """Bits that each cell costs given the others of its row: the more, the stranger; NaN where missing.

        Of a table a frame of the modelled columns with the index of `X`; of images `(n, h, w, c)`; of series given those
        before it, of a table `(steps, channels)`.
        """
        from fivefold.jobs.detect import surprise
        from fivefold.series.jobs import surprise_series

        if (series := self._series(X)) is not None:
            costs = surprise_series(self.model_, series)
            return costs if series.grid is not None else as_given(series, costs)
        table, items = self._read(X)
        bits = surprise(self.model_, items)
        if table is None:
            return bits
        cells = np.where(items.visible(), bits, np.nan)[:, 0, :, 0].astype(np.float64)
        return table.like(dict(zip(self.model_.table_schema.names, cells.T, strict=True)))

    def denoise(self, X: Any) -> Any:
        """`X` without its noise: of a table, with the cells replaced that do not belong into their rows."""
        from fivefold.jobs.denoise import denoise
        from fivefold.series.jobs import denoise_series
        from fivefold.tables.denoise import denoise_rows

        if (series := self._series(X)) is not None:
            return as_given(series, denoise_series(self.model_, series).values)
        table, items = self._read(X)
        if table is None:
            return denoise(self.model_, items, seed=self.seed_).items
        found = denoise_rows(self.model_, items)
        return self._back(table, found.items, found.replaced)

    def compress(self, X: Any, **options: Any) -> bytes:
        """`X` as an archive; `fivefold.decompress(archive, vae.model_)` gives it back bit for bit.

        See `fivefold.compress` for `options`, and `fit` for `X`.
        """
        from fivefold.archive.write import compress

        data = self._check(X)
        if isinstance(data, SeriesSet):
            return compress(self.model_, X, **options)
        return compress(self.model_, data.native if isinstance(data, Table) else data, **options)

    def _new(self, values: np.ndarray) -> Any:
        """New items in the kind of the data of the fit."""
        if isinstance(self.model_.schema, SeriesSchema):
            return values[..., 0]
        if not isinstance(self.model_.schema, TableSchema):
            return values
        schema = self.model_.schema
        return as_native(decode_rows(schema, schema.snap(values)[:, 0, :, 0]), self._kind)
