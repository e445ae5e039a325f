"""What happens in a training step and at the end of an epoch.

A plain class, since the steps of small networks take less time than what a framework does around each of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from fivefold.config import FitConfig
from fivefold.errors import TrainingError, UsageError
from fivefold.model.context import ContextDecoder, ParameterGroup, TrainingBatch
from fivefold.model.vae import VAE, Elbo
from fivefold.seeds import derive_seed
from fivefold.training.optimizers import Adam, Muon, Optimizer
from fivefold.training.recipe import Recipe
from fivefold.training.team import ALONE, Team

_LOWEST_RATE = 0.01  # of the peak
_RATE_RISE = 0.02  # of the steps, or of the minutes
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

    def of(self, team: Team) -> _Sums:
        """Of all processes."""
        if team.size == 1:
            return self
        device = self.kl.device if isinstance(self.kl, Tensor) else None
        numbers = [float(self.log_likelihood), float(self.kl), float(self.context), self.items]
        log_likelihood, kl, context, items = team.sum(torch.tensor(numbers, dtype=torch.float64, device=device))
        return _Sums(log_likelihood, kl, context if isinstance(self.context, Tensor) else 0.0, int(items))

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
    """All that is to survive an interruption besides the weights and the optimizers' state."""

    steps: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    averages: dict[str, Tensor] = field(default_factory=dict)


