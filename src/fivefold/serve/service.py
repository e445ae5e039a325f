"""What a process of the server does with requests, whatever route they come by."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fivefold.errors import ArchiveError, DataError, FivefoldError, ModelError, UsageError, suggest
from fivefold.serve import forms
from fivefold.serve.answers import Answer, dumped
from fivefold.serve.bodies import MalformedError, read_body
from fivefold.serve.folder import Folder
from fivefold.serve.guard import current
from fivefold.serve.inference import Inference
from fivefold.serve.logs import log
from fivefold.serve.metrics import Metrics
from fivefold.serve.models import Models, ServedModel
from fivefold.serve.runner import Task, TooMuchError
from fivefold.serve.settings import Settings
from fivefold.serve.together import SmallTask, run_together
from fivefold.serve.worker import FullError, Job, OutOfTimeError, Worker
from fivefold.verbs.catalogue import Verb
from fivefold.verbs.options import renamed

_SMALL = 1 << 20  # bytes of an answer that is sent at once
_RETRY_AFTER = "1"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_STATUS: dict[type[BaseException], int] = {
    MalformedError: 400,
    forms.NotAcceptableError: 406,
    TooMuchError: 413,
    UsageError: 422,
    DataError: 422,
    ArchiveError: 422,
    ModelError: 422,
    FivefoldError: 422,
    MemoryError: 413,
}


class NoModelError(FivefoldError):
    """There is no model of that name."""


class Service:
    """Models, the thread that works on them, and what is counted.

    Parameters
    ----------
    settings
    shared : folder for what all processes of a server have in common; None if this is the only one
    """

    def __init__(self, settings: Settings, shared: Path | None = None) -> None:
        self.settings = settings
        self.models = Models(settings.models, shared)
        self.metrics = Metrics()
        self.worker = Worker(settings.limits.queue)
        self.draining = False

    def start(self) -> None:
        """Load the models."""
        self.models.load()
        for served in self.models:
            self.metrics.loaded(served.name, served.summary["fingerprint"])

    @property
    def ready(self) -> bool:
        """Whether requests should come."""
        return self.models.ready and self.worker.alive and not self.draining

    def find(self, name: str) -> ServedModel:
        """A model by name; raises `NoModelError`."""
        served = self.models.get(name)
        if served is None:
            known = suggest(name[:80], [served.name for served in self.models])
            raise NoModelError(f"there is no model {name[:80]!r}{known}")
        current.get().facts["model"] = name
        return served

    async def answer(self, name: str, verb: Verb, request: Request) -> Response:
        """Do what a request asks for."""
        served = self.find(name)
        current.get().facts["verb"] = verb.name
        query = {key: request.query_params.getlist(key) for key in request.query_params}
        part = query.pop("part", [None])[0]
        options = verb.parse(query)
        async with self.folder() as folder:
            body = await read_body(request, verb, served.model.schema, folder)
            offered = forms.choices(served.model.modality, verb.gives, verb.takes)
            form = forms.choose(request.headers.get("accept", ""), body.form, offered)
            task = Task(served, verb, body, options, form, part, folder, self.settings.limits)
            response = _response(await self.run(task), folder)
        if not isinstance(response, StreamingResponse):
            await folder.remove()
        return response

    async def infer(self, name: str, request: Request) -> dict[str, Any]:
        """Do what a request of the Open Inference Protocol asks for."""
        served = self.find(name)
        asked = Inference.parse(await request.body(), served.model.schema)
        current.get().facts["verb"] = asked.verb.name
        async with self.folder() as folder:
            task = Task(served, asked.verb, asked.body, asked.options, forms.JSON, None, folder, self.settings.limits)
            answer = asked.answer(name, await self.run(task))
        await folder.remove()
        return answer

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[Folder]:
        """One for a request, which is deleted if that fails; then raises `Refused`."""
        folder = Folder()
        try:
            yield folder
        except BaseException as error:
            await folder.remove()
            if isinstance(error, FivefoldError | MemoryError | OSError):
                raise Refused(*self.refusal(error, folder)) from error
            raise

    async def run(self, task: Task) -> Answer:
        """The answer to a request, done with others if it is small."""
        small = SmallTask.of(task)
        found: Answer = await (
            self.work(task.run) if small is None else self.work(small, small.group, self._run_together)
        )
        current.get().facts["items"] = found.items
        return found

    def _run_together(self, tasks: Sequence[SmallTask]) -> Sequence[Answer | Exception]:
        self.metrics.together(len(tasks))
        return run_together(tasks)

    async def work(
        self,
        work: Any,
        group: Hashable = None,
        together: Callable[[Sequence[Any]], Sequence[Any]] | None = None,
    ) -> Any:
        """The result of work on a model, done in the worker's thread; raises `Refused` if it must wait too long."""
        seconds = self.settings.limits.seconds
        job = Job(work, time.monotonic() + seconds, group, together)
        try:
            future: Future[Any] = self.worker.submit(job)
        except FullError:
            raise Refused(429, "too many requests wait; ask again later", {"retry-after": _RETRY_AFTER}) from None
        self.metrics.waiting(len(self.worker))
        timer = asyncio.get_running_loop().call_later(seconds, self.worker.expire, job)
        try:
            return await asyncio.wrap_future(future)
        except OutOfTimeError:
            raise Refused(503, f"a request may take {seconds:g} seconds", {"retry-after": _RETRY_AFTER}) from None
        finally:
            timer.cancel()
            self.metrics.waiting(len(self.worker))

    def refusal(self, error: BaseException, folder: Folder | None = None) -> tuple[int, str]:
        """The status for an error, and its reason in one line, which names no place on the server."""
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
        if status == 500:
            log("failed", 40, failed=True, id=current.get().id)
            return 500, "the server failed; its log has the reason under this id"
        text = "the data does not fit into memory" if isinstance(error, MemoryError) else str(error)
        text = text if folder is None else folder.hidden(text)
        for name, path in self.models.paths.items():
            text = text.replace(str(path), name)
        return status, _CONTROLS.sub(" ", renamed(text, "`{}`".format))

    async def reload(self) -> None:
        """Load models anew whose files have changed; requests that are on their way keep the one they have."""
        for name in await asyncio.to_thread(self.models.changed):
            before = self.models.get(name)
            error = await asyncio.to_thread(self.models.reload, name)
            if error is not None:
                log("model can't be loaded, the old one stays", 40, model=name, error=str(error))
                continue
            after = self.models.get(name)
            if before is not None and after is not None:
                self.metrics.loaded(name, before.summary["fingerprint"], 0)
                self.metrics.loaded(name, after.summary["fingerprint"])
                log("model loaded", model=name, fingerprint=after.summary["fingerprint"])


