"""Model folders: what is saved is loaded; what isn't a sound model folder is refused in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickletools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fivefold import storage
from fivefold.errors import ModelError, UsageError
from fivefold.jobs.codes import encode
from fivefold.jobs.detect import detect
from fivefold.jobs.generate import generate
from fivefold.storage import load, save

FILES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory) -> Path:
    """The model's folder; not to be written to."""
    path = tmp_path_factory.mktemp("models") / "model"
    save(model, path)
    return path


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


def edit(folder: Path, *keys: str, value) -> None:
    """Set an entry of config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    node = config
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(config))


def edit_weights(folder: Path, change) -> None:
    """Change the tensors, and have config.json state the new file's checksum."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    edit(folder, "weights_sha256", value=hashlib.sha256(path.read_bytes()).hexdigest())


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(path, "cpu")
    message = str(caught.value)
    assert message.strip()
    assert "\n" not in message
    return message


def test_round_trip(model, saved, digits):
    back = load(saved, "cpu")
    items = digits[600:620]
    for one, other in zip(encode(model, items), encode(back, items), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(generate(model, 3, seed=5), generate(back, 3, seed=5))
    before, after = (detect(each, items, false_alarm_rate=0.1) for each in (model, back))
    np.testing.assert_array_equal(before.score, after.score)
    np.testing.assert_array_equal(before.p_value, after.p_value)
    np.testing.assert_array_equal(back.held_out_scores, model.held_out_scores)
    assert back.held_out_scores.dtype == np.float64
    assert (back.schema, back.config) == (model.schema, model.config)
    assert back.record == json.loads(json.dumps(model.record))
    assert not back.vae.training


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_loaded_weights_are_on_the_device(saved, device):
    assert load(saved, device).device.type in ("cpu", str(torch.accelerator.current_accelerator() or "cpu"))


def test_loaded_weights_can_be_trained_on(saved):
    back = load(saved, "cpu")
    back.vae.elbo(torch.zeros(2, 1, 28, 28), torch.zeros(2, 4)).value.sum().backward()
    assert all(weight.grad is not None for weight in back.vae.parameters())


def test_model_without_held_out_items(model, tmp_path):
    save(dataclasses.replace(model, held_out_scores=np.empty(0)), tmp_path / "model")
    assert load(tmp_path / "model").held_out_scores.shape == (0,)


def test_files(saved):
    assert sorted(each.name for each in saved.iterdir()) == FILES
    assert json.loads((saved / "config.json").read_text())["fit"]["network"]["latent_dim"] == 4
    assert (saved / "README.md").read_text().startswith("# A Fivefold model")


def test_no_pickle(saved):
    for path in saved.iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"PK", b"\x80"))
        with pytest.raises(ValueError):
            list(pickletools.genops(content))


def test_training_folder_is_copied(model, tmp_path):
    training = tmp_path / "work"
    (training / "logs").mkdir(parents=True)
    (training / "logs" / "metrics.csv").write_text("a,b\n")
    save(model, tmp_path / "model", training=training)
    assert (tmp_path / "model" / "training" / "logs" / "metrics.csv").read_text() == "a,b\n"
    assert load(tmp_path / "model").latent_dim == 4


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert name in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.999])
def test_truncated_file(folder, name, keep):
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    assert name in refused(folder)


