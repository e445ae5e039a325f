"""One worker process: models, the application, and a web server on a socket that all workers share."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

import torch
import uvicorn

from fivefold.errors import FivefoldError
from fivefold.progress import silence
from fivefold.serve.app import make_app
from fivefold.serve.logs import log, start_logging
from fivefold.serve.metrics import SHARED
from fivefold.serve.protocol import ImpatientProtocol
from fivefold.serve.service import Service
from fivefold.serve.settings import Settings

_DRAINING = 0.5  # seconds in which connections are asked to end before any is closed
_CLOSING = 0.05  # seconds until all processes have stopped listening
_KEPT = 30  # seconds that a connection may be idle
_WATCHED = 1.0  # seconds from one look at the models' files to the next


class _Server(uvicorn.Server):
    """Says when it is ready; ends once every request that it has accepted is answered."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Connection) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready
        self._tasks = set[asyncio.Task[None]]()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, AttributeError):  # Windows has no such signals
            loop.add_signal_handler(signal.SIGHUP, self._start_reload)
        parent = parent_process()
        if parent is not None:
            loop.add_reader(parent.sentinel, self._orphaned, parent.sentinel)
        if self._service.settings.watch:
            self._keep(self._watch())
        self._ready.send(None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections; those that were taken last may still say what they want."""
        own = [listening.dup() for listening in sockets or ()]
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        await asyncio.sleep(_CLOSING)
        for taken in [connection for listening in own for connection in _taken(listening)]:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, taken)
        await asyncio.sleep(_DRAINING)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return ImpatientProtocol(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Answers say from now on that connections end; then connections that are idle are closed."""
        if not self._service.draining:
            self._service.draining = True
            asyncio.get_running_loop().call_later(_DRAINING, self._end)

    def _end(self) -> None:
        self.should_exit = True

    def _orphaned(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self.handle_exit(signal.SIGTERM, None)

    def _start_reload(self) -> None:
        self._keep(self._service.reload())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCHED)
            await self._service.reload()

    def _keep(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _taken(listening: socket.socket) -> list[socket.socket]:
    """The connections that wait at a socket, which is closed at once, before there are others."""
    found: list[socket.socket] = []
    listening.setblocking(False)
    with listening, suppress(BlockingIOError):
        while True:
            found.append(listening.accept()[0])
    return found


def run_worker(settings: Settings, shared: socket.socket, ready: Connection) -> None:
    """Serve until told to end; `ready` gets None once requests are taken, or what is wrong."""
    start_logging()
    silence()
    torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // settings.workers)))
    service = Service(settings, Path(os.environ[SHARED]) if settings.workers > 1 else None)
    try:
        service.start()
    except FivefoldError as error:
        ready.send(str(error))
        return
    config = uvicorn.Config(
        make_app(settings, service),
        http=ImpatientProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEPT,
        timeout_graceful_shutdown=int(settings.limits.seconds + settings.limits.body_seconds) + 1,
    )
    server = _Server(config, service, ready)
    server.run([shared])
    log("worker ended")
