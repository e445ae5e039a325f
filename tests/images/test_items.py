import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import DataError
from fivefold.images import dataset
from fivefold.images.dataset import make_items
from fivefold.images.schema import ImageSchema
from fivefold.items import split_rows

NAN, INFINITY = np.nan, np.inf
SHAPE = (4, 3, 5, 3)
VALUES = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
GREY = VALUES[..., :1]
BYTES = ImageSchema(3, 5, 1, "uint8", 0.0, 255.0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 3, 5, 3), (4, 3, 5, 3)),
        ((4, 3, 5, 4), (4, 3, 5, 4)),
        ((4, 3, 5), (4, 3, 5, 1)),
        ((3, 5), (1, 3, 5, 1)),
        ((1, 1), (1, 1, 1, 1)),
    ],
)
def test_shapes(shape, expected):
    items = make_items(np.ones(shape, np.uint8))
    assert items.values.shape == expected
    assert items.schema.shape == expected[1:]
    assert len(items) == expected[0]


@pytest.mark.parametrize("shape", [(), (5,), (4, 3, 5, 5), (4, 3, 5, 0), (1, 2, 3, 4, 3)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(DataError, match=r"set: images must be \(items, height, width\)"):
        make_items(np.ones(shape), source="set")


@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5, 1), (0, 0)])
def test_nothing_is_refused(shape):
    with pytest.raises(DataError, match="set: there is nothing in it"):
        make_items(np.ones(shape), source="set")


@pytest.mark.situation("arrays of text, objects or complex numbers as images", "refused in one line")
@pytest.mark.parametrize("values", [np.full((2, 2), "a"), np.full((2, 2), None), np.full((2, 2), 1j)])
def test_other_than_numbers_are_refused(values):
    with pytest.raises(DataError, match="values must be numbers"):
        make_items(values)


def test_schema_tells_one_colour_image_from_many_grey_ones():
    schema = ImageSchema(3, 5, 3, "uint8", 0.0, 255.0)
    assert make_items(VALUES[0], schema).values.shape == (1, 3, 5, 3)
    assert make_items(GREY[..., 0], BYTES).values.shape == (4, 3, 5, 1)


@pytest.mark.parametrize("shape", [(4, 3, 5, 3), (4, 5, 3), (2, 2)])
def test_items_must_fit_the_schema(shape):
    with pytest.raises(DataError, match="set: items must be 3×5×1 as the model was fitted, got"):
        make_items(np.zeros(shape, np.uint8), BYTES, "set")


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_labels_are_flat(shape):
    assert make_items(GREY, labels=np.arange(4).reshape(shape)).labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(), (3,), (5,), (4, 2)])
def test_other_labels_are_refused(shape):
    with pytest.raises(DataError, match="a label per item"):
        make_items(GREY, labels=np.zeros(shape))


def test_nan_is_missing():
    values = GREY.astype(np.float32)
    values[1, 2, 3] = NAN
    items = make_items(values)
    assert (items.schema.low, items.schema.high) == (np.nanmin(values), np.nanmax(values))
    np.testing.assert_array_equal(items.visible(), ~np.isnan(values))
    unit, visible = items.unit(slice(1, 2))
    assert unit.dtype == np.float32
    assert unit[0, 2, 3, 0] == 0
    assert np.isfinite(unit).all()
    assert visible.sum() == 14


@pytest.mark.situation("items with infinite values, or with nothing visible", "refused in one line")
@pytest.mark.parametrize(("names", "called"), [(None, "item 2"), (("a.png", "b.png", "c.png", "d.png"), "item c.png")])
@pytest.mark.parametrize("chunk", [1, 30, 1 << 24])
def test_unlearnable_items_are_named(monkeypatch, names, called, chunk):
    monkeypatch.setattr(dataset, "_CHUNK_ELEMENTS", chunk)
    blank, infinite = GREY.astype(np.float64), GREY.astype(np.float64)
    blank[2] = NAN
    infinite[2, 1, 1] = -INFINITY
    mask = np.zeros(GREY.shape, bool)
    mask[2] = True
    for values, masks, message in ((blank, [], "visible"), (GREY, [mask], "visible"), (infinite, [], "infinite")):
        with pytest.raises(DataError, match=f"set: {called} has .*{message}"):
            make_items(values, source="set", masks=masks, names=names)


