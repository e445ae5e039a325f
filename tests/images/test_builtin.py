import gzip
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from fivefold.errors import DataError
from fivefold.images import builtin
from fivefold.images.builtin import load_mnist


def test_test_split():
    images, labels = load_mnist("test")
    assert images.shape == (10_000, 28, 28, 1)
    assert images.dtype == labels.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_train_split():
    images, labels = load_mnist("train")
    assert images.shape == (60_000, 28, 28, 1)
    assert labels.shape == (60_000,)
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]


def repacked(content):
    plain = bytearray(gzip.decompress(content))
    plain[-1] ^= 1
    return gzip.compress(bytes(plain))


def with_broken_stream(content):
    return content[:2000] + bytes(255 - byte for byte in content[2000:2100]) + content[2100:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (repacked, "SHA-256 must be ff7bcfd4"),
        (with_broken_stream, "can't be unpacked"),
        (lambda content: content[:-100], "can't be unpacked"),
        (lambda content: b"text", "can't be unpacked"),
        (lambda content: b"", "(SHA-256 must be|can't be unpacked)"),
    ],
)
def test_damaged_files_are_refused(tmp_path, monkeypatch, damage, message):
    name = "t10k-labels-idx1-ubyte.gz"
    mnist = tmp_path / "mnist"
    shutil.copytree(Path(str(files("fivefold.images") / "mnist")), mnist, ignore=shutil.ignore_patterns("train*"))
    (mnist / name).write_bytes(damage((mnist / name).read_bytes()))
    monkeypatch.setattr(builtin, "files", lambda _: tmp_path)
    with pytest.raises(DataError, match=rf"{name}: {message}.*reinstall fivefold"):
        load_mnist("test")
