"""Archives of the test items in bytes: how small beside other coders, and how fast."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from program import run_seconds

from fivefold.archive.read import decompress
from fivefold.archive.write import compress
from fivefold.config import Conditioning
from fivefold.evaluation.rivals.compressors import image_sizes
from fivefold.items import Items
from fivefold.model.conditional import Conditional
from fivefold.model.fitted import FittedModel, standard_normal
from fivefold.storage import save
from fivefold.system import environment


def measure(model: FittedModel, test: Items, train: Items) -> dict[str, Any]:
    """One process per core. Fails if an item does not come back bit for bit."""
    result = measure_archive(model, test)
    packed, bits = result["bytes"], 8 / test.values.size
    sizes = image_sizes(test.values)
    model_bytes = len(compress(model, test.select(slice(0, 1)), embed_model=True)) - len(
        compress(model, test.select(slice(0, 1)))
    )
    saved = (sizes["xz"]["one_stream"] - packed) / len(test)
    return {
        **result,
        "others": {name: {way: size * bits for way, size in ways.items()} for name, ways in sizes.items()},
        "bits_back": _bits_back(model, test),
        "lossy_bytes_per_item": len(compress(model, test, lossy=True)) / len(test),
        "model_bytes": model_bytes,
        "items_from_which_the_model_pays": math.ceil(model_bytes / saved) if saved > 0 else None,
        "noise_over_raw": _noise_over_raw(model, test),
    }


def _noise_over_raw(model: FittedModel, items: Items) -> float:
    """By what share an archive of noise is longer than the noise."""
    noise = np.random.default_rng(0).integers(0, 256, items.values.shape, np.uint8)[:1024]
    packed = compress(model, noise, verify=False)
    if not np.array_equal(decompress(packed, model), noise):
        raise AssertionError("noise did not come back")
    return len(packed) / noise.nbytes - 1


def measure_archive(model: FittedModel, test: Items) -> dict[str, Any]:
    """Its size, and what the commands take that write it, write it with verifying, and read it, their start included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(model, folder / "model")
        np.save(folder / "items.npy", test.values)
        pack = ("compress", "model", "items.npy", "-o", "items.ff", "--force")
        seconds = {
            "compress": run_seconds(folder, *pack, "--no-verify"),
            "decompress": run_seconds(folder, "decompress", "items.ff", "--model", "model", "-o", "back.npy"),
            "verified": run_seconds(folder, *pack),
        }
        packed = (folder / "items.ff").stat().st_size
        if not np.array_equal(np.load(folder / "back.npy"), test.values):
            raise AssertionError("the items did not come back")
    return {
        "items": len(test),
        "bytes": packed,
        "bits_per_element": 8 * packed / test.values.size,
        "seconds": seconds,
        "workers": os.cpu_count() or 1,
        "environment": environment(),
    }


@torch.inference_mode()
def _bits_back(model: FittedModel, items: Items) -> float:
    """Bits per element that an ideal coder would need with bits-back coding of z (Townsend et al. 2019, arXiv:1901.04866)."""
    rng, nats = np.random.default_rng(0), 0.0
    assert model.prior is not None
    for _, x, visible in model.batches(items):
        posterior = model.vae.posterior(x, visible)
        noise = standard_normal(rng, (len(x), model.latent_dim), x.device)
        z = posterior.at(noise)
        back = -(0.5 * noise.double().square() + posterior.std.double().log() + 0.5 * math.log(2 * math.pi)).sum()
        elements = Conditional(model, Conditioning.CAUSAL, x, visible, z).log_prob(x).double().sum()
        nats += float(back) - float(elements) - float(model.prior.log_prob(z.cpu().numpy()).sum())
    return nats / math.log(2) / items.values.size
