import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fivefold.errors import DataError, UsageError
from fivefold.images import builtin
from fivefold.images.dataset import make_items, read_items
from fivefold.images.dataset import open as open_images
from fivefold.images.files import Output
from fivefold.images.formats import encode_png
from fivefold.images.schema import ImageSchema

SIZE = (5, 7)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max, shape, dtype)


def with_alpha(colours, alpha):
    return np.concatenate([colours, np.broadcast_to(alpha, (*SIZE, 1)).astype(colours.dtype)], axis=2)


def lay(folder, **images):
    """PNGs by name, in which `__` stands for `/`."""
    for name, pixels in images.items():
        path = folder / f"{name.replace('__', '/')}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(pixels))
    return folder


def schema(channels, size=SIZE, dtype="uint8"):
    return ImageSchema(*size, channels, dtype, 0.0, float(np.iinfo(dtype).max))


HOLES = np.zeros((*SIZE, 1), np.uint8)
HOLES[2:] = 255
SOFT = np.full((*SIZE, 1), 77, np.uint8)
GREY, COLOUR = noise(*SIZE, 1), noise(*SIZE, 3, seed=1)


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("mnist", "test", 10_000), ("mnist", "train", 60_000), ("mnist:test", "train", 10_000)],
)
def test_mnist(name, split, count):
    items = read_items(name, split=split)
    assert items.values.shape == (count, 28, 28, 1)
    assert len(items.labels) == count
    assert items.source == name


def test_letters(monkeypatch):
    monkeypatch.setattr(builtin, "render_letters", lambda: (noise(2, 28, 28, 1), np.array(["A", "b"])))
    items = read_items("letters")
    assert items.schema.describe() == "28×28×1 uint8 in [0, 255]"
    assert items.labels.tolist() == ["A", "b"]


@pytest.mark.parametrize("name", ["mnist:valid", "letters:train", "nowhere/at/all.png", "MNIST"])
def test_unknown_names_and_missing_paths(name):
    with pytest.raises(DataError, match=f"^{name}: no such file or folder, nor a built-in set"):
        read_items(name)


@pytest.mark.parametrize("kind", ["npy", "npz", "idx", "gz", "array", "items"])
def test_arrays(tmp_path, kind):
    values = noise(4, *SIZE)
    path, header = tmp_path / f"a.{kind}", struct.pack(">HBBIII", 0, 8, 3, 4, *SIZE)
    if kind == "npy":
        np.save(path, values)
    elif kind == "npz":
        np.savez(path, x=values, y=np.arange(4))
    elif kind == "idx":
        path.write_bytes(header + values.tobytes())
    elif kind == "gz":
        path.write_bytes(gzip.compress(header + values.tobytes()))
    source = {"array": values, "items": make_items(values)}.get(kind, path)
    items = read_items(source)
    np.testing.assert_array_equal(items.values, values[..., None])
    assert (items.labels is not None) == (kind == "npz")
    assert items.names is None
    assert items.source == (str(path) if isinstance(source, Path) else "array")
    with pytest.raises(UsageError, match="`resize` goes with image files"):
        read_items(source, resize=(3, 3))


