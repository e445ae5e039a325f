import bz2
import gzip
import lzma
import os
import zipfile

import numpy as np
import pytest

from fivefold import inputs
from fivefold.arrays import read_idx, read_npz
from fivefold.errors import DataError
from fivefold.inputs import check_file, open_input

CONTENT = np.random.default_rng(0).bytes(1000) + bytes(100_000)


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def zstd(content):
    return inputs.zstd.compress(content, options={inputs.zstd.CompressionParameter.checksum_flag: 1})


def read_all(path, sizes=None):
    """Read piece by piece; their sizes are added to `sizes`."""
    sizes = [] if sizes is None else sizes
    with open_input(path) as file:
        while piece := file.read(1 << 16):
            sizes.append(len(piece))


@pytest.mark.situation("a file compressed with gzip, bzip2, xz or zstd, or zipped, whatever it is called", "read right")
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd, "zip"])
def test_files_are_decompressed_by_what_they_are(tmp_path, compress):
    path = tmp_path / "data"
    if compress == "zip":
        zipped(path, data=CONTENT)
    else:
        path.write_bytes(compress(CONTENT))
    with open_input(path) as file:
        assert file.read(10) == CONTENT[:10]
        assert file.read() == CONTENT[10:]


@pytest.mark.situation("a compressed file that ends too early, or is damaged", "refused in one line")
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_damaged_files_are_refused(tmp_path, compress):
    path, content = tmp_path / "data", compress(CONTENT)
    for damaged in (content[:-5], content[:20] + bytes(10) + content[30:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"data: can't be .*\("):
            read_all(path)


@pytest.mark.situation("a decompression bomb: gzip, bzip2, xz, zstd or zip", "refused in one line")
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd, "zip"])
def test_bombs_are_refused_before_they_take_memory(tmp_path, monkeypatch, compress):
    monkeypatch.setattr(inputs, "_SMALL", 1 << 20)
    path, content = tmp_path / "bomb", bytes(3_000_000)
    if compress == "zip":
        zipped(path, data=content)
    else:
        path.write_bytes(compress(content))
    parts = []
    with pytest.raises(DataError, match="bomb: expands to more than 200 times its size; if that is meant"):
        read_all(path, parts)
    assert 0 < sum(parts) <= 1 << 20


@pytest.mark.situation("an .npz or .idx.gz file that expands to far more than its size", "refused in one line")
def test_bombs_of_arrays_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inputs, "_SMALL", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((30, 400, 400), np.uint8))
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(b"\0\0\x08\x01\xff\xff\xff\xff" + bytes(3_000_000)))
    for path, read in ((tmp_path / "a.npz", read_npz), (tmp_path / "a.idx.gz", read_idx)):
        with pytest.raises(DataError, match="expands to more than"):
            read(path)


@pytest.mark.situation("a zip archive of several files where one is meant", "refused in one line")
def test_zip_archives_hold_one_file(tmp_path):
    zipped(tmp_path / "a.zip", a=b"1", b=b"2")
    with pytest.raises(DataError, match=r"a\.zip: a zip archive must hold one file, got 2"):
        open_input(tmp_path / "a.zip")


@pytest.mark.situation("a pipe, a device or a folder where a file is meant", "refused in one line")
def test_pipes_devices_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe or device"), (os.devnull, "pipe or device"), (tmp_path, "folder")):
        with pytest.raises(DataError, match=f"must be a file, got a {kind}"):
            check_file(type(tmp_path)(path))
    for name in ("missing", "nu\0ll"):
        with pytest.raises(DataError, match=r"no such file|can't be opened"):
            check_file(tmp_path / name)