def test_nan_and_mask_together_may_leave_nothing():
    values = np.array([[[1.0, NAN]]])
    with pytest.raises(DataError, match="item 0 has no visible value"):
        make_items(values, masks=[np.array([[1, 0]])])


@pytest.mark.parametrize("bad", [INFINITY, -9999.0, 1e300])
@pytest.mark.parametrize("schema", [None, ImageSchema(3, 5, 1, "float64", 0.0, 1.0)])
def test_what_a_mask_hides_does_not_count(bad, schema):
    values = GREY / 255
    values[2, 1, 1] = bad
    items = make_items(values, schema, masks=[values == bad])
    assert (items.schema.low, items.schema.high) == (0, 1)
    unit, visible = items.unit()
    assert unit[2, 1, 1] == 0
    assert not visible[2, 1, 1]


@pytest.mark.parametrize(
    "shape",
    [(4, 3, 5, 3), (4, 3, 5, 1), (4, 3, 5), (1, 3, 5, 3), (1, 3, 5, 1), (1, 3, 5), (3, 5, 3), (3, 5, 1), (3, 5)],
)
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_mask_shapes(shape, dtype):
    mask = np.random.default_rng(1).random(shape) > 0.7
    items = make_items(VALUES, masks=[(mask * 7).astype(dtype)])
    if shape == (4, 3, 5):
        full = mask[..., None]
    elif shape in ((3, 5), (1, 3, 5)):
        full = mask.reshape(1, 3, 5, 1)
    else:
        full = mask if mask.ndim == 4 else mask[None]
    expected = ~np.broadcast_to(full, SHAPE)
    np.testing.assert_array_equal(items.visible(), expected)
    np.testing.assert_array_equal(items.visible(slice(1, 3)), expected[1:3])
    np.testing.assert_array_equal(items.select(np.array([3, 0])).visible(), expected[[3, 0]])


@pytest.mark.parametrize(
    "shape", [(), (5,), (5, 3), (4, 5), (2, 3, 5), (3, 5, 2), (3, 3, 5, 3), (4, 3, 5, 2), (1, 4, 3, 5, 3), (4, 3, 5, 0)]
)
def test_other_mask_shapes_are_refused(shape):
    with pytest.raises(DataError, match="mask: must have the items' shape 4×3×5×3 or one item's 3×5×3"):
        make_items(VALUES, masks=[np.zeros(shape, bool)])


@pytest.mark.parametrize("mask", [np.full((3, 5), "no"), np.full((3, 5), None)])
def test_masks_must_be_numbers(mask):
    with pytest.raises(DataError, match="mask: must hold numbers"):
        make_items(VALUES, masks=[mask])


def test_masks_add_up():
    one, each = np.zeros((3, 5), bool), np.zeros((4, 3, 5, 3), bool)
    one[0, 0] = each[1, 2, 2, 1] = True
    visible = make_items(VALUES, masks=[one, each]).visible()
    assert not visible[:, 0, 0].any()
    assert not visible[1, 2, 2, 1]
    assert visible.sum() == visible.size - 4 * 3 - 1


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.array([[3, 5]], np.uint8), 0, 255),
        (np.array([[3, 4000]], np.uint16), 0, 4095),
        (np.array([[0.2, 0.9]]), 0, 1),
        (np.array([[-2.0, NAN, 3.0]]), -2, 3),
        (np.array([[False, True]]), 0, 1),
        (np.array([[0, 1000]]), 0, 1023),
    ],
)
def test_range_is_inferred(values, low, high):
    schema = make_items(values).schema
    assert (schema.low, schema.high) == (low, high)


@pytest.mark.parametrize("chunk", [1, 1 << 24])
def test_extremes_may_lie_anywhere(monkeypatch, chunk):
    monkeypatch.setattr(dataset, "_CHUNK_ELEMENTS", chunk)
    values = np.zeros((4, 2, 2))
    values[1, 0, 0], values[3, 1, 1] = -3.0, 8.0
    schema = make_items(values).schema
    assert (schema.low, schema.high) == (-3, 8)


