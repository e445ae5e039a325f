"""Fits on a hundred digits: reproducible, resumable, stopped in time, and honest about what went wrong."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fivefold.config import Conditioning
from fivefold.errors import DataError, FivefoldWarning, ModelError, TrainingError, UsageError
from fivefold.images.dataset import make_items
from fivefold.images.jobs import statistics
from fivefold.images.settings import configure
from fivefold.items import split_rows
from fivefold.jobs.generate import generate
from fivefold.modality import modality_of
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel
from fivefold.model.likelihoods import Likelihood
from fivefold.model.scoring import encode_items, evaluate_elbo
from fivefold.model.vae import VAE, Posterior
from fivefold.training.fit import fit, fit_items
from fivefold.training.module import VAETraining
from fivefold.training.recipe import STATE_FILE, Recipe


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
    return model.networks.state_dict()


def same_weights(one, other) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def same_arrays(one, other) -> bool:
    if one is None or other is None:
        return one is other
    return all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def identical(one, other) -> bool:
    """The same networks, prior and normality, to the bit."""
    fitted = same_arrays(one.prior, other.prior) and same_arrays(one.normality, other.normality)
    return fitted and same_weights(one.networks, other.networks)


def interrupt_at(monkeypatch, step: int, error: type[BaseException] = KeyboardInterrupt):
    """Have the training raise before this step."""
    step_of = VAETraining.step

    def raising(self, batch):
        if self.progress.steps == step:
            raise error
        return step_of(self, batch)

    monkeypatch.setattr(VAETraining, "step", raising)


def test_same_seed_same_model(fit_small, whole):
    one, again = whole, fit_small(seed=0)
    assert identical(one, again)
    np.testing.assert_array_equal(generate(one, 3, seed=1), generate(again, 3, seed=1))


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
            assert np.isfinite(row[f"{prefix}context"])
    seconds = [row["seconds"] for row in record["history"]]
    assert seconds == sorted(seconds)
    assert record["train_seconds"] == seconds[-1] > 0
    assert record["figures"].keys() == {"held_out", "test"}
    assert record["figures"]["held_out"]["items"] == 10
    expected = evaluate_elbo(model, make_items(digits[600:650], model.schema))
    assert record["figures"]["test"]["negative_elbo"] == pytest.approx(expected.negative_elbo, rel=1e-5)
    assert record["environment"]["versions"].keys() >= {"fivefold", "torch", "numpy"}
    assert not model.vae.training
    assert not model.context.training


def test_training_helps(fit_small):
    history = fit_small(epochs=6, batch_size=8).record["history"]
    assert history[-1]["negative_elbo"] < 0.8 * history[0]["negative_elbo"]
    assert history[-1]["validation_negative_elbo"] < history[0]["validation_negative_elbo"]
    assert history[-1]["context"] < 0.8 * history[0]["context"]
    assert history[-1]["validation_context"] < history[0]["validation_context"]


@pytest.mark.parametrize("likelihood", ["bernoulli", "pixels"])
def test_the_vae_is_the_same_with_and_without_a_context_decoder(fit_small, likelihood):
    """No gradient, no random number, and no choice of the best epoch comes from the context decoder."""
    one, none = (fit_small(likelihood=likelihood, field=field) for field in (5, 0))
    other = fit_small(likelihood=likelihood, field=3, context_learning_rate=0.1)
    assert one.context is not None
    assert none.context is None
    assert same_weights(one.vae, none.vae)
    assert same_weights(one.vae, other.vae)
    assert same_arrays(one.prior, none.prior)
    assert one.record["best_epoch"] == none.record["best_epoch"]
    assert "context" not in none.record["history"][0]
    for name in ("negative_elbo", "validation_negative_elbo"):
        assert [row[name] for row in one.record["history"]] == [row[name] for row in none.record["history"]]


def test_the_context_decoder_learns_and_is_kept(fit_small, whole):
    assert not same_weights(whole.context, fit_small(epochs=1).context)
    assert same_weights(whole.context, fit_small().context)


@pytest.mark.parametrize(("corruption", "learnt"), [("none", {0}), ("hide=0.5", {0, 1}), ("uniform=0.5", {0, 2})])
def test_windows_of_corruptions_that_were_not_met_are_not_learnt(fit_small, whole, corruption, learnt):
    """Each window has layers of its own, which move only where the fit met it."""
    model = fit_small(corruption=corruption, epochs=1)
    fresh = modality_of(model.schema).networks.build(model.schema, model.config, 0)["context"]
    for window in Conditioning:
        assert model.has_learnt(window) == (window in learnt)
        assert same_weights(model.context.layers[window], fresh.layers[window]) == (window not in learnt)


def nats_per_element(model, images, window, shown=None, explained=None) -> float:
    """Mean over the `explained` elements, given the `shown` ones."""
    items = make_items(images, model.schema)
    x, every = (model.tensor(part) for part in items.unit())
    shown = every if shown is None else shown
    explained = every if explained is None else explained
    with torch.inference_mode():
        z = model.vae.posterior(torch.where(shown, x, 0.0), shown).mu
        return -Conditional(model, window, x, shown, z).log_prob(x)[explained].mean().item()


def test_the_context_decoder_beats_how_frequent_values_are(model, digits):
    """On digits that it was not fitted on, with every window."""
    train, test = digits[:600], digits[600:660]
    frequency = (np.bincount(train.ravel(), minlength=256) + 0.5) / (train.size + 128)
    constant = -np.log(frequency)[test].mean()
    assert nats_per_element(model, test, Conditioning.CAUSAL) < 0.95 * constant
    hidden = torch.rand((60, 1, 28, 28), generator=torch.Generator().manual_seed(0)) < 0.3
    assert nats_per_element(model, test, Conditioning.MISSING, ~hidden, hidden) < 0.95 * constant


def test_the_context_decoder_beats_the_vae(digits, small_settings):
    settings = {**small_settings, "latent_dim": 4, "epochs": 4, "likelihood": "pixels"}
    model = fit(digits[:300], **settings)
    alone = dataclasses.replace(model, context=None)
    test = digits[600:660]
    assert nats_per_element(model, test, Conditioning.CAUSAL) < 0.9 * nats_per_element(alone, test, Conditioning.CAUSAL)


def test_normality_is_of_the_held_out_items(whole, digits):
    """Half of them shape it, the others calibrate; no training item has a part in it."""
    _, held_out = split_rows(make_items(digits[:100]), 0.1, 0)
    found = statistics(whole, make_items(digits[held_out], whole.schema))
    scores = whole.normality.score(found)
    assert whole.normality.calibration.shape == (5,)
    nearest = np.abs(scores[:, None] - whole.normality.calibration).argmin(axis=0)
    np.testing.assert_allclose(scores[nearest], whole.normality.calibration, rtol=1e-3, atol=1e-3)
    assert len(set(nearest)) == 5
    shaping = np.setdiff1d(np.arange(10), nearest)
    np.testing.assert_allclose(whole.normality.centre, found[shaping].mean(axis=0), rtol=1e-3, atol=1e-5)
    assert set(nearest) != set(range(5, 10)), "held-out items are to be taken in random order"


def test_prior_is_of_the_training_items_codes(whole, digits):
    train, _ = split_rows(make_items(digits[:100]), 0.1, 0)
    mu, std = encode_items(whole, make_items(digits[train], whole.schema))
    expected_mean, expected_var = mu.mean(axis=0), mu.var(axis=0) + np.square(std).mean(axis=0)
    drawn = whole.prior.sample(20_000, np.random.default_rng(0))
    assert drawn.shape == (20_000, 3)
    np.testing.assert_allclose(drawn.mean(axis=0), expected_mean, atol=0.4)
    np.testing.assert_allclose(drawn.var(axis=0), expected_var, rtol=0.5)


def test_the_best_epoch_is_kept(digits, small_settings, monkeypatch, tmp_path):
    """The held-out loss is made to be least after the second of four epochs."""
    losses = iter([9.0, 5.0, 7.0, 6.0])
    seen = []
    end = VAETraining.end_epoch

    def with_given_loss(self):
        seen.append({name: weight.clone() for name, weight in self.networks.state_dict().items()})
        monkeypatch.setattr(type(self._held_out), "means", lambda sums, prefix: {f"{prefix}negative_elbo": next(given)})
        loss = next(losses)
        given = iter([loss, loss])
        return end(self)

    monkeypatch.setattr(VAETraining, "end_epoch", with_given_loss)
    model = fit(digits[:100], **{**small_settings, "latent_dim": 3, "epochs": 4})
    assert model.record["best_epoch"] == 1
    kept = weights_of(model)
    assert all(torch.equal(kept[name], seen[1][name]) for name in kept)
    assert not all(torch.equal(kept[name], seen[3][name]) for name in kept)


def test_without_validation_the_last_epoch_is_kept(fit_small):
    model = fit_small(validation=0)
    assert model.record["best_epoch"] == 2
    assert model.record["figures"] == {}
    assert model.normality is None
    assert model.prior.components == 1
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


def test_networks_have_their_share_of_the_minutes():
    config = SimpleNamespace(training=SimpleNamespace(epochs=1, max_minutes=10))
    about = {"config": config, "progress": SimpleNamespace(steps=0), "_steps_per_epoch": 1, "seconds": 120.0}
    for share in (1.0, 0.4):
        module = SimpleNamespace(**about, recipe=Recipe(share=share))
        assert VAETraining.fraction_done.fget(module) == pytest.approx(0.2 / share)


def test_no_minutes_at_all(fit_small):
    model = fit_small(max_minutes=1e-9)
    assert len(model.record["history"]) == 1
    assert "validation_negative_elbo" in model.record["history"][0]
    assert generate(model, 2).shape == (2, 28, 28, 1)


def learning_rates(monkeypatch) -> list[list[float]]:
    """A list that each step's rates are added to: the VAE's, and the context decoder's by Adam and by Muon."""
    rates, rate = [], VAETraining.rate

    def noting(self):
        share = rate.fget(self)
        adam, muon = self.optimizers
        groups = [*adam.groups, *muon.groups]
        rates.append([share * group.peak for group in groups])
        vae, others, hidden = ({id(weight) for weight in group.weights} for group in groups)
        assert vae == {id(weight) for weight in self.vae.parameters()}
        assert hidden == {id(layer.weight) for each in self.context.layers for layer in (each[0], each[2])}
        assert others | hidden == {id(weight) for weight in self.context.parameters()}
        assert not others & hidden
        return share

    monkeypatch.setattr(VAETraining, "rate", property(noting))
    return rates


