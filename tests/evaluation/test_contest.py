"""Tables hold every figure; sentences name those that do better, and nobody else."""

from __future__ import annotations

import itertools

import pytest

from fivefold.evaluation.contest import OURS, Measure, contest

ROWS = {
    "easy": {"noisy": 10.0, OURS: 20.0, "median": 15.0, "U-Net": 25.123},
    "hard": {"noisy": 5.0, OURS: 12.0, "median": 13.5, "U-Net": 11.0, "BM3D": None},
}


def test_sentences_name_exactly_those_that_do_better():
    table, sentences = contest(Measure("PSNR", " dB"), ROWS)
    assert sentences == [
        f"median does better than {OURS} in PSNR: hard: 13.50 dB against 12.00 dB.",
        f"U-Net does better than {OURS} in PSNR: easy: 25.12 dB against 20.00 dB.",
    ]
    assert list(table.header) == ["PSNR", "noisy", OURS, "median", "U-Net", "BM3D"]
    assert [list(row) for row in table.rows] == [
        ["easy", "10.00 dB", "20.00 dB", "15.00 dB", "25.12 dB", "–"],
        ["hard", "5.00 dB", "12.00 dB", "13.50 dB", "11.00 dB", "–"],
    ]


def test_where_less_is_better_it_is_the_other_way_round():
    _, sentences = contest(Measure("RMSE", digits=1, higher_is_better=False), ROWS)
    assert sentences == [
        f"noisy does better than {OURS} in RMSE: easy: 10.0 against 20.0; hard: 5.0 against 12.0.",
        f"median does better than {OURS} in RMSE: easy: 15.0 against 20.0.",
        f"U-Net does better than {OURS} in RMSE: hard: 11.0 against 12.0.",
    ]


def test_other_ways_of_using_the_model_are_no_competitors():
    table, sentences = contest(Measure("x"), {"all": {OURS: 1.0, f"{OURS}, otherwise": 2.0, f"{OURS}ish": 3.0}})
    assert sentences == [f"{OURS}ish does better than {OURS} in x: 3.00 against 1.00."]
    assert len(table.rows[0]) == 4


@pytest.mark.parametrize("higher", [True, False])
def test_equals_do_not_do_better(higher):
    assert contest(Measure("x", higher_is_better=higher), {"all": {OURS: 1.0, "peer": 1.0}})[1] == []


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product([None, 1.0, float("nan")], repeat=2)))
@pytest.mark.parametrize("higher", [True, False])
def test_what_is_missing_does_not_compete(ours, theirs, higher):
    _, sentences = contest(Measure("x", higher_is_better=higher), {"all": {OURS: ours, "peer": theirs}})
    assert sentences == []


def test_without_us_there_is_a_table_alone():
    table, sentences = contest(Measure("bits", digits=0), {"all": {"xz": 3.0}}, "codec")
    assert list(table.header) == ["codec", "xz"]
    assert [list(row) for row in table.rows] == [["all", "3"]]
    assert sentences == []
