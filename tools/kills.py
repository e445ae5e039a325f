"""Kill fits, compressions and imputations everywhere: `python tools/kills.py [KILLS [COMMAND…]]`, by default 100 of each, by each
signal.

Half of them die as they touch the n-th file, for n all over the run; the others after some time. Whatever happens, the result under
its name must be the old or the new one, whole, and after the next run nothing else may be left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fivefold.cli import main
from fivefold.storage import fingerprint, read

EVENTS = ("open", "os.", "shutil.", "tempfile.", "ctypes.dlsym")  # audited before they happen
FIT = "fit t.csv -o m --epochs 1 --context-width 8 --latent-dim 2 --force --quiet --accelerator cpu"
COMMANDS = {
    "fit": (FIT, "m"),
    "compress": ("compress ready t.csv -o a.ff --workers 1 --force", "a.ff"),
    "impute": ("impute ready t.csv -o out.csv --force", "out.csv"),
}


def here(command: str) -> int:
    """A command in this process; its exit code."""
    sys.argv = ["fivefold", *command.split()]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def run(command: str, prepare: Callable[[], None] = lambda: None) -> int:
    """A command in a process of its own, which is to `prepare` itself; its exit code, or minus the signal."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            prepare()
            code = here(command)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_touch(touched: Callable[[], object]) -> None:
    """Call something before each time that this process may touch a file below the working directory."""
    here = Path.cwd()

    def hook(event: str, given: tuple[Any, ...]) -> None:
        path = given[0] if event.startswith(EVENTS) and given else None
        if isinstance(path, str | Path) and Path(path).absolute().is_relative_to(here):
            touched()

    sys.addaudithook(hook)


def count(command: str) -> tuple[int, float]:
    """How often a command touches files, and how many seconds it takes."""
    reading, writing = os.pipe()
    start = time.monotonic()
    if run(command, lambda: on_touch(lambda: os.write(writing, b"."))) != 0:
        raise SystemExit(f"{command}: fails without being killed")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return len(file.read()), time.monotonic() - start


def kill_at(number: signal.Signals, event: int) -> None:
    """Have this process killed as it touches a file for the n-th time."""
    events = itertools.count()
    on_touch(lambda: next(events) == event and os.kill(os.getpid(), number))


def kill_after(number: signal.Signals, seconds: float) -> None:
    """Have this process killed after so long."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))


def state(result: Path) -> Any:
    """What a result is; raises if it is not whole."""
    return fingerprint(read(result)) if result.suffix == "" else result.read_bytes()


def names() -> set[str]:
    """What is in the working directory."""
    return {path.name for path in Path().iterdir()}


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """A working directory with a table, and a model of it."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        x = rng.normal(size=(120, 1)) + rng.normal(0, 0.1, (120, 3))
        lines = [",".join("" if rng.random() < 0.05 else f"{value:.3f}" for value in row) for row in x]
        Path("t.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")
        for command in (FIT.replace(" m ", " ready "), *(command for command, _ in COMMANDS.values())):
            here(command)  # so that what commands load is there before all forks
        yield


def attack(name: str, kills: int, number: signal.Signals) -> None:
    """Kill one command so many times."""
    command, output = COMMANDS[name]
    table = Path("t.csv").read_text().splitlines()
    Path("t.csv").write_text("\n".join(table[:61]) + "\n")
    run(command)
    old = state(Path(output))
    Path("t.csv").write_text("\n".join(table) + "\n")
    events, seconds = count(command)
    new, whole = state(Path(output)), names()
    died = 0
    for kill in range(kills):
        place = (kill // 2 + 0.5) / (kills / 2)
        if kill % 2:
            code = run(command, partial(kill_after, number, place * seconds))
        else:
            code = run(command, partial(kill_at, number, int(place * events)))
        died += code != 0
        if state(Path(output)) not in (old, new):
            raise SystemExit(f"{name}: at {place:.2f} the result is neither the old nor the new one")
        if run(command) != 0 or names() != whole:
            raise SystemExit(f"{name}: after a kill at {place:.2f} and a run, {sorted(names() ^ whole)} are left")
        if state(Path(output)) != new:
            raise SystemExit(f"{name}: after a kill at {place:.2f}, the next run gives something else")
    print(f"{name}, {number.name}: {kills} kills, {died} before the end; {events} touches of files", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _, *given = sys.argv  # before commands take its place
    with prepared():
        for name in given[1:] or COMMANDS:
            for number in (signal.SIGKILL, signal.SIGTERM):
                attack(name, int(given[0]) if given else 100, number)