def test_learning_rate_rises_then_falls(fit_small, monkeypatch):
    both = learning_rates(monkeypatch)
    fit_small(epochs=30, validation=0, batch_size=100, learning_rate=1e-3, context_learning_rate=5e-3)
    rates = [vae for vae, *_ in both]
    assert len(rates) == 30
    for context in zip(*(context for _, *context in both), strict=True):
        assert context == pytest.approx([5 * rate for rate in rates])
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[-1] < 0.02 * max(rates)
    peak = rates.index(max(rates))
    assert peak < 3
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_a_diverging_fit_names_the_step(fit_small):
    with pytest.raises(TrainingError, match=r"at step \d+ \(epoch \d+\).*`learning_rate`") as caught:
        fit_small(learning_rate=1e18, epochs=20)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_at_once(fit_small, monkeypatch, bad):
    bad_step, step = 4, VAETraining.step
    item_log_prob = Likelihood.item_log_prob

    def with_bad_step(self, batch):
        with pytest.MonkeyPatch.context() as patch:
            if self.progress.steps == bad_step:
                patch.setattr(Likelihood, "item_log_prob", lambda *args: item_log_prob(*args) * bad)
            return step(self, batch)

    monkeypatch.setattr(VAETraining, "step", with_bad_step)
    with pytest.raises(TrainingError, match=rf"step {bad_step} \(epoch 1\)"):
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


