import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.errors import DataError, ModelError
from fivefold.images.schema import ImageSchema, infer_schema

SCHEMA = ImageSchema(4, 6, 3, "uint8", 0.0, 255.0)


def infer(values):
    values = np.asarray(values).reshape(1, 1, -1, 1)
    return infer_schema(values, float(values.min()), float(values.max()))


def test_shape_size_and_description():
    assert SCHEMA.shape == (4, 6, 3)
    assert SCHEMA.size == 72
    assert SCHEMA.describe() == "4×6×3 uint8 in [0, 255]"


@pytest.mark.parametrize(
    ("values", "dtype", "low", "high", "levels"),
    [
        ([7, 9], "uint8", 0, 255, 256),
        ([0, 1], "uint8", 0, 255, 256),
        ([0, 0], "uint8", 0, 255, 256),
        ([0, 1], "bool", 0, 1, 2),
        ([0, 0], "bool", 0, 1, 2),
        ([0, 1], "int64", 0, 1, 2),
        ([5, 200], "uint16", 0, 255, 256),
        ([0, 256], "uint16", 0, 511, 512),
        ([12, 4000], "uint16", 0, 4095, 4096),
        ([0, 65535], "uint16", 0, 65535, 65536),
        ([0, 200], "int64", 0, 255, 256),
        ([-5, 10], "int64", -5, 250, 256),
        ([-5, 10], "int8", -5, 127, 133),
        ([-128, 127], "int8", -128, 127, 256),
        ([-1000, 32767], "int16", -1000, 32767, 33768),
        ([0.25, 0.5], "float32", 0, 1, None),
        ([0.0, 1.0], "float64", 0, 1, None),
        ([0.0, 1.5], "float64", 0, 1.5, None),
        ([-0.5, 0.5], "float32", -0.5, 0.5, None),
        ([7.0, 7.0], "float32", 7, 8, None),
    ],
)
def test_infers_range(values, dtype, low, high, levels):
    schema = infer(np.array(values, dtype))
    assert (schema.dtype, schema.low, schema.high, schema.levels) == (dtype, low, high, levels)


def test_constant_huge_values_have_a_range():
    schema = infer(np.array([1e20, 1e20]))
    assert schema.high > schema.low
    assert schema.to_unit(np.array([1e20])).tolist() == [0.0]


def test_big_endian_is_inferred_as_native():
    assert infer(np.array([0, 999], ">u2")).dtype == "uint16"


@pytest.mark.parametrize("values", [np.array([0.0, 1e308]), np.array([-1e308, 0.0])])
def test_refuses_values_that_float32_cannot_span(values):
    with pytest.raises(DataError, match="must be below"):
        infer(values)


@pytest.mark.parametrize("values", [np.array([[[[1j]]]]), np.array([[[["a"]]]]), np.array([[[[None]]]])])
def test_refuses_other_than_numbers(values):
    with pytest.raises(DataError, match="must be numbers"):
        infer_schema(values, 0.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["uint8", "uint16", "int8", "int16", "uint32", "int32", "bool", "int64", "uint64"]), st.data())
def test_integers_survive_the_unit_scale(dtype, data):
    limits = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = np.array(data.draw(st.lists(st.integers(*limits), min_size=1, max_size=5)), dtype)
    schema = infer(values)
    unit = schema.to_unit(values)
    back = schema.from_unit(unit)
    assert unit.dtype == np.float32
    assert 0 <= unit.min() <= unit.max() <= 1
    assert back.dtype == values.dtype
    span = schema.high - schema.low
    allowed = 0 if span < 2**17 else span * 2**-23  # float32 is what networks see
    assert np.abs(back.astype(np.float64) - values.astype(np.float64)).max() <= allowed


def test_one_value_far_from_zero_has_a_range():
    values = np.array([-(2**53) - 3])  # a float64 there does not change when 1 is added
    schema = infer(values)
    assert schema.low < schema.high
    assert schema.from_unit(schema.to_unit(values)).tolist() == [-(2**53) - 4]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64", "float64"])
def test_distinguishes_values_far_from_zero(dtype):
    schema = ImageSchema(1, 3, 1, dtype, 1e9, 1e9 + 2)
    values = np.array([10**9, 10**9 + 1, 10**9 + 2], dtype)
    assert schema.to_unit(values).tolist() == [0.0, 0.5, 1.0]
    assert schema.from_unit(np.array([0.0, 0.5, 1.0], np.float32)).tolist() == values.tolist()


def test_unit_scale_clips_both_ways():
    schema = ImageSchema(1, 3, 1, "float32", -1.0, 3.0)
    assert schema.to_unit(np.array([-9.0, 1.0, 9.0])).tolist() == [0.0, 0.5, 1.0]
    assert schema.from_unit(np.array([-9.0, 0.5, 9.0])).tolist() == [-1.0, 1.0, 3.0]


def test_from_unit_in_a_narrower_type_saturates():
    schema = ImageSchema(1, 1, 1, "uint16", 0.0, 4095.0)
    assert schema.from_unit(np.array([0.0, 0.01, 1.0]), "uint8").tolist() == [0, 41, 255]
    assert ImageSchema(1, 1, 1, "int16", -300.0, 300.0).from_unit(np.array([0.0, 1.0]), "int8").tolist() == [-128, 127]


def test_from_unit_rounds_integers_only():
    assert SCHEMA.from_unit(np.array([0.5])).tolist() == [128]
    assert SCHEMA.from_unit(np.array([0.5]), "float64").tolist() == [127.5]


@pytest.mark.parametrize("schema", [SCHEMA, ImageSchema(1, 65536, 1, "float64", -1.5, 2e5)])
def test_json_round_trip(schema):
    assert ImageSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize("junk", [None, 5, "text", [], {}, [1, 2], {"kind": "image"}])
def test_from_json_refuses_junk(junk):
    with pytest.raises(ModelError, match="schema is damaged"):
        ImageSchema.from_json(junk)


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", kind) for kind in ("table", None, 1)]
    + [("height", side) for side in (0, -1, 65537, 10**30, 2.0, True, "4", None, [4])]
    + [("channels", count) for count in (0, 5, "3", None)]
    + [("dtype", name) for name in ("nonsense", "", "O", "S4", "complex64", "u1,u1", "3u1", "(", 8, None, [], {"a": 1})]
    + [("low", low) for low in (255.0, 256.0, "0", None, True, float("nan"), float("-inf"), -(10**400))]
    + [("high", high) for high in (0.0, -1, "9", None, float("nan"), float("inf"), 10**400, 1e300)],
)
def test_from_json_refuses_wrong_fields(field, value):
    with pytest.raises(ModelError, match="schema is damaged"):
        ImageSchema.from_json({**SCHEMA.to_json(), field: value})
