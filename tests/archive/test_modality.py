"""A modality that the house does not know is packed and unpacked without an edit of the writer and the reader."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fivefold.archive.layers import RAW
from fivefold.archive.read import decompress, open_archive
from fivefold.archive.write import compress
from fivefold.errors import DamagedArchiveError, UsageError
from fivefold.images.settings import configure
from fivefold.modality import MODALITIES, Encoding, Modality


class AngleCodec:
    """Angles verbatim."""

    def encode(self, angles):
        return len(angles), RAW, [b"", angles.tobytes()]

    def decode(self, items, method, layers, lossy):
        return np.frombuffer(layers[1]) if len(layers[1]) == 8 * items else "it has another size"


class AngleDecoding:
    def codec(self, model, lossy):
        return AngleCodec()

    def restore(self, parts, rows):
        return np.concatenate([np.empty(0), *parts])

    def describe(self, items, sizes):
        return {"angles": f"{items}"}


def encoding(model, stored, source, options):
    size = options.items_per_block(4, 100)
    tasks = ((source[first : first + size],) for first in range(0, len(source), size))
    return Encoding(AngleCodec(), tasks, lambda name: {"kind": "angle", "model": name}, 1, source.nbytes, len(source))


@pytest.fixture
def model(monkeypatch):
    angles = Modality("angle", "angles")
    coding = SimpleNamespace(encoding=encoding, decoding=lambda reader, limits: AngleDecoding())
    vars(angles).update(settings=SimpleNamespace(OPTIONS={}), coding=coding)
    monkeypatch.setitem(MODALITIES, "angle", angles)
    schema = SimpleNamespace(kind="angle", to_json=lambda: {"kind": "angle"})
    networks = torch.nn.ModuleDict({"vae": torch.nn.Linear(1, 1)})
    return SimpleNamespace(schema=schema, config=configure(), networks=networks, calibrations={}, record={})


def test_angles_come_back(model):
    angles = np.linspace(0, 2 * np.pi, 11)
    packed = compress(model, angles)
    assert decompress(packed, model).tobytes() == angles.tobytes()
    assert decompress(packed, model, items=slice(3, 6)).tobytes() == angles[3:6].tobytes()
    about = open_archive(io.BytesIO(packed)).describe()
    assert (about["angles"], about["blocks"]) == ("11", 3)


def test_options_that_angles_do_not_take(model):
    packed = compress(model, np.zeros(3))
    for work in (lambda: compress(model, np.zeros(3), lossy=True), lambda: decompress(packed, model, lossy=True)):
        with pytest.raises(UsageError, match="`lossy` does not go with angles"):
            work()


def test_archives_of_a_modality_that_is_not_there(model, monkeypatch):
    packed = compress(model, np.zeros(3))
    monkeypatch.delitem(MODALITIES, "angle")
    with pytest.raises(DamagedArchiveError, match="header"):
        decompress(packed, model)
