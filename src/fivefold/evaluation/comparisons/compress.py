"""Compression: the ideal code length of the items beside the sizes of real files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fivefold.evaluation.comparison import OURS, Measure, contest
from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Section
from fivefold.evaluation.specialists.compressors import compressed_sizes
from fivefold.images.code_length import STEPS, code_length

_FEW = 500


def compare(material: Material) -> Section:
    """Bits per element: ours as the code length that an ideal coder would reach, theirs as bytes written."""
    model, elements = material.model, int(material.seen.sum())
    figures: dict[str, Any] = {}
    row: dict[str, float | None] = {}
    sentences = []
    if model.context is not None and model.schema.levels is not None:
        step = _best_step(material)
        lengths = {"without z": code_length(model, material.items, None)}
        lengths["with z"] = code_length(model, material.items, step, material.seed)
        bits = {name: length.total * len(material.items) / math.log(2) / elements for name, length in lengths.items()}
        z_bits = float(lengths["with z"].z.sum()) / math.log(2) / elements
        figures["ideal"] = {**bits, "z": z_bits, "z_step": step}
        row[OURS] = min(bits.values())
        sentences.append(
            f"{OURS}'s figure is an ideal code length: {bits['without z']:.4f} bits without z, {bits['with z']:.4f} with "
            f"it, of which {z_bits:.4f} for z on a grid of {step:g} posterior deviations. The others' are bytes written, "
            "all items in one stream (images: on one sheet), or each item by itself."
        )
    sizes = compressed_sizes(material.items.values) if material.seen.all() else {}
    figures["sizes"] = {name: {way: 8 * size / elements for way, size in ways.items()} for name, ways in sizes.items()}
    one, each = ({name: ways[way] for name, ways in figures["sizes"].items()} for way in ("one_stream", "per_image"))
    measure = Measure("bits per element", digits=4, higher_is_better=False)
    table, losses = contest(measure, {"one stream": row | one, "item by item": row | each})
    return Section("compress", "Compression", figures, losses + sentences, [table] if row or one else [])


def _best_step(material: Material) -> float:
    """Of the grid for z: the one with the shortest code on some of the training items, else on the items themselves."""
    source = material.items if material.train is None else material.train
    some = source.select(np.sort(material.rng("steps").permutation(len(source))[:_FEW]))
    return min(STEPS, key=lambda step: code_length(material.model, some, step, material.seed).total)
