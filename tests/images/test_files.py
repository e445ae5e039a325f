import numpy as np
import pytest
import tifffile
from PIL import Image

from fivefold.errors import DataError
from fivefold.images.files import encode_png, list_images, read_image


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


def test_tiff_of_many_pages_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((3, 5, 7)), photometric="minisblack")
    with pytest.raises(DataError, match=r"a\.tif: must be one image of 1 to 4 channels, got shape \(3, 5, 7\)"):
        read_image(tmp_path / "a.tif")


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
    ("orientation", "upright"),
    [
        (1, lambda p: p),
        (2, np.fliplr),
        (3, lambda p: np.rot90(p, 2)),
        (4, np.flipud),
        (6, lambda p: np.rot90(p, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, upright):
    pixels = noise((5, 7, 3))
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright(pixels))


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
        read = read_image(path, size)
        assert read.dtype == dtype
        assert read.shape == (*size, channels)
        np.testing.assert_allclose(read, pixels[0, 0, 0], rtol=1e-5)


def test_resize_does_not_wrap_around(tmp_path):
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[:, 4:] = 255
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    row = read_image(tmp_path / "a.png", (8, 40))[0, :, 0].astype(int)
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


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="can't be read as an image"):
        read_image(tmp_path / "a.png")


@pytest.mark.situation("a folder with notes and hidden files beside the images", "read right")
def test_lists_images_sorted_without_hidden_and_other_files(tmp_path):
    wanted = ["B.PNG", "a.jpg", "sub/c.tif", "sub/deep/d.webp", "x.jpeg"]
    for name in [*wanted, "notes.txt", "noending", ".hidden.png", ".cache/e.png", "sub/._c.tif"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)] == wanted
    assert list_images(tmp_path / "folder.png") == []
    assert len(list_images(tmp_path / ".cache")) == 1
