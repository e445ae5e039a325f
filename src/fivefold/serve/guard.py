"""What every request passes before any route: an id, keys, limits of size and time; and what every answer gets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fivefold.serve.logs import log
from fivefold.serve.metrics import Metrics
from fivefold.serve.settings import Settings

_ID = re.compile(r"[\w.:-]{1,64}")
_OPEN = (
    "/healthz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/",
)  # needs no key: the page asks for one itself
_OPEN_FOLDER = "/page/"
_DRAINED = 2.0  # seconds
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class BodyTooLargeError(Exception):
    """A body has more bytes than it may."""


class TooSlowError(Exception):
    """A client is slower than it may be."""


class About:
    """What is known of a request, for its line in the log: model, verb, items."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.facts: dict[str, Any] = {}


current: ContextVar[About] = ContextVar("current")


class Guard:
    """ASGI middleware.

    Parameters
    ----------
    app : what is guarded
    settings, metrics
    draining : whether the server is about to end, so that connections are not to be kept
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, draining: Callable[[], bool]) -> None:
        self._app, self._settings, self._metrics, self._draining = app, settings, metrics, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, start = Headers(scope=scope), time.perf_counter()
        given = headers.get("x-request-id", "")
        about = About(given if _ID.fullmatch(given) else uuid.uuid4().hex)
        current.set(about)
        exchange = _Exchange(self._settings, scope, receive, send, about, self._draining)
        try:
            if (refusal := self._refusal(scope, headers)) is not None:
                await exchange.refuse(*refusal)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except (BodyTooLargeError, TooSlowError) as error:
            await exchange.refuse(413 if isinstance(error, BodyTooLargeError) else 408, str(error))
        except Exception:
            log("failed", logging.ERROR, failed=True, id=about.id)
            await exchange.refuse(500, "the server failed; its log has the reason under this id")
        finally:
            self._note(scope, about, exchange, time.perf_counter() - start)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """With which status and why a request is not even read."""
        settings, path = self._settings, scope["path"]
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:19]) > settings.limits.body:
            return 413, f"a body may have {settings.limits.body:,} bytes at most"
        if not settings.serves(_host(headers.get("host", ""))):
            return 421, "without keys this server is only for its own machine, which is to be called localhost"
        if not settings.keys or path in _OPEN or path.startswith(_OPEN_FOLDER) or scope["method"] == "OPTIONS":
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if settings.allows(key):
            return None
        return 401, "a key must be given, as `Authorization: Bearer KEY` or `X-API-Key: KEY`"

    def _note(self, scope: Scope, about: About, exchange: _Exchange, seconds: float) -> None:
        facts = about.facts
        model, verb = facts.get("model", ""), facts.get("verb", "")
        self._metrics.answered(model, verb, exchange.status, seconds, facts.get("items", 0))
        log(
            "request",
            id=about.id,
            method=scope["method"],
            path=scope["path"][:200],
            status=exchange.status,
            seconds=round(seconds, 4),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            client=scope["client"][0] if scope.get("client") else None,
            **facts,
        )


def _host(header: str) -> str:
    """Of a header `Host` the name, without the port."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]


class _Exchange:
    """One request and its answer, counted and timed."""

    def __init__(
        self,
        settings: Settings,
        scope: Scope,
        receive: Receive,
        send: Send,
        about: About,
        draining: Callable[[], bool],
    ) -> None:
        self._limits, self._scope, self._about, self._draining = settings.limits, scope, about, draining
        self._receive, self._send = receive, send
        self._until: float | None = None
        self._complete = False
        self.status, self.bytes_in, self.bytes_out = 0, 0, 0

    async def receive(self) -> Message:
        """The next part of the body; raises if there is too much of it, or it is too slow in coming."""
        if self._complete:
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + self._limits.body_seconds
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise TooSlowError(f"a body must be there in {self._limits.body_seconds:g} seconds") from None
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self.bytes_in > self._limits.body:
                raise BodyTooLargeError(f"a body may have {self._limits.body:,} bytes at most")
        return message

    async def send(self, message: Message) -> None:
        """Part of the answer; a client that doesn't take it in time is cut off."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["x-request-id"] = self._about.id
            if self._draining() or (not self._complete and self._scope["method"] not in ("GET", "HEAD")):
                headers["connection"] = "close"  # else the rest of a body would be taken for a request
        self.bytes_out += len(message.get("body", b""))
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._send(message)
        except TimeoutError:
            raise ConnectionError("the client is too slow") from None

    async def _drain(self) -> None:
        """Take what is on its way of a body that nobody reads: a client that still sends would not see the answer."""
        left, until = self._limits.body, asyncio.get_running_loop().time() + _DRAINED
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not self._complete and left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._complete = message["type"] != "http.request" or not message.get("more_body", False)

    async def refuse(self, status: int, reason: str) -> None:
        """Answer with an error, if no answer has begun."""
        if self.status:
            return
        await self._drain()
        content = json.dumps({"error": reason, "request": self._about.id}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})