@pytest.mark.situation("an array larger than memory", "read right")
def test_npy_stays_mapped(tmp_path):
    np.save(tmp_path / "a.npy", noise(4, *SIZE))
    base = read_items(tmp_path / "a.npy").values
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_single_image(tmp_path):
    lay(tmp_path, a=COLOUR, b=GREY)
    items = read_items(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(items.values, COLOUR[None])
    assert items.names == ("a.png",)
    assert items.labels is None


def test_folder_is_read_in_order_without_labels(tmp_path):
    lay(tmp_path, c=GREY, a=GREY // 2, b=GREY // 3)
    items = read_items(tmp_path)
    assert items.names == ("a.png", "b.png", "c.png")
    np.testing.assert_array_equal(items.values, np.stack([GREY // 2, GREY // 3, GREY]))
    assert items.labels is None
    assert items.hidden is None


@pytest.mark.situation("a folder of folders, one per class", "read right")
def test_sub_folders_are_labels(tmp_path):
    lay(tmp_path, cat__1=GREY, cat__2=GREY, dog__big__1=GREY, z=GREY)
    items = read_items(tmp_path)
    assert items.names == ("cat/1.png", "cat/2.png", "dog/big/1.png", "z.png")
    assert items.labels.tolist() == ["cat", "cat", "dog/big", "."]


@pytest.mark.situation("a folder without images", "refused in one line")
@pytest.mark.parametrize("names", [[], ["notes.txt", ".hidden.png"]])
def test_folder_without_images(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("text")
    with pytest.raises(DataError, match="holds no images"):
        read_items(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "must be an image"),
        ("noending", "must be an image"),
        ("a.png", "can't be read as an image"),
        ("a.tif", "can't be read as an image"),
        ("a.npy", "can't be read as a NumPy array"),
        ("a.npz", "can't be read as a NumPy archive"),
        ("a.gz", "isn't an IDX file"),
        ("a-idx3-ubyte", "isn't an IDX file"),
    ],
)
def test_text_files_are_refused(tmp_path, name, message):
    (tmp_path / name).write_text("just text")
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read_items(tmp_path / name)


@pytest.mark.situation("a damaged image among others", "refused in one line")
def test_damaged_image_in_a_folder_is_named(tmp_path):
    lay(tmp_path, a=GREY, b=GREY)
    (tmp_path / "b.png").write_bytes(encode_png(GREY)[:45])
    with pytest.raises(DataError, match=r"b\.png: can't be read as an image"):
        read_items(tmp_path)


@pytest.mark.situation("images of several sizes or types in a folder", "refused in one line")
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (noise(6, 7, 1), "is 5×7×1, this is 6×7×1; bring them to one size with `resize`"),
        (noise(*SIZE, 1, dtype=np.uint16), "one depth: a.png is uint8, this is uint16"),
    ],
)
def test_images_that_differ_are_named(tmp_path, other, message):
    lay(tmp_path, a=GREY, b=GREY, sub__c=other)
    with pytest.raises(DataError, match=rf"sub.c\.png: all images must have .*{message}"):
        read_items(tmp_path)


@pytest.mark.situation("images of several sizes, with `--resize`", "read right")
def test_resize_brings_images_to_one_size(tmp_path):
    lay(tmp_path, a=GREY, b=noise(6, 9, 3))
    assert read_items(tmp_path, resize=(4, 6)).values.shape == (2, 4, 6, 3)
    assert read_items(tmp_path / "a.png", resize=(4, 6)).values.shape == (1, 4, 6, 1)


@pytest.mark.situation("grey images among coloured ones", "read right")
def test_grey_among_colour_is_promoted(tmp_path):
    lay(tmp_path, a=GREY, b=COLOUR)
    np.testing.assert_array_equal(read_items(tmp_path).values, np.stack([GREY.repeat(3, axis=2), COLOUR]))


def test_grey_for_a_colour_model_is_promoted(tmp_path):
    lay(tmp_path, a=GREY)
    np.testing.assert_array_equal(read_items(tmp_path, schema(3)).values[0], GREY.repeat(3, axis=2))


@pytest.mark.situation("colour images to a model of grey ones", "refused in one line")
def test_colour_for_a_grey_model_is_refused(tmp_path):
    lay(tmp_path, a=COLOUR)
    with pytest.raises(DataError, match="items must be 5×7×1 as the model was fitted, got 5×7×3"):
        read_items(tmp_path, schema(1))


def test_tiffs_keep_four_channels_without_alpha(tmp_path):
    pixels = np.dstack([COLOUR, HOLES]).astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    items = read_items(tmp_path)
    np.testing.assert_array_equal(items.values[0], pixels)
    assert items.hidden is None


@pytest.mark.situation("transparent pixels as holes", "read right")
@pytest.mark.parametrize("colours", [GREY, COLOUR])
def test_transparent_pixels_are_missing(tmp_path, colours):
    lay(tmp_path, a=with_alpha(colours, HOLES), b=with_alpha(colours, 255), c=colours)
    items = read_items(tmp_path)
    assert items.schema.channels == colours.shape[2]
    np.testing.assert_array_equal(items.values, np.stack([colours] * 3))
    seen = items.visible()
    np.testing.assert_array_equal(seen[0], np.broadcast_to(HOLES > 0, colours.shape))
    assert seen[1:].all()


def test_deep_transparent_pixels_are_missing(tmp_path):
    deep = noise(*SIZE, 3, dtype=np.uint16)
    lay(tmp_path, a=with_alpha(deep, HOLES.astype(np.uint16) * 257))
    items = read_items(tmp_path)
    np.testing.assert_array_equal(items.values[0], deep)
    np.testing.assert_array_equal(items.visible()[0, ..., 0], HOLES[..., 0] > 0)


@pytest.mark.situation("half transparent pixels", "read right")
@pytest.mark.parametrize("colours", [GREY, COLOUR])
def test_half_transparent_alpha_is_a_channel(tmp_path, colours):
    lay(tmp_path, a=with_alpha(colours, SOFT), b=with_alpha(colours, HOLES), c=colours)
    items = read_items(tmp_path)
    expected = np.stack([with_alpha(colours, alpha) for alpha in (SOFT, HOLES, 255)])
    np.testing.assert_array_equal(items.values, expected)
    assert items.visible().all()


@pytest.mark.situation("an image that is wholly transparent", "refused in one line")
def test_fully_transparent_image_is_refused_by_name(tmp_path):
    lay(tmp_path, a=COLOUR, b=with_alpha(COLOUR, 0))
    with pytest.raises(DataError, match=r"item b\.png has no visible value"):
        read_items(tmp_path)


@pytest.mark.parametrize("alpha", [SOFT, HOLES, None])
@pytest.mark.parametrize("colours", [GREY, COLOUR])
@pytest.mark.parametrize("keeps", [True, False])
def test_the_model_decides_whether_alpha_is_a_channel(tmp_path, colours, alpha, keeps):
    lay(tmp_path, a=colours if alpha is None else with_alpha(colours, alpha))
    items = read_items(tmp_path, schema(colours.shape[2] + keeps))
    if keeps:
        np.testing.assert_array_equal(items.values[0], with_alpha(colours, 255 if alpha is None else alpha))
        assert items.visible().all()
    else:
        np.testing.assert_array_equal(items.values[0], colours)
        assert items.visible().all() == (alpha is not HOLES)


def test_grey_with_alpha_for_a_colour_model_with_alpha(tmp_path):
    lay(tmp_path, a=with_alpha(GREY, SOFT))
    np.testing.assert_array_equal(read_items(tmp_path, schema(4)).values[0], with_alpha(GREY.repeat(3, axis=2), SOFT))


MASK = HOLES[..., 0] == 0


def mask_source(kind, folder):
    masks = folder / "masks"
    masks.mkdir()
    if kind == "array":
        return MASK
    if kind == "npy":
        np.save(masks / "m.npy", MASK)
    elif kind == "npz":
        np.savez(masks / "m.npz", mask=MASK.astype(np.uint8))
    elif kind == "bit":
        Image.fromarray(MASK).save(masks / "m.png")
        return str(masks / "m.png")
    else:
        channels = {"grey": 1, "grey_alpha": 2, "colour": 3, "folder": 1}[kind]
        pixels = np.zeros((*SIZE, channels), np.uint8)
        pixels[..., 0 if channels < 3 else 1] = MASK * 9
        if channels == 2:
            pixels[..., 1] = 255
        lay(masks, **{"m": pixels} if kind != "folder" else {"1": pixels, "2": pixels})
    return masks / f"m.{kind}" if kind in ("npy", "npz") else masks


@pytest.mark.situation("a mask of what is missing, as {kind}", "read right")
@pytest.mark.parametrize("kind", ["array", "npy", "npz", "bit", "grey", "grey_alpha", "colour", "folder"])
def test_masks(tmp_path, kind):
    items = read_items(noise(2, *SIZE, 3), mask=mask_source(kind, tmp_path))
    np.testing.assert_array_equal(~items.visible(), np.broadcast_to(MASK[..., None], (2, *SIZE, 3)))


def test_mask_adds_to_transparency(tmp_path):
    lay(tmp_path, a=with_alpha(COLOUR, HOLES))
    mask = np.zeros(SIZE, bool)
    mask[4, 0] = True
    seen = read_items(tmp_path, mask=mask).visible()[0, ..., 0]
    np.testing.assert_array_equal(seen, ~(MASK | mask))


@pytest.mark.parametrize(("height", "hidden"), [(10, 4), (20, 8), (5, 2), (1, 1)])
@pytest.mark.parametrize("by_alpha", [False, True])
def test_what_is_missing_is_resized_without_spreading(tmp_path, height, hidden, by_alpha):
    lay(tmp_path / "images", a=with_alpha(COLOUR, HOLES) if by_alpha else COLOUR)
    lay(tmp_path / "masks", a=np.where(MASK, 255, 0).astype(np.uint8)[..., None])
    mask = None if by_alpha else tmp_path / "masks"
    if height == hidden:
        with pytest.raises(DataError, match="no visible value"):
            read_items(tmp_path / "images", mask=mask, resize=(height, 3))
        return
    items = read_items(tmp_path / "images", mask=mask, resize=(height, 3))
    assert items.values.shape == (1, height, 3, 3)
    assert items.visible()[0].all(axis=(1, 2)).tolist() == [False] * hidden + [True] * (height - hidden)


@pytest.mark.situation("a mask that does not fit the images", "refused in one line")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", "`mask` .*: no such file or folder"),
        ("empty", "`mask` .*: holds no images"),
        ("text.txt", "text.txt: must be an image"),
        ("text.png", "text.png: can't be read as an image"),
        ("small.png", "must have the items' shape 2×5×7×3"),
        ("three", "must have the items' shape"),
        ("mixed", "b.png: all images must have one shape"),
    ],
)
def test_bad_masks(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    for text in ("text.txt", "text.png"):
        (tmp_path / text).write_text("text")
    lay(tmp_path, small=noise(2, 2, 1))
    lay(tmp_path / "three", a=GREY, b=GREY, c=GREY)
    lay(tmp_path / "mixed", a=GREY, b=noise(2, 2, 1))
    with pytest.raises(DataError, match=message):
        read_items(noise(2, *SIZE, 3), mask=tmp_path / name)


def test_items_are_checked_against_another_schema_and_keep_their_parts(tmp_path):
    lay(tmp_path, x__a=with_alpha(GREY, HOLES), y__b=GREY)
    items = read_items(tmp_path)
    again = read_items(items, schema(1, dtype="uint16"), mask=np.eye(*SIZE))
    assert (again.names, again.source) == (items.names, items.source)
    assert again.labels.tolist() == ["x", "y"]
    assert again.schema.dtype == "uint16"
    np.testing.assert_array_equal(again.visible(), items.visible() & ~np.eye(*SIZE, dtype=bool)[..., None])
    with pytest.raises(DataError, match="items must be 5×7×3"):
        read_items(items, schema(3))


def test_masks_in_a_folder_go_by_name(tmp_path):
    for folder, names in (("images", "abc"), ("same", "abc"), ("other", "acd")):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("L", (4, 3), 9).save(tmp_path / folder / f"{name}.png")
    with pytest.raises(DataError, match=r"item a.png has no visible value"):
        read_items(tmp_path / "images", mask=tmp_path / "same")
    with pytest.raises(DataError, match=r"named like the items, got c.png for b.png"):
        read_items(tmp_path / "images", mask=tmp_path / "other")


@pytest.mark.situation("an array whose last axis may be colour or width, as (64, 64, 3)", "asked about: --axes")
def test_ambiguous_arrays_are_asked_about():
    values = noise(9, 8, 3)
    with pytest.raises(
        DataError, match=r"array: shape \(9, 8, 3\) may be one picture in colour or 9 in grey.*`axes`: YXC"
    ):
        read_items(values)
    np.testing.assert_array_equal(read_items(values, axes="YXC").values, values[None])
    np.testing.assert_array_equal(read_items(values, axes="nyx").values, values[..., None])
    np.testing.assert_array_equal(read_items(values, schema(3, (9, 8))).values, values[None])


@pytest.mark.situation("arrays with the channels first, as networks take them", "refused with the remedy: --axes NCYX")
def test_channels_first(tmp_path):
    values = noise(6, 3, 8, 9)
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match="as NCYX"):
        read_items(tmp_path / "a.npy")
    np.testing.assert_array_equal(read_items(tmp_path / "a.npy", axes="NCYX").values, values.transpose(0, 2, 3, 1))


