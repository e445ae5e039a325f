"""Fits on a hundred digits: reproducible, resumable, stopped in time, and honest about what went wrong."""

from __future__ import annotations

import csv
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from fivefold.config import configure
from fivefold.data import make_items
from fivefold.errors import DataError, ModelError, TrainingError, UsageError
from fivefold.jobs.generate import generate
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.model.scoring import evaluate_elbo, reconstruction_scores
from fivefold.model.vae import Posterior
from fivefold.training import fit as fit_module
from fivefold.training.fit import STATE_FILE, fit, fit_items
from fivefold.training.module import VAETraining


@pytest.fixture(scope="module")
def fit_small(digits, small_settings):
    """`fit` on 100 digits, 90 of them to train on in 3 steps per epoch."""

    def run(data=digits[:100], **changed):
        return fit(data, **{**small_settings, "latent_dim": 3, "epochs": 3, **changed})

    return run


@pytest.fixture(scope="module")
def done(fit_small, tmp_path_factory) -> tuple[FittedModel, Path]:
    """A finished fit and its folder, which is not to be written to."""
    workdir = tmp_path_factory.mktemp("done")
    return fit_small(workdir=workdir), workdir


@pytest.fixture
def whole(done) -> FittedModel:
    """The fit of `fit_small`'s own settings."""
    return done[0]


@pytest.fixture
def workdir(done, tmp_path) -> Path:
    """A copy of the folder that the finished fit left."""
    return shutil.copytree(done[1], tmp_path / "workdir")


def weights_of(model) -> dict[str, torch.Tensor]:
    return model.vae.state_dict()


