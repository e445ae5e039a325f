"""PyTorch's operators that ONNX Runtime lacks, or has in single precision alone, by those that it has.

Importing this takes an extra.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from onnxscript import ir
from onnxscript.values import Opset

Value = Any  # of a graph
op: Any = Opset("", 22)
_LEAST_HALF = -20.0  # of an exponent that is −1 by far: below, one factor would be infinite and the other 0


def _double(x: Value) -> bool:
    return bool(x.dtype == ir.DataType.DOUBLE)


def _number(x: Value, number: float) -> Value:
    """In the precision of `x`."""
    return op.Constant(value=ir.tensor(np.array(number, np.float64 if _double(x) else np.float32)))


def _expm1(x: Value) -> Value:
    """Without the cancellation of eˣ − 1, which small arguments would lose most digits to."""
    half = op.Max(op.Div(x, _number(x, 2.0)), _number(x, _LEAST_HALF))
    half.dtype = x.dtype
    return op.Mul(op.Mul(_sinh(half), op.Exp(half)), _number(x, 2.0))


def _sinh(x: Value) -> Value:
    if not _double(x):
        return op.Sinh(x)
    return op.Div(op.Sub(op.Exp(x), op.Exp(op.Neg(x))), _number(x, 2.0))


def _asinh(x: Value) -> Value:
    if not _double(x):
        return op.Asinh(x)
    size = op.Abs(x)
    root = op.Sqrt(op.Add(op.Mul(x, x), _number(x, 1.0)))
    return op.Mul(op.Sign(x), op.Log(op.Add(size, root)))


def _log_sigmoid(x: Value) -> Value:
    """Without the logarithm of a sigmoid that is 0 in the floats' range."""
    return op.Sub(op.Min(x, _number(x, 0.0)), op.Log(op.Add(op.Exp(op.Neg(op.Abs(x))), _number(x, 1.0))))


def _silu(x: Value) -> Value:
    """As a quotient: some versions of ONNX Runtime make of x · σ(x) what they have in single precision alone."""
    if not _double(x):
        return op.Mul(x, op.Sigmoid(x))
    return op.Div(x, op.Add(op.Exp(op.Neg(x)), _number(x, 1.0)))


def _solve(matrix: Value, right_side: Value, left: bool = True) -> Value:
    """By elimination without pivots, which is stable for what is positive definite."""
    size = matrix.shape[-1]
    rows = op.Concat(matrix, right_side, axis=-1)
    for turn in range(size):
        start, stop = (op.Constant(value_ints=[place]) for place in (turn, turn + 1))
        line, factor = (op.Slice(rows, start, stop, op.Constant(value_ints=[axis])) for axis in (-2, -1))
        line = op.Div(line, op.Slice(line, start, stop, op.Constant(value_ints=[-1])))
        own = op.Constant(value=ir.tensor(np.arange(size)[:, None] == turn))
        rows = op.Where(own, line, op.Sub(rows, op.Mul(factor, line)))
    first, last, axis = (op.Constant(value_ints=[place]) for place in (size, np.iinfo(np.int64).max, -1))
    return op.Slice(rows, first, last, axis)


OPERATORS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.asinh.default: _asinh,
    torch.ops.aten.expm1.default: _expm1,
    torch.ops.aten.linalg_solve.default: _solve,
    torch.ops.aten.log_sigmoid.default: _log_sigmoid,
    torch.ops.aten.silu.default: _silu,
    torch.ops.aten.sinh.default: _sinh,
}
