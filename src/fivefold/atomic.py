"""Results appear whole or not at all: written beside their place under another name, then renamed or exchanged.

Temporary names have a lock, which the system gives up with the process: what a killed run left behind is known by it, and
cleaned up by the next run that writes into the same folder.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

import filelock

from fivefold.errors import UsageError

if sys.platform != "win32":
    import fcntl

MODEL_FILES = "config.json", "model.safetensors"  # a folder that has both is a model's
_NEW, _OLD = "fivefold-new-", "fivefold-old-"
_DAY = 86_400
_EXCHANGE = {"linux": ("renameat2", -100, 2), "darwin": ("renameatx_np", -2, 2)}  # function, AT_FDCWD, flag


def is_model(path: Path) -> bool:
    """Whether it is a model's folder."""
    return all((path / name).is_file() for name in MODEL_FILES)


def check_free(path: Path, force: bool, *, model: bool = False) -> None:
    """Raise `UsageError` if something stands at `path` already, unless `force`; or if it can't be created.

    In a model's folder nothing is; at its place only another `model`.
    """
    places = path.absolute().parents if model else (path.absolute(), *path.absolute().parents)
    for place in places:
        if is_model(place):
            raise UsageError(f"{path} can't be written: {place} is a model's folder; choose another place")
    if path.exists() and not force:
        raise UsageError(f"{path} exists; give `force` to overwrite it")
    _check_writable(path)


def _check_writable(path: Path) -> None:
    """Raise `UsageError` if `path` can't be created, which only trying shows: not all file systems go by permissions."""
    folder = next((folder for folder in path.absolute().parents if folder.exists()), path)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"{folder} takes no new files ({error.strerror})"
        raise UsageError(f"{path} can't be written: {reason}; choose another place") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from working on `path`; raises `UsageError` if one does, or if it can't be written.

    Folders that are made for it go again if nothing comes into them.
    """
    _check_writable(path)
    made = [folder for folder in path.absolute().parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
    try:
        with lock:
            try:
                yield
            finally:
                with suppress(PermissionError):  # Windows deletes it when it is given up
                    Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout:
        raise UsageError(f"another process is writing {path}; wait for it, or choose another place") from None
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty, or gone
                folder.rmdir()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and deleted on failure."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; a file was to be written there")
    path = path.resolve()
    with _temporary(path, folder=False) as temporary:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path, *, merge: bool) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place on success and is deleted on failure.

    A folder that is there already is replaced as a whole, or with `merge` keeps its other files.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a folder was to be written there")
    path = path.resolve()
    with _temporary(path, folder=True) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists() and merge:
            for file in sorted(file for file in temporary.rglob("*") if file.is_file()):
                target = path / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)
        elif path.exists():
            _replace_folder(path, temporary)
        else:
            temporary.rename(path)


def recover(path: Path) -> None:
    """Bring back the folder `path` if a run was killed after it had put it aside to replace it."""
    if path.exists() or not path.parent.is_dir():
        return
    for aside in path.parent.glob(f".{escape(path.name)}.{_OLD}*"):
        with suppress(OSError), _claimed(aside, wait=False):
            aside.rename(path)


def _replace_folder(path: Path, new: Path) -> None:
    """Put the folder `new` in the place of `path`, and the old one in its own."""
    if _exchange(path, new):
        return
    aside = path.with_name(new.name.replace(_NEW, _OLD))
    with _claimed(path):
        path.rename(aside)
        try:
            new.rename(path)
        except BaseException:
            aside.rename(path)
            raise
        aside.rename(new)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; False where the system can't."""
    name, here, flag = _EXCHANGE.get(sys.platform, ("", 0, 0))
    try:
        rename = getattr(ctypes.CDLL(None), name)
    except (AttributeError, TypeError, OSError):
        return False
    return bool(rename(here, os.fsencode(first), here, os.fsencode(second), flag) == 0)


@contextmanager
def _temporary(path: Path, *, folder: bool) -> Iterator[Path]:
    """A new file or folder beside `path`, locked, and gone afterwards; what killed runs left there goes, too.

    An `OSError` that names no file names `path`.
    """
    _check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    prefix = f".{path.name}.{_NEW}"
    with ExitStack() as stack:
        while True:
            if folder:
                temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix))
            else:
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
                os.close(handle)
                temporary = Path(name)
            stack.enter_context(_claimed(temporary))
            if temporary.exists():  # another run, cleaning up, may have been faster
                break
        try:
            yield temporary
        except OSError as error:
            if error.filename is not None:
                raise
            reason = error.strerror or "not all of it could be written; is the disk full?"
            raise OSError(error.errno or errno.EIO, reason, str(path)) from error
        finally:
            _remove(temporary)


def _clean(folder: Path) -> None:
    """Rid a folder of what killed runs left in it."""
    for old in folder.glob(f".*.{_OLD}*"):
        recover(folder / old.name[1 : old.name.rindex(f".{_OLD}")])
    for left in (*folder.glob(f".*.{_OLD}*"), *folder.glob(f".*.{_NEW}*")):
        with suppress(OSError), _claimed(left, wait=False):
            if sys.platform != "win32" or time.time() - left.stat().st_mtime > _DAY:
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _claimed(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file or folder, where there are such locks; if not to `wait`, `OSError` if another process has it."""
    if sys.platform == "win32":  # which has none of folders
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            if not wait:
                raise
        yield
    finally:
        os.close(handle)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
