"""How large an image is at each depth of the networks. No torch here."""

from __future__ import annotations

from fivefold.config import NetworkConfig
from fivefold.images.schema import ImageSchema


def stages(schema: ImageSchema, config: NetworkConfig) -> tuple[list[tuple[int, int]], list[int]]:
    """Sizes from the image's down to the smallest, and the channels of each but the first."""
    sides = [(schema.height, schema.width)]
    widths: list[int] = []
    while max(sides[-1]) > config.smallest_side or not widths:
        height, width = sides[-1]
        sides.append(((height + 1) // 2, (width + 1) // 2))
        widths.append(min(config.first_channels * 2 ** len(widths), config.max_channels))
    return sides, widths


def output_padding(small: int, large: int) -> int:
    """What a transposed convolution of stride 2 must add to come from `small` to `large`: a side doubles to 2 · small − 1."""
    return large - (2 * small - 1)