def identical(one, other) -> bool:
    first, second = weights_of(one), weights_of(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def interrupt_at(monkeypatch, step: int, error: type[BaseException] = KeyboardInterrupt):
    """Have the training raise before this step."""
    start = VAETraining.on_train_batch_start

    def raising(self, batch, batch_idx):
        if self.global_step == step:
            raise error
        start(self, batch, batch_idx)

    monkeypatch.setattr(VAETraining, "on_train_batch_start", raising)


def test_same_seed_same_model(fit_small, whole):
    one, again = whole, fit_small(seed=0)
    assert identical(one, again)
    np.testing.assert_array_equal(generate(one, 3, seed=1), generate(again, 3, seed=1))
    np.testing.assert_array_equal(one.held_out_scores, again.held_out_scores)


def test_other_seed_other_model(fit_small, whole):
    assert not identical(fit_small(seed=5), whole)


def test_the_model_does_not_depend_on_the_global_streams(fit_small):
    one = fit_small(epochs=1)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    assert identical(fit_small(epochs=1), one)


def test_record(fit_small, digits):
    model = fit_small(test=digits[600:650])
    record = model.record
    assert record["data"] == {"source": "array", "items": 90, "held_out": 10}
    assert [row["epoch"] for row in record["history"]] == [0, 1, 2]
    for row in record["history"]:
        for prefix in ("", "validation_"):
            total = row[f"{prefix}reconstruction"] + row[f"{prefix}kl"]
            assert row[f"{prefix}negative_elbo"] == pytest.approx(total)
    seconds = [row["seconds"] for row in record["history"]]
    assert seconds == sorted(seconds)
    assert record["train_seconds"] == seconds[-1] > 0
    assert record["figures"].keys() == {"held_out", "test"}
    assert record["figures"]["held_out"]["items"] == 10
    expected = evaluate_elbo(model, make_items(digits[600:650], model.schema))
    assert record["figures"]["test"]["negative_elbo"] == pytest.approx(expected.negative_elbo, rel=1e-5)
    assert record["environment"]["versions"].keys() >= {"fivefold", "torch", "lightning"}
    assert not model.vae.training


def test_training_helps(fit_small):
    history = fit_small(epochs=6, batch_size=8).record["history"]
    assert history[-1]["negative_elbo"] < 0.8 * history[0]["negative_elbo"]
    assert history[-1]["validation_negative_elbo"] < history[0]["validation_negative_elbo"]


def test_held_out_scores_are_sorted_scores_of_held_out_items(whole, digits):
    model = whole
    assert model.held_out_scores.shape == (10,)
    assert (np.diff(model.held_out_scores) >= 0).all()
    everyone = reconstruction_scores(model, make_items(digits[:100], model.schema))
    nearest = np.abs(everyone[:, None] - model.held_out_scores).argmin(axis=0)
    np.testing.assert_allclose(everyone[nearest], model.held_out_scores, rtol=1e-5)
    assert len(set(nearest)) == 10


def test_the_best_epoch_is_kept(digits, small_settings, monkeypatch, tmp_path):
    """The held-out loss is made to be least after the second of four epochs."""
    losses = iter([9.0, 5.0, 7.0, 6.0])
    seen = []
    end = VAETraining.on_train_epoch_end

    def with_given_loss(self):
        seen.append({name: weight.clone() for name, weight in self.vae.state_dict().items()})
        monkeypatch.setattr(
            type(self._validation), "means", lambda sums, prefix: {f"{prefix}negative_elbo": next(given)}
        )
        loss = next(losses)
        given = iter([loss, loss])
        end(self)

    monkeypatch.setattr(VAETraining, "on_train_epoch_end", with_given_loss)
    model = fit(digits[:100], **{**small_settings, "latent_dim": 3, "epochs": 4})
    assert model.record["best_epoch"] == 1
    kept = weights_of(model)
    assert all(torch.equal(kept[name], seen[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[3][name]) for name in kept)


def test_without_validation_the_last_epoch_is_kept(fit_small):
    model = fit_small(validation=0)
    assert model.record["best_epoch"] == 2
    assert model.record["figures"] == {}
    assert len(model.held_out_scores) == 0
    assert model.record["data"] == {"source": "array", "items": 100, "held_out": 0}
    assert "validation_negative_elbo" not in model.record["history"][0]


def test_too_few_items_to_hold_out(fit_small, digits):
    with pytest.raises(DataError, match="too few"):
        fit_small(digits[:1], validation=0.9)


def test_max_minutes_stops_soon_with_a_usable_model(fit_small):
    model = fit_small(epochs=10_000, max_minutes=0.005)
    assert model.record["train_seconds"] < 5
    assert len(model.record["history"]) < 10_000
    assert np.isfinite(model.record["figures"]["held_out"]["negative_elbo"])
    assert generate(model, 2).shape == (2, 28, 28, 1)


def test_no_minutes_at_all(fit_small):
    model = fit_small(max_minutes=0)
    assert len(model.record["history"]) == 1
    assert "validation_negative_elbo" in model.record["history"][0]
    assert generate(model, 2).shape == (2, 28, 28, 1)


def learning_rates(monkeypatch) -> list[float]:
    """A list that each step's learning rate is added to."""
    rates, start = [], VAETraining.on_train_batch_start

    def noting(self, batch, batch_idx):
        start(self, batch, batch_idx)
        rates.append(self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"])

    monkeypatch.setattr(VAETraining, "on_train_batch_start", noting)
    return rates


def test_learning_rate_rises_then_falls(fit_small, monkeypatch):
    rates = learning_rates(monkeypatch)
    fit_small(epochs=30, validation=0, batch_size=100, learning_rate=1e-3)
    assert len(rates) == 30
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[-1] < 0.02 * max(rates)
    peak = rates.index(max(rates))
    assert peak < 3
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_a_diverging_fit_names_the_step(fit_small):
    with pytest.raises(TrainingError, match=r"at step \d+ \(epoch \d+\).*--learning-rate") as caught:
        fit_small(learning_rate=1e18, epochs=20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_once(fit_small, monkeypatch, bad):
    step, training_step = 4, VAETraining.training_step
    item_log_prob = Likelihood.item_log_prob

    def with_bad_step(self, batch, batch_idx):
        with pytest.MonkeyPatch.context() as patch:
            if self.global_step == step:
                patch.setattr(Likelihood, "item_log_prob", lambda *args: item_log_prob(*args) * bad)
            return training_step(self, batch, batch_idx)

    monkeypatch.setattr(VAETraining, "training_step", with_bad_step)
    with pytest.raises(TrainingError, match=rf"step {step} \(epoch 1\)"):
        fit_small()


def test_kl_is_part_of_the_loss(fit_small, whole, monkeypatch):
    monkeypatch.setattr(Posterior, "kl_per_unit", lambda self: torch.zeros_like(self.mu))
    assert not identical(fit_small(), whole)


def test_kl_warmup_weighs_the_kl_less_at_first(fit_small, monkeypatch):
    used, weigh = [], VAETraining._kl_weight

    def noting(self):
        used.append(weigh(self))
        return used[-1]

    monkeypatch.setattr(VAETraining, "_kl_weight", noting)
    plain = fit_small(kl_warmup=0)
    assert used == [1.0] * 9
    used.clear()
    warmed = fit_small(kl_warmup=2)
    assert used == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 1])
    assert not identical(plain, warmed)
    assert warmed.record["history"][0]["kl"] > plain.record["history"][0]["kl"]


def test_corruption_reaches_the_encoder_but_not_the_target(fit_small, monkeypatch):
    calls = []

    def noting(self, x, noise, visible=None, *, target=None, target_visible=None):
        if target is not None:
            calls.append(((x != target).any().item(), (visible == target_visible).all().item()))
        return elbo(self, x, noise, visible, target=target, target_visible=target_visible)

    from fivefold.model.vae import VAE

    elbo = VAE.elbo
    monkeypatch.setattr(VAE, "elbo", noting)
    fit_small(epochs=1, corruption="uniform=1")
    assert calls == [(True, True)] * 3
    calls.clear()
    fit_small(epochs=1, corruption="hide=1")
    assert calls == [(True, False)] * 3
    calls.clear()
    fit_small(epochs=1, corruption="none")
    assert calls == [(False, True)] * 3


def test_missing_values_are_never_explained(fit_small, whole, digits):
    """What stands at hidden elements makes no difference to the fit."""
    mask = np.random.default_rng(0).random((100, 28, 28, 1)) < 0.3
    changed = np.where(mask, 255 - digits[:100], digits[:100])
    masked = fit_small(mask=mask)
    assert identical(fit_small(changed, mask=mask), masked)
    assert not identical(whole, masked)


@pytest.mark.parametrize("likelihood", ["pixels", "gaussian"])
def test_other_families(fit_small, likelihood):
    history = fit_small(likelihood=likelihood).record["history"]
    assert history[-1]["negative_elbo"] < history[0]["negative_elbo"]


def test_pixels_need_integers(fit_small, digits):
    with pytest.raises(UsageError, match="integer"):
        fit_small(digits[:100] / np.float32(255), likelihood="pixels")


@pytest.mark.parametrize("step", [3, 4, 8])
def test_resumed_is_bit_identical_to_uninterrupted(fit_small, whole, monkeypatch, tmp_path, step):
    """Interrupted as the second epoch starts, within it, and at the very last step."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(KeyboardInterrupt):
            fit_small(workdir=tmp_path)
    resumed = fit_small(workdir=tmp_path, resume=True)
    assert identical(resumed, whole)
    timeless = [[{**row, "seconds": 0} for row in model.record["history"]] for model in (resumed, whole)]
    assert timeless[0] == timeless[1]
    assert resumed.record["best_epoch"] == whole.record["best_epoch"]
    np.testing.assert_array_equal(resumed.held_out_scores, whole.held_out_scores)


def test_resumed_with_warmup_is_bit_identical(fit_small, monkeypatch, tmp_path):
    whole = fit_small(kl_warmup=2.5)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, RuntimeError)
        with pytest.raises(RuntimeError):
            fit_small(kl_warmup=2.5, workdir=tmp_path)
    assert identical(fit_small(kl_warmup=2.5, workdir=tmp_path, resume=True), whole)


def test_after_an_interrupt_ctrl_c_still_works(fit_small, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt_at(monkeypatch, 1)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_small()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_resuming_a_finished_fit_gives_it_again(fit_small, whole, workdir):
    assert identical(fit_small(workdir=workdir, resume=True), whole)


def test_resuming_for_more_epochs(fit_small, workdir):
    longer = fit_small(workdir=workdir, resume=True, epochs=5)
    assert [row["epoch"] for row in longer.record["history"]] == [0, 1, 2, 3, 4]
    assert longer.record["train_seconds"] == longer.record["history"][-1]["seconds"]


def test_resuming_for_fewer_epochs_than_are_done(fit_small, workdir):
    with pytest.raises(UsageError, match="--resume: --epochs must be at least 3"):
        fit_small(workdir=workdir, resume=True, epochs=1)


def test_resuming_after_the_time_was_up(fit_small, tmp_path, monkeypatch):
    """The cut epoch stays in the history; the epochs after it are whole."""
    short = fit_small(workdir=tmp_path, max_minutes=0)
    assert len(short.record["history"]) == 1
    steps = Counter()
    step = VAETraining.training_step

    def counting(self, batch, batch_idx):
        steps[self.current_epoch] += 1
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VAETraining, "training_step", counting)
    resumed = fit_small(workdir=tmp_path, resume=True, max_minutes=10)
    assert steps[1] == steps[2] == 3
    assert [row["epoch"] for row in resumed.record["history"]][-2:] == [1, 2]
    assert generate(resumed, 2).shape == (2, 28, 28, 1)


@pytest.mark.parametrize(
    "change",
    [{"latent_dim": 4}, {"learning_rate": 1e-3}, {"seed": 1}, {"corruption": "none"}, {"likelihood": "gaussian"}],
)
def test_resume_refuses_another_configuration(fit_small, workdir, change):
    with pytest.raises(UsageError, match="--resume: the fit was begun with"):
        fit_small(workdir=workdir, resume=True, **change)


@pytest.mark.parametrize("change", ["fewer", "type", "content", "mask"])
def test_resume_refuses_other_data(fit_small, digits, workdir, change):
    mask = np.zeros((28, 28), bool)
    mask[0, 0] = True
    other = {
        "fewer": {"data": digits[:99]},
        "type": {"data": digits[:100].astype(np.uint16)},
        "content": {"data": digits[100:200]},
        "mask": {"mask": mask},
    }[change]
    with pytest.raises(UsageError, match="--resume: the fit was begun on"):
        fit_small(workdir=workdir, resume=True, **other)


def test_resume_without_a_state(fit_small, tmp_path):
    with pytest.raises(UsageError, match="no training state"):
        fit_small(workdir=tmp_path, resume=True)


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_damaged_state(fit_small, workdir, keep):
    state = workdir / STATE_FILE
    state.write_bytes(state.read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged"):
        fit_small(workdir=workdir, resume=True)


def test_workdir_holds_the_state_alone(workdir):
    assert [each.name for each in workdir.iterdir()] == [STATE_FILE]


def test_csv_logger(fit_small, tmp_path):
    model = fit_small(workdir=tmp_path, logger="csv")
    (path,) = (tmp_path / "logs").rglob("metrics.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    logged = [float(row["validation_negative_elbo"]) for row in rows if row["validation_negative_elbo"]]
    assert logged == pytest.approx([row["validation_negative_elbo"] for row in model.record["history"]], rel=1e-5)


def test_tensorboard_logger(fit_small, tmp_path):
    fit_small(workdir=tmp_path, logger="tensorboard")
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_tensorboard_missing(fit_small, tmp_path, monkeypatch):
    def missing(*args, **kwargs):
        raise ModuleNotFoundError

    monkeypatch.setattr(fit_module, "TensorBoardLogger", missing)
    with pytest.raises(UsageError, match=r"pip install fivefold\[tensorboard\]"):
        fit_small(workdir=tmp_path, logger="tensorboard")


@pytest.mark.parametrize("name", ["nonsense", "tpu"])
def test_accelerator_that_is_not_there(fit_small, name):
    with pytest.raises(UsageError, match=f"--accelerator {name}"):
        fit_small(accelerator=name)


def test_unknown_setting(fit_small):
    with pytest.raises(UsageError, match="unknown setting: colour"):
        fit_small(colour=3)


def test_fit_items_is_what_fit_does(whole, digits, small_settings, tmp_path):
    settings = {name: value for name, value in small_settings.items() if name != "accelerator"}
    config = configure(**{**settings, "latent_dim": 3, "epochs": 3})
    assert identical(fit_items(make_items(digits[:100]), config, tmp_path, accelerator="cpu"), whole)


def test_one_item(fit_small, digits):
    model = fit_small(digits[:1], epochs=1)
    assert model.record["data"] == {"source": "array", "items": 1, "held_out": 0}
