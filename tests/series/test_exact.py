"""Without torch: the same distributions as the networks give."""

from __future__ import annotations

import numpy as np
import torch

from fivefold.config import Conditioning
from fivefold.items import Items
from fivefold.series.exact import ExactSteps, StepChain
from fivefold.training.fit import fit


def _scaled(schema, values):
    columns = schema.channels.columns
    return np.stack([np.arcsinh((values[..., at] - each.centre) / each.spread) for at, each in enumerate(columns)], -1)


def _told(model, windows):
    """Log weights, locations, log scales by torch, each `(n, k, t, c)`."""
    unit, seen = Items(windows[..., None], model.schema, "series").unit()
    around = model.context.surroundings(model.tensor(unit), model.tensor(seen), Conditioning.CAUSAL, None)
    with torch.inference_mode():
        told = model.context.explain(around)
    return told.log_weights, told.locations, told.scales.log()


def _chained(model, values, steps):
    """The same by a chain over `(n, steps, c)`, as arrays `(n, k, steps, c)`; the values' own scale."""
    weights = {name: weight.numpy() for name, weight in model.networks.state_dict().items()}
    chain = StepChain(ExactSteps(weights, model.schema, model.config), len(values))
    scaled, found = _scaled(model.schema, values), []
    for step in range(steps):
        chain.advance(len(values))
        for channel in range(values.shape[2]):
            found.append(chain.distribution(channel))
            chain.observe(channel, scaled[:, step, channel])
    parts = (np.stack([each[part] for each in found]) for part in range(3))
    return [part.reshape(steps, values.shape[2], *part.shape[1:]).transpose(2, 3, 0, 1) for part in parts]


def _two_channels(seed=0, n=24):
    rng = np.random.default_rng(seed)
    along = np.arange(40) / 5 + rng.uniform(0, 6, (n, 1))
    return np.stack((np.sin(along), np.cos(along)), axis=2) + 0.1 * rng.normal(size=(n, 40, 2))


def test_what_is_known_is_foreseen_as_it_is_told_step_by_step():
    windows = _two_channels()
    model = fit(windows, kind="series", epochs=1, shortest_epoch=4, longest_epoch=4, seed=0)
    values = np.concatenate((windows, windows[:, ::-1]), axis=1)
    values[np.random.default_rng(0).random(values.shape) < 0.2] = np.nan
    weights = {name: weight.numpy() for name, weight in model.networks.state_dict().items()}
    chain, parts, begin = StepChain(ExactSteps(weights, model.schema, model.config), len(values)), [], 0
    scaled = _scaled(model.schema, values).transpose(1, 0, 2)
    while begin < len(scaled):
        parts.append(chain.foresee(scaled[begin : begin + chain.left]))
        begin += len(parts[-1][0][0])
    told = _chained(model, values, len(scaled))
    for at, expected in enumerate(told):
        found = np.concatenate([np.stack([channel[at] for channel in part], axis=-1) for part in parts])
        np.testing.assert_allclose(found.transpose(1, 2, 0, 3), expected, rtol=1e-12, atol=1e-12)


def test_step_after_step_the_networks_say_the_same():
    windows = _two_channels()
    model = fit(windows, kind="series", epochs=1, seed=0)
    assert not model.schema.overlaps
    for mine, theirs in zip(_chained(model, windows, 40), _told(model, windows), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-4)


def test_long_series_are_seen_through_windows_that_know_their_first_half(series_model, waves):
    window = series_model.schema.steps
    series = np.repeat(waves.reshape(1, -1, 1), 2, axis=0)[:, : 2 * window]
    found = _chained(series_model, series, 2 * window)
    for begin in (0, window // 2, window):
        told = _told(series_model, series[:, begin : begin + window])
        fresh = slice(window // 2 if begin else 0, window)
        for mine, theirs in zip(found, told, strict=True):
            here = slice(begin + fresh.start, begin + window)
            np.testing.assert_allclose(mine[:, :, here], theirs[:, :, fresh], atol=2e-4)


def test_what_is_missing_is_passed_over(series_model, waves):
    series = waves.reshape(1, -1, 1)[:, : series_model.schema.steps].copy()
    series[0, 10:14] = np.nan
    log_weights, locations, log_scales = _chained(series_model, series, series_model.schema.steps)
    assert all(np.isfinite(each).all() for each in (log_weights, locations, log_scales))
    other = series.copy()
    other[0, 14] += 0.5
    np.testing.assert_array_equal(_chained(series_model, other, 15)[1], locations[:, :, :15])
