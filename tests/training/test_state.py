"""Training state without pickle."""

from __future__ import annotations

import json
import pickletools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fivefold.errors import ModelError
from fivefold.training.state import read_state, write_state

STATE = {
    "epoch": 3,
    "optimizer_states": [{"state": {0: {"step": torch.tensor(7.0)}, 1: {"exp_avg": torch.arange(6.0).view(2, 3)}}}],
    "half": torch.ones(2, dtype=torch.float16),
    "whole": torch.tensor([1, 2**40]),
    "flags": {True: None, "t": "a key like the format's own", "d": [1, [2.5, "x"], {}]},
    "empty": {},
}


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def round_trip(state, path):
    write_state(path, state)
    return read_state(path)


def test_round_trip(path):
    assert same(round_trip(STATE, path), STATE)


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(tree=_TREES)
@settings(max_examples=60, deadline=None)
def test_any_plain_tree_comes_back(tmp_path_factory, tree):
    state = {"tree": tree}
    assert same(round_trip(state, tmp_path_factory.mktemp("state") / "state.safetensors"), state)


def test_tensors_that_share_memory(path):
    weight = torch.arange(6.0)
    back = round_trip({"a": weight, "b": weight[2:], "c": weight.view(2, 3).T}, path)
    assert torch.equal(back["a"], weight)
    assert torch.equal(back["b"], weight[2:])
    assert torch.equal(back["c"], weight.view(2, 3).T)


def test_file_holds_no_pickle(path):
    round_trip(STATE, path)
    content = path.read_bytes()
    with pytest.raises(ValueError):
        list(pickletools.genops(content))
    header = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + header])["__metadata__"].keys() == {"tree"}
    assert not content.startswith(b"PK")  # what torch.save writes


def test_what_can_not_be_told_in_json_is_refused_and_leaves_nothing(path):
    with pytest.raises(TypeError):
        write_state(path, {"object": object()})
    assert list(path.parent.iterdir()) == []


def test_failed_save_keeps_the_state_before(path):
    round_trip(STATE, path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_state(path, {"object": object()})
    assert path.read_bytes() == before


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("not a state")


def without_tree(path):
    save_file({"a": torch.zeros(1)}, path)


def with_other_tree(content):
    def damage(path):
        save_file({"a": torch.zeros(1)}, path, {"tree": json.dumps(content)})

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        empty,
        text,
        without_tree,
        with_other_tree({"t": "b"}),
        with_other_tree({"x": 1}),
        with_other_tree({"d": [1]}),
        with_other_tree({"d": [[1]]}),
        with_other_tree({"d": [[[], 1]]}),
    ],
)
def test_damaged_state(path, damage):
    round_trip(STATE, path)
    damage(path)
    with pytest.raises(ModelError, match="damaged") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_missing_state(path):
    with pytest.raises(ModelError):
        read_state(path)
