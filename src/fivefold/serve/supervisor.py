"""The process that starts workers, replaces those that die, and passes signals on."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from fivefold.errors import ModelError, UsageError
from fivefold.serve.logs import log, start_logging
from fivefold.serve.metrics import SHARED
from fivefold.serve.settings import Settings

_BACKLOG = 1024
_STARTING = 120.0  # seconds that a worker may take to load its models
_PAUSE = 0.2
_AGAIN = 1.0  # seconds that a worker must have lived to be replaced at once


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; raises `UsageError` if it can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        if sys.platform != "win32":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        raise UsageError(f"{host}:{port} can't be listened on ({error})") from None
    return found


def url_of(listening: socket.socket) -> str:
    """Where a listening socket is to be reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass
class _Worker:
    """A worker process, and when it was started."""

    process: Any
    ready: Connection
    started: float


class Supervisor:
    """Workers on one socket.

    Parameters
    ----------
    settings
    listening : the socket
    """

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        self._settings, self._listening = settings, listening
        self._workers: list[_Worker] = []
        self._ending = False
        ways = ["forkserver", "spawn"] if sys.platform != "win32" else ["spawn"]
        self._context: Any = get_context(ways[0])
        if ways[0] == "forkserver":  # what takes seconds to import is there when a worker has to be replaced
            self._context.set_forkserver_preload(["fivefold.serve.process"])

    def run(self, started: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; `started` is called once all workers take requests.

        Raises `ModelError` if a model can't be loaded.
        """
        start_logging()
        handlers: dict[Any, Any] = {signal.SIGTERM: self._end, signal.SIGINT: self._end}
        if sys.platform != "win32":
            handlers[signal.SIGHUP] = self._reload
        with tempfile.TemporaryDirectory(prefix="fivefold-serve-") as shared:
            os.environ[SHARED] = shared
            before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
            try:
                for _ in range(self._settings.workers):
                    self._workers.append(self._start())
                for worker in self._workers:
                    self._await(worker)
                if not self._ending:
                    started()
                while not self._ending:
                    self._look_after()
            finally:
                self._stop()
                for number, handler in before.items():
                    signal.signal(number, handler)
                del os.environ[SHARED]

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe(duplex=False)
        words = ("fivefold.serve.process", self._settings, self._listening, theirs)
        process = self._context.Process(target=_run, args=words, name="fivefold-worker")
        process.start()
        theirs.close()
        return _Worker(process, ours, time.monotonic())

    def _await(self, worker: _Worker) -> None:
        """Until a worker is ready; raises `ModelError` if it never is."""
        until = worker.started + _STARTING
        while not self._ending and not worker.ready.poll(_PAUSE):
            if time.monotonic() > until:
                raise ModelError("a worker took too long to load its models")
        try:
            wrong = worker.ready.recv() if not self._ending else None
        except EOFError:
            wrong = "a worker ended before it was ready; its log says why"
        if wrong is not None:
            raise ModelError(wrong)

    def _look_after(self) -> None:
        """Replace workers that have died."""
        connection.wait([worker.process.sentinel for worker in self._workers], _PAUSE)
        for number, worker in enumerate(self._workers):
            if self._ending or worker.process.is_alive():
                continue
            mark_process_dead(worker.process.pid)  # type: ignore[no-untyped-call]
            log("worker died, another one takes its place", 40, worker=worker.process.pid)
            if time.monotonic() < worker.started + _AGAIN:
                time.sleep(_AGAIN)
            worker.ready.close()
            self._workers[number] = self._start()

    def _stop(self) -> None:
        """End all workers once they have answered their requests."""
        self._listening.close()
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        until = time.monotonic() + self._settings.limits.seconds + self._settings.limits.body_seconds + 2
        for worker in self._workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = True

    def _reload(self, number: int, frame: FrameType | None) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                os.kill(worker.process.pid, number)


def _run(module: str, *words: Any) -> None:
    """`run_worker`, which only workers import: it loads torch."""
    from importlib import import_module

    import_module(module).run_worker(*words)
