"""Image files of all kinds: pixels as their formats say, or one line that refuses."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from fivefold.errors import DataError, UsageError
from fivefold.images.dataset import open as open_images
from fivefold.images.files import Output, list_images
from fivefold.images.formats import Reading, encode_png, read_picture, write_tiff


def read_image(path, **reading):
    """The only picture of a file, `(h, w, c)`."""
    (pixels,) = read_picture(path, Reading(**reading)).pixels
    return pixels


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.situation("PNG of 8 or 16 bit, grey or colour, with or without alpha", "read right")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(5, 7), (1, 1)])
def test_png_round_trip(tmp_path, dtype, channels, size):
    pixels = noise((*size, channels), dtype)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    read = read_image(tmp_path / "a.png")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


def test_encodes_views(tmp_path):
    pixels = noise((6, 8, 3), np.uint16)[::2, ::-2]
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def palette_image():
    image = Image.new("P", (7, 5))
    image.putdata((noise(35) % 3).tolist())
    image.putpalette([255, 0, 0, 0, 200, 0, 9, 8, 7])
    return image


@pytest.mark.situation("pictures with a palette, {ending}", "read right")
@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_palette_becomes_colour(tmp_path, ending):
    image = palette_image()
    image.save(tmp_path / f"a.{ending}")
    colours = np.array([[255, 0, 0], [0, 200, 0], [9, 8, 7]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{ending}"), colours[np.asarray(image)])


@pytest.mark.situation("a palette with a transparent colour", "read right")
def test_palette_with_a_transparent_colour_gets_alpha(tmp_path):
    image = palette_image()
    image.save(tmp_path / "a.png", transparency=1)
    read = read_image(tmp_path / "a.png")
    assert read.shape == (5, 7, 4)
    np.testing.assert_array_equal(read[..., 3], np.where(np.asarray(image) == 1, 0, 255))


@pytest.mark.situation("grey PNG with a transparent level", "read right")
def test_grey_with_a_transparent_level_gets_alpha(tmp_path):
    pixels = noise((5, 7)) % 4
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=2)
    read = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(read[..., 0], pixels)
    np.testing.assert_array_equal(read[..., 1], np.where(pixels == 2, 0, 255))


@pytest.mark.situation("one bit per pixel, {ending}", "read right")
@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_one_bit_is_black_and_white(tmp_path, ending):
    bits = noise((5, 7)) > 99
    Image.fromarray(bits).save(tmp_path / f"a.{ending}")
    read = read_image(tmp_path / f"a.{ending}")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read[..., 0], np.where(bits, 255, 0))


@pytest.mark.situation("TIFF of {dtype}", "read right")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize(("order", "compression"), [("<", None), (">", None), ("<", "zlib")])
def test_tiff_keeps_its_type(tmp_path, dtype, shape, order, compression):
    pixels = (noise(shape, np.uint16) / 3 - 5000 if dtype in ("int16", "float32") else noise(shape, dtype)).astype(
        dtype
    )
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, byteorder=order, compression=compression)
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, pixels.reshape(5, 7, -1))


@pytest.mark.situation("TIFF in which zero is white", "read right")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_in_which_zero_is_white_is_inverted(tmp_path, dtype):
    pixels = noise((5, 7), dtype)
    tifffile.imwrite(tmp_path / "a.tiff", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff")[..., 0], np.iinfo(dtype).max - pixels)


def smooth(channels):
    ramp = np.add.outer(np.arange(16) * 4, np.arange(24) * 4).astype(np.uint8)
    return ramp if channels == 1 else np.stack([ramp, 200 - ramp, ramp // 2][:channels], axis=2)


@pytest.mark.parametrize(
    ("name", "options", "channels", "tolerance"),
    [
        ("a.bmp", {}, 1, 0),
        ("a.BMP", {}, 3, 0),
        ("a.webp", {"lossless": True}, 3, 0),
        ("a.webp", {"quality": 95}, 3, 12),
        ("a.jpg", {"quality": 95}, 1, 6),
        ("a.jpeg", {"quality": 95, "subsampling": 0}, 3, 6),
    ],
)
def test_other_formats(tmp_path, name, options, channels, tolerance):
    Image.fromarray(smooth(channels)).save(tmp_path / name, **options)
    read = read_image(tmp_path / name)
    assert read.shape == (16, 24, channels)
    assert np.abs(read.astype(int) - smooth(channels).reshape(read.shape)).max() <= tolerance


@pytest.mark.situation("WebP with alpha", "read right")
def test_webp_keeps_alpha(tmp_path):
    pixels = noise((5, 7, 4)) | np.array([0, 0, 0, 1], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, exact=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.webp"), pixels)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (7, 5), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    read = read_image(tmp_path / "a.jpg")
    assert read.shape == (5, 7, 3)
    assert np.abs(read.astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.situation("photographs taken with the camera turned (EXIF)", "read right")
@pytest.mark.parametrize(
    ("dtype", "channels"),
    [(np.uint8, 1), (np.uint8, 4), (np.uint16, 2), (np.uint16, 3), (np.int16, 1), (np.float32, 1)],
)
def test_resize(tmp_path, dtype, channels):
    pixels = np.full((8, 6, channels), -7 if np.dtype(dtype).kind in "if" else 99, dtype)
    if np.dtype(dtype).kind in "if":
        tifffile.imwrite(tmp_path / "a.tif", pixels[..., 0], photometric="minisblack")
        path = tmp_path / "a.tif"
    else:
        path = tmp_path / "a.png"
        path.write_bytes(encode_png(pixels))
    for size in ((3, 5), (8, 6), (16, 2)):
        read = read_image(path, resize=size)
        assert read.dtype == dtype
        assert read.shape == (*size, channels)
        np.testing.assert_allclose(read, pixels[0, 0, 0], rtol=1e-5)


def test_resize_does_not_wrap_around(tmp_path):
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[:, 4:] = 255
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    row = read_image(tmp_path / "a.png", resize=(8, 40))[0, :, 0].astype(int)
    assert (row[:14] <= 20).all()
    assert (row[-14:] >= 235).all()


PNG = encode_png(noise((20, 20, 3)))
DEEP_PNG = encode_png(noise((20, 20, 3), np.uint16))


@pytest.mark.situation("an image file cut short or of other content", "refused in one line")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif"])
@pytest.mark.parametrize("content", [b"", b"this is text", PNG[: len(PNG) // 2], PNG[:20], DEEP_PNG[: len(PNG) // 2]])
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: can't be read as an image"):
        read_image(tmp_path / name)


@pytest.mark.situation("a TIFF cut short", "refused in one line")
def test_truncated_tiff_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((50, 50)))
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-1000])
    with pytest.raises(DataError, match="can't be read as an image"):
        read_image(tmp_path / "a.tif")


def test_tiff_of_no_series_is_refused(tmp_path, monkeypatch):
    """As some are that are damaged."""
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 5)))
    monkeypatch.setattr(tifffile.TiffFile, "series", [])
    with pytest.raises(DataError, match=r"a\.tif: holds no picture"):
        read_image(tmp_path / "a.tif")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: no such file"):
        read_image(tmp_path / "a.png")


@pytest.mark.situation("a folder with notes and hidden files beside the images", "read right")
def test_lists_images_sorted_without_hidden_and_other_files(tmp_path):
    wanted = ["B.PNG", "a.jpg", "sub/c.tif", "sub/deep/d.webp", "x.jpeg"]
    for name in [*wanted, "notes.txt", "noending", ".hidden.png", ".cache/e.png", "sub/._c.tif"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    images, others = list_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in images] == wanted
    assert others == {".txt": 1, "without an ending": 1}
    assert list_images(tmp_path / "folder.png") == ([], {})
    assert len(list_images(tmp_path / ".cache")[0]) == 1


def with_orientation(path: Path, pixels: np.ndarray, orientation: int) -> None:
    """A picture that is to be turned; PNGs of 16 bits get their EXIF by hand."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(0x0112, "H", 1, orientation, True)])
        return
    image = Image.new("RGB", (1, 1))
    image.getexif()[0x0112] = orientation
    if pixels.dtype == np.uint8:
        Image.fromarray(pixels).save(path, exif=image.getexif())
        return
    exif = image.getexif().tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + exif
    encoded = imagecodecs.png_encode(pixels)
    path.write_bytes(
        encoded[:33] + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + encoded[33:]
    )


