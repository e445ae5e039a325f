"""Work on blocks, in this process or in several. No torch here: what a process loads it must pay for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

from fivefold.errors import UsageError

_shared: Any = None


class Pool:
    """Calls functions with something that they all share, results in order and few tasks in memory.

    Parameters
    ----------
    shared : goes to each process once
    workers : processes; with 1 all is done in this one

    Raises
    ------
    UsageError : if `workers` is below 1
    """

    def __init__(self, shared: Any, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"--workers must be at least 1, got {workers}")
        self._shared, self._workers = shared, workers
        self._executor: Executor | None = None

    def __enter__(self) -> Pool:
        if self._workers > 1:
            self._executor = ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_remember, initargs=(self._shared,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, work: Callable[..., Any], tasks: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        """`work(shared, *task)` for each task."""
        if self._executor is None:
            yield from (work(self._shared, *task) for task in tasks)
            return
        waiting: list[Future[Any]] = []
        for task in tasks:
            waiting.append(self._executor.submit(_call, work, task))
            if len(waiting) > 2 * self._workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _remember(shared: Any) -> None:
    """In a worker: what its tasks share; on one thread, as the others have theirs."""
    from threadpoolctl import threadpool_limits

    threading.Thread(target=_end_with_parent, daemon=True).start()

    global _shared
    _shared = shared
    threadpool_limits(1)


def _end_with_parent() -> None:
    """A killed parent can't tell its workers to stop; they would wait for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return work(_shared, *task)
