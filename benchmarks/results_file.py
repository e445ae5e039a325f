"""Results as JSON under benchmarks/results, with the command that made them."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from fivefold.atomic import atomic_file

RESULTS = Path(__file__).parent / "results"


def read_result(name: str) -> dict[str, Any]:
    """What `results/NAME.json` holds; nothing if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_result(name: str, content: dict[str, Any]) -> None:
    """Write `results/NAME.json`; `content` names its environment."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])
    with atomic_file(RESULTS / f"{name}.json") as temporary:
        temporary.write_text(json.dumps({"command": command, **content}, indent=1) + "\n", encoding="utf-8")
