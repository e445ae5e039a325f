"""The README.md inside a model folder, and what `fivefold info` prints."""

from __future__ import annotations

import json
from typing import Any, Protocol

from fivefold.config import FitConfig
from fivefold.items import Schema
from fivefold.modality import modality_of
from fivefold.model.verdicts import Verdict

_TAGS = ("fivefold", "variational-autoencoder", "anomaly-detection", "imputation", "denoising", "compression")
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


def render_metadata(model: Described, name: str) -> str:
    """What the Hub reads above a card: tags, data, and figures of the items held out; YAML, whose values are JSON."""
    source = {"name": model.record["data"]["source"], "type": model.schema.kind}
    results = [
        {
            "task": {"type": "density-estimation"},
            "dataset": source | {"split": part.replace("_", "-")},
            "metrics": [
                {"type": measure, "name": measure.replace("_", " "), "value": figures[measure]}
                for measure in ("negative_elbo", "reconstruction", "kl")
            ],
        }
        for part, figures in model.record["figures"].items()
    ]
    fields: dict[str, Any] = {"library_name": "fivefold", "tags": [*_TAGS, modality_of(model.schema).name]}
    if results:
        fields["model-index"] = [{"name": name.rpartition("/")[2], "results": results}]
    return "\n".join(("---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"))


def render_card(model: Described) -> str:
    """The model card, Markdown."""
    environment = model.record["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    usage = "\n".join(modality_of(model.schema).settings.USAGE)
    table = "\n".join(f"| {label} | {text} |" for label, text in figure_rows(model))
    return f"""# A Fivefold model

One variational autoencoder that compresses, generates, denoises, finds anomalies and fills in missing values.

| | |
|---|---|
{table}

{describe_units(model)}

Fitted on {environment["date"]} with {versions} (Python {environment["python"]}, {environment["cores"]} cores).

## Use

```sh
{usage}
```

`MODEL` is this folder. `config.json` holds the settings and the training history, `model.safetensors` the weights and
what was learnt from the held-out items; nothing in here is pickled. The model is meant for data like that it was trained on; the
figures are of items that it was not trained on.
"""
