"""What lossless compression makes of series, in bytes."""

from __future__ import annotations

import io
import lzma

import numpy as np
import pyarrow as pa

from fivefold.evaluation.specialists.extra import require

_LEVEL = 19  # of zstd
_RATE = 44_100  # of sound, which makes no difference to its size


def series_sizes(values: np.ndarray) -> dict[str, int]:
    """Bytes of series `(total, channels)`, one after the other, by codec; each channel by itself.

    pcodec at its highest level; FLAC, at its highest too, for 16-bit integers only.
    """
    channels = [np.ascontiguousarray(channel) for channel in values.T]
    joined = b"".join(channel.tobytes() for channel in channels)
    sizes = {
        "pcodec": sum(map(_pcodec, channels)),
        f"zstd -{_LEVEL}": len(pa.Codec("zstd", _LEVEL).compress(joined, asbytes=True)),
        "xz -9e": len(lzma.compress(joined, preset=9 | lzma.PRESET_EXTREME)),
    }
    if values.dtype == np.int16:
        sizes["FLAC"] = sum(map(_flac, channels))
    return sizes


def _pcodec(channel: np.ndarray) -> int:
    pcodec = require("pcodec")
    standalone = require("pcodec.standalone")
    return len(standalone.simple_compress(channel, pcodec.ChunkConfig(compression_level=12)))


def _flac(channel: np.ndarray) -> int:
    file = io.BytesIO()
    require("soundfile").write(file, channel, _RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return len(file.getvalue())
