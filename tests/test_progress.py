"""Bars on terminals, silence elsewhere."""

from __future__ import annotations

import pytest
from rich.console import Console

from fivefold import progress
from fivefold.progress import Rate, progress_bar, silence


@pytest.fixture(autouse=True)
def _not_silenced(monkeypatch):
    monkeypatch.setattr(progress, "_silenced", False)


def _work() -> None:
    with progress_bar("outer", 2) as outer, progress_bar("inner", 5) as inner:
        for _ in range(5):
            inner.advance("inner, going")
        outer.advance()


@pytest.fixture
def terminal(monkeypatch):
    """Pretend that stderr is a terminal."""
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))


def test_off_a_terminal_nothing_is_printed(capsys):
    _work()
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_bars_nest_and_go_to_stderr(terminal, capsys):
    _work()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "outer" in captured.err
    assert "inner, going" in captured.err


def test_silenced_means_silent(terminal, capsys):
    silence()
    _work()
    assert capsys.readouterr().err == ""


def test_a_rate_is_of_all_bytes_so_far(monkeypatch):
    now = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    rate = Rate()
    assert rate.add(1_000_000) == "0.5 MB/s"
    assert rate.add(9_000_000) == "2.5 MB/s"
