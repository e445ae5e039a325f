"""The sizes are of streams that give the items back."""

from __future__ import annotations

import bz2
import lzma

import imagecodecs
import numpy as np
import pytest

from fivefold.evaluation.rivals.compressors import CODECS, IMAGE_CODECS, image_sizes, tile

DECODERS = {
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": imagecodecs.zstd_decode,
    "PNG": imagecodecs.png_decode,
    "WebP": imagecodecs.webp_decode,
    "JPEG XL": imagecodecs.jpegxl_decode,
}


def noisy_images(dtype, channels):
    images = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (3, 9, 7, channels)).astype(dtype)
    if channels in (2, 4):
        images[:, ::2, :, -1] = 0  # what is fully transparent must be kept as well
    return images


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_streams_decode_to_the_items(dtype, channels):
    images = noisy_images(dtype, channels)
    sizes = image_sizes(images)
    web = {"WebP"} if dtype == np.uint8 and channels != 2 else set()
    assert set(sizes) == {"bz2", "xz", "zstd", "PNG", "JPEG XL"} | web
    for name, codec in (CODECS | IMAGE_CODECS).items():
        if name not in sizes:
            continue
        streams = [codec(image) for image in images]
        assert sizes[name]["per_image"] == sum(map(len, streams))
        whole = images if name in CODECS else tile(images)
        streams.append(codec(whole))
        assert sizes[name]["one_stream"] == len(streams[-1])
        for truth, stream in zip([*images, whole], streams, strict=True):
            decoded = DECODERS[name](stream)
            if name in CODECS:
                decoded = np.frombuffer(decoded, dtype)
            elif name == "WebP" and channels == 1:
                decoded = decoded[..., 0]
            np.testing.assert_array_equal(decoded.reshape(truth.shape), truth)


def test_digits_shrink_and_the_image_codecs_know_how(digits):
    sizes = image_sizes(digits[:25])
    raw = digits[:25].nbytes
    for size in sizes.values():
        assert 0 < size["one_stream"] < size["per_image"] < 0.5 * raw
    assert sizes["JPEG XL"]["per_image"] < sizes["PNG"]["per_image"]


def test_reals_are_for_the_general_codecs_only():
    values = np.random.default_rng(0).random((2, 4, 4, 1), np.float32)
    assert set(image_sizes(values)) == {"bz2", "xz", "zstd"}
    assert set(image_sizes(values > 0.5)) == {"bz2", "xz", "zstd"}


def test_webp_is_left_out_where_it_ends():
    assert "WebP" in image_sizes(np.zeros((1, 1, 16382, 1), np.uint8))
    assert "WebP" not in image_sizes(np.zeros((1, 1, 16383, 1), np.uint8))


@pytest.mark.parametrize(
    ("shape", "sheet"), [((1, 3, 5, 1), (3, 5)), ((9, 4, 4, 2), (12, 12)), ((7, 2, 8, 3), (14, 8))]
)
def test_a_sheet_holds_all_items(shape, sheet):
    images = np.arange(1, np.prod(shape) + 1, dtype=np.uint16).reshape(shape)
    tiled = tile(images)
    assert tiled.shape == (*sheet, shape[3])
    np.testing.assert_array_equal(np.sort(tiled[tiled > 0]), images.ravel())
    np.testing.assert_array_equal(tiled[: shape[1], : shape[2]], images[0])