@pytest.mark.parametrize("place", [0, 0.01, 0.5, 0.999])
def test_flipped_bit_in_the_weights(folder, place):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    assert "damaged" in refused(folder)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[]", b"3", b"null", b'{"format": "other"}', b"[" * 100_000])
def test_foreign_config(folder, content):
    (folder / "config.json").write_bytes(content)
    assert "config.json" in refused(folder)


@pytest.mark.parametrize("version", [2, 0, None, "1", 1.5, []])
def test_other_version(folder, version):
    edit(folder, "version", value=version)
    assert "version" in refused(folder)


def test_newer_version_says_what_to_do(folder):
    edit(folder, "version", value=storage.FORMAT_VERSION + 1)
    assert "upgrade fivefold" in refused(folder)


JUNK = [None, "junk", -1, 1.5, [], {}, [1, 2], {"a": 1}, True, 10**30, float("nan")]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize(
    "keys",
    [
        ("schema",),
        ("schema", "height"),
        ("schema", "channels"),
        ("schema", "dtype"),
        ("schema", "low"),
        ("fit",),
        ("fit", "preset"),
        ("fit", "network"),
        ("fit", "network", "latent_dim"),
        ("fit", "network", "likelihood"),
        ("fit", "network", "activation"),
        ("fit", "network", "hidden"),
        ("fit", "network", "smallest_side"),
        ("fit", "corruption"),
        ("fit", "training"),
        ("weights_sha256",),
        ("record",),
        ("record", "data"),
        ("record", "figures", "held_out"),
        ("record", "environment"),
    ],
    ids="-".join,
)
def test_junk_in_config(folder, keys, junk):
    """A number may stand where a number is meant to; anything else is refused."""
    edit(folder, *keys, value=junk)
    meant = (-1, 1.5) if keys[-1] == "low" else ()
    if keys[-1] in ("corruption", "training") and junk == {}:  # all its settings have defaults
        meant = ({},)
    if isinstance(junk, bool) or junk not in meant:
        refused(folder)
    else:
        load(folder)


@pytest.mark.parametrize("key", ["schema", "fit", "record", "weights_sha256", "version", "format"])
def test_lacking_entry(folder, key):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    refused(folder)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("fit", "network", "latent_dim"), 5),
        (("fit", "network", "hidden"), 1 << 23),
        (("fit", "network", "likelihood"), "gaussian"),
        (("schema", "height"), 1 << 16),
        (("schema", "channels"), 3),
    ],
)
def test_weights_of_another_shape(folder, keys, value):
    """Nothing of the claimed size is allocated."""
    edit(folder, *keys, value=value)
    assert "model.safetensors" in refused(folder)


def test_pixels_of_real_numbers(folder):
    edit(folder, "schema", "dtype", value="float32")
    edit(folder, "fit", "network", "likelihood", value="pixels")
    refused(folder)


def lacking_a_weight(tensors):
    tensors.pop("vae.encoder.mu.bias")


def with_another_weight(tensors):
    tensors["vae.more"] = torch.zeros(1)


def without_scores(tensors):
    tensors.pop("held_out_scores")


def with_scores_of_another_shape(tensors):
    tensors["held_out_scores"] = torch.zeros(3, 3, dtype=torch.float64)


def with_scores_that_are_no_numbers(tensors):
    tensors["held_out_scores"] = torch.full((3,), float("nan"), dtype=torch.float64)


def with_unsorted_scores(tensors):
    tensors["held_out_scores"] = torch.tensor([3.0, 1.0], dtype=torch.float64)


def with_integer_weights(tensors):
    tensors["vae.encoder.mu.bias"] = tensors["vae.encoder.mu.bias"].to(torch.int64)


@pytest.mark.parametrize(
    "change",
    [
        lacking_a_weight,
        with_another_weight,
        without_scores,
        with_scores_of_another_shape,
        with_scores_that_are_no_numbers,
        with_unsorted_scores,
        with_integer_weights,
    ],
)
def test_unsound_weights(folder, change):
    edit_weights(folder, change)
    refused(folder)


@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder"])
def test_no_model_folder(tmp_path, kind):
    path = tmp_path / "model"
    if kind == "file":
        path.write_text("x")
    elif kind == "empty folder":
        path.mkdir()
    assert "model folder" in refused(path)


def test_unknown_device(saved):
    with pytest.raises(UsageError, match="nonsense"):
        load(saved, "nonsense")


def test_existing_path_is_kept_without_force(model, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="--force"):
        save(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_force_replaces_a_model_as_a_whole(model, folder):
    (folder / "left_over").write_text("x")
    save(model, folder, force=True)
    assert sorted(each.name for each in folder.iterdir()) == FILES
    assert [each.name for each in folder.parent.iterdir()] == ["model"]
    assert load(folder).latent_dim == 4


def test_force_takes_an_empty_folder(model, tmp_path):
    (tmp_path / "model").mkdir()
    save(model, tmp_path / "model", force=True)
    assert load(tmp_path / "model").latent_dim == 4


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("force", [True, False])
def test_what_is_no_model_is_never_replaced(model, tmp_path, kind, force):
    path = tmp_path / "precious"
    precious = path
    if kind == "folder":
        path.mkdir()
        precious = path / "thesis.txt"
    precious.write_text("years of work")
    with pytest.raises(UsageError):
        save(model, path, force=force)
    assert precious.read_text() == "years of work"
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("force", [True, False])
def test_a_failed_save_leaves_things_as_they_were(model, folder, monkeypatch, force):
    target = folder if force else folder.parent / "new"
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}

    def failing(*args):
        raise OSError("disk full")

    monkeypatch.setattr(storage, "render_card", failing)
    with pytest.raises(OSError, match="disk full"):
        save(model, target, force=force)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before
    assert [each.name for each in folder.parent.iterdir()] == ["model"]
