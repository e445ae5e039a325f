"""What happens in a training step and at the end of an epoch."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from fivefold.config import FitConfig
from fivefold.errors import TrainingError, UsageError
from fivefold.model.context import ContextDecoder, ParameterGroup, TrainingBatch
from fivefold.model.corruption import corrupt_for_training
from fivefold.model.vae import VAE, Elbo
from fivefold.seeds import derive_seed
from fivefold.training.muon import Muon
from fivefold.training.recipe import Recipe

_LOWEST_RATE = 0.01  # of the peak
_RATE_RISE = 0.02  # of the steps
_AVERAGING = 0.99  # of what averaged weights keep at a step
_BETWEEN_CHECKS = 50  # steps
_SAME = "give the same, or fit without `resume`"
_MAY_CHANGE = {"epochs", "max_minutes"}  # on resuming

Batch = tuple[Tensor, Tensor]
"""`x` and `visible`, both `(b, c, h, w)`."""


@dataclass
class _Sums:
    """Sums over the items of an epoch, kept on the device."""

    log_likelihood: Tensor | float = 0.0
    kl: Tensor | float = 0.0
    context: Tensor | float = 0.0
    items: int = 0

    def add(self, elbo: Elbo, context: Tensor | None) -> None:
        self.log_likelihood = self.log_likelihood + elbo.log_likelihood.detach().sum()
        self.kl = self.kl + elbo.kl.detach().sum()
        self.items += len(elbo.kl)
        if context is not None:
            self.context = self.context + len(elbo.kl) * context.detach()

    def means(self, prefix: str) -> dict[str, float]:
        reconstruction, kl = -float(self.log_likelihood) / self.items, float(self.kl) / self.items
        means = {
            f"{prefix}negative_elbo": reconstruction + kl,
            f"{prefix}reconstruction": reconstruction,
            f"{prefix}kl": kl,
        }
        if isinstance(self.context, Tensor):
            means[f"{prefix}context"] = float(self.context) / self.items
        return means


@dataclass
class _Progress:
    """All that is to survive an interruption besides Lightning's own state."""

    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    averages: dict[str, Tensor] = field(default_factory=dict)


