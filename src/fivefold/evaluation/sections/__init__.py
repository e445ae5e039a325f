"""The sections of the report, in order; each module has one `make(material) -> Section | None`."""

from __future__ import annotations

from collections.abc import Callable

from fivefold.evaluation.material import Material
from fivefold.evaluation.section import Section
from fivefold.evaluation.sections import autoencoder, compress, denoise, detect, gan, generate, impute, training

SECTIONS: dict[str, Callable[[Material], Section | None]] = {
    "the model": training.make,
    "compress": compress.make,
    "generate": generate.make,
    "denoise": denoise.make,
    "detect": detect.make,
    "impute": impute.make,
    "autoencoder": autoencoder.make,
    "GAN": gan.make,
}
