"""Model folders: what is saved is loaded; what isn't a sound model folder is refused in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fivefold import storage
from fivefold.errors import ModelError, UsageError
from fivefold.jobs.codes import encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import detect
from fivefold.jobs.generate import generate
from fivefold.model.calibrations import JointScore
from fivefold.model.figures import figure_rows
from fivefold.storage import fingerprint, load, save
from fivefold.training.fit import fit

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
    for prior in ("standard", "fitted"):
        np.testing.assert_array_equal(generate(model, 3, 5, prior=prior), generate(back, 3, 5, prior=prior))
    before, after = (detect(each, items, false_alarm_rate=0.1) for each in (model, back))
    np.testing.assert_array_equal(before.score, after.score)
    np.testing.assert_array_equal(before.p_value, after.p_value)
    before, after = (denoise(each, items) for each in (model, back))
    np.testing.assert_array_equal(before.data, after.data)
    np.testing.assert_array_equal(before.std, after.std)
    assert (back.schema, back.config) == (model.schema, model.config)
    assert back.record == json.loads(json.dumps(model.record))
    assert not back.vae.training
    assert not back.context.training


def test_round_trip_of_weights_and_arrays(model, saved):
    back = load(saved, "cpu")
    ours, theirs = model.networks.state_dict(), back.networks.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(name.startswith("context.") for name in ours)
    for part in ("prior", "normality"):
        mine, other = (vars(getattr(each, part)) for each in (model, back))
        assert mine.keys() == other.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name])
            assert mine[name].dtype == other[name].dtype == np.float64


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_loaded_weights_are_on_the_device(saved, device):
    assert load(saved, device).device.type in ("cpu", str(torch.accelerator.current_accelerator() or "cpu"))


def test_loaded_weights_can_be_trained_on(saved):
    back = load(saved, "cpu")
    back.vae.elbo(torch.zeros(2, 1, 28, 28), torch.zeros(2, 4)).value.sum().backward()
    assert all(weight.grad is not None for weight in back.vae.parameters())


@pytest.mark.parametrize("parts", [("normality",), ("prior", "normality")])
def test_model_without_parts(model, tmp_path, parts):
    """Without a prior there are fewer statistics, so no normality of them either."""
    save(dataclasses.replace(model, calibrations=model.calibrations | dict.fromkeys(parts)), tmp_path / "model")
    back = load(tmp_path / "model")
    assert all(getattr(back, part) is None for part in parts)
    assert (back.prior is None) == ("prior" in parts)
    assert generate(back, 2).shape == (2, 28, 28, 1)


def test_model_without_a_context_decoder(digits, small_settings, tmp_path):
    fitted = fit(digits[:60], **{**small_settings, "field": 0, "epochs": 1})
    save(fitted, tmp_path / "model")
    back = load(tmp_path / "model", "cpu")
    assert fitted.context is None
    assert back.context is None
    assert not any(name.startswith("context.") for name in load_file(tmp_path / "model" / "model.safetensors"))
    np.testing.assert_array_equal(generate(fitted, 3), generate(back, 3))
    damaged = digits[600:603]
    np.testing.assert_array_equal(denoise(fitted, damaged).data, denoise(back, damaged).data)


def test_files(saved):
    assert sorted(each.name for each in saved.iterdir()) == FILES
    assert json.loads((saved / "config.json").read_text())["fit"]["network"]["latent_dim"] == 4
    assert (saved / "README.md").read_text().startswith("# A Fivefold model")


def test_no_pickle(saved):
    for path in saved.iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"PK\x03\x04", *(bytes((0x80, version)) for version in range(2, 6))))
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


@pytest.mark.situation("a model folder whose {name} is cut short", "refused in one line")
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


@pytest.mark.parametrize("version", [1, 3, 0, None, "2", 1.5, []])
def test_other_version(folder, version):
    edit(folder, "version", value=version)
    assert "version" in refused(folder)


@pytest.mark.situation("a model of a newer version", "refused in one line")
def test_newer_version_says_what_to_do(folder):
    edit(folder, "version", value=storage.FORMAT_VERSION + 1)
    assert "upgrade fivefold" in refused(folder)


@pytest.mark.situation("a model of an older version", "refused in one line")
@pytest.mark.parametrize("version", [0, 1])
def test_older_version_says_what_to_do(folder, version):
    edit(folder, "version", value=version)
    message = refused(folder)
    assert f"format version {version}" in message
    assert "fit it again" in message


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
        ("fit", "context"),
        ("fit", "context", "window"),
        ("fit", "context", "context_width"),
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
        (("fit", "context", "window"), 0),
        (("fit", "context", "window"), 9),
        (("fit", "context", "window"), 63),
        (("fit", "context", "context_width"), (1 << 16) - 1),
        (("fit", "context", "context_depth"), 63),
    ],
)
def test_weights_of_another_shape(folder, keys, value):
    """Nothing of the claimed size is allocated."""
    edit(folder, *keys, value=value)
    assert "model.safetensors" in refused(folder)


def test_bounds_that_the_type_can_not_hold(folder):
    edit(folder, "schema", "high", value=1e21)
    assert "schema is damaged" in refused(folder)


def test_an_interval_that_is_no_number(series_model, tmp_path):
    save(series_model, tmp_path / "m")
    edit(tmp_path / "m", "schema", "interval", value=float("nan"))
    assert "schema is damaged" in refused(tmp_path / "m")


def test_pixels_of_real_numbers(folder):
    edit(folder, "schema", "dtype", value="float32")
    edit(folder, "fit", "network", "likelihood", value="pixels")
    refused(folder)


def lacking_a_weight(tensors):
    tensors.pop("vae.encoder.mu.bias")


def with_another_weight(tensors):
    tensors["vae.more"] = torch.zeros(1)


def lacking_a_weight_of_the_context_decoder(tensors):
    tensors.pop(max(name for name in tensors if name.startswith("context.")))


def lacking_the_context_decoder(tensors):
    for name in [each for each in tensors if each.startswith("context.")]:
        tensors.pop(name)


def with_a_part_of_another_program(tensors):
    tensors["flow.weights"] = torch.zeros(1)


def with_integer_weights(tensors):
    tensors["vae.encoder.mu.bias"] = tensors["vae.encoder.mu.bias"].to(torch.int64)


@pytest.mark.parametrize(
    "change",
    [
        lacking_a_weight,
        with_another_weight,
        lacking_a_weight_of_the_context_decoder,
        lacking_the_context_decoder,
        with_a_part_of_another_program,
        with_integer_weights,
    ],
)
def test_unsound_weights(folder, change):
    edit_weights(folder, change)
    refused(folder)


ARRAYS = [
    "prior.weights",
    "prior.means",
    "prior.roots",
    "normality.centre",
    "normality.scale",
    "normality.root",
    "normality.calibration",
]


def without(tensor):
    return None


def of_one_more_dimension(tensor):
    return tensor[None].contiguous()


def without_the_first(tensor):
    return tensor[1:].contiguous()


def empty(tensor):
    return tensor[:0].contiguous()


def a_number(tensor):
    return torch.tensor(1.0, dtype=torch.float64)


def not_a_number(tensor):
    changed = tensor.clone()
    changed.view(-1)[0] = float("nan")
    return changed


def endless(tensor):
    changed = tensor.clone()
    changed.view(-1)[0] = float("inf")
    return changed


def negative(tensor):
    return -tensor


def of_another_type(tensor):
    return tensor.to(torch.bfloat16)


@pytest.mark.parametrize(
    "damage",
    [
        without,
        of_one_more_dimension,
        without_the_first,
        empty,
        a_number,
        not_a_number,
        endless,
        negative,
        of_another_type,
    ],
)
@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_arrays(folder, name, damage):
    """Refused, unless it makes as good an array."""
    meant = {
        "prior.means": (negative,),
        "normality.centre": (negative,),
        "normality.calibration": (without_the_first, empty),
    }.get(name, ())

    def change(tensors):
        tensor = damage(tensors.pop(name))
        if tensor is not None:
            tensors[name] = tensor

    edit_weights(folder, change)
    if damage in meant:
        load(folder, "cpu")
    else:
        assert any(part in refused(folder) for part in ("prior", "normality", "held-out"))


def with_unsorted_scores(tensors):
    tensors["normality.calibration"] = tensors["normality.calibration"].flip(0).contiguous()


def with_a_further_array_of_the_prior(tensors):
    tensors["prior.more"] = torch.zeros(1)


def with_a_further_array_of_the_normality(tensors):
    tensors["normality.more"] = torch.zeros(1)


def with_a_prior_of_other_codes(tensors):
    tensors["prior.means"] = tensors["prior.means"][:, 1:].contiguous()
    tensors["prior.roots"] = tensors["prior.roots"][:, 1:, 1:].contiguous()


def with_weights_that_do_not_add_up(tensors):
    tensors["prior.weights"] = tensors["prior.weights"] / 2


@pytest.mark.parametrize(
    "change",
    [
        with_unsorted_scores,
        with_a_further_array_of_the_prior,
        with_a_further_array_of_the_normality,
        with_a_prior_of_other_codes,
        with_weights_that_do_not_add_up,
    ],
)
def test_arrays_that_do_not_go_together(folder, change):
    edit_weights(folder, change)
    refused(folder)


@pytest.mark.situation("for a model a path that is none: {kind}", "refused in one line")
@pytest.mark.parametrize("kind", ["nothing", "file", "empty folder"])
def test_no_model_folder(tmp_path, kind):
    path = tmp_path / "model"
    if kind == "file":
        path.write_text("x")
    elif kind == "empty folder":
        path.mkdir()
    assert ("must be a model's folder, got a file" if kind == "file" else "model folder") in refused(path)


def test_unknown_device(saved):
    with pytest.raises(UsageError, match="nonsense"):
        load(saved, "nonsense")


def test_existing_path_is_kept_without_force(model, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="`force`"):
        save(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.situation("`--force` over a model", "result right")
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


@pytest.mark.situation("`--force` over a folder that is no model", "refused in one line")
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


@pytest.mark.situation("a disk that fills up while a model is written", "refused in one line")
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


def test_normality_of_other_statistics(model, tmp_path):
    k = len(model.normality.centre) + 1
    other = JointScore(np.zeros(k), np.ones(k), np.eye(k), np.zeros(3))
    save(dataclasses.replace(model, calibrations=model.calibrations | {"normality": other}), tmp_path / "model")
    with pytest.raises(ModelError, match="normality is of other statistics"):
        load(tmp_path / "model")


@pytest.mark.parametrize("name", ["images", "tables", "series"])
def test_what_is_stored_is_read_without_torch(name):
    """And says the same of the model as the model does."""
    path = Path(__file__).parent / "golden" / name / "model"
    code = "import sys; sys.modules['torch'] = None; from fivefold.cli import main; main()"
    command = [sys.executable, "-c", code, "info", str(path), "--json"]
    facts = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    stored, model = storage.read(path), load(path, "cpu")
    assert facts["parameters"] == stored.parameters == model.parameters
    assert facts["schema"] == model.schema.to_json()
    assert facts["history"] == model.record["history"]
    assert figure_rows(stored) == figure_rows(model)
    assert fingerprint(stored) == fingerprint(model)


def test_calibrations_of_another_modality_are_refused(folder):
    edit_weights(folder, lambda tensors: tensors.update({"marginals.density": torch.zeros(1, 1)}))
    assert "marginals" in refused(folder)
