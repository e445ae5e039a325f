"""The routes: models and their verbs, health, metrics, and the page."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from fivefold import __version__
from fivefold.errors import FivefoldError
from fivefold.serve.answers import dumped
from fivefold.serve.forms import JSON
from fivefold.serve.guard import Guard
from fivefold.serve.inference import describe
from fivefold.serve.openapi import INFER, describe_verb
from fivefold.serve.service import NoModelError, Refused, Service
from fivefold.serve.settings import Settings
from fivefold.verbs.catalogue import VERBS, Verb

_PAGE = resources.files("fivefold.serve") / "page"
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("text/javascript", ".mjs")


def make_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """The application; models are loaded when it starts."""
    service = service or Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not service.models.ready:
            service.start()
        yield
        service.worker.close()

    app = FastAPI(
        title="Fivefold",
        version=__version__,
        summary="Fitted models: compress, generate, denoise, detect, impute.",
        docs_url=None,  # those pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_errors(app, service)
    _add_models(app, service)
    _add_inference(app, service)
    _add_operations(app, service)
    _add_page(app)
    _name_models(app, settings)
    app.add_middleware(Guard, settings=settings, metrics=service.metrics, draining=lambda: service.draining)
    if settings.origins:  # around the guard: what it refuses is to be read, too
        exposed = ["x-request-id", "x-fivefold-figures", "x-fivefold-parts", "x-fivefold-warnings", "retry-after"]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "x-api-key", "x-request-id", "content-type", "accept"],
            expose_headers=exposed,
        )
    return app


def _name_models(app: FastAPI, settings: Settings) -> None:
    """Let the OpenAPI document say what models there are."""
    for path, operations in app.openapi()["paths"].items():
        for operation in operations.values() if "{name}" in path else ():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": list(settings.models)}


def _add_errors(app: FastAPI, service: Service) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return error.response()

    @app.exception_handler(FivefoldError)
    async def mistaken(request: Request, error: FivefoldError) -> Response:
        status, reason = (404, str(error)) if isinstance(error, NoModelError) else service.refusal(error)
        return Refused(status, reason).response()

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return Refused(error.status_code, str(error.detail).splitlines()[0], dict(error.headers or {})).response()


def _add_models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", summary="The models that are served", tags=["models"])
    async def models() -> Response:
        return _json({"models": [served.summary for served in service.models]})

    @app.get("/v1/models/{name}", summary="All that is known of a model", tags=["models"])
    async def model(name: str) -> Response:
        return _json(service.find(name).description)

    for verb in VERBS.values():
        path = f"/v1/models/{{name}}/{verb.name}"
        route = app.post(path, summary=verb.summary, tags=["verbs"], name=verb.name, openapi_extra=describe_verb(verb))
        route(_answering(verb, service))


def _answering(verb: Verb, service: Service) -> Callable[[str, Request], Awaitable[Response]]:
    async def answer(name: str, request: Request) -> Response:
        return await service.answer(name, verb, request)

    return answer


def _add_inference(app: FastAPI, service: Service) -> None:
    """The Open Inference Protocol, version 2."""

    @app.get("/v2", summary="The server, and what it adds to the protocol", tags=["inference"])
    async def server() -> Response:
        return _json({"name": "fivefold", "version": __version__, "extensions": []})

    @app.get("/v2/health/live", summary="Whether the process lives", tags=["inference"])
    async def live() -> Response:
        alive = service.worker.alive
        return _json({"live": alive}, 200 if alive else 503)

    @app.get("/v2/health/ready", summary="Whether requests should come", tags=["inference"])
    async def ready() -> Response:
        return _json({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/v2/models/{name}", summary="A model's tensors", tags=["inference"])
    async def tensors(name: str) -> Response:
        return _json(describe(service.find(name)))

    @app.get("/v2/models/{name}/ready", summary="Whether a model is loaded", tags=["inference"])
    async def model_ready(name: str) -> Response:
        return _json({"name": service.find(name).name, "ready": service.ready})

    @app.post("/v2/models/{name}/infer", summary="A job on tensors", tags=["inference"], openapi_extra=INFER)
    async def infer(name: str, request: Request) -> Response:
        return _json(await service.infer(name, request))


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process lives", tags=["operations"])
    async def healthz() -> Response:
        alive = service.worker.alive
        return _json({"status": "ok" if alive else "dead", "process": os.getpid()}, 200 if alive else 503)

    @app.get("/readyz", summary="Whether requests should come", tags=["operations"])
    async def readyz() -> Response:
        ready = service.ready
        return _json({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/metrics", summary="What is counted, for Prometheus", tags=["operations"])
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    """Files of the page, each found by its name among those that are there, never by a path from a request."""
    files = dict(_walk(_PAGE))

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _file(files, "index.html")

    @app.get("/page/{name:path}", include_in_schema=False)
    async def page(name: str) -> Response:
        return _file(files, name)


def _walk(folder: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry))
    return found


def _file(files: dict[str, Any], name: str) -> Response:
    if name not in files:
        raise HTTPException(404, "there is no such page")
    media = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(files[name].read_bytes(), headers={"cache-control": "no-cache"}, media_type=media)


def _json(content: Any, status: int = 200) -> Response:
    return Response(dumped(content), status, media_type=JSON)