@pytest.mark.parametrize(
    ("corruption", "other_values", "other_visibility"),
    [("uniform=1", True, False), ("hide=1", True, True), ("none", False, False)],
)
def test_corruption_reaches_the_encoder_but_not_the_target(
    fit_small, monkeypatch, corruption, other_values, other_visibility
):
    shown, explained = [], []
    posterior, item_log_prob = VAE.posterior, Likelihood.item_log_prob
    step = VAETraining.step

    def noting(self, batch):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(VAE, "posterior", lambda vae, *seen: shown.append(seen) or posterior(vae, *seen))
            patch.setattr(
                Likelihood, "item_log_prob", lambda p, *target: explained.append(target) or item_log_prob(p, *target)
            )
            loss = step(self, batch)
        assert all(torch.equal(one, other) for one, other in zip(explained[-1], batch, strict=True))
        return loss

    monkeypatch.setattr(VAETraining, "step", noting)
    fit_small(epochs=1, corruption=corruption)
    assert len(shown) == len(explained) == 3
    for (seen, seen_visible), (x, visible) in zip(shown, explained, strict=True):
        assert (seen != x).any().item() == other_values
        assert (seen_visible != visible).any().item() == other_visibility


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


def test_real_numbers(fit_small, digits):
    """The context decoder gives densities then, whatever the VAE's family."""
    model = fit_small(digits[:100] / np.float32(255), validation=0)
    history = model.record["history"]
    assert history[-1]["context"] < history[0]["context"]
    assert nats_per_element(model, digits[600:610] / np.float32(255), Conditioning.CAUSAL) < 1


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


