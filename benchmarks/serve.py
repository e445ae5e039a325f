"""How fast `fivefold serve` answers, and what it bears: speed, mixed load with ill-behaved clients, stops, kills, mutated bodies.

`python benchmarks/serve.py out/demo/model` takes about 15 minutes; schemathesis is used if it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from palmerpenguins import load_penguins
from playwright.async_api import async_playwright
from results_file import read_result, write_result

import fivefold
from fivefold.images.builtin import load_mnist
from fivefold.system import environment

_WHEN_FULL = """[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""  # out of time is an answer, too
JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
TABLE, IMAGES = "/v1/models/penguins/", "/v1/models/digits/"


@dataclass(frozen=True)
class Ask:
    """A request."""

    path: str
    body: bytes = b""
    media: str = JSON
    accept: str = "*/*"

    def encoded(self) -> bytes:
        """As it is sent."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {self.media}\r\naccept: {self.accept}\r\n"
        )
        return f"{head}content-length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass
class Met:
    """What requests met: their seconds, and counts of statuses and of what else happened."""

    seconds: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def figures(self, duration: float) -> dict[str, Any]:
        """Percentiles in milliseconds, and the rate."""
        ordered = sorted(self.seconds)
        if not ordered:
            return {"counts": dict(self.counts)}
        at = {f"p{share}_ms": round(1e3 * ordered[int(len(ordered) * share / 100)], 2) for share in (50, 99)}
        return {
            "requests": len(ordered),
            "per_second": round(len(ordered) / duration, 1),
            **at,
            "counts": dict(self.counts),
        }


class Client:
    """One connection, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self._port, self._streams = port, None

    async def ask(self, ask: Ask) -> tuple[int, bytes]:
        """Status and body; raises `OSError` if the connection breaks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        try:
            writer.write(ask.encoded())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            body = await reader.readexactly(int(length[1])) if length else b""
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise ConnectionError(str(error)) from None
        if b"connection: close" in head.lower():
            self.close()
        return int(head.split()[1]), body

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@asynccontextmanager
async def served(models: Mapping[str, Path], *words: str) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    """A server with 2 workers: its process, and its port."""
    named = [f"{name}={path}" for name, path in models.items()]
    command = [sys.executable, "-m", "fivefold", "serve", *named, "--port", "0", "--workers", "2", *words]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        line = await asyncio.to_thread(process.stdout.readline)
        try:
            yield process, int(line.rsplit(":", 1)[1])
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 200)


async def for_seconds(port: int, clients: int, seconds: float, choose: Callable[[], Ask]) -> Met:
    """What clients meet that ask one request after the other."""
    met, until = Met(), time.perf_counter() + seconds

    async def run() -> None:
        client = Client(port)
        while time.perf_counter() < until:
            start = time.perf_counter()
            try:
                status, _ = await client.ask(choose())
                met.counts[str(status)] += 1
                met.seconds.append(time.perf_counter() - start)
            except OSError:
                met.counts["broken"] += 1
        client.close()

    await asyncio.gather(*(run() for _ in range(clients)))
    return met


def one_row() -> Ask:
    """Detection of a row that nobody had before."""
    row = {"species": "Adelie", "island": "Torgersen", "bill_length_mm": random.uniform(32, 60), "bill_depth_mm": 18.7}
    row |= {"flipper_length_mm": 181, "body_mass_g": random.randint(2700, 6300), "sex": None, "year": 2007}
    return Ask(f"{TABLE}detect", json.dumps({"rows": [row]}).encode())


def npy(array: np.ndarray) -> bytes:
    """As a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def all_verbs() -> list[Ask]:
    """Requests of all verbs, whose answers do not change."""
    table = load_penguins().sample(20, random_state=0).to_csv(index=False).encode()
    digit = npy(load_mnist("test")[0][:2])
    asks = [
        Ask(TABLE + verb, table, CSV)
        for verb in ("encode", "denoise", "detect", "impute?seed=1", "surprise", "compress")
    ]
    asks += [Ask(f"{TABLE}morph?from=0&to=3", table, CSV), Ask(f"{TABLE}generate?n=5"), one_row(), one_row()]
    asks += [
        Ask(IMAGES + verb, digit, NPY) for verb in ("encode", "denoise", "detect", "surprise", "morph?from=0&to=1")
    ]
    return [
        *asks,
        Ask(f"{IMAGES}generate?n=4", accept="image/png"),
        Ask(f"{IMAGES}decode", b'{"values": [%s]}' % _code()),
    ]


def _code() -> bytes:
    return json.dumps([0.1] * 16).encode()


def broken() -> list[tuple[Ask, int]]:
    """Requests that are to be refused, and with which status."""
    return [
        (Ask(f"{TABLE}detect", b"{"), 400),
        (Ask(f"{TABLE}detect", b'{"rows": [{"bill": 1}]}'), 422),
        (Ask(f"{TABLE}detect", b"a,b\n1,2\n", CSV), 422),
        (Ask(f"{TABLE}detect?fdr=7", b'{"rows": [{"year": 2007}]}'), 422),
        (Ask(f"{IMAGES}detect", b"\x89PNG\r\n\x1a\n", "image/png"), 422),
        (Ask("/v1/models/none/detect", b"{}"), 404),
        (Ask(f"{TABLE}detect", b"x" * ((1 << 20) + 1), CSV), 413),
    ]


async def ill_behaved(port: int, until: float, met: Met) -> None:
    """Clients that send a byte a second, or go away in the middle."""
    while time.perf_counter() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        content = one_row().encoded()
        writer.write(content[: random.randrange(1, len(content))])
        if random.random() < 0.5:
            met.counts["cut off"] += 1
        else:
            met.counts["slow"] += 1
            for byte in content[:20]:
                try:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(1)
                except OSError:
                    break
        writer.close()
        await asyncio.sleep(0.05)


def same(found: bytes, expected: bytes) -> bool:
    """Whether two answers are the same, numbers in JSON to a millionth."""
    if found == expected:
        return True
    try:
        return _near(json.loads(found), json.loads(expected))
    except ValueError:
        return False


def _near(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(_near(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_near, found, expected))
    return bool(np.isclose(found, expected, rtol=1e-6)) if isinstance(expected, float) else found == expected


def memory(process: subprocess.Popen[str]) -> int:
    """Bytes that the processes of a server hold for themselves."""
    found, total = [process.pid], 0
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
        fields = dict(line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        total += 1024 * sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))
    return total


async def mixed(port: int, process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """All verbs at once, with ill-behaved clients among them."""
    first = Client(port)
    known = [(ask, *(await first.ask(ask))) for ask in all_verbs()]
    assert all(status == 200 for _, status, _ in known), [
        (ask.path, status) for ask, status, _ in known if status != 200
    ]
    wrong, met, sizes = Counter[str](), Met(), list[int]()
    start = time.perf_counter()
    until = start + seconds

    async def run() -> None:
        client = Client(port)
        while time.perf_counter() < until:
            begun = time.perf_counter()
            if random.random() < 0.1:
                ask, wanted = random.choice(broken())
                expected = None
            else:
                ask, wanted, expected = random.choice(known)
            status, body = await client.ask(ask)
            met.counts[str(status)] += 1
            met.seconds.append(time.perf_counter() - begun)
            if status == wanted and expected is not None and not same(body, expected):
                wrong[f"another answer: {ask.path}"] += 1
            if status not in (wanted, 429, 503):
                wrong[f"{status} for {wanted}: {ask.path}"] += 1
            if status >= 400 and not json.loads(body).get("error"):
                wrong["no reason"] += 1

    async def weigh() -> None:
        while time.perf_counter() < until - 1:
            await asyncio.sleep(seconds / 20)
            sizes.append(memory(process))

    await asyncio.gather(*(run() for _ in range(13)), *(ill_behaved(port, until, met) for _ in range(3)), weigh())
    early, late = statistics.median(sizes[4:10]), statistics.median(sizes[-6:])
    figures = met.figures(time.perf_counter() - start)
    return {**figures, "wrong": dict(wrong), "memory_bytes": late, "memory_growth": round(late / early - 1, 4)}


async def mutated(port: int, count: int) -> dict[str, Any]:
    """Bodies with bytes exchanged, left out or repeated."""
    asks, met, left = [ask for ask in all_verbs() if ask.body], Met(), iter(range(count))
    bad = Counter[str]()

    async def run(seed: int) -> None:
        client, rng = Client(port), random.Random(seed)
        for _ in left:
            ask = rng.choice(asks)
            body = bytearray(ask.body)
            for _ in range(rng.choice((1, 1, 3, 20))):
                at = rng.randrange(len(body))
                body[at : at + rng.choice((0, 1, 1, 4))] = rng.randbytes(rng.choice((0, 1, 1, 4)))
                body = body or bytearray(b"0")
            status, answer = await client.ask(Ask(ask.path, bytes(body), ask.media))
            met.counts[str(status)] += 1
            if status == 500 or b"Traceback" in answer:
                bad[ask.path] += 1

    await asyncio.gather(*(run(seed) for seed in range(8)))
    return {"bodies": count, "counts": dict(met.counts), "status_500_or_traceback": dict(bad)}


async def stopped(models: Mapping[str, Path]) -> dict[str, Any]:
    """SIGTERM under load: how many requests have no answer though their connection was accepted."""
    async with served(models) as (process, port):
        counts, going = Counter[str](), True

        async def run() -> None:
            while going:
                client = Client(port)
                try:
                    for _ in range(20):
                        status, _ = await client.ask(one_row())
                        counts[str(status)] += 1
                except ConnectionRefusedError:
                    counts["refused"] += 1
                    return
                except OSError:
                    counts["without answer"] += 1
                finally:
                    client.close()

        runs = [asyncio.create_task(run()) for _ in range(16)]
        await asyncio.sleep(2)
        start = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, 100)
        going = False
        await asyncio.gather(*runs)
    return {"counts": dict(counts), "exit_code": code, "seconds": round(time.perf_counter() - start, 2)}


async def killed(models: Mapping[str, Path]) -> dict[str, Any]:
    """A worker killed under load: seconds until there are two again, and what clients met."""
    async with served(models) as (_, port):
        load = asyncio.create_task(for_seconds(port, 8, 6, one_row))
        await asyncio.sleep(2)
        before = await _processes(port)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        start = time.perf_counter()
        while len(await _processes(port) - {victim}) < 2 and time.perf_counter() < start + 30:
            pass
        seconds = time.perf_counter() - start
        met = await load
    return {"seconds_until_whole": round(seconds, 2), "counts": dict(met.counts)}


async def _processes(port: int) -> set[int]:
    """Workers that answer."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return int(json.loads((await reader.read()).rpartition(b"\r\n\r\n")[2])["process"])
        finally:
            writer.close()

    found = await asyncio.gather(*(one() for _ in range(12)), return_exceptions=True)
    return {process for process in found if isinstance(process, int)}


def schemathesis(port: int, cases: int) -> dict[str, Any] | None:
    """Requests that the OpenAPI document allows, or nearly: what it found; None if it is not installed."""
    tool = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if tool is None:
        return None
    each = max(1, cases // 16)
    command = [
        tool,
        "run",
        f"http://127.0.0.1:{port}/openapi.json",
        "--checks",
        "not_a_server_error",
        "--max-examples",
        str(each),
    ]
    command += ["--phases", "examples,coverage,fuzzing"]
    with tempfile.TemporaryDirectory() as folder:  # for what it keeps
        Path(folder, "schemathesis.toml").write_text(_WHEN_FULL)
        made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    tested = re.search(r"(\d[\d,]*) generated", made.stdout)
    return {"exit_code": made.returncode, "cases": tested and tested[1], "tail": made.stdout.strip().splitlines()[-12:]}


async def speed(models: Mapping[str, Path], seconds: float) -> dict[str, Any]:
    """One request after the other, and 32 clients with one row each."""
    holey, figures = load_mnist("test")[0][:1].astype(np.float32), dict[str, Any]()
    holey[:, 8:16, 8:20] = np.nan
    digits = {
        "digit_denoise": Ask(f"{IMAGES}denoise", npy(load_mnist("test")[0][:1]), NPY),
        "digit_impute_3_draws": Ask(f"{IMAGES}impute?draws=3", npy(holey), NPY),
    }
    plan = [("one_client", 1, seconds / 4, one_row), ("clients_32", 32, seconds, one_row)]
    plan += [(name, 1, seconds / 6, lambda ask=ask: ask) for name, ask in digits.items()]
    async with served(models) as (_, port):
        await for_seconds(port, 2, 1, one_row)
        for name, clients, duration, choose in plan:
            start = time.perf_counter()
            met = await for_seconds(port, clients, duration, choose)
            figures[name] = met.figures(time.perf_counter() - start)
    return figures


async def page(models: Mapping[str, Path]) -> dict[str, Any] | None:
    """The page of the digits' model in a browser that has not seen it: medians of five; None without Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    size = "performance.getEntries().reduce((sum, one) => sum + (one.transferSize || 0), 0)"
    seconds, sizes = list[float](), list[int]()
    async with served(models) as (_, port), async_playwright() as playwright:
        for _ in range(5):
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            view = await (await browser.new_context()).new_page()
            start = time.perf_counter()
            await view.goto(f"http://127.0.0.1:{port}/#digits/model")
            await view.wait_for_selector("main h2")
            await view.wait_for_load_state("networkidle")
            seconds.append(time.perf_counter() - start - 0.5)  # that nothing was asked for
            sizes.append(await view.evaluate(size))
            await browser.close()
    return {"seconds": round(statistics.median(seconds), 2), "bytes": statistics.median(sizes)}


async def under_load(models: Mapping[str, Path], seconds: float) -> dict[str, Any]:
    """`mixed` on a server of its own, as the next two."""
    async with served(models, "--max-body", "1") as (process, port):
        return await mixed(port, process, seconds)


async def of_bodies(models: Mapping[str, Path], count: int) -> dict[str, Any]:
    async with served(models, "--max-body", "1") as (_, port):
        return await mutated(port, count)


async def of_schema(models: Mapping[str, Path], cases: int) -> dict[str, Any] | None:
    async with served(models, "--max-body", "1", "--max-items", "200", "--max-seconds", "5") as (_, port):
        return await asyncio.to_thread(schemathesis, port, cases)


PARTS: dict[str, Callable[[Mapping[str, Path], argparse.Namespace], Awaitable[Any]]] = {
    "speed": lambda models, given: speed(models, given.seconds),
    "page": lambda models, _: page(models),
    "mixed": lambda models, given: under_load(models, given.mixed_seconds),
    "mutated": lambda models, given: of_bodies(models, given.mutated),
    "schemathesis": lambda models, given: of_schema(models, given.cases),
    "stopped": lambda models, _: stopped(models),
    "killed": lambda models, _: killed(models),
}


async def measure(arguments: argparse.Namespace, models: Mapping[str, Path]) -> None:
    """Part by part, each written once it is there."""
    for name in arguments.parts or PARTS:
        figures = await PARTS[name](models, arguments)
        print(name, figures, flush=True)
        known = {part: figures for part, figures in read_result("serve").items() if part in PARTS}
        measured = {"figures": figures, "load_average": os.getloadavg(), "environment": environment()}
        write_result("serve", known | {name: measured})


def main() -> None:
    """Fit the table's model, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("digits", type=Path, help="a model of MNIST")
    parser.add_argument(
        "parts", nargs="*", help=f"of {', '.join(PARTS)}: all by default; others keep what was measured"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of the load by 32 clients")
    parser.add_argument("--mixed-seconds", type=float, default=600)
    parser.add_argument("--mutated", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=2000, help="of schemathesis")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as folder:
        penguins = Path(folder) / "penguins"
        fivefold.save(fivefold.fit(load_penguins()), penguins)
        asyncio.run(measure(arguments, {"penguins": penguins, "digits": arguments.digits}))


if __name__ == "__main__":
    main()
