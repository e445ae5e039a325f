"""The context decoder of tables in float64 and NumPy, column by column; see `images/exact.py`. No torch here.

It does without z: given all columns before, a code would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fivefold.codec.mixtures import log_softmax, sigmoid
from fivefold.config import Conditioning, FitConfig
from fivefold.tables.schema import TableSchema
from fivefold.tables.settings import (
    COMPONENTS,
    FARTHEST_CELL,
    KNOTS,
    LOG_NOISE,
    LOG_SCALES,
    feature_places,
    table_config,
)

_CHUNK = 2048  # rows evaluated at once


class ExactRows:
    """The context decoder's weights, by their layers, and what does not depend on the rows.

    Parameters
    ----------
    weights : by name, as in the model's `model.safetensors`
    """

    def __init__(self, weights: Mapping[str, np.ndarray], schema: TableSchema, config: FitConfig) -> None:
        self.schema, self.members, self.depth = schema, table_config(config).members, config.context.context_depth
        self.weights = {
            name.removeprefix("context."): array.astype(np.float64)
            for name, array in weights.items()
            if name.startswith("context.")
        }
        self.numbers = [at for at, column in enumerate(schema.columns) if not column.classes]
        self.per_cell: int = self.weights["heads.linear.bias"].shape[2] // len(schema.columns)
        self._places, self.inputs = feature_places([column.classes for column in schema.columns])
        self.factors = len(self.weights["factors.weights"][0]) if "factors.weights" in self.weights else 0

    @property
    def parameters(self) -> int:
        """The count of numbers per cell, at most."""
        return self.members * 3 * COMPONENTS + 2 + self.per_cell

    def start(self) -> np.ndarray:
        """The first layer of a row of which nothing is known: `(members, 1, width)`."""
        return self.weights["first.bias"] + self.weights["first.weight"][:, [self.inputs + Conditioning.CAUSAL]]

    def of_factors(self) -> np.ndarray:
        """The first layer's weights of the factors, `(members, factors, width)`."""
        first = self.inputs + len(Conditioning)
        return self.weights["first.weight"][:, first : first + self.factors]

    def embed(self, column: int, scaled: np.ndarray, codes: np.ndarray, visible: np.ndarray) -> np.ndarray:
        """The share of a column's cells in the first layer, `(members, n, width)`; numbers `scaled`, classes as `codes`."""
        weight, places = self.weights["first.weight"], self._places[column]
        seen = visible[:, None].astype(np.float64)
        if self.schema.columns[column].classes:
            return seen * (weight[:, places.start + codes] + weight[:, [column]])
        knots = np.array(KNOTS)
        pieces = np.clip((scaled[:, None] - knots[:-1]) / np.diff(knots), 0, 1)
        shown = np.concatenate((scaled[:, None], pieces), axis=1)
        return seen * (shown @ weight[:, places] + weight[:, [column]])

    def head(self, hidden: np.ndarray, column: int) -> np.ndarray:
        """A column's outputs `(members, n, p)` from the first layer `(members, n, width)` before its activation."""
        hidden = hidden * sigmoid(hidden)
        for layer in range(self.depth - 1):
            hidden = hidden @ self.weights[f"later.{layer}.weight"] + self.weights[f"later.{layer}.bias"]
            hidden = hidden * sigmoid(hidden)
        outputs = slice(column * self.per_cell, (column + 1) * self.per_cell)
        weight, bias = (self.weights[f"heads.linear.{name}"][..., outputs] for name in ("weight", "bias"))
        return np.asarray(hidden @ weight + bias)


class RowChain:
    """The conditional distributions of n rows' cells, column by column, given the known cells of those before."""

    def __init__(self, rows: ExactRows, n: int) -> None:
        self._rows, self._n = rows, n
        self._before = np.repeat(rows.start(), n, axis=1)
        self._precision = np.tile(np.eye(rows.factors), (n, 1, 1))
        self._weighted = np.zeros((n, rows.factors))

    def distribution(self, column: int) -> tuple[np.ndarray, ...]:
        """The next column's parameters: of classes `(log_probabilities (n, classes),)`; of numbers log weights, locations on
        the column's scale, and log scales, `(n, members * components)` each.
        """
        parts = [self._parameters(column, slice(first, first + _CHUNK)) for first in range(0, self._n, _CHUNK)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _parameters(self, column: int, chunk: slice) -> tuple[np.ndarray, ...]:
        rows, hidden, shift = self._rows, self._before[:, chunk], 0.0
        if rows.factors:
            factors = np.linalg.solve(self._precision[chunk], self._weighted[chunk, :, None])[:, :, 0]
            hidden = hidden + factors @ rows.of_factors()
            if column in rows.numbers:
                number = rows.numbers.index(column)
                shift = (factors @ rows.weights["factors.weights"][number] + rows.weights["factors.mean"][number])[
                    :, None
                ]
        outputs = rows.head(hidden, column)
        k, share = COMPONENTS, np.log(rows.members)
        if classes := rows.schema.columns[column].classes:
            members = log_softmax(outputs[..., 3 * k : 3 * k + classes])
            return (np.logaddexp.reduce(members, axis=0) - share,)
        log_weights = log_softmax(outputs[..., :k]) - share
        parts = log_weights, outputs[..., k : 2 * k] + shift, np.clip(outputs[..., 2 * k : 3 * k], *LOG_SCALES)
        return tuple(np.concatenate(tuple(part), axis=1) for part in parts)

    def observe(self, column: int, cells: np.ndarray) -> None:
        """Condition on a column's encoded cells `(n,)`, NaN where they are missing; columns in turn."""
        rows, about = self._rows, self._rows.schema.columns[column]
        visible = ~np.isnan(cells)
        cells = np.where(visible, cells, about.low)
        codes, scaled = np.zeros(len(cells), np.int64), cells
        if about.classes:
            codes = np.clip(cells, 0, about.classes - 1).astype(np.int64)
        else:
            scaled = np.clip(np.arcsinh((cells - about.centre) / about.spread), -FARTHEST_CELL, FARTHEST_CELL)
        for first in range(0, self._n, _CHUNK):
            chunk = slice(first, first + _CHUNK)
            self._before[:, chunk] += rows.embed(column, scaled[chunk], codes[chunk], visible[chunk])
        if rows.factors and column in rows.numbers:
            number = rows.numbers.index(column)
            weights = rows.weights["factors.weights"][number]
            noise = np.clip(rows.weights["factors.log_noise"][number], *LOG_NOISE)
            precision = np.exp(-noise) * visible
            self._precision = self._precision + precision[:, None, None] * np.outer(weights, weights)
            residual = precision * (scaled - rows.weights["factors.mean"][number])
            self._weighted = self._weighted + residual[:, None] * weights
