"""Work on blocks, in this process or in several. No torch here: what a process loads it must pay for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from fivefold.config import JobNumbers
from fivefold.errors import FivefoldError

_MOST = 61  # processes that one can wait for on Windows
_shared: Any = None


class Pool:
    """Worker processes: calls with one shared object, results in order and few tasks in memory.

    Parameters
    ----------
    shared : sent once to every process
    workers : processes, at most; with 1 all is done in this one
    tasks : how many there will be

    Raises
    ------
    UsageError : if `workers` is below 1
    """

    def __init__(self, shared: Any, workers: int, tasks: int) -> None:
        JobNumbers(workers=workers)
        self._shared, self._workers = shared, max(1, min(workers, tasks))
        self._executor: Executor | None = None

    def __enter__(self) -> Pool:
        if self._workers > 1:
            self._executor = ProcessPoolExecutor(
                min(self._workers, _MOST),
                mp_context=get_context("spawn"),
                initializer=_remember,
                initargs=(self._shared,),
            )
            for _ in range(self._workers):  # each starts a process at once, before there are tasks
                self._executor.submit(int)
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, work: Callable[..., Any], tasks: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
        """`work(shared, *task)` for each task. Raises `FivefoldError` if a process is killed."""
        if self._executor is None:
            yield from (work(self._shared, *task) for task in tasks)
            return
        waiting: list[Future[Any]] = []
        try:
            for task in tasks:
                waiting.append(self._executor.submit(_call, work, task))
                if len(waiting) > 2 * self._workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        except BrokenProcessPool:
            raise FivefoldError(
                "a worker process was killed, perhaps for want of memory; try fewer `workers`"
            ) from None


def _remember(shared: Any) -> None:
    """Initialise a worker: the shared object; one thread, as the other workers have the other cores."""
    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback from each when all are interrupted
    threading.Thread(target=_end_with_parent, daemon=True).start()

    global _shared
    _shared = shared
    threadpool_limits(1)


def _end_with_parent() -> None:
    """End the worker with its parent, which, once killed, can't stop it: it would wait for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(work: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return work(_shared, *task)
