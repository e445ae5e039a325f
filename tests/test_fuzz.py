"""Damaged and hostile files end in one clear line, soon and in little memory; whatever is read is what was written.

`make fuzz` goes on for half an hour, the suite for some seconds. What fails is told by its number: the same one again is the same
file again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import struct
import time
import warnings
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import make
import numpy as np
import pytest
import safetensors.numpy
from forged import headed, mended
from PIL import Image

import fivefold
from fivefold.errors import FivefoldError
from fivefold.modality import MODALITIES

GOLDEN = Path(__file__).parent / "golden"
SECONDS = float(os.environ.get("FIVEFOLD_FUZZ_SECONDS", "12"))
FILES = int(os.environ.get("FIVEFOLD_FUZZ_FILES", "100"))  # of each kind, at most
FIRST = int(os.environ.get("FIVEFOLD_FUZZ_FIRST", "0"))  # number of the first file
HANG, MEMORY = 5, 1 << 30
JUNK: list[Any] = [None, True, -1, 0, 1 << 70, 1e308, float("nan"), "", "x", "\x1b[2J", [], {}, [[]], {"a": 1}]
KINDS = ["images", "tables", "series"]


@contextlib.contextmanager
def timely() -> Iterator[None]:
    """Raise `TimeoutError` for what hangs: in time of the processor, as machines may be busy, or waiting for something."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"it takes more than {HANG} seconds")

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, HANG)
    signal.alarm(20 * HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def fuzz(share: float, attempt: Callable[[random.Random], None]) -> None:
    """Call `attempt` again and again for a `share` of the time."""
    end, number, before = time.monotonic() + SECONDS * share, FIRST, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while time.monotonic() < end and number < FIRST + FILES:
        try:
            with warnings.catch_warnings(), timely():
                warnings.simplefilter("ignore")
                attempt(random.Random(number))
        except FivefoldError as error:
            if "\n" in str(error):
                raise ValueError(f"number {number}: more than a line") from error
        except BaseException as error:
            error.add_note(f"number {number}: FIVEFOLD_FUZZ_FIRST={number}")
            raise
        number += 1
    assert number > FIRST
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < MEMORY, f"{grown / 1e6:.0f} MB"


def damaged(content: bytes, rng: random.Random) -> bytes:
    """With bytes changed, cut out, put in, repeated, or all of it cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place, size = rng.randrange(len(changed) + 1), rng.choice((1, 1, 2, 4, 8, 64))
        part = rng.choice(
            (rng.randbytes(size), b"\xff" * size, bytes(size), b"", bytes(changed[place : place + size]) * 2)
        )
        changed[place : place + size] = part
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def mangled(node: Any, rng: random.Random) -> Any:
    """JSON with one value, or a few, replaced by something else."""
    if isinstance(node, dict | list) and node and rng.random() < 0.9:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        if rng.random() < 0.05:
            del node[key]
        else:
            node[key] = mangled(node[key], rng)
        return node
    return rng.choice([*JUNK, node * 2 if isinstance(node, int | float | str) else node])


def content(values: Any) -> Any:
    """What tells values apart, whatever holds them."""
    return values.tobytes() if isinstance(values, np.ndarray) else values.to_csv().encode()


@pytest.fixture(scope="module")
def models():
    return {kind: fivefold.load(GOLDEN / kind / "model", "cpu") for kind in KINDS}


@pytest.mark.situation("a damaged or hostile archive of images, tables or series", "refused in one line, or read right")
@pytest.mark.parametrize("kind", KINDS)
def test_archives(models, kind):
    archive, model = (GOLDEN / kind / "archive-2.ff").read_bytes(), models[kind]
    right, size = content(fivefold.decompress(archive, model)), struct.unpack_from("<I", archive, 12)[0]
    header, blocks = json.loads(archive[16 : 16 + size]), struct.unpack_from("<I", archive, len(archive) - 40)[0]

    def attempt(rng: random.Random) -> None:
        def change(layers: list[bytes]) -> list[bytes]:
            return [damaged(layer, rng) if rng.random() < 0.3 else layer for layer in layers]

        forged = rng.choice(
            (
                lambda: damaged(archive, rng),
                lambda: mended(archive, change=change),
                lambda: mended(archive, change=change),
                lambda: mended(archive, [rng.randrange(blocks) for _ in range(blocks + rng.randrange(2))]),
                lambda: headed(archive, json.dumps(mangled(json.loads(json.dumps(header)), rng)).encode()),
                lambda: headed(archive, damaged(archive[16 : 16 + size], rng)),
            )
        )()
        assert content(fivefold.decompress(forged, model)) == right

    fuzz(1 / 6, attempt)


@pytest.mark.situation("a damaged or hostile model folder", "refused in one line, or a model that works")
@pytest.mark.parametrize("kind", KINDS)
def test_models(tmp_path, kind):
    config = json.loads((GOLDEN / kind / "model" / "config.json").read_text())
    weights = (GOLDEN / kind / "model" / "model.safetensors").read_bytes()
    arrays = safetensors.numpy.load(weights)
    data = {"images": make.items()[:2], "tables": make.rows()[:5], "series": make.steps()[:30]}[kind]

    def other_arrays(rng: random.Random) -> bytes:
        name = rng.choice(list(arrays))
        array = arrays[name]
        bad = array.copy()
        bad.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e38, -1, 0))
        others = (bad, array.astype("float64"), array.astype("float16"), array.astype("int64"), array[:-1], array[None])
        changed = arrays | {rng.choice((name, name, name, "x.y")): np.ascontiguousarray(rng.choice(others))}
        return safetensors.numpy.save(changed)

    def attempt(rng: random.Random) -> None:
        about, stored = json.loads(json.dumps(config)), weights
        what = rng.randrange(4)
        if what == 0:
            about = mangled(about, rng)
        elif what == 1:
            about["schema" if rng.random() < 0.5 else "fit"] = mangled(about[rng.choice(("schema", "fit"))], rng)
        elif what == 2:
            stored = other_arrays(rng)
        else:
            stored = damaged(weights[:2000], rng) + weights[2000:]
        if isinstance(about, dict):
            about["weights_sha256"] = hashlib.sha256(stored).hexdigest()
        (tmp_path / "config.json").write_text(json.dumps(about))
        (tmp_path / "model.safetensors").write_bytes(stored)
        model = fivefold.load(tmp_path, "cpu")
        fivefold.encode(model, data)
        fivefold.compress(model, data)

    fuzz(1 / 6, attempt)


def files(folder: Path) -> dict[str, tuple[str, bytes]]:
    """A file of each reader: by name, its modality and content."""
    frame, steps, pixels = make.rows()[:40], make.steps()[:60], make.items()
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_csv(folder / "a.csv.gz", index=False)
    frame.to_csv(folder / "a.csv.bz2", index=False)
    frame.to_parquet(folder / "a.parquet")
    frame.to_feather(folder / "a.feather")
    steps.to_csv(folder / "s.csv", index=False)
    np.save(folder / "i.npy", pixels)
    np.save(folder / "t.npy", np.arange(40.0).reshape(10, 4))
    np.savez_compressed(folder / "i.npz", images=pixels)
    for ending in ("png", "tif", "webp", "jpg", "bmp"):
        Image.fromarray(pixels[0]).save(folder / f"i.{ending}")
    with wave.open(str(folder / "s.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.arange(400, dtype="<i2").tobytes())
    kinds = {"a": "tables", "t": "tables", "s": "series", "i": "images"}
    return {path.name: (kinds[path.name[0]], path.read_bytes()) for path in sorted(folder.iterdir())}


@pytest.mark.situation("a damaged or hostile file of any kind that is read", "refused in one line, or read")
def test_readers(tmp_path_factory):
    folder, whole = tmp_path_factory.mktemp("damaged"), files(tmp_path_factory.mktemp("whole"))
    modalities = {modality.name: modality for modality in MODALITIES.values()}

    def attempt(rng: random.Random) -> None:
        name = rng.choice(list(whole))
        kind, right = whole[name]
        (folder / name).write_bytes(damaged(right, rng))
        reading = {"time": "hour", "ids": "site"} if name == "s.csv" else {}
        dataset = modalities[kind].data.open(str(folder / name), **reading)
        for block in dataset.blocks("read"):
            block.items.unit()

    fuzz(1 / 3, attempt)


def test_what_hangs_and_what_is_wrong_is_seen():
    """The fuzzer itself."""
    with pytest.raises(TimeoutError), timely():
        signal.raise_signal(signal.SIGPROF)

    def fail(_: random.Random) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fuzz(1, fail)
    rng = random.Random(0)
    assert len({damaged(b"content" * 20, rng) for _ in range(50)}) > 40
    assert mangled({"a": [1, 2], "b": 3}, rng) != {"a": [1, 2], "b": 3}