def test_a_resumed_fit_to_a_table_is_bit_identical(trees, table_settings, monkeypatch, tmp_path):
    """Averaged weights, dropout and patience included."""
    settings = table_settings | {"epochs": 4, "shortest_epoch": 10}
    whole = fit(trees, **settings)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        with pytest.raises(KeyboardInterrupt):
            fit(trees, workdir=tmp_path, **settings)
    resumed = fit(trees, workdir=tmp_path, resume=True, **settings)
    assert identical(resumed, whole)
    np.testing.assert_array_equal(resumed.normality.calibration, whole.normality.calibration)


def test_a_fit_to_a_table_stops_when_it_gets_no_better(trees, table_settings):
    quick = {"epochs": 60, "shortest_epoch": 5, "patience": 1, "context_learning_rate": 0.1}
    model = fit(trees, **table_settings | quick)
    history = model.record["history"]
    assert len(history) < 60
    assert len(history) - 1 - model.record["best_epoch"] == 1
    assert min(row["validation_context"] for row in history) == history[-2]["validation_context"]


def test_resumed_with_warmup_is_bit_identical(fit_small, monkeypatch, tmp_path):
    whole = fit_small(kl_warmup=2.5)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5, RuntimeError)
        with pytest.raises(RuntimeError):
            fit_small(kl_warmup=2.5, workdir=tmp_path)
    assert identical(fit_small(kl_warmup=2.5, workdir=tmp_path, resume=True), whole)


def test_resuming_a_finished_fit_gives_it_again(fit_small, whole, workdir):
    with pytest.warns(FivefoldWarning, match="nothing was left to train"):
        again = fit_small(workdir=workdir, resume=True)
    assert identical(again, whole)


def test_resuming_for_more_epochs(fit_small, workdir):
    longer = fit_small(workdir=workdir, resume=True, epochs=5)
    assert [row["epoch"] for row in longer.record["history"]] == [0, 1, 2, 3, 4]
    assert longer.record["train_seconds"] == longer.record["history"][-1]["seconds"]


def test_resuming_for_fewer_epochs_than_are_done(fit_small, workdir):
    with pytest.raises(UsageError, match="`resume`: `epochs` must be at least 3"):
        fit_small(workdir=workdir, resume=True, epochs=1)