class VAETraining(pl.LightningModule):
    """Maximises the ELBO of the clean item given the corrupted one; keeps the best epoch's weights.

    The context decoder learns beside it, on what the VAE's decoder says, with no gradient back into the VAE.

    `data` describes the items, for a resumed run to compare.
    Random numbers of a step depend on the seed and the step's number alone, so a resumed run repeats them.
    """

    jitter: Tensor | None

    def __init__(self, networks: nn.ModuleDict, config: FitConfig, recipe: Recipe, data: str) -> None:
        super().__init__()
        self.automatic_optimization = False  # which knows one optimizer only
        self.networks = networks
        self.config = config
        self.recipe = recipe
        self.data = data
        self.progress = _Progress()
        self.epochs_before = 0  # that a resumed run found done
        jitter = None if recipe.jitter is None else torch.tensor(recipe.jitter)
        self.register_buffer("jitter", jitter, persistent=False)
        self._current: dict[str, Tensor] = {}  # weights, while the averages are in their place
        self._averaged: tuple[list[Tensor], list[Tensor]] | None = None  # averages, and the weights that they are of
        self._unchecked: list[Tensor] = []  # losses of VAE and context decoder, step by step
        self._train, self._validation = _Sums(), _Sums()
        self._clock = time.monotonic()

    @property
    def vae(self) -> VAE:
        """The VAE under training."""
        return cast(VAE, self.networks["vae"])

    @property
    def context(self) -> ContextDecoder | None:
        """The context decoder under training, if there is one."""
        return cast(ContextDecoder, self.networks["context"]) if "context" in self.networks else None

    @property
    def seconds(self) -> float:
        """Time spent in training so far, earlier runs included."""
        return self.progress.seconds + time.monotonic() - self._clock

    @property
    def steps_done(self) -> int:
        """Number of training steps so far; Lightning counts each optimizer's."""
        return self.global_step // len(self.trainer.optimizers)

    @property
    def fraction_done(self) -> float:
        """How much of the fit is over: of its steps, or of its minutes, whichever is more."""
        training, steps = self.config.training, self.trainer.num_training_batches
        done = self.steps_done / (training.epochs * steps)
        if training.max_minutes is not None:
            done = max(done, self.seconds / (60 * training.max_minutes + 1e-9))
        return min(done, 1.0)

    def configure_optimizers(self) -> list[Optimizer]:
        """Adam; and Muon for the context decoder's hidden layers.

        Each group of weights says under `peak` what its highest rate is.
        """
        groups = [ParameterGroup(list(self.vae.parameters()), self.config.training.learning_rate)]
        if self.context is not None:
            groups += self.context.parameter_groups(self.config.context.context_learning_rate)
        adam = Adam([_settings(group) for group in groups if not group.hidden], fused=True)
        return [adam, *(Muon([_settings(group)]) for group in groups if group.hidden)]

    def on_train_start(self) -> None:
        self._clock = time.monotonic()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        training = self.config.training
        rising = max(1, round(_RATE_RISE * training.epochs * self.trainer.num_training_batches))
        falling = max(_LOWEST_RATE, 0.5 * (1 + math.cos(math.pi * self.fraction_done)))
        share = min(1.0, (self.steps_done + 1) / rising) * falling
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        elbo, context = self._evaluate(batch, "step", self.steps_done)
        loss = (self._kl_weight() * elbo.kl - elbo.log_likelihood).mean()
        self._unchecked.append(
            torch.stack((loss.detach(), loss.new_zeros(()) if context is None else context.detach()))
        )
        loss = loss if context is None else loss + context
        for optimizer in self.trainer.optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        if self.recipe.gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.recipe.gradient_norm)
        for optimizer in self._optimizers():
            optimizer.step()
        self._average()
        self._train.add(elbo, context)
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        if not self.recipe.averaged:
            return
        if self._averaged is None:
            weights, averages = self.networks.state_dict(), self.progress.averages
            if not averages:
                averages.update((name, weight.clone()) for name, weight in weights.items())
            self._averaged = [averages[name] for name in weights], list(weights.values())
        decay = min(_AVERAGING, (self.steps_done + 1) / (self.steps_done + 10))
        torch._foreach_lerp_(*self._averaged, 1 - decay)

    def _optimizers(self) -> list[Any]:
        """Those that count steps."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _check(self) -> None:
        """Raise `TrainingError` for the first loss since the last check that is no number: a GPU would wait for each look."""
        if not self._unchecked:
            return
        losses, first = torch.stack(self._unchecked).tolist(), self.steps_done - len(self._unchecked)
        self._unchecked = []
        rates = self.config.training.learning_rate, self.config.context.context_learning_rate
        flags = ("learning_rate", rates[0], ", or `kl_warmup` 1"), ("context_learning_rate", rates[1], "")
        for step, values in enumerate(losses, first):
            for loss, (flag, rate, otherwise) in zip(values, flags, strict=True):
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss became {loss} at step {step} (epoch {self.current_epoch}); try a lower "
                        f"`{flag}` than {rate:g}{otherwise}"
                    )

    def _evaluate(self, batch: Batch, stream: str, step: int) -> tuple[Elbo, Tensor | None]:
        """The ELBO of each item, and the context decoder's loss."""
        x, visible = batch
        generator = self._generator(stream, step)
        if self.jitter is not None and stream == "step":
            shift = torch.randn((len(x), 1, 1, x.shape[3]), generator=generator, device=x.device) * self.jitter
            x = torch.where(visible, x + shift, x)
        seen = corrupt_for_training(x, visible, self.config.damage, generator)
        posterior = self.vae.posterior(seen.x, seen.visible)
        noise = torch.randn(posterior.mu.shape, generator=generator, device=x.device)
        likelihood, z_features = self.vae.likelihood_and_features(posterior.at(noise))
        elbo = Elbo(likelihood.item_log_prob(x, visible), posterior.kl_per_unit())
        if self.context is None:
            return elbo, None
        positions = self.config.context.positions
        return elbo, self.context.loss(TrainingBatch(z_features, seen, x, visible, positions, generator))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if len(self._unchecked) >= _BETWEEN_CHECKS:
            self._check()
        if self.fraction_done >= 1.0:
            self.trainer.should_stop = True

    def on_validation_start(self) -> None:
        self._check()
        if self.progress.averages:
            self._current = {name: weight.clone() for name, weight in self.networks.state_dict().items()}
            self.networks.load_state_dict(self.progress.averages)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        _, context = self._evaluate(batch, "held-out context", batch_idx)
        x, visible = batch
        generator = self._generator("validation", batch_idx)
        noise = torch.randn((len(x), self.vae.latent_dim), generator=generator, device=x.device)
        self._validation.add(self.vae.elbo(x, noise, visible), context)

    def on_train_epoch_end(self) -> None:
        self._check()
        row = {"epoch": self.current_epoch, **self._train.means("")}
        if self._validation.items:
            row |= self._validation.means("validation_")
        row["seconds"] = self.seconds
        self._train, self._validation = _Sums(), _Sums()
        self.log_dict({name: value for name, value in row.items() if name != "epoch"})
        progress = self.progress
        progress.history.append(row)
        best = progress.history[progress.best_epoch] if progress.best_weights else row
        if row is best or self.recipe.score(row) <= self.recipe.score(best):
            progress.best_epoch = self.current_epoch
            weights = progress.averages or self.networks.state_dict()
            progress.best_weights = {name: weight.detach().clone() for name, weight in weights.items()}
        if self._current:
            self.networks.load_state_dict(self._current)
            self._current = {}
        patience = self.recipe.patience
        if patience is not None and self.current_epoch - progress.best_epoch >= patience:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["data"] = self.data
        checkpoint["fit"] = self.config.to_json()
        checkpoint["progress"] = {**vars(self.progress), "seconds": self.seconds}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = self.config.own
        before = FitConfig.from_json(checkpoint["fit"], None if own is None else type(own)).settings
        now = self.config.settings
        if checkpoint["data"] != self.data:
            raise UsageError(
                f"`resume`: the fit was begun on other data ({checkpoint['data']}; now {self.data}); {_SAME}"
            )
        for name in before.keys() - _MAY_CHANGE:
            if before[name] != now.get(name):
                raise UsageError(
                    f"`resume`: the fit was begun with {name} {before[name]}, got {now.get(name)}; {_SAME}"
                )
        progress = _Progress(**checkpoint["progress"])
        if len(progress.history) > self.config.training.epochs:
            raise UsageError(f"`resume`: `epochs` must be at least {len(progress.history)}, so many are done")
        self.progress, self.epochs_before = progress, len(progress.history)

    def _kl_weight(self) -> float:
        epochs = self.config.training.kl_warmup
        if epochs == 0:
            return 1.0
        return min(1.0, self.steps_done / (epochs * self.trainer.num_training_batches))

    def _generator(self, stream: str, step: int) -> torch.Generator:
        seed = derive_seed(self.config.training.seed, stream, step)
        return torch.Generator(self.device).manual_seed(seed)


def _settings(group: ParameterGroup) -> dict[str, Any]:
    return {"params": list(group.weights), "lr": group.peak, "peak": group.peak}
