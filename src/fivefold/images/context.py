"""The context decoder, p(xᵢ | z, what is around i): small networks, one per kind of conditioning, that all elements share.

The VAE says what; the context decoder says exactly where. For an element it sees what the decoder makes of z there, and a
field of neighbours with their visibility, of one of three kinds:

- causal: the elements that come earlier in raster order, channels last, as in PixelCNN (van den Oord et al. 2016,
  arXiv:1601.06759);
- missing: the visible elements around a hidden one;
- noisy: all elements around, and the element itself, corrupted.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import Conditioning, ContextConfig
from fivefold.images.exact import waves
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import FREQUENCIES, MAPS, MEAN_FIELD, TOPS
from fivefold.model.context import (
    ContextDecoder,
    ParameterGroup,
    Surroundings,
    TrainingBatch,
    by_element,
    code_rows,
    column,
)
from fivefold.model.likelihoods import DiscretizedLogisticMixture, Gaussian, NumberLikelihood
from fivefold.model.vae import CodeFeatures

_SQUARED_ERROR = 50.0  # nats; where E[x] is asked for, it is learnt for its own sake too
_WITHOUT_Z = 0.25  # of the causal fields: z must pay for itself, so there must be code lengths without it


class ImageSurroundings(Surroundings):
    """A batch of images with borders, from which the fields of single elements, squares of `side`, are cut."""

    def __init__(
        self,
        x: Tensor,
        visible: Tensor,
        conditioning: Conditioning,
        z_features: CodeFeatures | None,
        side: int,
        uses_z: Tensor | None = None,
    ) -> None:
        super().__init__(x, visible, conditioning, z_features, uses_z)
        _, self.channels, self.height, self.width = x.shape
        self._side = side
        maps = torch.cat([visible.to(x.dtype) * part for part in _describe(x)], dim=1)
        self._maps = _bordered(maps, side // 2)
        self._mask = _mask(conditioning, side, self.channels, x)
        self._coarse = self._mean = None
        if z_features is not None:
            assert z_features.mean is not None
            switch = self.z_known.repeat_interleave(self.codes)[:, None, None, None]
            self._coarse = (z_features.coarse * switch).permute(0, 2, 3, 1).contiguous()
            self._mean = _bordered(z_features.mean * switch, MEAN_FIELD // 2)
        self._rows, self._columns = (torch.from_numpy(waves(size)).to(x) for size in (self.height, self.width))

    def place(self, elements: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and channel of elements by number."""
        pixel = elements // self.channels
        return pixel // self.width, pixel % self.width, elements % self.channels

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        row, column, channel = self.place(elements)
        border = self._side // 2
        place = items, row + border, column + border
        for number, part in enumerate(_describe(values)):
            self._maps[(*place, channel + number * self.channels)] = part

    def features(self, items: Tensor, elements: Tensor) -> Tensor:
        """What the network sees of elements `(m,)` of items `(m,)` whatever the code: `(m, features)`."""
        row, column, channel = self.place(elements)
        around = _cut(self._maps, (_rows_shown(self.conditioning, self._side), self._side), items, row, column)
        if self._mask is not None:
            around *= self._mask[channel] if self.channels > 1 else self._mask
        parts = [around, self.z_known[items, None], self._rows[row], self._columns[column]]
        if self.channels > 1:
            parts.append(F.one_hot(channel, self.channels).to(around.dtype))
        return torch.cat(parts, dim=1)

    def code_features(self, items: Tensor, elements: Tensor) -> Tensor | None:
        """What it sees of the codes: `(m, codes, features)`; None without."""
        if self._coarse is None or self._mean is None:
            return None
        codes = code_rows(items, self.codes).flatten()
        row, column, _ = (place.repeat_interleave(self.codes) for place in self.place(elements))
        height, width = self._coarse.shape[1:3]
        coarse = self._coarse[codes, row * height // self.height, column * width // self.width]
        mean = _cut(self._mean, (MEAN_FIELD, MEAN_FIELD), codes, row, column)
        return torch.cat((coarse, mean), dim=1).view(len(items), self.codes, -1)


class ImageContext(ContextDecoder):
    """Surroundings and numbers of elements → `Likelihood` of those elements, as tensors `(m, 1, codes, 1)`.

    Integers get a mixture of discretised logistics with masses at both ends, reals a normal density.
    """

    def __init__(self, schema: ImageSchema, config: ContextConfig, coarse_channels: int) -> None:
        super().__init__()
        self.side = config.field
        self._levels = schema.levels
        self._family = Gaussian if schema.levels is None else DiscretizedLogisticMixture
        sizes = (_count_features(kind, self.side, schema.channels, coarse_channels) for kind in Conditioning)
        self.layers = nn.ModuleList(_perceptron(n, config, self._family.parameters_per_element) for n in sizes)

    def surroundings(
        self,
        x: Tensor,
        visible: Tensor,
        conditioning: Conditioning,
        z_features: CodeFeatures | None,
        uses_z: Tensor | None = None,
    ) -> ImageSurroundings:
        return ImageSurroundings(x, visible, conditioning, z_features, self.side, uses_z)

    def forward(self, around: ImageSurroundings, items: Tensor, elements: Tensor) -> NumberLikelihood:
        first, *rest = self.layers[around.conditioning].children()
        assert isinstance(first, nn.Linear)
        features, of_codes = around.features(items, elements), around.code_features(items, elements)
        # what is seen is multiplied once for all codes
        hidden = F.linear(features, first.weight[:, : features.shape[1]], first.bias).unsqueeze(1)
        if of_codes is not None:
            hidden = hidden + F.linear(of_codes, first.weight[:, features.shape[1] :])
        for layer in rest:
            hidden = layer(hidden)
        return self._family(hidden.transpose(1, 2).unsqueeze(3), self._levels)

    def loss(self, batch: TrainingBatch) -> Tensor:
        """Mean loss over `positions` random elements per image, nats: a number; see `ContextDecoder`.

        It is minus the log probability; for missing and noisy fields, whose use is the expected value, plus 50 times the
        squared error of that. Both are least for the true distribution.

        The conditioning follows from what was done to the image: nothing: causal; elements hidden: missing, and the hidden
        ones are to be explained; else noisy. So each kind meets the z that it will meet in use.
        """
        z_features, seen, x, visible = batch.z_features, batch.seen, batch.x, batch.visible
        assert z_features.mean is not None
        losses = []
        for conditioning, rows in seen.by_conditioning():
            if len(rows) == 0:
                continue
            shown = seen.visible[rows]
            uses_z = None
            if conditioning is Conditioning.CAUSAL:
                uses_z = batch.uniform(len(rows)) >= _WITHOUT_Z
            features = CodeFeatures(z_features.coarse[rows], z_features.mean[rows])
            around = self.surroundings(seen.x[rows], shown, conditioning, features, uses_z)
            known = by_element(visible[rows])
            wanted = known & ~by_element(shown) if conditioning is Conditioning.MISSING else known
            weights = wanted + 1e-6 * known  # something, if nothing was hidden
            elements = torch.multinomial(weights, batch.positions, True, generator=batch.generator)
            items = torch.arange(len(rows), device=x.device).repeat_interleave(batch.positions)
            targets = column(by_element(x[rows]).gather(1, elements).flatten())
            likelihood = self(around, items, elements.flatten())
            loss = -likelihood.log_prob(targets)
            if conditioning is not Conditioning.CAUSAL:
                loss = loss + _SQUARED_ERROR * (targets - likelihood.mean).square()
            losses.append(loss)
        return torch.cat(losses).mean()

    def parameter_groups(self, peak: float) -> list[ParameterGroup]:
        """The matrices between inputs and outputs, the last layers' not among them, are hidden ones."""
        layers = [layer for network in self.layers for layer in list(network.children())[:-1]]
        hidden = {layer.weight: None for layer in layers if isinstance(layer, nn.Linear)}
        others = [weight for weight in self.parameters() if weight not in hidden]
        return [ParameterGroup(others, peak), ParameterGroup(list(hidden), peak, hidden=True)]


def _count_features(conditioning: Conditioning, side: int, channels: int, coarse_channels: int) -> int:
    """How many numbers `features` and `code_features` give per element."""
    around = _rows_shown(conditioning, side) * side * MAPS * channels
    of_code = coarse_channels + MEAN_FIELD**2 * channels
    waves = 2 * (1 + 2 * len(FREQUENCIES))
    return around + 1 + waves + (channels if channels > 1 else 0) + of_code


def _perceptron(inputs: int, config: ContextConfig, outputs: int) -> nn.Sequential:
    """Initialised after He et al. 2015, arXiv:1502.01852: the usual smaller weights learn slower here."""
    width, layers = config.context_width, list[nn.Module]()
    for size in (inputs, *(width,) * (config.context_depth - 1)):
        hidden = nn.Linear(size, width)
        if not hidden.weight.is_meta:  # of which PyTorch would import its compiler to draw normal numbers
            nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
        layers += [hidden, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def _describe(values: Tensor) -> list[Tensor]:
    """Features of visible elements in a field: value, visible, at the low end, and how far in the range's highest parts.

    An image's brightest values are few and its own; the value alone would hardly tell 253 from 254.
    """
    tops = [((values - 1) / share + 1).clamp(0, 1) for share in TOPS]
    return [values, torch.ones_like(values), (values <= 0).to(values.dtype), *tops]


def _bordered(maps: Tensor, border: int) -> Tensor:
    """`(n, c, h, w)` as `(n, h + 2 border, w + 2 border, c)`, zero outside."""
    return F.pad(maps, (border,) * 4).permute(0, 2, 3, 1).contiguous()


def _cut(bordered: Tensor, size: tuple[int, int], items: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Fields of `size`, rows and columns, with their first corners at places `(m,)`: `(m, rows * columns * c)`.

    The cells of a field's row lie side by side in memory, so whole runs are copied.
    """
    n, height, width, c = bordered.shape
    rows, columns = size
    runs = bordered.as_strided((n * height * width - columns + 1, columns * c), (c, 1))
    first = (items * height + row) * width + column
    starts = first[:, None] + width * torch.arange(rows, device=first.device)
    return runs.index_select(0, starts.flatten()).view(len(items), rows * columns * c)


def _rows_shown(conditioning: Conditioning, side: int) -> int:
    """A causal field ends with the row of the element."""
    return side // 2 + 1 if conditioning is Conditioning.CAUSAL else side


def _mask(conditioning: Conditioning, side: int, channels: int, like: Tensor) -> Tensor | None:
    """The mask of a field, for an element of each channel: `(channels, cells * maps)`, 0 or 1; None: all."""
    if conditioning is Conditioning.NOISY:
        return None
    middle = side * side // 2
    cells = _rows_shown(conditioning, side) * side
    shown = torch.ones((channels, cells, channels), dtype=like.dtype, device=like.device)
    for channel in range(channels):
        shown[channel, middle, channel : channels if conditioning is Conditioning.CAUSAL else channel + 1] = 0
    if conditioning is Conditioning.CAUSAL:
        shown[:, middle + 1 :] = 0
    return shown.repeat(1, 1, MAPS).flatten(1)
