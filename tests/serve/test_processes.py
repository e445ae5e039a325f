"""A server as it runs: processes on a socket, stopped, killed, and told to load models anew, under load."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import make
import pandas as pd
import pytest

import fivefold
from fivefold.atomic import atomic_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
_ROW = json.dumps({"rows": [{"kind": "oak", "height": 20.0, "girth": 150.0}]})
_SECONDS = 60


@contextmanager
def _served(*words, **environment):
    """A server on a free port: its process, and that port."""
    command = [sys.executable, "-m", "fivefold", "serve", "--port", "0", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr))
    reader.start()
    try:
        line = process.stdout.readline()
        found = re.search(r":(\d+)\n", line)
        assert found, "".join(log)
        yield process, int(found[1]), log
    finally:
        process.terminate()
        process.wait(_SECONDS)
        process.stdout.close()
        reader.join(_SECONDS)
        process.stderr.close()


def _ask(port, path="/v1/models/trees/detect", body=_ROW, connection=None):
    """Status and answer; 0 and what happened, if the connection broke."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        own.request("POST" if body else "GET", path, body, {"content-type": "application/json"} if body else {})
        answer = own.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, http.client.HTTPException) as error:
        return 0, error
    finally:
        if connection is None:
            own.close()


class _Load:
    """Clients that ask one after the other, each on a connection of its own per request."""

    def __init__(self, port, clients=4):
        self._port, self._going, self.answers = port, True, []
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while self._going:
            self.answers.append(_ask(self._port))

    def stop(self):
        self._going = False
        for thread in self._threads:
            thread.join(_SECONDS)


def _all_are(expected, answers):
    """Whether all that were answered were so, but for rounding."""
    row = expected["rows"][0]
    for status, answer in answers:
        if status:
            assert status == 200, answer
            assert answer["rows"] == [row | {"score": pytest.approx(row["score"], rel=1e-9)}]


def _workers(port):
    """Process numbers that answer."""
    found = set()
    for _ in range(40):
        status, answer = _ask(port, "/healthz", None)
        if status == 200:
            found.add(answer["process"])
    return found


def _all_map(processes, model):
    """Whether processes soon map the weights of a model from a file that is there, where the system tells."""
    line = f"{fivefold.storage.fingerprint(fivefold.load(model))}.weights\n"
    until = time.monotonic() + 20
    while not (found := all(line in Path(f"/proc/{process}/maps").read_text() for process in processes)):
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return found


def test_workers_are_replaced_models_too_and_all_is_answered_in_the_end(models, tmp_path):
    folder = tmp_path / "trees"
    shutil.copytree(models["tables"], folder)
    with _served(folder, "--workers", 2) as (process, port, _log):
        first = _ask(port)
        assert first[0] == 200
        before = _workers(port)
        assert len(before) == 2

        load = _Load(port)
        killed = before.pop()
        os.kill(killed, signal.SIGKILL)
        start = time.monotonic()
        while len(now := _workers(port) - {killed}) < 2 and time.monotonic() < start + 20:
            time.sleep(0.05)
        load.stop()
        assert len(now) == 2
        broken = [answer for status, answer in load.answers if status == 0]
        assert len(broken) <= 4, "at most those that the killed worker had"
        _all_are(first[1], load.answers)
        if sys.platform == "linux":
            assert _all_map(now, models["tables"])

        load = _Load(port)
        old = _ask(port, "/v1/models", None)[1]["models"][0]["fingerprint"]
        with atomic_folder(folder, merge=False) as fresh:
            for name in ("config.json", "model.safetensors"):
                shutil.copy(models["images"] / name, fresh / name)
        process.send_signal(signal.SIGHUP)
        wanted = fivefold.storage.fingerprint(fivefold.load(models["images"]))[:12]
        until, met = time.monotonic() + 20, {old}
        while time.monotonic() < until and met != {wanted}:
            met = {_ask(port, "/v1/models", None)[1]["models"][0]["fingerprint"] for _ in range(20)}
        load.stop()
        assert old != wanted
        assert met == {wanted}
        if sys.platform == "linux":
            assert _all_map(now, models["images"])
        assert {status for status, _ in load.answers} <= {200, 422}, "rows are no images"


