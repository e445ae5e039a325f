"""Models in MLflow: saved, logged with their curves, registered, and served as its `pyfunc`; the package is an extra."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from fivefold import __version__
from fivefold.batches import OPTIONS
from fivefold.errors import UsageError
from fivefold.jobs.codes import encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import detect, surprise
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import impute
from fivefold.storage import load, save

try:
    import mlflow
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
except ModuleNotFoundError as error:
    raise UsageError(f"models in MLflow need {error.name}, an extra: pip install fivefold[mlflow]") from None

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from fivefold.model.fitted import FittedModel

_PARAMS = (
    ("job", "string", "detect"),
    ("false_alarm_rate", "double", 0.01),
    ("threshold", "double", 0.5),
    ("seed", "long", 0),
)
_EXAMPLES = 3


def save_model(model: FittedModel, path: str | Path, mlflow_model: Model | None = None) -> None:
    """Write a model as MLflow has them: ours, with its card, in a folder with a signature, an input example and requirements.

    Of tables the signature names the modelled columns, of any type; else it is an array's. Its parameters are `job` (detect by
    default, or denoise, encode, impute, surprise), `false_alarm_rate`, `threshold` and `seed`.

    Parameters
    ----------
    path : where nothing may be yet
    mlflow_model : what MLflow knows of it already

    Raises
    ------
    MlflowException : if there is something at `path`
    """
    with _described(model) as described:
        pyfunc.save_model(str(path), mlflow_model=mlflow_model, **described)


def log_model(model: FittedModel, name: str = "model", **how: Any) -> ModelInfo:
    """Log a model and its fit's curves and figures to a run, the active one or a new one.

    Parameters
    ----------
    name : of the logged model
    how : of `mlflow.pyfunc.log_model`, such as `registered_model_name`
    """
    for row in model.record.get("history", []):
        mlflow.log_metrics(_numbers(row), step=int(row["epoch"]))
    mlflow.log_metrics(_numbers(model.record.get("figures", {}).get("held_out", {})))
    with _described(model) as described:
        info: ModelInfo = pyfunc.log_model(name=name, **described, **how)
    return info


def load_model(model_uri: str, device: str = "auto") -> FittedModel:
    """A model by its address in MLflow, such as `models:/trees/1`, as `fivefold.load` gives it."""
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri))
    return load(folder / Model.load(str(folder)).flavors[pyfunc.FLAVOR_NAME]["data"], device)


class _Jobs:
    """What `pyfunc` calls."""

    def __init__(self, model: FittedModel) -> None:
        self._model = model

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Of `detect` a frame of scores, of `encode` posterior means, of others results in the data's form."""
        given = {name: default for name, _, default in _PARAMS} | dict(params or {})
        if (job := given.pop("job")) not in _RUN:
            raise UsageError(f"`job` must be one of {', '.join(_RUN)}; got {job!r}")
        return _RUN[job](self._model, data, **{name: value for name, value in given.items() if name in OPTIONS[job]})


def _load_pyfunc(path: str) -> _Jobs:
    """What `pyfunc` asks for by this name."""
    return _Jobs(load(path))


def _scores(model: FittedModel, data: Any, **options: Any) -> Any:
    import pandas as pd

    found = detect(model, data, **options)
    return pd.DataFrame({name: np.ravel(getattr(found, name)) for name in ("score", "p_value", "anomaly")})


_RUN = {
    "denoise": lambda model, data, **options: denoise(model, data, **options).data,
    "detect": _scores,
    "encode": lambda model, data: encode(model, data)[0],
    "impute": lambda model, data, **options: impute(model, data, **options).data,
    "surprise": surprise,
}


@contextmanager
def _described(model: FittedModel) -> Iterator[dict[str, Any]]:
    """What MLflow is told of a model."""
    with TemporaryDirectory(prefix="fivefold-") as folder:
        save(model, Path(folder) / "model")
        yield {
            "loader_module": __name__,
            "data_path": str(Path(folder) / "model"),
            "signature": _signature(model),
            "input_example": _example(model),
            "pip_requirements": [f"fivefold[mlflow]=={__version__}"],
        }


def _signature(model: FittedModel) -> ModelSignature:
    """Columns by name, of any type, since any cell may be missing, which MLflow's types can't say; or an array's shape."""
    names = getattr(model.schema, "names", None)
    if names is None:
        inputs = Schema([TensorSpec(np.dtype(model.schema.dtype), (-1, *model.schema.shape))])
    else:
        inputs = Schema([ColSpec(AnyType(), name, required=False) for name in names])
    return ModelSignature(inputs=inputs, params=ParamSchema([ParamSpec(*param) for param in _PARAMS]))


def _example(model: FittedModel) -> Any:
    """New items, of tables as a frame of the modelled columns."""
    import narwhals as nw
    import pandas as pd

    items, names = generate(model, _EXAMPLES), getattr(model.schema, "names", None)
    if names is None:
        return items
    if isinstance(items, np.ndarray):
        return pd.DataFrame(items, columns=list(names))
    return nw.from_native(items, eager_only=True).select(*names).to_pandas()


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, int | float) and math.isfinite(value)}
