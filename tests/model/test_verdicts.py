"""Verdicts on jobs: how they are reached, and what follows from a bad one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fivefold
from fivefold.errors import FivefoldWarning, ModelError
from fivefold.modality import modality_of
from fivefold.model.verdicts import Verdict, compare_losses, try_detection, try_generation, verdict_of
from fivefold.tables.statistics import UpperTailScore

GOLDEN = Path(__file__).parents[1] / "golden"
DATA = {
    "images": np.random.default_rng(0).integers(0, 256, (3, 8, 6, 3)).astype(np.uint8),
    "tables": {
        "id": ["a", "b"],
        "kind": ["oak", "elm"],
        "height": [19.0, None],
        "girth": [150.0, 110.0],
        "age": [50, 37],
    },
    "series": np.random.default_rng(1).normal(size=(1, 40, 2)),
}
SIMPLE = {"images": "median filter", "tables": "the input", "series": "Gaussian filter"}


def judged(name: str, job: str = "denoise", good: bool = False) -> fivefold.FittedModel:
    """A small model with a verdict on one job."""
    model = fivefold.load(GOLDEN / name / "model", "cpu")
    model.record["verdicts"] = [dataclasses.asdict(Verdict(job, 0.2, 0.1, SIMPLE[name], "error", good, 20))]
    return model


def data_of(name: str):
    import pandas as pd

    if name != "tables":
        return DATA[name]
    return pd.DataFrame(DATA[name]).assign(planted=pd.Timestamp("2000-01-01"), healthy=True)


@pytest.mark.parametrize("name", SIMPLE)
@pytest.mark.situation(
    "a fit that denoises worse than a filter", "the filter is used, with its figures; refused if strict"
)
def test_what_denoises_worse_than_a_filter_gives_way_to_it(name):
    model, data = judged(name), data_of(name)
    with pytest.warns(FivefoldWarning, match=f"denoise by .*: 0.2 against 0.1 .{SIMPLE[name]}"):
        cleaned = fivefold.denoise(model, data)
    with pytest.raises(ModelError, match=r"0\.2 against 0\.1"):
        fivefold.denoise(model, data, strict=True)
    values = np.asarray(cleaned.data)
    if name == "tables":
        assert cleaned.changed == 0
        assert len(cleaned.changes) == 0
    else:
        assert values.shape == data.shape
        assert np.isnan(cleaned.std).all()
        assert np.abs(np.diff(values.astype(float), axis=1)).mean() < np.abs(np.diff(data.astype(float), axis=1)).mean()


@pytest.mark.parametrize(
    ("job", "call"),
    [
        ("impute", lambda model, **how: fivefold.impute(model, data_of("tables"), **how)),
        ("detect", lambda model, **how: fivefold.detect(model, data_of("tables"), false_alarm_rate=0.5, **how)),
        ("generate", lambda model, **how: fivefold.generate(model, 2, **how)),
        ("compress", lambda model, **how: fivefold.compress(model, data_of("tables"), **how)),
    ],
)
@pytest.mark.situation(
    "a fit that does a job worse than the simplest alternative", "warned with figures; refused if strict"
)
def test_a_bad_job_is_warned_of_or_refused(job, call):
    with pytest.warns(FivefoldWarning, match=f"{job}: .*0.2 against 0.1"):
        call(judged("tables", job))
    with pytest.raises(ModelError, match=r"0\.2 against 0\.1"):
        call(judged("tables", job), strict=True)
    call(judged("tables", job, good=True), strict=True)


def test_models_without_verdicts_do_all_jobs():
    model = fivefold.load(GOLDEN / "tables" / "model", "cpu")
    assert verdict_of(model, "denoise") is None
    fivefold.denoise(model, data_of("tables"), strict=True)


def test_the_best_alternative_is_the_one_to_beat():
    rng = np.random.default_rng(0)
    losses = {"far": rng.random(50) + 2, "near": rng.random(50) + 1}
    verdict = compare_losses("impute", rng.random(50), losses, "error")
    assert (verdict.name, verdict.good, verdict.items) == ("near", True, 50)
    assert not compare_losses("impute", losses["far"], losses, "error").good
    with_gaps = np.where(np.arange(50) < 5, np.nan, 0.5)
    assert compare_losses("impute", with_gaps, {"other": with_gaps}, "error").figure == 0.5


def test_detection_is_compared_with_the_nearest_neighbour():
    rng = np.random.default_rng(0)
    known, normal, strange = rng.normal(size=(200, 3)), rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) + 4
    perfect = np.ones(80), np.zeros(80)
    assert try_detection(perfect, (known, normal, strange)).good
    blind = rng.random(80), rng.random(80)
    verdict = try_detection(blind, (known, normal, strange))
    assert not verdict.good
    assert verdict.figure == pytest.approx(0.5, abs=0.15)
    assert verdict.alternative > 0.95


def test_generation_is_a_two_sample_test():
    rng = np.random.default_rng(0)
    real, alike, off = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 3
    assert try_generation(real, alike, off).good
    assert not try_generation(real, off, alike).good
    assert try_generation(real[:5], alike, off) is None


@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=60),
    st.lists(st.integers(-6, 6), min_size=1, max_size=20),
    st.floats(0.001, 0.999),
)
def test_threshold_and_p_value_agree(calibration, scores, rate):
    normality = UpperTailScore(np.zeros(1), np.ones(1), np.sort(np.array(calibration, float)))
    scores = np.array(scores, float)
    np.testing.assert_array_equal(scores < normality.threshold(rate), normality.p_value(scores) <= rate)


def test_too_few_to_flag_anything_have_no_threshold():
    normality = UpperTailScore(np.zeros(1), np.ones(1), np.arange(20.0))
    assert normality.threshold(0.01) == -math.inf
    assert normality.threshold(0.05) == 0.0


@pytest.mark.parametrize(
    ("figure", "good", "more_is_better", "grade"),
    [
        (0.9, True, True, "better"),
        (0.7, True, True, "even"),
        (0.7, True, False, "better"),
        (0.80001, True, True, "even"),
        (0.9, False, False, "WORSE"),
    ],
)
def test_a_verdict_in_a_word(figure, good, more_is_better, grade):
    verdict = Verdict("detect", figure, 0.8, "a", "unit, more is worse", good, 20, more_is_better=more_is_better)
    assert verdict.grade == grade
    assert Verdict.of(dataclasses.asdict(verdict)) == verdict


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("AUROC, more is better", "AUROC, more is better"),
        ("error per cell, or wrong classes, less is better", "error per cell, or wrong classes, less is better"),
        ("bytes per item, fewer are better", "bytes per item, less is better"),
        ("nats", "nats, less is better"),
    ],
)
def test_earlier_records_say_in_the_unit_which_way_is_better(unit, shown):
    row = dataclasses.asdict(Verdict("detect", 0.9, 0.8, "nearest neighbour", unit, good=True, items=20))
    del row["more_is_better"]
    verdict = Verdict.of(row)
    assert verdict.more_is_better == ("more is" in unit)
    assert f"({verdict.name}; {shown}; 20 held-out items)" in str(verdict)


def test_compression_of_series_is_judged_on_windows_side_by_side(series_model_of_table):
    model, frame = series_model_of_table
    room = modality_of(model.schema)
    items = room.data.open(frame, model.schema).all_items()
    verdict = room.verdicts.TRIALS["compress"](model, items, items, np.random.default_rng(0))
    assert verdict.items <= math.ceil(len(frame) / model.schema.shape[0]) + 1 < len(items)
