"""Small requests in one pass have the same answers as alone."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import make
import numpy as np
import pytest

import fivefold
from fivefold.serve.bodies import from_json
from fivefold.serve.folder import Folder
from fivefold.serve.forms import JSON
from fivefold.serve.models import ServedModel
from fivefold.serve.runner import Task
from fivefold.serve.settings import Limits
from fivefold.serve.together import SmallTask, run_together
from fivefold.serve.worker import FullError, Job, OutOfTimeError, Worker
from fivefold.verbs.catalogue import VERBS


@pytest.fixture(scope="module", params=["golden", "looking"])
def served(request, models, tmp_path_factory, table_model):
    """A model that gives each cell all others, and one that looks at rows."""
    folder = models["tables"]
    if request.param == "looking":
        folder = tmp_path_factory.mktemp("served") / "model"
        fivefold.save(table_model, folder)
    return ServedModel.load("trees", folder)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def _task(served, verb, row, **options):
    body = from_json(json.dumps({"rows": [row]}).encode(), served.model.schema)
    task = Task(served, VERBS[verb], body, options, JSON, None, Folder(), Limits())
    return task, SmallTask.of(task)


def _rows(n):
    rows = make.rows(n, seed=4)
    rows["planted"] = rows["planted"].dt.strftime("%Y-%m-%d")
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def _same(found, expected):
    """Whether two answers say the same, numbers to 1e-6."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            _same(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            _same(*pair)
    elif isinstance(expected, float):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("verb", "options"),
    [("detect", {}), ("detect", {"false_alarm_rate": 0.1}), ("impute", {"interval": 0.9}), ("surprise", {})],
)
def test_answers_are_those_of_single_requests(verb, options, served):
    rows = _rows(16)
    tasks, small = zip(*(_task(served, verb, row, **options) for row in rows), strict=True)
    if small[0] is None:
        assert verb == "impute", "with random codes, which depend on the rows before"
        return
    assert len({task.group for task in small}) == 1
    together = [json.loads(answer.content) for answer in run_together(small)]
    alone = [json.loads(run_together([task])[0].content) for task in small]
    from_files = [json.loads(task.run().content) for task in tasks]
    for found, expected, written in zip(together, alone, from_files, strict=True):
        _same(found, expected)
        _same(found, written)


def test_one_that_fails_fails_alone(served):
    good, bad = ({"height": 20.0, "girth": 150.0}, {"height": 20.0, "girth": "thick"})
    small = [_task(served, "detect", row)[1] for row in (good, bad, good)]
    first, second, third = run_together(small)
    assert json.loads(first.content) == json.loads(third.content)
    assert "'girth', row 0: must be a number" in str(second)


@pytest.mark.parametrize(
    ("verb", "options"),
    [("detect", {"fdr": 0.1}), ("impute", {"draws": 1}), ("denoise", {}), ("detect", {"heatmaps": True})],
)
def test_what_depends_on_others_is_done_alone(verb, options, served):
    assert _task(served, verb, {"height": 20.0}, **options)[1] is None


def test_large_requests_are_done_alone(served):
    body = from_json(json.dumps({"rows": _rows(65)}).encode(), served.model.schema)
    task = Task(served, VERBS["detect"], body, {}, JSON, None, Folder(), Limits())
    assert SmallTask.of(task) is None
    other = dataclasses.replace(task, form="text/csv")
    assert SmallTask.of(other) is None


def test_requests_at_the_same_time(client):
    rows = [row | {"girth": 100.0 + number} for number, row in enumerate(_rows(12))]

    def ask(row):
        return client.post("/v1/models/tables/detect", json={"rows": [row]}).json()["rows"]

    expected = [ask(row) for row in rows]
    with ThreadPoolExecutor(12) as pool:
        for found, other in zip(pool.map(ask, rows), expected, strict=True):
            _same(found, other)


class Blocked:
    """Work that waits until it is let go."""

    def __init__(self):
        self.started, self.free = threading.Event(), threading.Event()

    def __call__(self):
        self.started.set()
        self.free.wait(10)
        return "done"


def _soon(seconds=10.0):
    return time.monotonic() + seconds


def test_jobs_of_a_group_are_done_together():
    worker, blocked, met = Worker(100), Blocked(), []

    def together(works):
        met.append(len(works))
        return [work * 2 for work in works]

    first = worker.submit(Job(blocked, _soon()))
    blocked.started.wait(5)
    futures = [worker.submit(Job(number, _soon(), "group", together)) for number in range(20)]
    other = worker.submit(Job(lambda: "other", _soon()))
    blocked.free.set()
    assert [future.result(5) for future in futures] == [2 * number for number in range(20)]
    assert (first.result(5), other.result(5), met) == ("done", "other", [16, 4])
    worker.close()


def test_the_queue_is_bounded():
    worker, blocked = Worker(2), Blocked()
    running = worker.submit(Job(blocked, _soon()))
    blocked.started.wait(5)
    waiting = [worker.submit(Job(lambda: 1, _soon())) for _ in range(2)]
    assert len(worker) == 2
    with pytest.raises(FullError):
        worker.submit(Job(lambda: 1, _soon()))
    blocked.free.set()
    worker.close()
    assert running.result(0) == "done"
    assert [future.result(0) for future in waiting] == [1, 1]
    with pytest.raises(FullError):
        worker.submit(Job(lambda: 1, _soon()))


def test_jobs_that_take_too_long_are_given_up():
    worker = Worker(5)

    def forever():
        while True:
            pass

    running, waiting = Job(forever, _soon()), Job(lambda: 1, _soon())
    futures = [worker.submit(running), worker.submit(waiting)]
    worker.expire(waiting)
    time.sleep(0.05)
    worker.expire(running)
    for future in futures:
        with pytest.raises(OutOfTimeError):
            future.result(5)
    late = worker.submit(Job(lambda: 1, time.monotonic() - 1))
    with pytest.raises(OutOfTimeError):
        late.result(5)
    assert worker.submit(Job(lambda: 2, _soon())).result(5) == 2
    worker.expire(running)
    assert worker.submit(Job(lambda: 3, _soon())).result(5) == 3
    worker.close()


def test_a_request_that_takes_too_long(serving):
    with serving(limits=Limits(seconds=0.15)) as client:
        answer = client.post("/v1/models/images/generate?n=100000&sharp=true")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"] == "a request may take 0.15 seconds"
        assert client.get("/readyz").status_code == 200


def test_requests_past_the_queue(serving, monkeypatch):
    blocked = Blocked()
    monkeypatch.setattr(Task, "run", lambda task: blocked())
    with serving(limits=Limits(queue=1)) as client, ThreadPoolExecutor(4) as pool:
        url = "/v1/models/tables/generate?n=1"
        running = pool.submit(client.post, url)
        blocked.started.wait(5)
        waiting = pool.submit(client.post, url)
        time.sleep(0.3)
        answer = client.post(url)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert "fivefold_waiting 1.0" in client.get("/metrics").text
        monkeypatch.undo()
        blocked.free.set()
        assert {running.result().status_code, waiting.result().status_code} <= {200, 500}
