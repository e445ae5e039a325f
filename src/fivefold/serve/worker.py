"""One thread that works on models, request by request, so that the event loop stays free; and the queue before it."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

_MOST_TOGETHER = 16


class FullError(Exception):
    """Too many requests wait."""


class OutOfTimeError(BaseException):
    """A job took longer than it may; raised wherever its thread is, so it must not be taken for an error of the job's own."""


@dataclass(eq=False)
class Job:
    """Work for the thread.

    Attributes
    ----------
    work : what to do
    deadline : when to give up, in `time.monotonic`'s seconds
    group : jobs of an equal group can be done together, by `together` of all their works; None: alone
    """

    work: Any
    deadline: float
    group: Hashable = None
    together: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    future: Future[Any] = field(default_factory=Future)


class Worker:
    """Runs jobs in the order in which they come, but for those that can be done together with the first.

    Parameters
    ----------
    most : jobs that may wait
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Job] = deque()
        self._condition = threading.Condition()
        self._current: tuple[Job, ...] = ()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="fivefold-model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def submit(self, job: Job) -> Future[Any]:
        """The result to come; raises `FullError` if too many wait."""
        with self._condition:
            if len(self._waiting) >= self._most or self._closed:
                raise FullError
            self._waiting.append(job)
            self._condition.notify()
        return job.future

    def expire(self, job: Job) -> None:
        """Give up a job, waiting or not."""
        with self._condition:
            if job in self._waiting:
                self._waiting.remove(job)
                job.future.set_exception(OutOfTimeError())
            elif job in self._current and not job.future.done() and self._thread.ident is not None:
                _raise_in(self._thread.ident, OutOfTimeError)

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                if not self._step():
                    return
            except OutOfTimeError:  # it came too late, between two jobs
                self._fail(OutOfTimeError())

    def _step(self) -> bool:
        with self._condition:
            while not self._waiting and not self._closed:
                self._condition.wait()
            if not self._waiting:
                return False
            self._current = tuple(self._next())
        try:
            results = self._work(self._current)
        except OutOfTimeError as error:
            self._fail(error)
            return True
        except Exception as error:
            self._fail(error)
            return True
        with self._condition:
            jobs, self._current = self._current, ()
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        return True

    def _next(self) -> list[Job]:
        """The first job, and those that can be done with it."""
        first = self._waiting.popleft()
        if first.group is None:
            return [first]
        others = [job for job in self._waiting if job.group == first.group][: _MOST_TOGETHER - 1]
        for job in others:
            self._waiting.remove(job)
        return [first, *others]

    def _work(self, jobs: Sequence[Job]) -> Sequence[Any]:
        now = time.monotonic()
        if len(jobs) == 1 and jobs[0].deadline < now:
            raise OutOfTimeError
        together = jobs[0].together
        return [jobs[0].work()] if together is None else together([job.work for job in jobs])

    def _fail(self, error: BaseException) -> None:
        with self._condition:
            jobs, self._current = self._current, ()
            _raise_in(threading.get_ident(), None)  # one that is on its way would hit the next job
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in another thread, at its next step in Python; or none any more."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
