"""The application in this process, with the small models of the golden files."""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import make
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from fivefold.serve.app import make_app
from fivefold.serve.settings import Limits, Settings

HOW = {"raise_server_exceptions": False, "base_url": "http://127.0.0.1"}
MODELS = {case.name: case.folder / "model" for case in make.cases()}


@pytest.fixture(scope="session")
def models() -> dict[str, Path]:
    """Folders of models by modality."""
    return dict(MODELS)


@pytest.fixture(scope="session")
def serving():
    """A function that makes a client of a server with some settings."""
    return lambda **settings: TestClient(make_app(Settings(MODELS, **settings)), **HOW)


@pytest.fixture(scope="session")
def client():
    """A server of one model per modality."""
    with TestClient(make_app(Settings(MODELS)), **HOW) as client:
        yield client


@contextmanager
def _running(settings: Settings):
    """The address of a server in a thread."""
    server = uvicorn.Server(uvicorn.Config(make_app(settings), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def running():
    """A function that runs a server on a port of its own, and gives its address."""
    return _running


@pytest.fixture(scope="session")
def address():
    """Where a server of one model per modality listens."""
    with _running(Settings(MODELS)) as found:
        yield found


@pytest.fixture(scope="session")
def small():
    """A server that allows little."""
    limits = Limits(body=20_000, items=30, elements=5000, seconds=20, queue=2)
    with TestClient(make_app(Settings(MODELS, limits=limits)), **HOW) as client:
        yield client


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


@pytest.fixture(scope="session")
def files() -> dict[str, tuple[str, bytes]]:
    """Data of each modality as a file: its name and content."""
    npy = io.BytesIO()
    np.save(npy, make.items())
    return {
        "images": ("data.npy", npy.getvalue()),
        "tables": ("data.csv", make.rows(40).to_csv(index=False).encode()),
        "series": ("data.csv", make.steps().to_csv(index=False).encode()),
        "picture": ("data.png", _png(make.items()[0])),
    }
