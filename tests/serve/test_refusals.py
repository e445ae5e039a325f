"""What can't be is refused with its reason, in one line that tells nothing of the server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
import time
from pathlib import Path

import make
import pytest

from fivefold.errors import UsageError
from fivefold.serve.settings import named_models, read_keys

CSV = {"content-type": "text/csv"}
TABLES = "/v1/models/tables/"
ROW = {"rows": [{"kind": "oak", "height": 20.0}]}


def _reason(answer) -> str:
    body = answer.json()
    assert body.keys() == {"error", "request"}
    assert body["request"] == answer.headers["x-request-id"]
    assert "\n" not in body["error"]
    assert "Traceback" not in answer.text
    for place in (tempfile.gettempdir(), str(make.HERE)):
        assert place not in answer.text
    return body["error"]


@pytest.mark.parametrize(
    ("url", "sent", "status", "said"),
    [
        ("/v1/models/trees/detect", {"json": ROW}, 404, "there is no model 'trees'"),
        ("/v1/models/tabels", {"json": ROW}, 405, "Method Not Allowed"),
        (f"{TABLES}dance", {"json": ROW}, 404, "Not Found"),
        (f"{TABLES}detect", {}, 422, "the body must be data"),
        (f"{TABLES}detect", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "is no JSON"),
        (
            f"{TABLES}detect",
            {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
            400,
            "no JSON",
        ),
        (f"{TABLES}detect", {"json": {"rows": []}}, 422, "`rows` must be a list of objects"),
        (f"{TABLES}detect", {"json": {"rows": [1]}}, 422, "`rows` must be a list of objects"),
        (f"{TABLES}detect", {"json": {"lines": []}}, 422, "JSON must be"),
        (f"{TABLES}detect", {"json": {"rows": [{"heigth": 1}]}}, 422, "did you mean height"),
        (f"{TABLES}detect", {"json": {"rows": [{"height": "tall"}]}}, 422, "'height', row 0: must be a number"),
        (f"{TABLES}detect", {"json": {"rows": [{"height": [1]}]}}, 422, "must have numbers, texts"),
        (f"{TABLES}detect", {"json": {"columns": ["a", "a"], "data": [[1, 2]]}}, 422, "names of their own"),
        (f"{TABLES}detect", {"json": {"columns": ["a"], "data": [[1, 2]]}}, 422, "1 cells in each row"),
        (f"{TABLES}detect", {"json": {"values": "x"}}, 422, "`values` must be numbers"),
        (f"{TABLES}detect?fdr=2", {"json": ROW}, 422, "`fdr` must be"),
        (f"{TABLES}detect?false_alarm_rate=0.1&fdr=0.1", {"json": ROW}, 422, "exclude each other"),
        (f"{TABLES}detect?adapt=true", {"json": ROW}, 422, "`adapt` goes with series"),
        (f"{TABLES}impute?draws=1.5", {"json": ROW}, 422, "`draws` must be an integer, got '1.5'"),
        (f"{TABLES}impute?draws=1&draws=2", {"json": ROW}, 422, "must be given once"),
        (f"{TABLES}impute?free=perhaps", {"json": ROW}, 422, "`free` must be true or false"),
        (f"{TABLES}impute?interval=nan", {"json": ROW}, 422, "`interval` must be a number"),
        (f"{TABLES}impute?intervall=0.9", {"json": ROW}, 422, "did you mean interval"),
        (f"{TABLES}impute?part=upper", {"json": ROW}, 422, "`part` must be one of what there is"),
        (f"{TABLES}morph?from=0", {"json": ROW}, 422, "`to` must be given"),
        (f"{TABLES}morph?from=0&to=7", {"json": ROW}, 422, "`to` must be an item's number"),
        (f"{TABLES}generate?given=kind", {}, 422, "`given` must be COLUMN=VALUE"),
        (f"{TABLES}generate?prior=odd", {}, 422, "`prior` must be one of standard, fitted"),
        (f"{TABLES}generate", {"json": ROW}, 422, "generate takes no data"),
        (f"{TABLES}generate?like=/etc/passwd", {}, 422, "`like` must be a part of the body"),
        ("/v1/models/images/impute?mask=/etc/passwd", {"json": ROW}, 422, "`mask` must be a part of the body"),
        (f"{TABLES}detect", {"content": b"", "headers": CSV}, 422, "the body must be data"),
        (f"{TABLES}detect", {"content": b"a,b\n1,2\n", "headers": CSV}, 422, "data.csv: must have"),
        (f"{TABLES}detect", {"content": b"\0\1\2", "headers": CSV}, 422, "data.csv"),
        (f"{TABLES}detect", {"content": b"PAR1 no", "headers": {}}, 422, "data.parquet: can't be read as a table"),
        (f"{TABLES}detect", {"files": {"other": b"x"}}, 422, "a part is called 'other'"),
        (f"{TABLES}detect", {"files": [("data", ("a.csv", b"x")), ("data", ("b.csv", b"x"))]}, 422, "must be one file"),
        (f"{TABLES}detect", {"json": ROW, "headers": {"accept": "video/mp4"}}, 406, "`accept` must allow one of"),
        (f"{TABLES}decompress", {"content": b"no archive", "headers": {}}, 422, "data.ff"),
        (f"{TABLES}decode", {"json": {"values": [[1, 2]]}}, 422, "codes must be numbers of shape"),
        ("/v1/models/images/detect", {"content": b"\x89PNG\r\n\x1a\nno", "headers": {}}, 422, "can't be read"),
        ("/v1/models/images/detect", {"json": {"values": [[1, [2]]]}}, 422, "in lists of one length"),
        ("/page/../app.py", {}, 404, "Not Found"),
        ("/page/%2e%2e/app.py", {}, 405, "Method Not Allowed"),
    ],
)
def test_mistakes(url, sent, status, said, client):
    answer = client.post(url, **sent)
    assert answer.status_code == status, answer.text
    assert said in _reason(answer)


def test_pages_are_found_by_name_alone(client):
    assert client.get("/").status_code == 200
    assert client.get("/page/index.html").status_code == 200
    for name in ("..%2fapp.py", "%2fetc%2fpasswd", "none.js"):
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 404
        assert _reason(answer) == "there is no such page"


def test_answers_let_no_page_do_more_than_it_must(client):
    headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_ids_go_through_if_they_are_plain(client):
    assert client.get("/healthz", headers={"x-request-id": "ab-1"}).headers["x-request-id"] == "ab-1"
    assert client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_too_much_is_refused(small):
    url = "/v1/models/tables/"
    large = small.post(f"{url}detect", content=b"x" * 20_001, headers=CSV)
    assert (large.status_code, _reason(large)) == (413, "a body may have 20,000 bytes at most")
    chunked = small.post(f"{url}detect", content=iter([b"x" * 9000] * 3), headers=CSV)
    assert chunked.status_code == 413
    assert _reason(chunked) == "a body may have 20,000 bytes at most"
    rows = {"rows": [{"height": 1.0}] * 31}
    for answer in (
        small.post(f"{url}detect", json=rows),
        small.post(f"{url}denoise", json=rows),
        small.post(f"{url}compress", json=rows),
        small.post(f"{url}generate?n=31"),
        small.post("/v1/models/series/generate?n=2&steps=16"),
    ):
        assert answer.status_code == 413
        assert "items at most" in _reason(answer)
    few = {"rows": [{"height": 1.0}] * 30}
    assert small.post(f"{url}impute?draws=2", json=few).status_code == 200
    draws = small.post(f"{url}impute?draws=40", json=few)
    assert (draws.status_code, "elements at most" in _reason(draws)) == (413, True)


def test_keys(serving):
    key = "correct horse battery"
    with serving(keys=tuple(hashlib.sha256(each.encode()).digest() for each in ("that of another", key))) as client:
        for headers in (
            {},
            {"x-api-key": "wrong"},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {key}"},
        ):
            answer = client.get("/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "a key must be given" in _reason(answer)
        assert client.get("/v1/models", headers={"x-api-key": key}).status_code == 200
        assert client.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert client.get("/metrics").status_code == client.get("/openapi.json").status_code == 401
        for path in ("/healthz", "/readyz", "/", "/page/index.html"):
            assert client.get(path).status_code == 200


def test_without_keys_it_is_for_its_own_machine(serving):
    with serving() as client:
        assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/v1/models", headers={"host": "[::1]:80"}).status_code == 200
    with serving(everybody=True) as client:
        assert client.get("/v1/models", headers={"host": "models.example"}).status_code == 200


def test_other_pages_ask_only_where_they_may(serving):
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    with serving(origins=("https://a.example",)) as client:
        answer = client.options("/v1/models/tables/detect", headers=asked)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        answer = client.get("/v1/models", headers={"origin": "https://b.example"})
        assert "access-control-allow-origin" not in answer.headers
    with serving(origins=("https://a.example",), keys=(hashlib.sha256(b"k" * 20).digest(),)) as client:
        answer = client.get("/v1/models", headers={"origin": "https://a.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "https://a.example")


def test_key_files(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("# ours\n\ncorrect horse battery\n", encoding="utf-8")
    assert read_keys(path) == (hashlib.sha256(b"correct horse battery").digest(),)
    for text, said in {"": "must hold a key", "short\n": "at least 16"}.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=said):
            read_keys(path)
    with pytest.raises(UsageError, match="can't be read"):
        read_keys(tmp_path / "none")


def test_names_of_models():
    assert named_models(["a/trees", "b=c/d"]) == {"trees": Path("a/trees"), "b": Path("c/d")}
    for texts, said in {("a/b", "c/b"): "two models are called b", ("x/y=z",): "must be of letters"}.items():
        with pytest.raises(UsageError, match=said):
            named_models(texts)


@pytest.mark.parametrize("kind", ["never", "slowly"])
def test_bodies_that_are_slow_in_coming(kind, serving):
    from fivefold.serve.settings import Limits

    client = serving(limits=Limits(body_seconds=0.3))
    messages = []

    async def receive():
        await asyncio.sleep(60 if kind == "never" else 0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        messages.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"text/csv"), (b"content-length", b"9000")]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "root_path": ""}
    scope |= {"path": "/v1/models/tables/detect", "query_string": b"", "headers": headers, "client": None}
    with client:
        start = time.monotonic()
        asyncio.run(client.app(scope, receive, send))
    assert time.monotonic() - start < 5
    assert messages[0]["status"] == 408
    assert (b"connection", b"close") in messages[0]["headers"]
    assert "must be there in 0.3 seconds" in json.loads(messages[1]["body"])["error"]
