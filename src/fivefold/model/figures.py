"""What a model is and how it did, in words and figures: for its card, the command line and notebooks."""

from __future__ import annotations

from typing import Any, Protocol

from fivefold.config import FitConfig
from fivefold.items import Schema
from fivefold.modality import modality_of
from fivefold.model.verdicts import Verdict

_FEWEST = 2  # items that a variance can be taken over


class Described(Protocol):
    """What is said of a model, stored or fitted."""

    @property
    def schema(self) -> Schema: ...

    @property
    def config(self) -> FitConfig: ...

    @property
    def record(self) -> dict[str, Any]: ...

    @property
    def parameters(self) -> int:
        """Number of trained weights."""
        ...


def describe_units(model: Described) -> str:
    """How much of the latent code is in use, in plain words."""
    figures = model.record["figures"].get("held_out") or model.record["figures"].get("test")
    if figures is None or figures["items"] < _FEWEST:
        return "How many latent units are active is unknown: too few items were held out."
    inactive, total = figures["inactive_units"], model.config.network.latent_dim
    if not inactive:
        return f"All {total} latent units are active: each carries information about the item."
    if len(inactive) == total:
        return (
            f"None of the {total} latent units is active: the posterior has collapsed, codes say nothing about the "
            "item. Train longer, or with a longer --kl-warmup."
        )
    active = total - len(inactive)
    return (
        f"{active} of {total} latent units are active; units {', '.join(map(str, inactive))} carry nothing and may be "
        f"left out: --latent-dim {active} would do."
    )


def figure_rows(model: Described) -> list[tuple[str, str]]:
    """What the model is and how it did, as label and text."""
    record, training = model.record, model.config.training
    rows = [
        ("preset", model.config.preset),
        ("items", model.schema.describe()),
        ("latent numbers", f"{model.config.network.latent_dim} for {model.schema.size} values"),
        ("weights", f"{model.parameters:,}"),
        ("likelihood", model.config.network.likelihood),
        ("trained on", f"{record['data']['source']}: {record['data']['items']:,} items, seed {training.seed}"),
        (
            "training",
            f"{len(record['history'])} epochs in {record['train_seconds']:.0f} s, best: {record['best_epoch'] + 1}",
        ),
    ]
    if model.config.context.field:
        best = record["history"][record["best_epoch"]]
        held_out = best.get("validation_context")
        measured = "" if held_out is None else f", loss {held_out:.4f} per held-out element"
        rows.append(
            ("context decoder", f"{modality_of(model.schema).settings.describe_context(model.config)}{measured}")
        )
    if relations := record.get("relations"):
        rows.append(("relations", "; ".join(relations)))
    for name, figures in record["figures"].items():
        text = (
            f"{figures['negative_elbo']:.2f} nats per item = reconstruction {figures['reconstruction']:.2f} + KL "
            f"{figures['kl']:.2f} ({figures['items']:,} items)"
        )
        rows.append((f"negative ELBO, {name.replace('_', '-')}", text))
    return rows + verdict_rows(model)


def verdict_rows(model: Described) -> list[tuple[str, str]]:
    """How each job did beside its simplest alternative when it was tried after the fit, as label and text."""
    verdicts = [Verdict.of(row) for row in model.record.get("verdicts", ())]
    return [(verdict.job, f"{verdict.grade}: {verdict}") for verdict in verdicts]
