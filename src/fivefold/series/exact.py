"""The context decoder of series in float64 and NumPy, step by step; see `images/exact.py`. No torch here.

It does without z, as that of tables. Many stretches of series are decoded side by side. A stretch that is longer than a
window is decoded window by window, each of which knows its first half, where the fit's windows overlap. Missing values are
taken to be their linear prediction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fivefold.codec.mixtures import log_softmax, sigmoid
from fivefold.config import Conditioning, FitConfig
from fivefold.series.schema import SPREADS, SeriesSchema
from fivefold.series.settings import FARTHEST_OFF, LOG_SCALES, WAVES, dilations, series_config
from fivefold.tables.settings import COMPONENTS

_TAPS = 3

Parameters = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Log weights, locations on a channel's scale and log scales of mixtures, each `(…, components)`."""


class ExactSteps:
    """The context decoder's weights, by their layers, and what does not depend on the series.

    Parameters
    ----------
    weights : by name, as in the model's `model.safetensors`
    """

    def __init__(self, weights: Mapping[str, np.ndarray], schema: SeriesSchema, config: FitConfig) -> None:
        self.schema, c = schema, schema.channels.size

        def of(name: str) -> np.ndarray:
            return weights[f"context.{name}"].astype(np.float64)

        self.mean, self.regression, own = (of(f"autocovariance.{name}") for name in ("mean", "regression", "own"))
        self.together = len(own[0]) // schema.steps  # channels of a group
        self.earliest = (self.regression != 0).argmax(axis=2) // self.together  # step that a value depends on
        self.std = np.sqrt(own).reshape(len(own), schema.steps, -1).transpose(1, 0, 2).reshape(schema.steps, c)
        trunk = f"trunks.{Conditioning.CAUSAL:d}"
        first = of(f"{trunk}.first.weight")[:, :, 0].T
        self.shown = first[: 3 * c]
        along = np.linspace(0, np.pi, schema.steps)
        waves = np.stack([part(times * along) for times in WAVES for part in (np.sin, np.cos)], axis=1)
        self.base = waves @ first[-2 * len(WAVES) :] + of(f"{trunk}.first.bias")  # (t, width)
        self.dilations = dilations(series_config(config).reach)
        layers = range(len(self.dilations))
        self.taps = [of(f"{trunk}.layers.{layer}.weight").transpose(2, 1, 0) for layer in layers]  # (3, width, width)
        self.biases = [of(f"{trunk}.layers.{layer}.bias") for layer in layers]
        head = f"heads.{Conditioning.CAUSAL:d}.linear"
        self.head, self.head_bias = of(f"{head}.weight")[:, :, 0].T, of(f"{head}.bias")