@pytest.mark.situation("pixels scaled to [0, 1] to a model of 0–255", "refused in one line")
@pytest.mark.parametrize("top", [1.0, 0.3])
def test_fractions_for_a_byte_model_are_refused(top):
    with pytest.raises(DataError, match=r"set: values must be in \[0, 255\].*scale them back"):
        make_items(np.linspace(0, top, 15).reshape(3, 5), BYTES, "set")


def test_other_floats_for_a_byte_model_are_fine():
    for values in (np.zeros((3, 5)), np.linspace(0, 255, 15).reshape(3, 5)):
        assert make_items(values, BYTES).schema is BYTES
    assert make_items(np.ones((3, 5)), ImageSchema(3, 5, 1, "bool", 0.0, 1.0)).unit()[0].min() == 1


@pytest.mark.situation("pixels outside the range of the fit", "read right")
@pytest.mark.parametrize("extreme", [-1.0, 256.0])
def test_values_out_of_range_are_clipped_with_a_warning(extreme):
    values = np.full((3, 5), 100.0)
    values[0, 0] = extreme
    with pytest.warns(UserWarning, match=r"set: values in .* are clipped to the model's range \[0, 255\]"):
        items = make_items(values, BYTES, "set")
    unit, _ = items.unit()
    assert unit[0, 0, 0, 0] == (extreme > 0)


def labelled(n=10):
    values = np.arange(n, dtype=np.uint8).repeat(4).reshape(n, 2, 2)
    names = tuple(f"{index}.png" for index in range(n))
    hidden = np.zeros((n, 2, 2), bool)
    hidden[np.arange(n), np.arange(n) % 2, 0] = True
    return make_items(values, masks=[hidden], names=names, labels=np.arange(n) * 10)


@pytest.mark.parametrize("indices", [slice(2, 5), np.array([7, 1, 1]), np.arange(10) % 3 == 0])
def test_select_keeps_all_parts_together(indices):
    items = labelled()
    chosen = items.select(indices)
    numbers = np.arange(10)[indices]
    assert len(chosen) == len(numbers)
    assert chosen.values[:, 0, 0, 0].tolist() == numbers.tolist()
    assert chosen.labels.tolist() == (numbers * 10).tolist()
    assert [chosen.name(index) for index in range(len(chosen))] == [f"{number}.png" for number in numbers]
    np.testing.assert_array_equal(chosen.visible(), items.visible(indices))
    assert np.shares_memory(chosen.values, items.values) == isinstance(indices, slice)


def test_name_without_names_is_the_index():
    assert make_items(GREY).name(3) == "3"


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_batches_cover_all(size):
    numbers = np.arange(4)
    batches = [numbers[rows] for rows in make_items(GREY).batches(size)]
    assert np.concatenate(batches).tolist() == [0, 1, 2, 3]
    assert {len(batch) for batch in batches[:-1]} <= {size}


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.floats(0, 0.95), st.integers(0, 2**40))
def test_split_is_disjoint_complete_and_seeded(n, share, seed):
    items = labelled(n)
    if round(n * share) == n:
        with pytest.raises(DataError, match="too few"):
            split_rows(items, share, seed)
        return
    train, held_out = split_rows(items, share, seed)
    again, _ = split_rows(items, share, seed)
    assert np.array_equal(train, again)
    assert len(held_out) == round(n * share)
    assert sorted([*train, *held_out]) == list(range(n))
    assert (np.diff(train) > 0).all()


def test_split_depends_on_the_seed():
    held_out = {tuple(split_rows(labelled(), 0.3, seed)[1]) for seed in range(10)}
    assert len(held_out) > 5


def test_split_of_nothing_and_of_all():
    items = labelled(3)
    train, held_out = split_rows(items, 0.1, 0)
    assert (train.tolist(), held_out.tolist()) == ([0, 1, 2], [])
    with pytest.raises(DataError, match="array: 3 items are too few to hold out 95%"):
        split_rows(items, 0.95, 0)
