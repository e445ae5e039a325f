"""What a server is told: its models, where it listens, who may ask, and how much."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fivefold.errors import UsageError
from fivefold.hub import is_address, located

_SHORTEST_KEY = 16


@dataclass(frozen=True)
class Limits:
    """How much one request may ask, and how many may wait.

    Attributes
    ----------
    body : bytes of a request
    items : images, rows or steps, brought or asked for
    elements : numbers and classes in them, draws included
    seconds : that a request may wait and be worked on
    queue : requests that wait in one process
    body_seconds : in which a request, and each part of its answer, must have passed
    connections : at once, in one process
    """

    body: int = 64 << 20
    items: int = 1_000_000
    elements: int = 50_000_000
    seconds: float = 60.0
    queue: int = 64
    body_seconds: float = 30.0
    connections: int = 512

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"`max_{name}` must be above 0, got {value:g}")


@dataclass(frozen=True)
class Settings:
    """A server.

    Attributes
    ----------
    models : folders by the names under which they are served
    host, port : where it listens
    keys : SHA-256 of those of which one must be given; none: everybody may ask
    everybody : whether all may ask who reach it, without keys and by whatever name
    origins : of web pages elsewhere that may ask; `*` for all
    workers : processes
    watch : whether model folders that change are loaded anew
    limits
    """

    models: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8000
    keys: tuple[bytes, ...] = ()
    everybody: bool = False
    origins: tuple[str, ...] = ()
    workers: int = 1
    watch: bool = False
    limits: Limits = field(default_factory=Limits)

    def allows(self, key: str) -> bool:
        """Whether a key is one of those; takes the same time for all."""
        given = hashlib.sha256(key.encode("utf-8", "replace")).digest()
        same = [hmac.compare_digest(given, known) for known in self.keys]
        return any(same)

    def serves(self, name: str) -> bool:
        """Whether requests may call this server so: where there are no keys, only as this machine, since a web page could have
        a name of its own lead here."""
        return bool(self.keys) or self.everybody or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether an address is one that only the machine itself reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def named_models(texts: Sequence[str]) -> dict[str, Path]:
    """Models by name, from `FOLDER` or `NAME=FOLDER`, or addresses on the Hub in their place; raises `UsageError`."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        if not equals:
            name = path.name.partition("@")[0] if is_address(path) else path.resolve().name
        if not name or not all(letter.isalnum() or letter in "._-" for letter in name):
            raise UsageError(f"a model's name must be of letters, digits, . _ and -, got {name!r}; give NAME=FOLDER")
        if name in found:
            raise UsageError(f"two models are called {name}; give NAME=FOLDER")
        found[name] = located(path)
    return found


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Digests of the keys in a file, one per line; empty lines and those after # are left out. Raises `UsageError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"`key_file` {path}: can't be read ({error})") from None
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise UsageError(f"`key_file` {path}: must hold a key per line, got none")
    if any(len(key) < _SHORTEST_KEY for key in keys):
        raise UsageError(f"`key_file` {path}: keys must have at least {_SHORTEST_KEY} characters")
    return tuple(hashlib.sha256(key.encode()).digest() for key in keys)