class StepChain:
    """The conditional distributions of the values of `lanes` stretches of series, step by step and channel by channel, given
    the known ones before.
    """

    def __init__(self, steps: ExactSteps, lanes: int) -> None:
        self._steps, schema = steps, steps.schema
        window, c = schema.steps, schema.channels.size
        self._carried = window // 2 if schema.overlaps else 0
        self._off_mean = np.zeros((window, lanes, c))  # values less their means
        self._seen = np.zeros((window, lanes, c))
        self._shown = np.zeros((window, lanes, 3 * c))
        self._active = [np.zeros((window, lanes, taps.shape[1])) for taps in steps.taps]
        self._at, self._outputs = -1, np.empty(0)

    def advance(self, lanes: int) -> None:
        """Go on to the next step; only the first `lanes` have one."""
        self._at += 1
        if self._at == self._steps.schema.steps:
            self._start_window(lanes)
        hidden = self._run(self._at, self._at + 1, lanes)[0]
        c = self._steps.schema.channels.size
        self._outputs = (hidden @ self._steps.head + self._steps.head_bias).reshape(lanes, c, 3, COMPONENTS)

    def distribution(self, channel: int) -> Parameters:
        """Log weights, locations on the channel's scale and log scales of the next channel's values: `(lanes, components)`."""
        logits, locations, log_scales = self._outputs[:, channel].transpose(1, 0, 2)
        std = self._steps.std[self._at, channel]
        shift = self._predict(self._at, channel, len(logits))[:, None] + self._steps.mean[self._at, channel]
        return log_softmax(logits), shift + std * locations, np.clip(log_scales + np.log(std), *LOG_SCALES)

    @property
    def left(self) -> int:
        """How many steps the window goes on; the next one's if it is over."""
        window = self._steps.schema.steps
        return window - self._at - 1 or window - self._carried

    def foresee(self, scaled: np.ndarray) -> list[Parameters]:
        """Go on by at most as many steps as are `left`, of which all is known: `distribution` of each channel's values,
        `(steps, lanes, components)`; `scaled` `(steps, lanes, c)`, NaN where missing. The writer's: up to the last bits what the
        reader finds step by step."""
        first, (count, lanes, c), mean = self._at + 1, scaled.shape, self._steps.mean
        if first == self._steps.schema.steps:
            self._start_window(lanes)
            first = self._at
        steps, seen = range(first, first + count), ~np.isnan(scaled)
        self._seen[first : first + count, :lanes] = seen
        self._off_mean[first : first + count, :lanes] = np.where(seen, scaled - mean[first : first + count, None], 0)
        expected = np.empty_like(scaled)
        for number, step in enumerate(steps):
            for channel in range(c):
                expected[number, :, channel] = self._predict(step, channel, lanes)
                missing = ~seen[number, :, channel]
                self._off_mean[step, :lanes, channel][missing] = expected[number, missing, channel]
                self._show(step, channel, lanes, expected[number, :, channel])
        self._at = steps[-1]
        outputs = self._run(first, first + count, lanes) @ self._steps.head + self._steps.head_bias
        logits, locations, log_scales = np.moveaxis(outputs.reshape(count, lanes, c, 3, COMPONENTS), 3, 0)
        std = self._steps.std[first : first + count, None, :, None]
        shift = expected[..., None] + mean[first : first + count, None, :, None]
        parts = log_softmax(logits), shift + std * locations, np.clip(log_scales + np.log(std), *LOG_SCALES)
        return [(parts[0][:, :, at], parts[1][:, :, at], parts[2][:, :, at]) for at in range(c)]

    def observe(self, channel: int, scaled: np.ndarray) -> None:
        """Condition on a channel's values on its scale, NaN where they are missing; channels in turn."""
        lanes, seen = len(scaled), ~np.isnan(scaled)
        expected = self._predict(self._at, channel, lanes)
        self._seen[self._at, :lanes, channel] = seen
        self._off_mean[self._at, :lanes, channel] = np.where(
            seen, scaled - self._steps.mean[self._at, channel], expected
        )
        self._show(self._at, channel, lanes, expected)

    def _predict(self, step: int, channel: int, lanes: int) -> np.ndarray:
        """The linear prediction of the deviations from the mean, `(lanes,)`, from the values before."""
        width = self._steps.together
        group, place = divmod(channel, width)
        channels = slice(group * width, (group + 1) * width)
        number = step * width + place
        first = self._steps.earliest[group, number]
        weights = self._steps.regression[group, number, first * width : (step + 1) * width].reshape(-1, width)
        predicted: np.ndarray = np.einsum("slc,sc->l", self._off_mean[first : step + 1, :lanes, channels], weights)
        return predicted

    def _show(self, step: int, channel: int, lanes: int, expected: np.ndarray) -> None:
        c, std = self._steps.schema.channels.size, self._steps.std[step, channel]
        off = np.clip((self._off_mean[step, :lanes, channel] - expected) / std, -FARTHEST_OFF, FARTHEST_OFF)
        seen = self._seen[step, :lanes, channel]
        self._shown[step, :lanes, channel] = off * seen
        self._shown[step, :lanes, c + channel] = seen
        self._shown[step, :lanes, 2 * c + channel] = np.log(SPREADS * std)

    def _start_window(self, lanes: int) -> None:
        """Carry the last steps over to the start of a new window."""
        carried, window, mean = self._carried, self._steps.schema.steps, self._steps.mean
        self._at = carried
        for values in (self._off_mean, self._seen):
            values[:carried] = values[window - carried :].copy()
            values[carried:] = 0
        self._off_mean[:carried] += (mean[window - carried :] - mean[:carried])[:, None]
        for step in range(carried):
            for channel in range(self._steps.schema.channels.size):
                self._show(step, channel, lanes, self._predict(step, channel, lanes))
        if carried:
            self._run(0, carried, lanes)

    def _run(self, first: int, last: int, lanes: int) -> np.ndarray:
        """The convolutions' outputs `(last - first, lanes, width)` of steps of the window, after those before."""
        steps = self._steps
        hidden: np.ndarray = np.repeat(steps.base[first:last, None], lanes, axis=1)
        begin = max(first, 1)  # a step is shown those before it
        hidden[begin - first :] += self._shown[begin - 1 : last - 1, :lanes] @ steps.shown
        for active, taps, bias, dilation in zip(self._active, steps.taps, steps.biases, steps.dilations, strict=True):
            active[first:last, :lanes] = hidden * sigmoid(hidden)
            hidden += bias
            for tap in range(_TAPS):
                back = (_TAPS - 1 - tap) * dilation
                if (begin := max(first, back)) < last:
                    hidden[begin - first :] += active[begin - back : last - back, :lanes] @ taps[tap]
        hidden *= sigmoid(hidden)
        return hidden
