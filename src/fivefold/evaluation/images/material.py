"""What the comparisons and sections of images work on; what several of them need is made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from fivefold.config import Conditioning, ContextConfig, PriorName
from fivefold.evaluation import Material
from fivefold.evaluation.metrics import NEIGHBOURS, ManifoldOverlap, frechet_distance, manifold_overlap
from fivefold.evaluation.rivals.networks import BatchDamage, Classifier, FittedUNet, fit_classifier, fit_unet
from fivefold.images.dataset import make_items
from fivefold.images.schema import ImageSchema
from fivefold.items import Items
from fivefold.jobs.codes import decode, encode
from fivefold.jobs.denoise import denoise
from fivefold.jobs.detect import Detection, detect
from fivefold.jobs.generate import generate
from fivefold.jobs.impute import Imputed, impute
from fivefold.modality import Dataset
from fivefold.model.fitted import FittedModel
from fivefold.seeds import derive_seed

_MOST_ITEMS = 10_000
_FEW_ITEMS = 2_000  # for a report that is to be quick
_MOST_ELEMENTS = 1 << 25
Likeness = tuple[float, ManifoldOverlap]
Damage = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Effort:
    """How long the networks beside the model are trained, in epochs."""

    plane: int = 2
    autoencoder: int = 3
    gan: int = 2
    classifier: int = 2
    sizes: int = 2

    @classmethod
    def like(cls, model: FittedModel) -> Effort:
        """As long as the model itself."""
        epochs = len(model.record["history"])
        return cls(plane=epochs, autoencoder=epochs, gan=epochs)


@dataclass
class ImageMaterial(Material[Items]):
    """At most 10,000 test images."""

    def __post_init__(self) -> None:
        self.data, self.train = _items(self.data), None if self.train is None else _items(self.train)
        self.effort = Effort.like(self.model) if self.thorough else Effort()
        most = min(_MOST_ITEMS, max(1, _MOST_ELEMENTS // self.schema.size))
        self.data = self.sample(self.data, most, "items")

    @property
    def schema(self) -> ImageSchema:
        """Of the images."""
        return cast(ImageSchema, self.model.schema)

    @property
    def items(self) -> Items:
        """The test images."""
        return self.data

    @cached_property
    def truth(self) -> np.ndarray:
        """The items in [0, 1]: `(n, h, w, c)` float32, 0 where hidden."""
        return self.items.unit()[0]

    @cached_property
    def seen(self) -> np.ndarray:
        """Which elements of the items are visible, like `truth`."""
        return self.items.visible()

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the visible training values in [0, 1] at each place, or of the items' own, `(h, w, c)`."""
        items = self.items if self.train is None else self.train
        total, square, count = np.zeros((3, *cast(ImageSchema, items.schema).shape))
        for rows in items.batches(self.model.batch_size):
            unit, seen = items.unit(rows)
            total += unit.sum(axis=0, dtype=np.float64)
            square += np.square(unit, dtype=np.float64).sum(axis=0)
            count += seen.sum(axis=0)
        mean = total / np.maximum(count, 1)
        return mean, square / np.maximum(count, 1) - np.square(mean)

    @cached_property
    def shown(self) -> np.ndarray:
        """Indices of the items in pictures: the classes in turn, where there are labels."""
        labels, rng = self.items.labels, self.rng("shown")
        order = rng.permutation(len(self.items))
        if labels is None:
            return order[:10]
        turn = np.empty(len(order), np.int64)
        for label in np.unique(labels):
            places = np.flatnonzero(labels[order] == label)
            turn[places] = np.arange(len(places))
        return order[np.lexsort((labels[order], turn))][:10]

    @cached_property
    def classifier(self) -> Classifier | None:
        """Trained on the labels of the training items, if they have at least two classes."""
        train = self.train
        if train is None or train.labels is None or len(np.unique(train.labels)) < 2:
            return None
        return fit_classifier(train, like=self.model, epochs=self.effort.classifier, seed=self.seed)

    @cached_property
    def classifier_accuracy(self) -> float | None:
        """Share of the test items that the classifier gets right."""
        if self.classifier is None or self.items.labels is None:
            return None
        return float((self.classifier.predict(self.items) == self.items.labels).mean())

    @cached_property
    def _real_features(self) -> np.ndarray:
        assert self.classifier is not None
        return self.classifier.features(self.items)

    @cached_property
    def fid_floor(self) -> float | None:
        """The distance between as many training items and the test items: what perfect generation would get."""
        if self.classifier is None or self.train is None or len(self.items) <= NEIGHBOURS:
            return None
        sample = self.sample(self.train, len(self.items), "floor")
        return frechet_distance(self.classifier.features(sample), self._real_features)

    def unit(self, values: np.ndarray) -> np.ndarray:
        """Values in the data's range as floats in [0, 1]."""
        return self.model.schema.to_unit(values)

    def generate(self, prior: PriorName = "standard", sharp: bool = False) -> np.ndarray:
        """As many new images as there are test items: `(n, h, w, c)`."""
        return np.asarray(generate(self.model, len(self.items), self.seed, prior=prior, sharp=sharp))

    def denoise(self, noisy: Items) -> np.ndarray:
        """Images without their noise, in [0, 1]."""
        return self.unit(denoise(self.model, noisy).data)

    def impute(self, holey: Items, **settings: Any) -> Imputed:
        """What `impute` makes of images with holes."""
        return impute(self.model, holey, seed=self.seed, **settings)

    def fit_unet(self, damage: BatchDamage, minutes: float) -> FittedUNet:
        """A U-Net trained on the training items and what `damage` makes of them."""
        assert self.train is not None
        return fit_unet(self.train, like=self.model, damage=damage, minutes=minutes, seed=self.seed)

    def detect(self, items: Items) -> Detection:
        """What `detect` makes of images."""
        return detect(self.model, items, false_alarm_rate=0.5)

    def reconstruct(self, items: Items | None = None, model: FittedModel | None = None) -> np.ndarray:
        """Images (by default the test items) back from their codes, in [0, 1]; by default by the model under report."""
        model = self.model if model is None else model
        return self.unit(decode(model, encode(model, self.items if items is None else items)[0]))

    @cached_property
    def generated(self) -> np.ndarray:
        """New images from the standard normal prior, decoded."""
        return self.generate()

    @cached_property
    def best_generated(self) -> np.ndarray:
        """New images from the fitted prior, drawn sharply, where the model has the parts for it."""
        return self.generate(
            "standard" if self.model.prior is None else "fitted", self.model.has_learnt(Conditioning.CAUSAL)
        )

    @cached_property
    def detection(self) -> Detection:
        """What `detect` makes of the test items."""
        return self.detect(self.items)

    @cached_property
    def generated_likeness(self) -> Likeness | None:
        """`likeness(generated)`."""
        return self.likeness(self.generated)

    def fewer(self) -> ImageMaterial:
        """The same with at most 2,000 items."""
        return dataclasses.replace(self, data=self.sample(self.items, _FEW_ITEMS, "few"))

    def quick(self) -> ImageMaterial:
        """`fewer`, for what takes long, unless this is to be thorough."""
        return self if self.thorough or self.against else self.fewer()

    def likeness(self, generated: np.ndarray) -> Likeness | None:
        """FID and overlap of generated items `(n, h, w, c)` with the test items; None without classifier or enough."""
        if self.classifier is None or len(self.items) <= NEIGHBOURS:
            return None
        features = self.classifier.features(make_items(generated, self.schema, "generated"))
        return frechet_distance(features, self._real_features), manifold_overlap(self._real_features, features)

    def classes_covered(self, generated: np.ndarray) -> tuple[int, int]:
        """How many classes have at least a tenth of their fair share among generated items, of how many."""
        assert self.classifier is not None
        predicted = self.classifier.predict(make_items(generated, self.schema, "generated"))
        shares = np.array([(predicted == label).mean() for label in self.classifier.classes])
        return int((shares >= 0.1 / len(shares)).sum()), len(shares)

    def fit_like(
        self, latent_dim: int | None = None, epochs: int | None = None, seed: int | None = None
    ) -> FittedModel:
        """Another VAE of the training items with the model's settings, but for what is given; no context decoder."""
        from fivefold.training.fit import train_networks

        assert self.train is not None
        config, epochs = self.model.config, epochs or len(self.model.record["history"])
        network = dataclasses.replace(config.network, latent_dim=latent_dim or config.network.latent_dim)
        seed = config.training.seed if seed is None else seed
        training = dataclasses.replace(config.training, max_minutes=None, epochs=epochs, seed=seed)
        like = dataclasses.replace(config, network=network, training=training, context=ContextConfig(field=0))
        return train_networks(self.train, like)

    def noisy(self, damage: Damage, strength: float, name: str) -> Items:
        """The items with noise, in their own dtype."""
        values = np.array(self.items.values)
        for rows, x, strengths, generator in self._damaging(strength, name):
            values[rows] = self.model.values(damage(x, strengths, generator), values.dtype)
        return dataclasses.replace(self.items, values=values, hidden=~self.seen)

    def holey(self, hide: Damage, strength: float, name: str) -> Items:
        """The items with elements hidden."""
        hidden = np.empty(self.items.values.shape, bool)
        for rows, x, strengths, generator in self._damaging(strength, name):
            hidden[rows] = ~hide(x, strengths, generator).cpu().numpy().transpose(0, 2, 3, 1)
        return dataclasses.replace(self.items, hidden=hidden | ~self.seen)

    def _damaging(self, strength: float, name: str) -> Iterator[tuple[slice, Tensor, Tensor, torch.Generator]]:
        device = self.model.device
        generator = torch.Generator(device).manual_seed(derive_seed(self.seed, f"{name} {strength}"))
        for rows, x, _ in self.model.batches(self.items):
            yield rows, x, torch.full((len(x),), strength, device=device), generator


def _items(data: Items | Dataset) -> Items:
    return data if isinstance(data, Items) else data.all_items()
