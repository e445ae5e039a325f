"""Mistakes in Python end in the package's own errors, which say what was expected, what came, and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import fivefold
from fivefold.errors import DataError, FivefoldError, UsageError, WrongModelError

GOLDEN = Path(__file__).parent / "golden"
ROWS = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) % 3})


@pytest.fixture(scope="module")
def models():
    """A stored model of each modality."""
    return {name: fivefold.load(GOLDEN / name / "model") for name in ("images", "tables")}


NO_MODEL = {
    "compress": (ROWS,),
    "decode": (np.zeros((1, 3)),),
    "denoise": (ROWS,),
    "detect": (ROWS,),
    "encode": (ROWS,),
    "evaluate": (ROWS,),
    "generate": (3,),
    "impute": (ROWS,),
    "morph": (np.zeros(3), np.zeros(3), 2),
    "save": ("somewhere",),
    "surprise": (ROWS,),
}


@pytest.mark.parametrize("verb", NO_MODEL)
@pytest.mark.parametrize("model", ["model", ROWS, fivefold.VAE(), None], ids=lambda model: type(model).__name__)
def test_what_is_no_model_is_refused_by_all_verbs(verb, model):
    with pytest.raises(UsageError, match=f"`model` must be a fitted model.*got {type(model).__name__}$"):
        getattr(fivefold, verb)(model, *NO_MODEL[verb])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda m: fivefold.fit(3), DataError, "data must be a table .* images .*; got int$"),
        (lambda m: fivefold.fit([]), DataError, "data must be .*; got an empty list$"),
        (lambda m: fivefold.fit(np.zeros(5)), DataError, r"data must be .*; got an array of shape \(5,\)$"),
        (lambda m: fivefold.fit(GOLDEN / "tables" / "model"), DataError, "must be data, got a model's folder"),
        (lambda m: fivefold.fit(ROWS, epoch=1), UsageError, "unknown setting: epoch; did you mean epochs"),
        (lambda m: fivefold.fit(ROWS, likelihood="bernoulli"), UsageError, "`likelihood` goes with images, not with"),
        (lambda m: fivefold.fit(ROWS, smallest_side=4), UsageError, "`smallest_side` goes with images, not with"),
        (lambda m: fivefold.fit(ROWS.to_numpy(), kind="series", likelihood="pixels"), UsageError, "`likelihood` goes"),
        (lambda m: fivefold.fit(ROWS, max_minutes=0), UsageError, "`max_minutes` must be above 0, got 0$"),
        (lambda m: fivefold.load(None), UsageError, "`path` must be that of a model's folder, got NoneType"),
        (lambda m: fivefold.load(__file__), FivefoldError, "must be a model's folder, got a file; .* another order"),
        (lambda m: fivefold.save(m["tables"], 3), UsageError, "`path` must be .*, got int"),
        (lambda m: fivefold.generate(m["tables"], 5, seed=-1), UsageError, "`seed` must be at least 0, got -1"),
        (lambda m: fivefold.generate(m["tables"], "5"), UsageError, "`n` must be an integer, got '5'"),
        (
            lambda m: fivefold.generate(m["tables"], 5, given="city=Bern"),
            UsageError,
            "`given` must be values by column",
        ),
        (lambda m: fivefold.generate(m["tables"], 5, given={"cty": 1}), UsageError, "got cty; there are kind, height"),
        (lambda m: fivefold.generate(m["tables"], 5, given={"heigth": 1}), UsageError, "did you mean height"),
        (
            lambda m: fivefold.impute(m["tables"], ROWS, n_draws=1.5),
            UsageError,
            "`n_draws` must be an integer, got 1.5",
        ),
        (lambda m: fivefold.detect(m["tables"], ROWS, false_alarm_rate=0.5, fdr=0.1), UsageError, "exclude each other"),
        (lambda m: fivefold.detect(m["tables"], ROWS, seperator=";"), UsageError, "no option of detect; did you mean"),
        (lambda m: fivefold.compress(m["tables"], ROWS, worker=2), UsageError, "did you mean workers"),
        (lambda m: fivefold.decompress("shop.ff", m["tables"]), UsageError, "`archive` must be bytes.*got str; read"),
        (lambda m: fivefold.decode(m["tables"], [[1, 2], [3]]), DataError, "codes must be .*, got rows of different"),
        (lambda m: fivefold.morph(m["tables"], "x", "y", 3), DataError, "codes must be numbers of shape"),
        (
            lambda m: fivefold.evaluate(m["tables"], ROWS, ["dance"]),
            UsageError,
            "`jobs` must be some of .*; got 'dance'",
        ),
        (
            lambda m: fivefold.decompress((GOLDEN / "tables" / "archive-2.ff").read_bytes(), m["images"]),
            WrongModelError,
            "another model, of fingerprint [0-9a-f]{12}…, got one of [0-9a-f]{12}…; give that one",
        ),
    ],
)
def test_mistakes_end_in_errors_that_say_what_to_do(models, call, error, said):
    with pytest.raises(error, match=said):
        call(models)


def test_numbers_of_numpy_are_numbers(models):
    assert len(fivefold.generate(models["tables"], np.int64(2), np.uint8(1))) == 2
    assert fivefold.config.TrainingConfig(epochs=np.int32(3), learning_rate=np.float32(0.5)).to_json()["epochs"] == 3


@pytest.mark.parametrize("method", ["compress", "denoise", "explain", "impute", "predict", "sample", "transform"])
def test_methods_before_the_fit_say_so(method):
    with pytest.raises(NotFittedError):
        getattr(fivefold.VAE(), method)(*(() if method == "sample" else (ROWS,)))
