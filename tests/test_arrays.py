import gzip
import struct
import zipfile

import numpy as np
import pytest

from fivefold.arrays import read_idx, read_npy, read_npz
from fivefold.errors import DataError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
OBJECTS = np.array([{"a": 1}, None], object)


def npy(header, content=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npy_header(shape):
    return "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + "}\n"


def idx(code, shape, content):
    return struct.pack(">HBB", 0, code, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + content


def flipped(content, index):
    return content[:index] + bytes([content[index] ^ 0xFF]) + content[index + 1 :]


@pytest.mark.parametrize("values", [VALUES, VALUES.astype(">f4"), np.asfortranarray(VALUES), np.zeros((0, 2, 2))])
def test_npy_is_mapped(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    read = read_npy(tmp_path / "a.npy")
    assert isinstance(read, np.memmap)
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


@pytest.mark.situation("a damaged .npy file", "refused in one line")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text, not an array",
        npy(npy_header("(3, 3)"), b"123"),
        npy(npy_header("(1000000000000, 3)"), b"123"),
        npy(npy_header(f"({10**30},)"), b"123"),
        npy(npy_header("(-1, 3)"), b"123"),
        npy("{'descr': '|u1'"),
        npy("(" * 5000),
        npy("\0"),
        npy("{'descr': 'zzz', 'fortran_order': False, 'shape': (3,)}\n", b"123"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"\x80\x04N."),
    ],
)
def test_damaged_npy_is_refused(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy: can't be read as a NumPy array"):
        read_npy(path)


@pytest.mark.situation("a pickled .npy file", "refused in one line")
def test_pickled_npy_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", OBJECTS, allow_pickle=True)
    with pytest.raises(DataError, match="can't be read as a NumPy array"):
        read_npy(tmp_path / "a.npy")


def test_npz_called_npy_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=VALUES)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match="can't be read as a NumPy array"):
        read_npy(tmp_path / "a.npy")


def test_missing_files_are_data_errors(tmp_path):
    for read in (read_npy, read_npz, read_idx):
        with pytest.raises(DataError, match="missing"):
            read(tmp_path / "missing")


@pytest.mark.parametrize(
    ("names", "images", "labels"),
    [
        (["anything"], "anything", None),
        (["anything", "y"], "anything", "y"),
        (["x", "y"], "x", "y"),
        (["X", "Y"], "X", "Y"),
        (["x_train", "y_train", "x_test"], "x_train", "y_train"),
        (["noise", "data", "x"], "x", None),
        (["values", "images"], "images", None),
        (["arr_0", "arr_1"], "arr_0", None),
        (["y", "labels", "images"], "images", "labels"),
    ],
)
def test_npz_names(tmp_path, names, images, labels):
    arrays = {name: np.full((2, 3, 3), index, np.uint8) for index, name in enumerate(names)}
    np.savez(tmp_path / "a.npz", **arrays)
    found, found_labels = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found, arrays[images])
    if labels is None:
        assert found_labels is None
    else:
        np.testing.assert_array_equal(found_labels, arrays[labels])


@pytest.mark.situation("an .npz file in which no array is clearly the images", "refused in one line")
@pytest.mark.parametrize("names", [["first", "second"], ["labels"], ["x_test", "y_test"]])
def test_npz_without_clear_images_is_refused(tmp_path, names):
    np.savez(tmp_path / "a.npz", **dict.fromkeys(names, VALUES))
    with pytest.raises(DataError, match="one array must be called images or values or"):
        read_npz(tmp_path / "a.npz")


def test_unused_pickled_array_in_npz_does_not_matter_but_used_ones_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=VALUES, extra=OBJECTS)
    assert read_npz(tmp_path / "a.npz")[0].shape == VALUES.shape
    for arrays in ({"images": OBJECTS}, {"images": VALUES, "labels": OBJECTS}):
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=r"a\.npz: can't be read as a NumPy archive"):
            read_npz(tmp_path / "a.npz")


def damaged_npz(path, kind):
    if kind == "array":
        np.save(path.with_suffix(".npy"), VALUES)
        path.with_suffix(".npy").rename(path)
        return
    if kind == "lying":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", npy(npy_header("(1000000, 1000000)"), b"123"))
        return
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, (20, 10, 10), np.uint8))
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no archive",
            "truncated": content[: len(content) // 2],
            "flipped": flipped(content, len(content) // 2),
        }[kind]
    )


@pytest.mark.situation("a damaged .npz file, or what is not what its name says", "refused in one line")
@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "flipped", "lying", "array"])
def test_damaged_npz_is_refused(tmp_path, kind):
    damaged_npz(tmp_path / "a.npz", kind)
    with pytest.raises(DataError, match=r"a\.npz: can't be read as a NumPy archive"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.situation("IDX files of MNIST's kind, gzipped or not", "read right")
@pytest.mark.parametrize("name", ["a-idx3-ubyte", "a.idx", "a.gz", "A.GZ"])
@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_idx_of_all_types(tmp_path, name, code, dtype):
    values = (VALUES - 12).astype(np.int8).astype(dtype) if code != 8 else VALUES
    content = idx(code, values.shape, values.tobytes())
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    read = read_idx(tmp_path / name)
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, values)


def test_empty_idx(tmp_path):
    (tmp_path / "a.idx").write_bytes(idx(8, (0, 28, 28), b""))
    assert read_idx(tmp_path / "a.idx").shape == (0, 28, 28)


@pytest.mark.situation("a damaged IDX file", "refused in one line")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as an IDX file"),
        (b"\0\0", "can't be read as an IDX file"),
        (b"text, no IDX", "isn't an IDX file"),
        (idx(0x0A, (1,), b"1"), "isn't an IDX file"),
        (idx(8, (), b""), "isn't an IDX file"),
        (idx(8, (1,) * 5, b"1"), "isn't an IDX file"),
        (idx(8, (2, 3), b"")[:-2], "can't be read as an IDX file"),
        (idx(8, (2, 3), b"12345"), "must hold 6 bytes of values by its header, got 5"),
        (idx(8, (2, 3), b"1234567"), "must hold 6 bytes of values by its header, got more"),
        (idx(0x0E, (2,), b"1234567"), "must hold 16 bytes of values by its header, got 7"),
        (idx(8, (2**32 - 1,) * 4, b"123"), "by its header, got 3"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx_is_refused(tmp_path, content, message, packed):
    path = tmp_path / ("a.gz" if packed else "a.idx")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=message):
        read_idx(path)


PACKED = gzip.compress(idx(8, (5000,), np.random.default_rng(0).integers(0, 9, 5000, np.uint8).tobytes()))


@pytest.mark.parametrize(
    "content",
    [b"garbage, not gzip", PACKED[: len(PACKED) // 2], PACKED[:-4], flipped(PACKED, 3), flipped(PACKED, -5)]
    + [flipped(PACKED, index) for index in range(12, len(PACKED) - 8, 150)],
)
def test_damaged_gzip_is_refused(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz: "):
        read_idx(tmp_path / "a.gz")