def test_it_ends_once_all_is_answered(models):
    with _served(f"trees={models['tables']}", "--workers", 2) as (process, port, log):
        expected = _ask(port)[1]
        load = _Load(port)
        time.sleep(0.5)
        slow = []
        long = threading.Thread(target=lambda: slow.append(_ask(port, "/v1/models/trees/generate?n=3000", "{}")))
        long.start()
        time.sleep(0.1)
        process.terminate()
        assert process.wait(_SECONDS) == 0
        load.stop()
        long.join(_SECONDS)
    assert slow[0][0] == 200
    _all_are(expected, load.answers)
    refused = [answer for status, answer in load.answers if not status]
    assert all(isinstance(answer, ConnectionRefusedError | ConnectionResetError) for answer in refused)
    assert any(json.loads(line).get("message") == "worker ended" for line in log)
    assert not any("Traceback" in line or '"error"' in line for line in log), log


def test_slow_headers_are_cut_off_and_folders_watched(models, tmp_path):
    folder = tmp_path / "trees"
    shutil.copytree(models["tables"], folder)
    with _served(folder, "--watch") as (_process, port, log):
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"POST / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
            slow.settimeout(_SECONDS)
            with suppress(ConnectionResetError):
                assert slow.recv(100) == b"", "headers of 64 KiB and more"
        with atomic_folder(folder, merge=False) as fresh:
            for name in ("config.json", "model.safetensors"):
                shutil.copy(models["series"] / name, fresh / name)
        until = time.monotonic() + 20
        while time.monotonic() < until and _ask(port, "/v1/models", None)[1]["models"][0]["modality"] != "series":
            time.sleep(0.1)
        assert _ask(port, "/v1/models", None)[1]["models"][0]["modality"] == "series"
        (folder / "model.safetensors").write_bytes(b"damaged")
        while time.monotonic() < until and not any("can't be loaded" in line for line in log):
            time.sleep(0.1)
        assert _ask(port, "/v1/models", None)[1]["models"][0]["modality"] == "series"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none: no such model folder"),
        (["{model}", "--host", "0.0.0.0"], "--host 0.0.0.0 is open to others: give --key-file, or --no-keys"),
        (["{model}", "--key-file", "none"], "--key-file none: can't be read"),
        (["{model}", "a=b", "a=c"], "two models are called a"),
        (["{model}", "--max-seconds", "0"], "--max-seconds must be above 0"),
        (["{model}", "--host", "192.0.2.1", "--no-keys"], "192.0.2.1:8000 can't be listened on"),
    ],
)
def test_what_can_not_be_served(words, said, models):
    command = [sys.executable, "-m", "fivefold", "serve", *(word.format(model=models["tables"]) for word in words)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    assert made.returncode in (1, 2)
    assert said in made.stderr
    assert made.stderr.startswith("error: ")
    assert made.stderr.count("\n") == 1


def test_the_extra_is_named_where_it_lacks(models):
    lacking = "import sys; sys.modules['uvicorn'] = sys.modules['prometheus_client'] = None"
    code = f"{lacking}; from fivefold.cli import main; main()"
    made = subprocess.run(
        [sys.executable, "-c", code, "serve", str(models["tables"])], capture_output=True, text=True, check=False
    )
    assert (made.returncode, made.stderr) == (2, "error: serving models needs an extra: pip install fivefold[serve]\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_page_on_serving_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    fit, serve, *asked, guarded = lines
    monkeypatch.chdir(tmp_path)
    trees = make.rows(80).drop(columns=["id", "planted"])
    trees.to_csv("trees.csv", index=False)
    trees.assign(height=float("nan"))[:3].to_csv("holes.csv", index=False)
    Path("keys.txt").write_text("correct horse battery\n", encoding="utf-8")
    small = "--epochs 1 --quiet --no-verdicts"
    subprocess.run([sys.executable, "-m", *shlex.split(f"{fit} {small}")], check=True, timeout=_SECONDS)
    with _served(*shlex.split(serve)[2:-2]) as (_process, port, _log):
        for line in asked:
            words = shlex.split(line.replace(":8000", f":{port}"))
            answer = subprocess.run([*words, "--fail-with-body"], capture_output=True, check=False, timeout=_SECONDS)
            assert answer.returncode == 0, answer.stdout
    assert len(asked) == 9
    assert pd.read_csv("whole.csv").notna().all(axis=None)
    assert (pd.read_csv("upper.csv").height >= pd.read_csv("whole.csv").height).all()
    assert len(pd.read_csv("new.csv")) == 100
    assert Path("again.csv").read_bytes().splitlines()[0] == Path("trees.csv").read_bytes().splitlines()[0]
    with _served(*shlex.split(guarded)[2:]) as (_process, port, _log):
        assert _ask(port)[0] == 401