def test_resuming_after_the_time_was_up(fit_small, tmp_path, monkeypatch):
    """The cut epoch stays in the history; the epochs after it are whole."""
    short = fit_small(workdir=tmp_path, max_minutes=1e-9)
    assert len(short.record["history"]) == 1
    steps = Counter()
    step = VAETraining.step

    def counting(self, batch):
        steps[self.epoch] += 1
        return step(self, batch)

    monkeypatch.setattr(VAETraining, "step", counting)
    resumed = fit_small(workdir=tmp_path, resume=True, max_minutes=10)
    assert steps[1] == steps[2] == 3
    assert [row["epoch"] for row in resumed.record["history"]][-2:] == [1, 2]
    assert generate(resumed, 2).shape == (2, 28, 28, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"latent_dim": 4},
        {"learning_rate": 1e-3},
        {"seed": 1},
        {"corruption": "none"},
        {"likelihood": "gaussian"},
        {"field": 0},
        {"field": 7},
        {"context_width": 8},
        {"context_depth": 3},
        {"context_learning_rate": 1e-3},
        {"positions": 8},
    ],
)
def test_resume_refuses_another_configuration(fit_small, workdir, change):
    with pytest.raises(UsageError, match="`resume`: the fit was begun with"):
        fit_small(workdir=workdir, resume=True, **change)


def test_an_array_of_rows_is_a_table():
    model = fit(np.random.default_rng(0).normal(size=(30, 4)), epochs=1, shortest_epoch=2, accelerator="cpu")
    assert model.schema.names == ("x0", "x1", "x2", "x3")
    assert model.data_record["form"] == "numpy"


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
    with pytest.raises(UsageError, match=r"the fit was begun on other data .*; give the same, or fit without `resume`"):
        fit_small(workdir=workdir, resume=True, **other)


def test_resume_without_a_state(fit_small, tmp_path):
    with pytest.raises(UsageError, match=r"no training state in .*; begin the fit without `resume`"):
        fit_small(workdir=tmp_path, resume=True)
    with pytest.raises(UsageError, match="`resume` needs a `workdir`"):
        fit_small(resume=True)


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
    longer = fit_small(workdir=tmp_path, logger="csv", resume=True, epochs=4)
    with (tmp_path / "logs" / "metrics.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows == longer.record["history"]
    assert rows[:3] == model.record["history"]


def test_tensorboard_logger(fit_small, tmp_path):
    fit_small(workdir=tmp_path, logger="tensorboard")
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))


def test_tensorboard_missing(fit_small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install fivefold\[tensorboard\]"):
        fit_small(workdir=tmp_path, logger="tensorboard")


@pytest.mark.parametrize("name", ["nonsense", "tpu", "gpu", "meta"])
def test_accelerator_that_is_not_there(fit_small, name):
    with pytest.raises(UsageError, match=f"`accelerator` {name}"):
        fit_small(accelerator=name)


def test_unknown_setting(fit_small):
    with pytest.raises(UsageError, match="unknown setting: colour"):
        fit_small(colour=3)


def test_fit_items_is_what_fit_does(whole, digits, small_settings, tmp_path):
    settings = {name: value for name, value in small_settings.items() if name != "accelerator"}
    config = configure(**{**settings, "latent_dim": 3, "epochs": 3})
    assert identical(fit_items(make_items(digits[:100]), config, tmp_path, accelerator="cpu"), whole)


@pytest.mark.situation("a fit to one picture", "refused: its mean is all that could be learnt")
def test_one_item(fit_small, digits):
    with pytest.raises(DataError, match="one picture is too few to fit to; cut it into tiles"):
        fit_small(digits[:1], epochs=1)


def test_two_items(fit_small, digits):
    model = fit_small(digits[:2], epochs=1)
    assert model.record["data"] == {"source": "array", "items": 2, "held_out": 0}
    assert model.normality is None
    assert model.prior.components == 1
    assert generate(model, 2).shape == (2, 28, 28, 1)