@pytest.mark.situation("photographs and scans with an orientation tag: PNG, TIFF, of 8 and 16 bits", "read upright")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "dtype"), [("a.png", np.uint8), ("a.png", np.uint16), ("a.tif", np.uint8), ("a.tif", np.uint16)]
)
def test_orientation_is_applied(tmp_path, orientation, name, dtype):
    pixels = noise((5, 7, 3), dtype)
    with_orientation(tmp_path / name, pixels, orientation)
    marked = Image.fromarray((pixels >> (8 if dtype == np.uint16 else 0)).astype(np.uint8))
    marked.getexif()[0x0112] = orientation
    upright = read_image(tmp_path / name)
    np.testing.assert_array_equal(
        upright >> (8 if dtype == np.uint16 else 0), np.asarray(ImageOps.exif_transpose(marked))
    )


@pytest.mark.situation("pictures in inks (CMYK), LAB or YCbCr", "read as RGB, and said")
@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_other_colour_spaces_become_rgb(tmp_path, mode):
    rgb = Image.fromarray(smooth(3))
    if mode == "LAB":
        lab = ImageCms.profileToProfile(
            rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
        )
        lab.save(tmp_path / "a.tif")
    else:
        rgb.convert(mode).save(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.shape == (1, 16, 24, 3)
    assert not picture.alpha
    assert np.abs(picture.pixels[0].astype(int) - smooth(3)).mean() <= 3
    assert picture.notes == (f"{mode}, converted to RGB",)


@pytest.mark.situation("TIFFs in planes (planar configuration)", "read as one picture in colour")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_planes_become_channels(tmp_path, dtype):
    pixels = noise((5, 7, 3)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


@pytest.mark.situation("transparency in TIFF, PNG and WebP", "alpha alike in all")
@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.webp"])
def test_alpha_is_alpha_in_all_formats(tmp_path, name):
    pixels = noise((5, 7, 4)) | np.array([0, 0, 0, 1], np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    picture = read_picture(tmp_path / name)
    assert picture.alpha
    np.testing.assert_array_equal(picture.pixels[0], pixels)


def test_colours_multiplied_by_alpha_are_divided_by_it(tmp_path):
    colours, alpha = noise((5, 7, 3)), noise((5, 7, 1)) | 64
    multiplied = np.concatenate((np.rint(colours * (alpha / 255)).astype(np.uint8), alpha), axis=2)
    tifffile.imwrite(tmp_path / "a.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha
    assert np.abs(picture.pixels[0, ..., :3].astype(int) - colours).max() <= 2


@pytest.mark.situation(
    "a stack of pages in one TIFF, its axes named or not", "asked about: items, channels, or the first"
)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("imagej", [True, False])
def test_pages_are_asked_about(tmp_path, shape, imagej):
    pixels = noise(shape, np.uint16)
    how = {"imagej": True, "metadata": {"axes": "TZYX"[-len(shape) :]}} if imagej else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **how)
    n = int(np.prod(shape[:-2]))
    with pytest.raises(DataError, match=rf"a\.tif: holds {n} pictures of 5×7.*`pages`: items, channels"):
        read_picture(tmp_path / "a.tif")
    items = read_picture(tmp_path / "a.tif", Reading(pages="items")).pixels
    np.testing.assert_array_equal(items, pixels.reshape(n, 5, 7, 1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", pages="first"), items[0])
    if n <= 4:
        channels = read_image(tmp_path / "a.tif", pages="channels")
        np.testing.assert_array_equal(np.moveaxis(channels, 2, 0), items[..., 0])
    else:
        with pytest.raises(DataError, match="must have 1 to 4 channels, got 6"):
            read_picture(tmp_path / "a.tif", Reading(pages="channels"))


@pytest.mark.situation("OME-TIFFs of time, depth and channels", "axes as the file names them")
def test_ome_axes(tmp_path):
    pixels = noise((2, 3, 2, 5, 7), np.uint16)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata={"axes": "TZCYX"}, photometric="minisblack")
    with pytest.raises(DataError, match=r"6 pictures of 5×7 \(2 along T, 3 along Z\)"):
        read_picture(tmp_path / "a.ome.tif")
    picture = read_picture(tmp_path / "a.ome.tif", Reading(pages="items"))
    np.testing.assert_array_equal(picture.pixels, np.moveaxis(pixels, 2, -1).reshape(6, 5, 7, 2))
    assert not picture.alpha
    alone = read_picture(tmp_path / "a.ome.tif", Reading(axes="TZNYX")).pixels
    np.testing.assert_array_equal(alone, pixels.reshape(12, 5, 7, 1))


@pytest.mark.parametrize("axes", ["YX", "TZCY", "TZCYY", "TZCXQ"])
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", noise((2, 3, 2, 5, 7)), photometric="minisblack")
    with pytest.raises(UsageError, match=r"`axes` must have a letter for each of 5 axes"):
        read_picture(tmp_path / "a.tif", Reading(axes=axes))


def test_what_pages_are_must_be_known():
    with pytest.raises(UsageError, match="`pages` must be items, channels, first; got 'all'"):
        Reading(pages="all")


@pytest.mark.situation("a TIFF with pages of two sizes", "said; the first, or all by --resize")
def test_pages_of_two_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for shape in ((10, 14), (5, 7)):
            tiff.write(np.full(shape, 9, np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match=r"pictures of several sizes \(10×14, 5×7\); `pages` first"):
        read_picture(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif", pages="first").shape == (10, 14, 1)
    both = read_picture(tmp_path / "a.tif", Reading(pages="items", resize=(5, 7))).pixels
    np.testing.assert_array_equal(both, np.full((2, 5, 7, 1), 9))


def test_thumbnails_are_left_out_and_said(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise((10, 14)), photometric="minisblack")
        tiff.write(noise((5, 7)), photometric="minisblack", subfiletype=1)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.pixels.shape == (1, 10, 14, 1)
    assert picture.notes == ("smaller copies left out",)


@pytest.mark.situation("animations: GIF, APNG, WebP", "asked about: frames are items, or the first")
@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_frames_are_asked_about(tmp_path, name):
    frames = [Image.fromarray(np.full((5, 7, 3), level, np.uint8)) for level in (0, 100, 200)]
    frames[0].save(
        tmp_path / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "webp" in name else {})
    )
    with pytest.raises(DataError, match="holds 3 pictures of 5×7"):
        read_picture(tmp_path / name)
    assert read_image(tmp_path / name, pages="first").shape[:2] == (5, 7)
    items = read_picture(tmp_path / name, Reading(pages="items")).pixels
    assert np.unique(items[..., :3].reshape(3, -1), axis=1).ravel().tolist() == [0, 100, 200]


@pytest.mark.parametrize("transparent", [(7, 8, 9), 7])
def test_a_transparent_colour_of_16_bits_is_alpha(tmp_path, transparent):
    pixels = np.full((5, 7, 3) if isinstance(transparent, tuple) else (5, 7), transparent, np.uint16)
    pixels[0] = 60_000
    chunk = b"tRNS" + struct.pack(f">{np.size(transparent)}H", *np.ravel(transparent))
    encoded = imagecodecs.png_encode(pixels)
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(encoded[:33] + chunk + encoded[33:])
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha
    np.testing.assert_array_equal(
        picture.pixels[0, ..., -1], np.where(np.arange(5)[:, None] > 0, 0, 65535) * np.ones((5, 7), int)
    )


@pytest.mark.situation("grey of 4 bits where 0 is white", "inverted within its own range")
def test_white_is_zero_in_its_own_range(tmp_path):
    pixels = noise((5, 7)) % 16
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", bitspersample=4)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], 15 - pixels)


def profiled(path: Path, pixels: np.ndarray) -> bytes:
    """Write a picture with a colour profile, EXIF and a resolution; gives the profile."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    image.save(path, icc_profile=profile, exif=exif, dpi=(300, 300))
    return profile


@pytest.mark.situation("colour profile, EXIF and resolution", "kept on output")
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_profile_exif_and_resolution(tmp_path, name, dtype):
    profile = profiled(tmp_path / name, noise((5, 7, 3)))
    (tmp_path / "out.png").write_bytes(encode_png(noise((7, 5, 3), dtype), tmp_path / name))
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["icc_profile"] == profile
        assert dict(image.getexif()) == {0x010F: "Maker"}
        if name != "a.webp":
            assert image.info["dpi"] == pytest.approx((300, 300), rel=1e-3)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), noise((7, 5, 3), dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_keeps_type_and_tags(tmp_path, dtype, channels):
    profile = bytes(16) + (b"RGB " if channels >= 3 else b"GRAY")
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((5, 7)),
        resolution=(118, 118),
        resolutionunit="CENTIMETER",
        description="sample 4",
        iccprofile=profile,
        extratags=[(271, "s", 0, "Maker", True)],
    )
    pixels = (noise((5, 7, channels)) - 100.5).astype(dtype)
    write_tiff(tmp_path / "b.tif", [pixels], (1, *pixels.shape), pixels.dtype, True, tmp_path / "a.tif")
    picture = read_picture(tmp_path / "b.tif")
    assert picture.alpha == (channels in (2, 4))
    np.testing.assert_array_equal(picture.pixels[0], pixels)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        page = tiff.pages.first
        assert (page.tags[282].value, page.tags[296].value) == ((118, 1), 3)
        assert (page.description, page.tags[271].value, page.iccprofile) == ("sample 4", "Maker", profile)


@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped"])
@pytest.mark.situation("a page of a stack, on output", "a picture of its own, not a stack again")
def test_descriptions_of_whole_stacks_are_not_copied(tmp_path, kind):
    stack = noise((5, 6, 8), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.ome.tif" if kind == "ome" else tmp_path / "a.tif",
        stack,
        **{} if kind == "shaped" else {kind: True},
    )
    (path,) = tmp_path.iterdir()
    page = stack[1][..., None]
    write_tiff(tmp_path / "b.tif", [page], (1, *page.shape), page.dtype, like=path)
    assert tifffile.imread(tmp_path / "b.tif").shape == (6, 8)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), page)


@pytest.mark.situation("a colour profile of inks, of a picture that became RGB", "not kept: it would be wrong")
def test_profiles_of_other_colours_are_not_copied(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((5, 7, 4)), photometric="separated", iccprofile=bytes(16) + b"CMYK")
    write_tiff(tmp_path / "b.tif", [noise((5, 7, 3))], (1, 5, 7, 3), np.dtype(np.uint8), like=tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert not tiff.pages.first.iccprofile


_GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 600000.0, 5000000.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34737, "s", 0, "WGS 84|", True),
]


@pytest.mark.situation("GeoTIFFs whose pixels are partly nodata", "missing, and said; filled in, in place on earth")
@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [(np.int16, "-9999"), (np.float32, "-3.4028234663852886e+38"), (np.uint8, "255"), (np.uint8, "-1")],
)
def test_nodata_of_geotiffs_is_missing(tmp_path, dtype, nodata):
    pixels = (noise((6, 8)) // 2).astype(dtype)
    holes = np.zeros((6, 8), bool)
    if nodata != "-1":
        holes[1:3, 2:5] = True
        pixels[holes] = dtype(float(nodata))
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, extratags=[*_GEO, (42113, "s", 0, nodata, True)])
    dataset = open_images(tmp_path)
    np.testing.assert_array_equal(dataset.items.visible()[1, ..., 0], ~holes)
    assert dataset.schema.high < 256
    said = f"{float(dtype(float(nodata))) if holes.any() else 0:g} is missing"
    assert (said in dataset.check().findings) == holes.any()
    filled = np.where(dataset.items.visible(), dataset.items.values, dtype(7))
    Output.at(tmp_path / "out").put(dataset.items, filled, True)
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tiff:
        tags = tiff.pages.first.tags
        np.testing.assert_array_equal(tiff.asarray(), filled[0, ..., 0])
        assert all(tags[code].value == value for code, _, _, value, _ in _GEO)


def test_nodata_of_colour_is_by_channel_and_resized(tmp_path):
    pixels = noise((8, 8, 3)) // 2
    pixels[:4, :4, 1] = 200
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(42113, "s", 0, "200", True)])
    missing = read_picture(tmp_path / "a.tif").missing
    assert missing is not None
    assert missing.sum() == missing[0, :4, :4, 1].sum() == 16
    small = read_picture(tmp_path / "a.tif", Reading(resize=(4, 4))).missing
    assert small is not None
    assert small.sum() == small[0, :2, :2, 1].sum() == 4


@pytest.mark.situation("a picture that is a pipe, a device or a folder", "refused in one line")
def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.tif").mkdir()
    for path, kind in ((tmp_path / "a.png", "pipe or device"), (tmp_path / "b.tif", "folder")):
        with pytest.raises(DataError, match=f"must be a file, got a {kind}"):
            read_picture(path)


@pytest.mark.situation("a header that promises more pixels than the file can hold", "refused before memory is taken")
def test_bombs_are_refused(tmp_path):
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 12_000, 12_000, 16, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + PNG[33:])
    tifffile.imwrite(tmp_path / "a.tif", noise((64, 64)))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        for code in (256, 257):
            tag = tiff.pages.first.tags[code]
            struct.pack_into("<H" if tag.dtype == 3 else "<I", content, tag.valueoffset, 60_000)
    (tmp_path / "a.tif").write_bytes(content)
    for name in ("a.png", "a.tif"):
        with pytest.raises(DataError, match=f"{name}: "):
            read_picture(tmp_path / name)


def samples() -> list[tuple[str, bytes]]:
    """Small files of all formats."""
    found = []
    for name, options in (("a.png", {}), ("a.jpg", {}), ("a.webp", {}), ("a.bmp", {}), ("a.gif", {}), ("a.tif", {})):
        file = io.BytesIO()
        Image.fromarray(smooth(3)).save(file, {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper()), **options)
        found.append((name, file.getvalue()))
    for how in ({"compression": "zlib"}, {"imagej": True}):
        file = io.BytesIO()
        tifffile.imwrite(file, noise((3, 16, 24), np.uint16), **how)
        found.append(("b.tif", file.getvalue()))
    return [*found, ("b.png", DEEP_PNG)]


@pytest.mark.situation("damaged image files", "refused in one line")
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_never_do_worse_than_one_line(tmp_path, data):
    name, content = data.draw(st.sampled_from(samples()))
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    try:
        pixels = read_picture(tmp_path / name, Reading(pages="first")).pixels
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert pixels.nbytes < 1 << 27
