from pathlib import Path

import numpy as np
import pytest

from fivefold.errors import DataError, UsageError
from fivefold.images import files
from fivefold.images.files import Output, list_images, make_sheet
from fivefold.images.formats import Reading, read_picture

VALUES = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 1), np.uint8)
ENDINGS = ["", ".npy", ".npz", ".png", ".NPY", ".NPZ", ".PNG"]


def read_image(path):
    return read_picture(path).pixels[0]


def stored(path):
    ending = path.suffix.lower()
    if ending == "":
        return np.stack([read_image(file) for file in list_images(path)[0]])
    if ending == ".png":
        return read_image(path)
    loaded = np.load(path)
    return loaded if ending == ".npy" else loaded["images"]


def write(path, values, low=0.0, high=255.0, names=None, force=False):
    Output.at(path, force=force).write([values], values.shape, values.dtype, low, high, names)


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_ending(tmp_path, ending):
    target = tmp_path / "deep" / f"out{ending}"
    write(target, VALUES)
    expected = make_sheet(VALUES) if ending.lower() == ".png" else VALUES
    np.testing.assert_array_equal(stored(target), expected)
    assert names_in(tmp_path) == (
        [f"deep/out/{index}.png" for index in range(3)] if ending == "" else [f"deep/out{ending}"]
    )


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("dtype", ["float64", "int16", "bool", "uint16"])
def test_arrays_are_kept_as_they_are(tmp_path, ending, dtype):
    values = (VALUES / 2).astype(dtype)
    write(tmp_path / f"out{ending}", values, 0.0, 1.0)
    read = stored(tmp_path / f"out{ending}")
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (np.array([0, 7, 255], np.uint8), "0.png", [0, 7, 255]),
        (np.array([0, 7, 65535], np.uint16), "0.png", [0, 7, 65535]),
        (np.array([False, True]), "0.png", [0, 255]),
        (np.array([-2.0, 0.0, 2.5, 1e9]), "0.tif", [-2.0, 0.0, 2.5, 1e9]),
        (np.array([-3, 0, 1023], np.int64), "0.tif", [-3, 0, 1023]),
    ],
)
def test_folders_hold_values_as_they_are(tmp_path, values, name, expected):
    write(tmp_path / "out", values.reshape(1, 1, -1, 1))
    assert names_in(tmp_path / "out") == [name]
    pixels = stored(tmp_path / "out")
    assert pixels.dtype == (np.uint8 if values.dtype == bool else values.dtype)
    assert pixels.ravel().tolist() == expected


def test_sheets_scale_what_png_cannot_hold(tmp_path):
    write(tmp_path / "out.png", np.array([-2.0, 0.0, 2.0, 9.0, -9.0]).reshape(1, 1, -1, 1), -2.0, 2.0)
    assert read_image(tmp_path / "out.png").ravel().tolist() == [0, 128, 255, 255, 0]


def test_a_tiff_holds_all_items_as_pages(tmp_path):
    values = np.random.default_rng(0).normal(size=(3, 4, 5, 3)).astype(np.float32)
    write(tmp_path / "out.tif", values)
    np.testing.assert_array_equal(read_picture(tmp_path / "out.tif", Reading(pages="items")).pixels, values)


