"""The README.md inside a model folder, and what the Hub reads above it."""

from __future__ import annotations

import json
from typing import Any

from fivefold.modality import modality_of
from fivefold.model.figures import Described, describe_units, figure_rows

_TAGS = ("fivefold", "variational-autoencoder", "anomaly-detection", "imputation", "denoising", "compression")


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