class VAETraining:
    """Maximises the ELBO of the clean item given the corrupted one; keeps the best epoch's weights.

    The context decoder learns beside it, on what the VAE's decoder says, with no gradient back into the VAE.

    `data` describes the items, for a resumed run to compare. Of a `team` this process has a share of each batch.
    Random numbers of a step depend on the seed, the step's number and the process alone, so a resumed run repeats them.
    """

    def __init__(
        self,
        networks: nn.ModuleDict,
        config: FitConfig,
        recipe: Recipe,
        data: str,
        steps_per_epoch: int,
        team: Team = ALONE,
    ) -> None:
        self.networks = networks
        self.team = team
        self.config = config
        self.recipe = recipe
        self.data = data
        self.progress = _Progress()
        self.epochs_before = 0  # that a resumed run found done
        self._steps_per_epoch = steps_per_epoch
        self.device = next(networks.parameters()).device
        self._jitter = None if recipe.jitter is None else torch.tensor(recipe.jitter, device=self.device)
        self.optimizers = self._make_optimizers()
        self._weights = list(networks.parameters())
        self._averaged: tuple[list[Tensor], list[Tensor]] | None = None  # averages, and the weights that they are of
        self._unchecked: list[Tensor] = []  # losses of VAE and context decoder, step by step
        self._train, self._held_out = _Sums(), _Sums()
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
    def fraction_done(self) -> float:
        """How much of the fit is over: of its steps, or of its minutes, whichever is more."""
        training = self.config.training
        done = self.progress.steps / (training.epochs * self._steps_per_epoch)
        if training.max_minutes is not None:
            done = max(done, self.seconds / (60 * training.max_minutes * self.recipe.share + 1e-9))
        return min(done, 1.0)

    @property
    def epoch(self) -> int:
        """Number of whole epochs so far."""
        return len(self.progress.history)

    @property
    def over(self) -> bool:
        """Whether there are no more epochs, no more time, or none better for a while."""
        patience, history = self.recipe.patience, self.progress.history
        stale = patience is not None and bool(history) and self.epoch - 1 - self.progress.best_epoch >= patience
        return stale or self.epoch >= self.config.training.epochs or self.fraction_done >= 1.0

    def _make_optimizers(self) -> list[Optimizer]:
        """Adam; and Muon for the context decoder's hidden layers."""
        groups = [ParameterGroup(list(self.vae.parameters()), self.config.training.learning_rate)]
        if self.context is not None:
            groups += self.context.parameter_groups(self.config.context.context_learning_rate)
        kinds = (
            (Adam, [group for group in groups if not group.hidden]),
            (Muon, [group for group in groups if group.hidden]),
        )
        return [optimizer(own) for optimizer, own in kinds if own]

    @property
    def rate(self) -> float:
        """That of the next step, as a share of the peak: it rises over the first steps, and then falls as half a cosine."""
        rising = max(1, round(_RATE_RISE * self.config.training.epochs * self._steps_per_epoch))
        falling = max(_LOWEST_RATE, 0.5 * (1 + math.cos(math.pi * self.fraction_done)))
        return min(1.0, max((self.progress.steps + 1) / rising, self.fraction_done / _RATE_RISE)) * falling

    def step(self, batch: Batch) -> Tensor:
        """One of training; returns the loss, nats per item."""
        rate = self.rate
        elbo, context = self._evaluate(batch, "step", self.progress.steps)
        loss = (self._kl_weight() * elbo.kl - elbo.log_likelihood).mean()
        self._unchecked.append(
            torch.stack((loss.detach(), loss.new_zeros(()) if context is None else context.detach()))
        )
        loss = loss if context is None else loss + context
        for weight in self._weights:
            weight.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.average_gradients(self._weights, len(elbo.kl))
        for name, longest in (("vae", self.recipe.gradient_norm), ("context", self.recipe.context_norm)):
            if longest is not None and name in self.networks:
                nn.utils.clip_grad_norm_(self.networks[name].parameters(), longest)
        for optimizer in self.optimizers:
            optimizer.step(rate)
        self.progress.steps += 1
        self._average()
        self._train.add(elbo, context)
        if len(self._unchecked) >= _BETWEEN_CHECKS:
            self._check()
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
        decay = min(_AVERAGING, (self.progress.steps + 1) / (self.progress.steps + 10))
        torch._foreach_lerp_(*self._averaged, 1 - decay)

    def _check(self) -> None:
        """Raise `TrainingError` for the first loss since the last check that is no number: a GPU would wait for each look."""
        if not self._unchecked:
            return
        losses, first = torch.stack(self._unchecked).tolist(), self.progress.steps - len(self._unchecked)
        self._unchecked = []
        rates = self.config.training.learning_rate, self.config.context.context_learning_rate
        flags = ("learning_rate", rates[0], ", or `kl_warmup` 1"), ("context_learning_rate", rates[1], "")
        for step, values in enumerate(losses, first):
            for loss, (flag, rate, otherwise) in zip(values, flags, strict=True):
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"the loss became {loss} at step {step} (epoch {self.epoch}); try a lower "
                        f"`{flag}` than {rate:g}{otherwise}"
                    )

    def _evaluate(self, batch: Batch, stream: str, step: int) -> tuple[Elbo, Tensor | None]:
        """The ELBO of each item, and the context decoder's loss."""
        x, visible = batch
        generator = self._generator(stream, step)
        if self._jitter is not None and stream == "step":
            shift = torch.randn((len(x), 1, 1, x.shape[3]), generator=generator, device=x.device) * self._jitter
            x = torch.where(visible, x + shift, x)
        seen, x, visible = self.vae.training_pair(x, visible, self.config.damage, generator)
        posterior = self.vae.posterior(seen.x, seen.visible)
        noise = torch.randn(posterior.mu.shape, generator=generator, device=x.device)
        likelihood, z_features = self.vae.likelihood_and_features(posterior.at(noise))
        elbo = Elbo(likelihood.item_log_prob(x, visible), posterior.kl_per_unit())
        if self.context is None:
            return elbo, None
        positions = self.config.context.positions
        return elbo, self.context.loss(TrainingBatch(z_features, seen, x, visible, positions, generator))

    @torch.inference_mode()
    def look(self, batches: Iterable[Batch]) -> None:
        """At held-out items, with the averaged weights if there are."""
        self._check()
        current = None
        if self.progress.averages:
            current = {name: weight.clone() for name, weight in self.networks.state_dict().items()}
            self.networks.load_state_dict(self.progress.averages)
        self.networks.eval()
        for number, (x, visible) in enumerate(batches):
            _, context = self._evaluate((x, visible), "held-out context", number)
            generator = self._generator("validation", number)
            noise = torch.randn((len(x), self.vae.latent_dim), generator=generator, device=x.device)
            self._held_out.add(self.vae.elbo(x, noise, visible), context)
        self.networks.train()
        if current is not None:
            self.networks.load_state_dict(current)

    def end_epoch(self) -> dict[str, float]:
        """Its figures, which the history has from now on; the weights are kept if there were no better ones."""
        self._check()
        progress = self.progress
        row = {"epoch": self.epoch, **self._train.of(self.team).means("")}
        if self._held_out.items:
            row |= self._held_out.of(self.team).means("validation_")
        row["seconds"] = self.seconds
        self._train, self._held_out = _Sums(), _Sums()
        progress.history.append(row)
        best = progress.history[progress.best_epoch] if progress.best_weights else row
        if row is best or self.recipe.score(row) <= self.recipe.score(best):
            progress.best_epoch = self.epoch - 1
            weights = progress.averages or self.networks.state_dict()
            progress.best_weights = {name: weight.detach().clone() for name, weight in weights.items()}
        return row

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: tensors, numbers and text in dicts and lists."""
        return {
            "data": self.data,
            "fit": self.config.to_json(),
            "progress": {**vars(self.progress), "seconds": self.seconds},
            "networks": self.networks.state_dict(),
            "optimizers": [optimizer.state for optimizer in self.optimizers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from another run's `state`; raises `UsageError` if it was of other data, or other settings that matter."""
        own = self.config.own
        before = FitConfig.from_json(state["fit"], None if own is None else type(own)).settings
        now = self.config.settings
        if state["data"] != self.data:
            raise UsageError(f"`resume`: the fit was begun on other data ({state['data']}; now {self.data}); {_SAME}")
        for name in before.keys() - _MAY_CHANGE:
            if before[name] != now.get(name):
                raise UsageError(
                    f"`resume`: the fit was begun with {name} {before[name]}, got {now.get(name)}; {_SAME}"
                )
        progress = _Progress(**state["progress"])
        if len(progress.history) > self.config.training.epochs:
            raise UsageError(f"`resume`: `epochs` must be at least {len(progress.history)}, so many are done")
        for weights in (progress.best_weights, progress.averages):
            weights.update((name, weight.to(self.device)) for name, weight in weights.items())
        self.progress, self.epochs_before = progress, len(progress.history)
        self.networks.load_state_dict(state["networks"])
        for optimizer, own_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.restore(own_state)

    def _kl_weight(self) -> float:
        epochs = self.config.training.kl_warmup
        if epochs == 0:
            return 1.0
        return min(1.0, self.progress.steps / (epochs * self._steps_per_epoch))

    def _generator(self, stream: str, step: int) -> torch.Generator:
        seed = derive_seed(self.config.training.seed, self.team.stream(stream), step)
        return torch.Generator(self.device).manual_seed(seed)
