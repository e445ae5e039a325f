"""The context decoder, p(xᵢ | z, what is around i): small networks, one per kind of window, that all elements share.

The VAE says what; the context decoder says exactly where. For an element it sees what the decoder makes of z there, a
window of the neighbours with their visibility, and the kind of window:

- causal: the elements that come earlier in raster order, channels last, as in PixelCNN (van den Oord et al. 2016,
  arXiv:1601.06759);
- missing: the visible elements around a hidden one;
- noisy: all elements around, and the element itself, corrupted.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fivefold.config import ContextConfig
from fivefold.images.schema import ImageSchema
from fivefold.images.settings import FREQUENCIES, MAPS, MEAN_FIELD, TOPS
from fivefold.model.conditioning import Conditioning
from fivefold.model.likelihoods import DiscretizedLogisticMixture, Gaussian, Likelihood
from fivefold.model.vae import CodeFeatures


class ImageSurroundings:
    """A batch of items with borders, from which the windows of single elements are cut.

    Parameters
    ----------
    x, visible : `(n, c, h, w)` float in [0, 1] and bool, as the windows are to show them
    window : the kind of window
    guide : h(z) of each item's codes, as many for each item, one item's after the other's; or None to do without z
    guided : `(n,)` bool, which items' guide counts (default: all)
    side : of the window
    """

    def __init__(
        self,
        x: Tensor,
        visible: Tensor,
        window: Conditioning,
        guide: CodeFeatures | None,
        side: int,
        guided: Tensor | None = None,
    ) -> None:
        n, self.channels, self.height, self.width = x.shape
        self.window, self._side = window, side
        visible = visible.to(x.dtype)
        maps = torch.cat([visible * part for part in _describe(x)], dim=1)
        self._maps = _bordered(maps, side // 2)
        self._mask = _mask(window, side, self.channels, x)
        known = torch.zeros((n, 1), device=x.device) if guide is None else torch.ones((n, 1), device=x.device)
        if guided is not None:
            known = known * guided[:, None]
        self._known = known
        self._coarse = self._mean = None
        if guide is not None:
            assert guide.mean is not None
            self._codes = len(guide.mean) // n
            switch = known.repeat_interleave(self._codes, dim=0)[:, :, None, None]
            self._coarse = (guide.coarse * switch).permute(0, 2, 3, 1).contiguous()
            self._mean = _bordered(guide.mean * switch, MEAN_FIELD // 2)
        self._rows, self._columns = (_waves(size, x) for size in (self.height, self.width))

    def __len__(self) -> int:
        return len(self._known)

    @property
    def device(self) -> torch.device:
        """Where the items are."""
        return self._maps.device

    @property
    def size(self) -> int:
        """Elements of an item; they are numbered in raster order, channels last."""
        return self.height * self.width * self.channels

    def place(self, elements: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and channel of elements by number."""
        pixel = elements // self.channels
        return pixel // self.width, pixel % self.width, elements % self.channels

    def put(self, items: Tensor, elements: Tensor, values: Tensor) -> None:
        """Make elements visible as `values`; all three `(m,)`."""
        row, column, channel = self.place(elements)
        border = self._side // 2
        place = items, row + border, column + border
        for number, part in enumerate(_describe(values)):
            self._maps[(*place, channel + number * self.channels)] = part

    def seen(self, items: Tensor, elements: Tensor) -> Tensor:
        """What the network is told of elements `(m,)` of items `(m,)` whatever the code: `(m, features)`."""
        row, column, channel = self.place(elements)
        around = _cut(self._maps, (_rows_shown(self.window, self._side), self._side), items, row, column)
        if self._mask is not None:
            around *= self._mask[channel] if self.channels > 1 else self._mask
        parts = [around, self._known[items], self._rows[row], self._columns[column]]
        if self.channels > 1:
            parts.append(F.one_hot(channel, self.channels).to(around.dtype))
        return torch.cat(parts, dim=1)

    def told(self, items: Tensor, elements: Tensor) -> Tensor | None:
        """What it is told of the codes: `(m, codes, features)`; None without."""
        if self._coarse is None or self._mean is None:
            return None
        codes = code_rows(items, self._codes).flatten()
        row, column, _ = (each.repeat_interleave(self._codes) for each in self.place(elements))
        height, width = self._coarse.shape[1:3]
        coarse = self._coarse[codes, row * height // self.height, column * width // self.width]
        mean = _cut(self._mean, (MEAN_FIELD, MEAN_FIELD), codes, row, column)
        return torch.cat((coarse, mean), dim=1).view(len(items), self._codes, -1)

    @staticmethod
    def count_features(window: Conditioning, side: int, channels: int, coarse_channels: int) -> int:
        """How many numbers `seen` and `told` give per element."""
        around = _rows_shown(window, side) * side * MAPS * channels
        told = coarse_channels + MEAN_FIELD**2 * channels
        waves = 2 * (1 + 2 * len(FREQUENCIES))
        return around + 1 + waves + (channels if channels > 1 else 0) + told


class ImageContext(nn.Module):
    """ImageSurroundings and numbers of elements → `Likelihood` of those elements, as tensors `(m, 1, codes, 1)`.

    Integers get a mixture of discretised logistics with masses at both ends, reals a normal density.
    """

    def __init__(self, schema: ImageSchema, config: ContextConfig, coarse_channels: int) -> None:
        super().__init__()
        self.side = config.window
        self._levels = schema.levels
        self._family = Gaussian if schema.levels is None else DiscretizedLogisticMixture
        outputs = self._family.parameters_per_element
        self.layers = nn.ModuleList(
            [
                _perceptron(
                    ImageSurroundings.count_features(kind, config.window, schema.channels, coarse_channels),
                    config,
                    outputs,
                )
                for kind in Conditioning
            ]
        )

    def hidden_weights(self) -> list[Tensor]:
        """The matrices between inputs and outputs, the last layers' not among them."""
        linear = ([layer for layer in each.children() if isinstance(layer, nn.Linear)] for each in self.layers)
        return [layer.weight for layers in linear for layer in layers[:-1]]

    def describe(self) -> str:
        """What an element sees."""
        return f"windows of {self.side}×{self.side}"

    def surroundings(
        self, x: Tensor, visible: Tensor, window: Conditioning, guide: CodeFeatures | None, guided: Tensor | None = None
    ) -> ImageSurroundings:
        """`ImageSurroundings` for this network."""
        return ImageSurroundings(x, visible, window, guide, self.side, guided)

    def forward(self, surroundings: ImageSurroundings, items: Tensor, elements: Tensor) -> Likelihood:
        """The distribution of each of `elements` `(m,)` of `items` `(m,)`, given each of the item's codes."""
        first, *rest = self.layers[surroundings.window].children()
        assert isinstance(first, nn.Linear)
        seen, told = surroundings.seen(items, elements), surroundings.told(items, elements)
        # what is seen is multiplied once for all codes
        hidden = F.linear(seen, first.weight[:, : seen.shape[1]], first.bias).unsqueeze(1)
        if told is not None:
            hidden = hidden + F.linear(told, first.weight[:, seen.shape[1] :])
        for layer in rest:
            hidden = layer(hidden)
        return self._family(hidden.transpose(1, 2).unsqueeze(3), self._levels)


def _perceptron(inputs: int, config: ContextConfig, outputs: int) -> nn.Sequential:
    """Initialised after He et al. 2015, arXiv:1502.01852: the usual smaller weights learn slower here."""
    width, layers = config.context_width, list[nn.Module]()
    for size in (inputs, *(width,) * (config.context_depth - 1)):
        hidden = nn.Linear(size, width)
        nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
        layers += [hidden, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def code_rows(items: Tensor, codes: int) -> Tensor:
    """Where the codes of items `(m,)` are if each has as many, one item's after the other's: `(m, codes)`."""
    return items[:, None] * codes + torch.arange(codes, device=items.device)


def by_element(x: Tensor) -> Tensor:
    """`(n, c, h, w)` as `(n, h * w * c)`, in the order in which elements are numbered."""
    return x.permute(0, 2, 3, 1).flatten(1)


def as_items(values: Tensor, like: Tensor) -> Tensor:
    """The inverse of `by_element`, in the shape of `like`."""
    n, c, h, w = like.shape
    return values.view(n, h, w, c).permute(0, 3, 1, 2)


def column(values: Tensor) -> Tensor:
    """`(m,)` values in the shape of single elements' likelihoods, `(m, 1, 1, 1)`."""
    return values.view(-1, 1, 1, 1)


def _describe(values: Tensor) -> list[Tensor]:
    """What a window shows of visible elements: value, visible, at the low end, and how far in the range's highest parts.

    An image's brightest values are few and its own; the value alone would hardly tell 253 from 254.
    """
    tops = [((values - 1) / share + 1).clamp(0, 1) for share in TOPS]
    return [values, torch.ones_like(values), (values <= 0).to(values.dtype), *tops]


def _bordered(maps: Tensor, border: int) -> Tensor:
    """`(n, c, h, w)` as `(n, h + 2 border, w + 2 border, c)`, zero outside."""
    return F.pad(maps, (border,) * 4).permute(0, 2, 3, 1).contiguous()


def _cut(bordered: Tensor, size: tuple[int, int], items: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Windows of `size`, rows and columns, with their first corners at places `(m,)`: `(m, rows * columns * c)`.

    The cells of a window's row lie side by side in memory, so whole runs are copied.
    """
    n, height, width, c = bordered.shape
    rows, columns = size
    runs = bordered.as_strided((n * height * width - columns + 1, columns * c), (c, 1))
    first = (items * height + row) * width + column
    starts = first[:, None] + width * torch.arange(rows, device=first.device)
    return runs.index_select(0, starts.flatten()).view(len(items), rows * columns * c)


def _rows_shown(window: Conditioning, side: int) -> int:
    """A causal window ends with the row of the element."""
    return side // 2 + 1 if window is Conditioning.CAUSAL else side


def _mask(window: Conditioning, side: int, channels: int, like: Tensor) -> Tensor | None:
    """Which cells a window shows for an element of each channel: `(channels, cells * maps)`, 0 or 1; None: all."""
    if window is Conditioning.NOISY:
        return None
    middle = side * side // 2
    cells = _rows_shown(window, side) * side
    shown = torch.ones((channels, cells, channels), dtype=like.dtype, device=like.device)
    for channel in range(channels):
        shown[channel, middle, channel : channels if window is Conditioning.CAUSAL else channel + 1] = 0
    if window is Conditioning.CAUSAL:
        shown[:, middle + 1 :] = 0
    return shown.repeat(1, 1, MAPS).flatten(1)


def _waves(size: int, like: Tensor) -> Tensor:
    """Where an element is along one axis, smoothly, and whether its number is odd: `(size, 1 + 2 frequencies)`."""
    place = torch.arange(size, device=like.device)
    along = math.pi * place / max(size - 1, 1)
    parts = [(place % 2).to(like.dtype)]
    for frequency in FREQUENCIES:
        parts += [torch.sin(frequency * along), torch.cos(frequency * along)]
    return torch.stack(parts, dim=1).to(like.dtype)
