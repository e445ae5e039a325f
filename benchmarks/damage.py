"""Damaged archives and killed writers: 200,000 mutants and 50 kills."""

from __future__ import annotations

import io
import random
import resource
import subprocess
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from program import PROGRAM

from fivefold.archive.write import ArchiveOptions, write_archive
from fivefold.images.dataset import make_items
from fivefold.items import Items
from fivefold.model.fitted import FittedModel
from fivefold.storage import load, save
from fivefold.system import environment

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "images"
_MUTANTS, _BEHIND_CHECKSUMS, _PARTS = 200_000, 0.02, 8
_SPARE_BYTES = 1 << 28  # of memory beyond what the process has before
_KILLS, _KILL_ITEMS = 50, 128
_KILL_SETTINGS = ("--block-items", "8", "--no-verify")


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """Fails if a mutant ends in anything but an archive's error or the right items, or a kill leaves half an archive."""
    start = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_run_mutants, range(_PARTS)))
    ends = sum((ends for ends, _ in parts), Counter[str]())
    seconds = time.monotonic() - start
    return {
        "mutants": sum(ends.values()),
        "ends": dict(ends),
        "slowest_seconds": max(slowest for _, slowest in parts),
        "seconds": seconds,
        "kills": _kill_writers(model, test.values[:_KILL_ITEMS]),
        "environment": environment(),
    }


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Up to four changes: bytes flipped or set, numbers set to extremes, ends cut off, pieces cut out, doubled or moved."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(changed) + 1), rng.choice((1, 2, 4, 8, rng.randint(1, 200)))
        kind = rng.randrange(6)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[place : place + length] = bytes(rng.choices((0, 1, 127, 128, 255), k=1)) * length
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            del changed[place : place + length]
        elif kind == 4:
            changed[place:place] = changed[place : place + length]
        else:
            start = rng.randrange(len(content))
            changed[place : place + length] = content[start : start + length]
    return bytes(changed)


def _bound_memory() -> None:
    """From now on an allocation beyond the spare bytes fails, and with it the mutant. Linux only."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE_BYTES, resource.RLIM_INFINITY))


def _run_mutants(part: int) -> tuple[Counter[str], float]:
    """How a share of the mutants end, and how long the slowest took."""
    from google_crc32c import value as checksum

    from fivefold.archive import container as archive
    from fivefold.archive.container import Limits
    from fivefold.archive.read import decompress
    from fivefold.errors import ArchiveError

    model = load(GOLDEN / "model", "cpu")
    archive.crc32c = checksum  # this process may have had another share before
    content = _with_names(model, decompress((GOLDEN / "archive.ff").read_bytes(), model))
    limits = Limits(items=1_000, block_elements=1 << 16, bytes=1 << 20, attachment_bytes=1 << 20)
    right, rng = decompress(content, model, limits=limits), random.Random(part)
    ends, slowest = Counter[str](), 0.0
    _bound_memory()
    for _ in range(_MUTANTS // _PARTS):
        behind = rng.random() < _BEHIND_CHECKSUMS
        # as if a malicious writer had made all checksums right
        archive.crc32c = _AnySum() if behind else checksum
        start = time.monotonic()
        try:
            found = decompress(mutate(content, rng), model, limits=limits)
        except ArchiveError as error:
            ends[type(error).__name__] += 1
        else:
            same = found.shape == right.shape and (found == right).all()
            if not same and not behind:
                raise AssertionError("a mutant gave wrong items")
            ends["right items" if same else "other items, behind right checksums"] += 1
        slowest = max(slowest, time.monotonic() - start)
    return ends, slowest


def _with_names(model: FittedModel, values: np.ndarray) -> bytes:
    """An archive like the golden one, of named items."""
    file = io.BytesIO()
    items = make_items(values, model.schema, names=tuple(f"folder/{number}.png" for number in range(len(values))))
    write_archive(model, items, file, ArchiveOptions(step=1, block_items=4))
    return file.getvalue()


class _AnySum:
    """Instead of a checksum: equal to whatever it is compared with."""

    def __call__(self, content: bytes) -> _AnySum:
        return self

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


def _kill_writers(model: FittedModel, values: np.ndarray) -> dict[str, int]:
    """`kill -9` at random moments of `fivefold compress`: how often the archive was absent, how often complete."""
    from fivefold.archive.read import open_archive

    rng, ends = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "model")
        np.save(folder / "items.npy", values)
        command = [PROGRAM, "compress", "model", "items.npy", "-o", "items.ff", *_KILL_SETTINGS]
        whole = _kill(command, folder, None)
        right = (folder / "items.ff").read_bytes()
        for _ in range(_KILLS):
            (folder / "items.ff").unlink(missing_ok=True)
            _kill(command, folder, rng.uniform(0, 1.1) * whole)
            for left in folder.glob(".items.ff.*"):
                left.unlink()
            if not (folder / "items.ff").exists():
                ends["absent"] += 1
                continue
            with (folder / "items.ff").open("rb") as file:
                open_archive(file)
            if (folder / "items.ff").read_bytes() != right:
                raise AssertionError("a killed writer left another archive")
            ends["complete"] += 1
    return dict(ends)


def _kill(command: list[str], folder: Path, after: float | None) -> float:
    """Run a writer and kill it so many seconds after its temporary file appears, unless None; seconds since then."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as writer:
        while not list(folder.glob(".items.ff.*")):
            time.sleep(0.005)
        start = time.monotonic()
        if after is not None:
            time.sleep(after)
            writer.kill()
    return time.monotonic() - start
