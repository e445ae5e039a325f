"""How the weights of a fit move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam, Muon, Optimizer

from fivefold.config import FitConfig
from fivefold.images.context import ImageContext
from fivefold.tables.factors import Factors

_FACTORS_FASTER = 5.0  # the linear model beneath is to be there first
_SWEEPS = 3  # of Muon's iteration; its usual 5 take longer and teach no more in the same time


def make_optimizers(networks: nn.ModuleDict, config: FitConfig) -> list[Optimizer]:
    """Adam; and Muon (Jordan et al. 2024, as in Liu et al. 2025, arXiv:2502.16982) for the context decoder's hidden layers.

    Each group of weights says under `peak` what its highest rate is.
    """
    peaks = {"vae": config.training.learning_rate, "context": config.context.context_learning_rate}
    groups, muon = [], []
    for name, network in networks.named_children():
        hidden = network.hidden_weights() if isinstance(network, ImageContext) else []
        chosen = {id(weight) for weight in hidden}
        factors = [w for part in network.modules() if isinstance(part, Factors) for w in part.parameters()]
        chosen |= {id(weight) for weight in factors}
        others = [weight for weight in network.parameters() if id(weight) not in chosen]
        groups.append(_group(others, peaks[name]))
        if factors:
            groups.append(_group(factors, _FACTORS_FASTER * peaks[name]))
        if hidden:
            muon.append(
                Muon([_group(hidden, peaks[name])], weight_decay=0.0, adjust_lr_fn="match_rms_adamw", ns_steps=_SWEEPS)
            )
    return [Adam(groups, fused=True), *muon]


def _group(weights: Sequence[Tensor], peak: float) -> dict[str, Any]:
    return {"params": list(weights), "lr": peak, "peak": peak}