@pytest.mark.situation("images to a file that ends in .csv, .jpg, …", "refused in one line")
@pytest.mark.parametrize("ending", [".txt", ".jpg", ".csv", ".v2"])
def test_other_endings_are_refused(tmp_path, ending):
    with pytest.raises(UsageError, match=r"`output` must be a folder, \.npy, \.npz, \.png or \.tif"):
        Output.at(tmp_path / f"out{ending}", force=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_existing_output_needs_force(tmp_path, ending):
    target = tmp_path / f"out{ending}"
    target.touch() if ending else target.mkdir()
    with pytest.raises(UsageError, match="exists; give `force`"):
        Output.at(target)
    write(target, VALUES, force=True)
    assert stored(target).size >= VALUES.size


@pytest.mark.parametrize("ending", ENDINGS)
def test_force_does_not_turn_folders_into_files_nor_back(tmp_path, ending):
    target = tmp_path / f"out{ending}"
    target.mkdir() if ending else target.touch()
    with pytest.raises(UsageError, match=r"out.* is a (folder|file); give another `output`"):
        Output.at(target, force=True)


def test_folder_keeps_its_other_files(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("notes.txt", "1.png", "7.png", "sub/0.png"):
        (tmp_path / name).write_text("old")
    write(tmp_path, VALUES, force=True)
    assert names_in(tmp_path) == ["0.png", "1.png", "2.png", "7.png", "notes.txt", "sub/0.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "1.png"), VALUES[1])
    assert {(tmp_path / name).read_text() for name in ("notes.txt", "7.png", "sub/0.png")} == {"old"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("b.jpg", "sub/a.tif", "c.png"), ("b.png", "sub/a.png", "c.png")),
        (("b", "a.v2.png", "c"), ("b.png", "a.v2.png", "c.png")),
        (("a.png", "a.jpg", "b.jpg"), ("a.png.png", "a.jpg.png", "b.png")),
        (("x/a.png", "y/a.png", "a.png"), ("x/a.png", "y/a.png", "a.png")),
        (("a.png", "a.jpg", "a.png.bmp"), ("a.png.2.png", "a.jpg.png", "a.png.png")),
        (("a.png", "a.png", "a.png"), ("a.png.png", "a.png.2.png", "a.png.3.png")),
        (("A.png", "a.png", "b.png"), ("A.png.png", "a.png.2.png", "b.png")),
    ],
)
def test_file_names(tmp_path, names, expected):
    write(tmp_path / "out", VALUES, names=names)
    assert names_in(tmp_path / "out") == sorted(expected)
    for file, values in zip(expected, VALUES, strict=True):
        np.testing.assert_array_equal(read_image(tmp_path / "out" / file), values)


@pytest.mark.parametrize(("n", "first", "last"), [(1, "0", "0"), (10, "0", "9"), (11, "00", "10")])
def test_numbers_are_padded(tmp_path, n, first, last):
    write(tmp_path / "out", np.zeros((n, 1, 1, 1), np.uint8))
    files = names_in(tmp_path / "out")
    assert (len(files), files[0], files[-1]) == (n, f"{first}.png", f"{last}.png")


@pytest.mark.parametrize("target", ["out", "out.png", "out.npy", "out.npz"])
@pytest.mark.parametrize("existing", [False, True])
def test_failure_leaves_nothing_half_written(tmp_path, monkeypatch, target, existing):
    path = tmp_path / target
    if existing:
        write(path, VALUES[:1] // 2)
    before = {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)}
    encode, calls = files.encode_png, []

    def fail_late(*args, **_):
        calls.append(args)
        if len(calls) > 1 or path.suffix:
            raise OSError("disk full")
        return encode(*args)

    monkeypatch.setattr(files, "encode_png", fail_late)
    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", fail_late)
    with pytest.raises(OSError, match="disk full"):
        write(path, VALUES, force=True)
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == before
    assert len(list(tmp_path.iterdir())) == existing


@pytest.mark.parametrize("target", ["out", "out.png", "out.npy", "out.npz"])
def test_parts_are_written_as_the_whole_would_be(tmp_path, target):
    write(tmp_path / "whole" / target, VALUES)
    parts = (VALUES[rows] for rows in (slice(0, 1), slice(1, None)))
    Output.at(tmp_path / "parts" / target).write(parts, VALUES.shape, VALUES.dtype, 0.0, 255.0)
    files = names_in(tmp_path / "whole")
    assert files == names_in(tmp_path / "parts")
    assert all((tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes() for name in files)


@pytest.mark.parametrize("target", ["out", "out.png", "out.npy", "out.npz"])
def test_parts_that_end_in_an_error_leave_nothing(tmp_path, target):
    def parts():
        yield VALUES[:1]
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        Output.at(tmp_path / target).write(parts(), VALUES.shape, VALUES.dtype, 0.0, 255.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.situation("names of items that lead out of the folder", "refused in one line")
@pytest.mark.parametrize("name", ["../up.png", "a/../../up.png", "/up.png", "", ".", "a\0b"])
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(DataError, match="folder"):
        write(tmp_path / "out", VALUES[:1], names=(name,))
    assert not list(tmp_path.iterdir())


@pytest.mark.situation("many items of the same name", "result right")
def test_many_like_names_are_told_apart(tmp_path):
    names = tuple(f"x.{ending}" for ending in ("jpg", "png", "tiff")) + ("x.jpg",) * 1000
    write(tmp_path / "out", np.zeros((1003, 1, 1, 1), np.uint8), names=names)
    found = names_in(tmp_path / "out")
    assert len(found) == 1003
    assert {"x.jpg.png", "x.png.png", "x.tiff.png", "x.jpg.1001.png"} <= set(found)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("n", "columns", "grid"), [(1, None, (1, 1)), (4, None, (2, 2)), (5, None, (2, 3)), (5, 5, (1, 5)), (3, 2, (2, 2))]
)
def test_sheet(dtype, n, columns, grid):
    images = np.random.default_rng(0).integers(0, 99, (n, 4, 6, 3)).astype(dtype)
    sheet = make_sheet(images, columns)
    rows, across = grid
    assert sheet.dtype == dtype
    assert sheet.shape == (rows * 6 - 2, across * 8 - 2, 3)
    rest = np.ones(sheet.shape, bool)
    for index, image in enumerate(images):
        top, left = index // across * 6, index % across * 8
        area = np.s_[top : top + 4, left : left + 6]
        np.testing.assert_array_equal(sheet[area], image)
        rest[area] = False
    assert (sheet[rest] == np.iinfo(dtype).max).all()


def test_text_paths_are_taken(tmp_path):
    assert Output.at(str(tmp_path / "out.npy")).path == Path(tmp_path / "out.npy")
