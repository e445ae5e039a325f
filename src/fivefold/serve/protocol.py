"""The web server's HTTP protocol, which cuts off clients that are too slow in saying what they want."""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

SECONDS = 10.0  # for the headers of a request, from its first byte, or from the start of a connection
MOST_BYTES = 1 << 16  # of headers


class ImpatientProtocol(HttpToolsProtocol):
    """Closes connections whose headers are long in coming, or too long."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self._timer: TimerHandle | None = None
        self._size = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(cast(Any, transport))
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.cycle is None or self.cycle.response_complete:
            self._start()
            self._size += len(data)
        super().data_received(data)
        if self._timer is not None and self._size > MOST_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        self._stop()
        super().on_headers_complete()

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._size = None, 0
