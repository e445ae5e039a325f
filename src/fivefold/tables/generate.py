"""Draw new rows of a table, some of whose cells may be given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fivefold.errors import UsageError
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import impute
from fivefold.model.conditioning import Conditioning
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed
from fivefold.tables.dataset import as_items

_REFERENCE = 1000  # rows by which columns are calibrated


def generate_rows(
    model: FittedModel,
    n: int,
    seed: int = 0,
    *,
    given: Mapping[str, float] | None = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """`n` new rows as encoded cells `(n, 1, d, 1)`, their numbers at the columns' steps and in the ranges met in the fit.

    Codes are drawn from the fitted prior and, with a context decoder, the cells column after column; then each column's
    numbers are moved to the quantiles of the training rows that they have among many rows so drawn. If some cells are
    `given`, encoded and by name, codes come from the posterior given those, and the others are drawn together as in `impute`.

    Raises `UsageError` if `n` is below 1, or there is no such column.
    """
    schema = model.table_schema
    if given:
        if n < 1:
            raise UsageError(f"-n must be at least 1, got {n}")
        if unknown := given.keys() - set(schema.names):
            raise UsageError(f"--given must name modelled columns, got {', '.join(sorted(unknown))}")
        row = np.array([given.get(name, np.nan) for name in schema.names])
        items = as_items(np.tile(row, (n, 1)), schema, "given")
        values = impute(model, items, n_draws=1, seed=seed).draws[0]
        return np.where(items.visible(), items.values, schema.snap(values))
    sharp = model.has_learnt(Conditioning.CAUSAL)
    chance = np.random.default_rng(derive_seed(seed, "calibrate")).random((n, schema.size))
    drawn, reference = (
        schema.snap(generate(model, count, number, prior="fitted", sharp=sharp, temperature=each))[:, 0, :, 0]
        for count, number, each in ((n, seed, temperature), (_REFERENCE, derive_seed(0, "reference"), 1.0))
    )
    return schema.snap(model.calibrations["marginals"].calibrated(schema, drawn, reference, chance)[:, None, :, None])
