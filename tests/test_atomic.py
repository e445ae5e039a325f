import os
from pathlib import Path

import pytest

from fivefold.atomic import atomic_file, atomic_folder, check_free
from fivefold.errors import UsageError


class Failure(Exception):
    pass


def everything(folder):
    """Text by path below, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


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
        with pytest.raises(UsageError, match="is not a folder that you may write to"):
            check_free(tmp_path / "file" / "deep" / "a.txt", force)
    assert everything(tmp_path) == {"file": ""}


def test_check_free_refuses_a_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UsageError, match="not a folder that you may write to"):
        check_free(tmp_path / "a.txt", force=False)


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
    with pytest.raises(Failure), atomic_folder(tmp_path / "out", merge=False) as temporary:
        write_new(temporary)
    assert everything(tmp_path) == OLD
