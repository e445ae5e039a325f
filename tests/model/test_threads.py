"""Batches in threads: the same results, errors, and settings as one after the other."""

import threading
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch

import fivefold
from fivefold.model.fitted import FittedModel
from fivefold.model.threads import in_parts, in_threads


@pytest.fixture(autouse=True)
def _threads_put_back() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_do_not_depend_on_the_number_of_threads(table_model: FittedModel, trees: pd.DataFrame) -> None:
    many, found = pd.concat([trees] * 4, ignore_index=True), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        score = fivefold.detect(table_model, many, false_alarm_rate=0.05).score
        filled = fivefold.impute(table_model, many, n_draws=1, interval=0.8)
        drawn = fivefold.generate(table_model, 2500)
        found.append((filled.data, *filled.draws, filled.lower, filled.upper, drawn, pd.Series(score)))
        assert torch.get_num_threads() == threads
    for alone, beside in zip(*found, strict=True):
        assert alone.equals(beside)


def test_parts_of_many_rows_come_back_in_their_order() -> None:
    torch.set_num_threads(3)
    rows, sizes = np.arange(1000.0).reshape(500, 2), []

    def work(part: np.ndarray) -> np.ndarray:
        sizes.append(len(part))
        return part.sum(axis=1)

    assert np.array_equal(in_parts(work, rows), rows.sum(axis=1))
    assert sorted(sizes) == [166, 167, 167]
    assert in_parts(work, rows[:100]).shape == (100,)
    assert sizes[3:] == [100]


def test_what_a_thread_raises_is_raised_and_ends_the_others(table_model: FittedModel) -> None:
    torch.set_num_threads(2)
    begun = []

    def fail(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("the second")

    with pytest.raises(ValueError, match="the second"):
        in_threads(table_model, fail, ((number,) for number in range(1000)))
    assert len(begun) < 20
    assert torch.get_num_threads() == 2


def test_tasks_are_made_as_they_are_needed(table_model: FittedModel) -> None:
    torch.set_num_threads(2)
    made, done = [], []

    def tasks() -> Iterator[tuple[int]]:
        for number in range(50):
            made.append(number)
            assert number - len(done) <= 6
            yield (number,)

    in_threads(table_model, done.append, tasks())
    assert sorted(done) == made == list(range(50))


def test_threads_that_begin_later_have_as_many_as_before(table_model: FittedModel) -> None:
    torch.set_num_threads(2)
    in_threads(table_model, lambda _: None, [(0,), (1,)])
    counts = list[int]()
    later = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert counts == [2]


def test_large_items_are_dealt_with_one_batch_after_the_other(model: FittedModel) -> None:
    torch.set_num_threads(2)
    seen = []
    in_threads(model, lambda _: seen.append((threading.current_thread(), torch.get_num_threads())), [(0,), (1,)])
    assert seen == [(threading.main_thread(), 2)] * 2


def test_inference_mode_goes_along(table_model: FittedModel) -> None:
    torch.set_num_threads(2)
    modes = []
    with torch.inference_mode():
        in_threads(table_model, lambda _: modes.append(torch.is_inference_mode_enabled()), [(0,), (1,)])
    assert modes == [True, True]
