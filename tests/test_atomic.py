import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from fivefold import atomic
from fivefold.arrays import write_npy
from fivefold.atomic import MODEL_FILES, atomic_file, atomic_folder, check_free, locked, recover
from fivefold.errors import UsageError


class Failure(Exception):
    pass


def everything(folder):
    """Text by path below, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def write_array(path):
    with path.open("wb") as file:
        write_npy(file, [np.zeros(999)], (999,), np.dtype("f8"))


def write_half(path, error):
    path.write_text("half")
    raise error


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_check_free_wants_force_for_what_exists(tmp_path):
    file = tmp_path / "a.txt"
    check_free(file, force=False)
    file.touch()
    with pytest.raises(UsageError, match="exists; give `force`"):
        check_free(file, force=False)
    with pytest.raises(UsageError, match="exists; give `force`"):
        check_free(tmp_path, force=False)
    check_free(file, force=True)


def test_check_free_allows_missing_parents_but_not_a_file_as_parent(tmp_path):
    check_free(tmp_path / "new" / "deep" / "a.txt", force=False)
    (tmp_path / "file").touch()
    for force in (False, True):
        with pytest.raises(UsageError, match=r"can't be written: .*file takes no new files .*; choose another place"):
            check_free(tmp_path / "file" / "deep" / "a.txt", force)
    assert everything(tmp_path) == {"file": ""}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system that takes no files is needed")
@pytest.mark.parametrize("write", [lambda path: check_free(path, force=False) or nullcontext(), locked, atomic_file])
def test_a_place_that_takes_no_files_is_refused_whatever_its_permissions(write):
    refused = pytest.raises(
        UsageError, match=r"^/proc/a.txt can't be written: /proc takes no new files .*choose another"
    )
    with refused, write(Path("/proc/a.txt")):
        pytest.fail("must not begin")


@pytest.mark.usefixtures("umask")
def test_file_appears_whole_with_the_usual_permissions(tmp_path):
    target = tmp_path / "deep" / "a.csv"
    with atomic_file(target) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not target.exists()
    assert everything(tmp_path) == {"deep": None, "deep/a.csv": "new"}
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt])
@pytest.mark.parametrize("before", [{}, {"a.txt": "old"}])
def test_failed_file_leaves_all_as_it_was(tmp_path, before, error):
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(error), atomic_file(tmp_path / "a.txt") as temporary:
        write_half(temporary, error)
    assert everything(tmp_path) == before


@pytest.fixture
def small_files():
    """This process can write no more than 5,000 bytes into a file."""
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("write", [lambda path: path.write_bytes(bytes(9_000)), write_array])
def test_what_cannot_be_written_whole_is_named(tmp_path, small_files, write):
    path = tmp_path / "out.npy"
    with pytest.raises(OSError) as caught, atomic_file(path) as temporary:
        write(temporary)
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_failed_rename_of_a_file_leaves_all_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old")

    def fail(*_):
        raise Failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(Failure), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert everything(tmp_path) == {"a.txt": "old"}


def test_file_does_not_replace_a_folder_nor_folder_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(UsageError, match="is a folder"), atomic_file(tmp_path / "folder"):
        pytest.fail("must not begin")
    for merge in (False, True):
        with pytest.raises(UsageError, match="is a file"), atomic_folder(tmp_path / "file", merge=merge):
            pytest.fail("must not begin")
    assert everything(tmp_path) == {"folder": None, "file": "old"}


OLD = {"out": None, "out/keep.txt": "old", "out/sub": None, "out/sub/both.txt": "old"}


def lay_old(folder):
    (folder / "out" / "sub").mkdir(parents=True)
    (folder / "out" / "keep.txt").write_text("old")
    (folder / "out" / "sub" / "both.txt").write_text("old")


def write_new(temporary):
    (temporary / "sub").mkdir()
    (temporary / "sub" / "both.txt").write_text("new")


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.usefixtures("umask")
def test_new_folder_appears_whole(tmp_path, merge):
    target = tmp_path / "deep" / "out"
    with atomic_folder(target, merge=merge) as temporary:
        write_new(temporary)
        assert not target.exists()
    assert everything(target) == {"sub": None, "sub/both.txt": "new"}
    assert everything(tmp_path).keys() == {"deep", "deep/out", "deep/out/sub", "deep/out/sub/both.txt"}
    assert target.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    ("merge", "after"),
    [
        (False, {"out": None, "out/sub": None, "out/sub/both.txt": "new"}),
        (True, {**OLD, "out/sub/both.txt": "new"}),
    ],
)
def test_existing_folder_is_replaced_or_merged(tmp_path, merge, after):
    lay_old(tmp_path)
    with atomic_folder(tmp_path / "out", merge=merge) as temporary:
        write_new(temporary)
    assert everything(tmp_path) == after


@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt])
@pytest.mark.parametrize("merge", [False, True])
def test_failed_folder_leaves_all_as_it_was(tmp_path, merge, error):
    lay_old(tmp_path)
    with pytest.raises(error), atomic_folder(tmp_path / "out", merge=merge) as temporary:
        write_half(temporary / "half.txt", error)
    assert everything(tmp_path) == OLD


@pytest.mark.parametrize("failing", [1, 2])
def test_failed_rename_of_a_folder_leaves_all_as_it_was(tmp_path, monkeypatch, failing):
    lay_old(tmp_path)
    rename, calls = Path.rename, []

    def sometimes(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise Failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", sometimes)
    monkeypatch.setattr(atomic, "_exchange", lambda *_: False)
    with pytest.raises(Failure), atomic_folder(tmp_path / "out", merge=False) as temporary:
        write_new(temporary)
    assert everything(tmp_path) == OLD


class Killed(BaseException):
    pass


@pytest.mark.situation(
    "a run killed while it replaces a model", "the old or the new one is whole, and the next run tidies up"
)
@pytest.mark.parametrize("renames", [0, 1, 2])
@pytest.mark.parametrize("reading", [False, True])
def test_folder_is_brought_back_after_a_kill_between_two_renames(tmp_path, monkeypatch, renames, reading):
    lay_old(tmp_path)
    rename, calls = Path.rename, []

    def until_killed(self, target):
        if len(calls) >= renames:
            raise Killed
        calls.append(target)
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", until_killed)
        patch.setattr(atomic, "_exchange", lambda *_: False)
        patch.setattr(atomic, "_remove", lambda _: None)
        with pytest.raises(Killed), atomic_folder(tmp_path / "out", merge=False) as temporary:
            write_new(temporary)
    assert (tmp_path / "out").exists() == (renames != 1)
    after = {"out": None, "out/sub": None, "out/sub/both.txt": "new"} if renames == 2 else OLD
    if reading:
        recover(tmp_path / "out")
        assert everything(tmp_path).items() >= after.items()
    with atomic_file(tmp_path / "other") as temporary:
        temporary.write_text("new")
    assert everything(tmp_path) == {**after, "other": "new"}


def test_two_folders_change_places_in_one_step(tmp_path):
    lay_old(tmp_path)
    (tmp_path / "new").mkdir()
    if atomic._exchange(tmp_path / "out", tmp_path / "new"):
        assert everything(tmp_path / "out") == {}
        assert (tmp_path / "new" / "keep.txt").read_text() == "old"
    assert not atomic._exchange(tmp_path / "out", tmp_path / "missing")


def test_what_killed_runs_left_goes_with_the_next_and_what_others_write_stays(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_remove", lambda _: None)
        for context in (atomic_file(tmp_path / "a.txt"), atomic_folder(tmp_path / "out", merge=True)):
            with pytest.raises(Killed), context:
                raise Killed
    (tmp_path / ".a.txt.mine").write_text("mine")
    assert len(everything(tmp_path)) == 3
    with atomic_file(tmp_path / "b.txt") as first, atomic_folder(tmp_path / "c", merge=False) as second:
        assert everything(tmp_path).keys() == {first.name, second.name, ".a.txt.mine"}
        with atomic_file(tmp_path / "d.txt"):
            pass
        assert first.exists()
        assert second.exists()
    assert everything(tmp_path) == {".a.txt.mine": "mine", "b.txt": "", "c": None, "d.txt": ""}


def test_a_temporary_file_that_was_tidied_up_too_early_is_made_anew(tmp_path, monkeypatch):
    claimed, early = atomic._claimed, [True]

    def late(path, **how):
        if early and path.is_file():
            early.clear()
            path.unlink()
            return nullcontext()
        return claimed(path, **how)

    monkeypatch.setattr(atomic, "_claimed", late)
    with atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert everything(tmp_path) == {"a.txt": "new"}


def test_links_are_followed(tmp_path):
    lay_old(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    with atomic_folder(tmp_path / "link", merge=False) as temporary:
        write_new(temporary)
    assert (tmp_path / "link").is_symlink()
    assert everything(tmp_path / "out") == {"sub": None, "sub/both.txt": "new"}


@pytest.mark.situation("two fits that write to the same folder", "refused in one line")
def test_only_one_process_works_on_a_place(tmp_path):
    with locked(tmp_path / "model"):
        with locked(tmp_path / "other"):
            pass
        with pytest.raises(UsageError, match=r"another process is writing .*model"), locked(tmp_path / "model"):
            pytest.fail("must not begin")
    with locked(tmp_path / "model"), locked(tmp_path / "new" / "deep" / "model"):
        pass
    assert everything(tmp_path) == {}


@pytest.mark.situation("an output inside a model's folder, or in its place", "refused in one line")
def test_nothing_is_written_into_the_folder_of_a_model(tmp_path):
    for name in MODEL_FILES:
        (tmp_path / name).touch()
    for path in (tmp_path, tmp_path / "a.csv", tmp_path / "deep" / "folder"):
        with pytest.raises(UsageError, match="is a model's folder; choose another place"):
            check_free(path, force=True)
    check_free(tmp_path, force=True, model=True)
    with pytest.raises(UsageError, match="is a model's folder; choose another place"):
        check_free(tmp_path / "model", force=True, model=True)
