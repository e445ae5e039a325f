"""How the weights of a fit move."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam, Muon, Optimizer

from fivefold.config import FitConfig
from fivefold.model.context import ContextDecoder

_SWEEPS = 3  # of Muon's iteration; its usual 5 take longer and teach no more in the same time


def make_optimizers(networks: nn.ModuleDict, config: FitConfig) -> list[Optimizer]:
    """Adam; and Muon (Jordan et al. 2024, as in Liu et al. 2025, arXiv:2502.16982) for the context decoder's hidden layers.

    Each group of weights says under `peak` what its highest rate is.
    """
    peaks = {"vae": config.training.learning_rate, "context": config.context.context_learning_rate}
    groups, muon = [], []
    for name, network in networks.named_children():
        hidden = network.hidden_weights() if isinstance(network, ContextDecoder) else []
        chosen = {id(weight) for weight in hidden}
        others = [weight for weight in network.parameters() if id(weight) not in chosen]
        groups.append({"params": others, "lr": peaks[name], "peak": peaks[name]})
        if hidden:
            group = {"params": hidden, "lr": peaks[name], "peak": peaks[name]}
            muon.append(Muon([group], weight_decay=0.0, adjust_lr_fn="match_rms_adamw", ns_steps=_SWEEPS))
    return [Adam(groups, fused=True), *muon]