@pytest.mark.situation("a folder with other files among the pictures", "counted by ending, and said")
def test_what_is_not_read_is_counted(tmp_path):
    lay(tmp_path, a=GREY, b=GREY)
    for name in ("notes.txt", "x.dcm", "y.dcm"):
        (tmp_path / name).touch()
    found = open_images(tmp_path).check()
    assert [str(doubt) for doubt in found.doubts] == [f"{tmp_path}: 3 files are not read: 2 .dcm, 1 .txt"]
    assert found.findings["files"] == "2"


@pytest.mark.situation(
    "files that can't be read among the pictures", "all named at once; left out with --skip-unreadable"
)
def test_unreadable_files_are_named_at_once(tmp_path):
    lay(tmp_path, a=GREY, z=GREY)
    for number in range(25):
        (tmp_path / f"b{number:02d}.png").write_text("no picture")
    with pytest.raises(
        DataError, match=r"25 of 27 images can't be read \(`skip_unreadable`.*b00\.png.*b19\.png.*; and 5 more"
    ) as caught:
        read_items(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert "b20.png" not in str(caught.value)
    dataset = open_images(tmp_path, skip_unreadable=True)
    assert dataset.items.names == ("a.png", "z.png")
    assert "25 of 27 images are left out" in str(dataset.check().doubts[0])
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("no picture")
    with pytest.raises(DataError, match="can't be read as an image"):
        read_items(tmp_path / "bad", skip_unreadable=True)


def test_pages_are_items_with_names(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", noise(3, 5, 7), photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", noise(5, 7), photometric="minisblack")
    items = read_items(tmp_path, pages="items")
    assert items.names == ("s-0.tif", "s-1.tif", "s-2.tif", "t.tif")
    assert open_images(items).check().findings["pages, each an item"] == "1 of 2 files"


def test_files_come_back_in_their_own_format(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", GREY[..., 0], photometric="minisblack")
    tifffile.imwrite(folder / "b.tif", GREY[..., 0], photometric="minisblack")
    Image.fromarray(GREY[..., 0]).save(folder / "c.jpg")
    Image.fromarray(GREY[..., 0]).save(folder / "d.jpg")
    items = read_items(folder)
    changed = items.values.copy()
    changed[[0, 2]] //= 2
    Output.at(out).put(items, changed, replace=True)
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "b.tif", "c.png", "d.jpg"]
    assert (out / "b.tif").read_bytes() == (folder / "b.tif").read_bytes()
    assert (out / "d.jpg").read_bytes() == (folder / "d.jpg").read_bytes()
    np.testing.assert_array_equal(read_items(out / "a.tif").values, changed[:1])
    np.testing.assert_array_equal(read_items(out / "c.png").values, changed[2:3])


def test_a_picture_with_holes_is_not_copied(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_png(np.concatenate([GREY, HOLES], axis=2)))
    items = read_items(tmp_path / "in")
    Output.at(tmp_path / "out").put(items, items.values, replace=True)
    assert read_items(tmp_path / "out").hidden is None