class Refused(Exception):
    """A request is answered with an error.

    Parameters
    ----------
    status, reason : what the answer says
    headers : of it
    """

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers

    def response(self) -> Response:
        """The answer."""
        content = dumped({"error": self.reason, "request": current.get().id})
        return Response(content, self.status, self.headers, forms.JSON)


def _response(answer: Answer, folder: Folder) -> Response:
    """The answer as one; if it is streamed from `folder`, that is deleted in the end."""
    headers = {
        "x-fivefold-figures": _ascii(answer.figures),
        "x-fivefold-parts": ",".join(answer.parts),
        "content-disposition": f'inline; filename="{answer.name}"',
    }
    if answer.warnings:
        headers["x-fivefold-warnings"] = _ascii([_CONTROLS.sub(" ", folder.hidden(text)) for text in answer.warnings])
    if answer.path is None or answer.path.stat().st_size <= _SMALL:
        content = answer.content if answer.path is None else answer.path.read_bytes()
        return Response(content, 200, headers, answer.media)
    headers["content-length"] = str(answer.path.stat().st_size)

    def chunks() -> Any:
        try:
            yield from answer.chunks()
        finally:
            folder.remove_now()

    return StreamingResponse(chunks(), 200, headers, answer.media)


def _ascii(content: Any) -> str:
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"))
