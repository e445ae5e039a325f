"""Results appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fivefold.errors import UsageError


def check_free(path: Path, force: bool) -> None:
    """Raise `UsageError` if something stands at `path` already, unless `force`; or if it can't be created."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists; give `force` to overwrite it")
    parent = next((folder for folder in path.absolute().parents if folder.exists()), path)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"{path} can't be written: {parent} is not a folder that you may write to")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and deleted on failure."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; a file was to be written there")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path, *, merge: bool) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place on success and is deleted on failure.

    A folder that is there already is replaced as a whole, or with `merge` keeps its other files.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a folder was to be written there")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists() and merge:
            for file in sorted(each for each in temporary.rglob("*") if each.is_file()):
                target = path / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
        elif path.exists():
            _replace_folder(path, temporary)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, new: Path) -> None:
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    replaced = aside / "replaced"
    try:
        path.rename(replaced)
        try:
            new.rename(path)
        except BaseException:
            replaced.rename(path)
            raise
    except BaseException:
        if not replaced.exists():
            aside.rmdir()
        raise
    shutil.rmtree(aside)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
