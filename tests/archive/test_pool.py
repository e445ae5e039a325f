"""Tasks in order, few at a time, and no worker outlives its parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from fivefold.archive.pool import Pool
from fivefold.errors import FivefoldError, UsageError


def add(shared: int, number: int) -> int:
    return shared + number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    with Pool(100, workers, tasks=20) as pool:
        assert list(pool.map(add, ((n,) for n in range(20)))) == list(range(100, 120))


def test_tasks_are_made_when_they_are_needed():
    made = []

    def tasks():
        for n in range(100):
            made.append(n)
            yield (n,)

    with Pool(0, 2, tasks=100) as pool:
        next(pool.map(add, tasks()))
        assert len(made) <= 6


def test_workers_below_one():
    with pytest.raises(UsageError, match="`workers`"):
        Pool(0, 0, tasks=1)


def end(_: object) -> None:
    os._exit(1)


@pytest.mark.situation("a worker process that is killed", "refused in one line")
def test_a_worker_that_is_killed():
    with Pool(0, 2, tasks=2) as pool, pytest.raises(FivefoldError, match="killed"):
        list(pool.map(end, ((), ())))


def test_one_task_needs_no_process(monkeypatch):
    monkeypatch.setattr("fivefold.archive.pool.ProcessPoolExecutor", None)
    with Pool(1, 8, tasks=1) as pool:
        assert list(pool.map(add, iter([(1,)]))) == [2]


PARENT = """
import os, time
from fivefold.archive.pool import Pool

def wait(shared, seconds):
    os.write(1, b"%d\\n" % os.getpid())  # whole, beside the other's
    time.sleep(seconds)

if __name__ == "__main__":
    with Pool(None, 2, tasks=2) as pool:
        list(pool.map(wait, ((600,) for _ in range(2))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="asks for processes by number")
def test_workers_of_a_killed_parent_end(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            workers = [int(parent.stdout.readline()) for _ in range(2)]
        finally:
            parent.kill()
    for _ in range(200):
        if not any(map(is_alive, workers)):
            return
        time.sleep(0.1)
    pytest.fail("a worker is still there")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
