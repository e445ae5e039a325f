"""The Open Inference Protocol, version 2, in JSON: tensors go in, a job is done, tensors come out."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from fivefold.errors import DataError, UsageError, suggest
from fivefold.items import Schema
from fivefold.serve.answers import Answer
from fivefold.serve.bodies import Body, array_of, columns_of, load_json, table_of
from fivefold.serve.forms import JSON
from fivefold.serve.models import ServedModel
from fivefold.verbs.catalogue import VERBS, Verb

JOBS = tuple(name for name, verb in VERBS.items() if "archive" not in (verb.takes, verb.gives))
_MOST_SIDES = 8  # of a tensor
_DATA = "data"  # the one tensor of items that are arrays
_INTEGERS = (f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_TYPES: dict[str, set[type]] = {"BOOL": {bool}, "BYTES": {str}, **{name: {int} for name in _INTEGERS}}
_TYPES |= {name: {int, float} for name in ("FP16", "FP32", "FP64")}
_COLUMNS = {"real": "FP64", "integer": "INT64", "boolean": "BOOL"}
_SCORES = (("score", "FP64", [-1]), ("p_value", "FP64", [-1]), ("anomaly", "BOOL", [-1]))


@dataclass(frozen=True)
class Inference:
    """What a request asks for.

    Attributes
    ----------
    id : that the answer is to have; None if it is to have none
    verb, options : the job
    body : the input tensors, as data
    outputs : names of the tensors that are wanted; empty: all
    """

    id: str | None
    verb: Verb
    options: dict[str, Any]
    body: Body
    outputs: tuple[str, ...]

    @classmethod
    def parse(cls, content: bytes, schema: Schema) -> Inference:
        """That of the body of a request; raises `FivefoldError`."""
        wanted = {"id": "", "parameters": {}, "inputs": [], "outputs": []}
        found = load_json(content)
        if not isinstance(found, dict) or any(
            type(found.get(name, like)) is not type(like) for name, like in wanted.items()
        ):
            raise DataError(
                'JSON must be {"id": "…", "parameters": {…}, "inputs": […], "outputs": […]}, or some of these'
            )
        options = {name: _texts(value) for name, value in found.get("parameters", {}).items()}
        job = " ".join(options.pop("job", ["detect"]))
        if job not in JOBS:
            raise UsageError(f"`job` must be one of {', '.join(JOBS)}; got {job[:80]!r}")
        verb = VERBS[job]
        tensors = [_tensor(tensor) for tensor in found.get("inputs", [])]
        if bool(tensors) == (verb.takes == "nothing"):
            raise DataError(f"`inputs` of {job} must {'have none: it takes no data' if tensors else 'have tensors'}")
        body = Body(_data_of(tensors, verb, schema) if tensors else None, JSON)
        outputs = tuple(_name_of(output) for output in found.get("outputs", []))
        given = {name: texts for name, texts in options.items() if texts}
        return cls(found.get("id"), verb, verb.parse(given), body, outputs)

    def answer(self, model: str, found: Answer) -> dict[str, Any]:
        """What is answered, of results in JSON; raises `UsageError` for outputs that are none."""
        tensors = {tensor["name"]: tensor for tensor in _outputs(json.loads(found.content or b"{}"))}
        for name in self.outputs:
            if name not in tensors:
                raise UsageError(f"there is no output {name[:80]!r}{suggest(name[:80], tensors)}")
        said = {name: value for name, value in found.figures.items() if isinstance(value, bool | int | float | str)}
        if found.warnings:
            said["warnings"] = "; ".join(found.warnings)
        named = {} if self.id is None else {"id": self.id}
        outputs = [tensors[name] for name in self.outputs or tensors]
        return {"model_name": model, **named, "parameters": said, "outputs": outputs}


def describe(served: ServedModel) -> dict[str, Any]:
    """A model's inputs, and the outputs of `detect`."""
    schema = served.model.schema
    inputs: list[tuple[str, str, list[int]]] = [(_DATA, _datatype(schema.dtype), [-1, *schema.shape])]
    if hasattr(schema, "names"):
        inputs = [(column.name, _type_of(column), [-1]) for column in columns_of(schema)]
    keys = ("name", "datatype", "shape")
    tensors = {"inputs": inputs, "outputs": _SCORES}
    described = {side: [dict(zip(keys, tensor, strict=True)) for tensor in all_] for side, all_ in tensors.items()}
    return {"name": served.name, "platform": "fivefold", **described}


def _type_of(column: Any) -> str:
    return _COLUMNS.get(column.kind) or ("INT64" if column.kind == "category" and "int" in column.dtype else "BYTES")


def _datatype(dtype: str) -> str:
    return dtype.upper().replace("FLOAT", "FP")


def _texts(value: Any) -> list[str]:
    """An option as a query has it."""
    return [
        part if isinstance(part, str) else json.dumps(part) for part in (value if isinstance(value, list) else [value])
    ]


def _name_of(tensor: Any) -> str:
    name = tensor.get("name") if isinstance(tensor, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError("tensors must be objects with a `name`")
    return name


def _tensor(tensor: Any) -> tuple[str, list[int], list[Any]]:
    """Name, shape and flat values of an input; null is missing."""
    name = _name_of(tensor)
    shape, datatype, flat = tensor.get("shape"), tensor.get("datatype"), tensor.get("data")
    where = f"tensor {name[:80]!r}"
    if (
        not isinstance(shape, list)
        or not 0 < len(shape) <= _MOST_SIDES
        or not all(type(side) is int and side > 0 for side in shape)
    ):
        raise DataError(f"{where}: `shape` must be a list of 1 to {_MOST_SIDES} whole numbers above 0")
    if not isinstance(datatype, str) or datatype not in _TYPES:
        raise DataError(f"{where}: `datatype` must be one of {', '.join(_TYPES)}")
    while isinstance(flat, list) and flat and all(isinstance(part, list) for part in flat):
        flat = [value for part in flat for value in part]
    if not isinstance(flat, list) or len(flat) != math.prod(shape):
        raise DataError(f"{where}: `data` must be a list of as many values as its `shape` says")
    if not set(map(type, flat)) <= _TYPES[datatype] | {NoneType}:
        raise DataError(f"{where}: `data` must be of its `datatype` {datatype}, or null where missing")
    return name, shape, flat


def _data_of(tensors: Sequence[tuple[str, list[int], list[Any]]], verb: Verb, schema: Schema) -> Any:
    """An array of one tensor called `data`, unless a column is called so; else a table of a tensor per column."""
    name, shape, flat = tensors[0]
    known = () if verb.takes == "codes" else [column.name for column in columns_of(schema)]
    if len(tensors) == 1 and name == _DATA and _DATA not in known:
        return array_of(np.array(flat, object).reshape(shape).tolist(), schema)
    columns = {name: cells for name, _, cells in tensors}
    if len(columns) < len(tensors) or any(len(cells) != len(flat) for cells in columns.values()):
        raise DataError("`inputs` must have names of their own, and be of one length")
    return table_of(columns, len(flat), schema)


def _outputs(results: Mapping[str, Any], within: str = "") -> Iterator[dict[str, Any]]:
    """The tensors of results in JSON: of tables one per column, called `part.column` if they are beside the results."""
    if "values" in results:
        flat = np.array(results["values"], object).ravel().tolist()
        yield {
            "name": within or _DATA,
            "datatype": _datatype(results["dtype"]),
            "shape": results["shape"],
            "data": flat,
        }
    before = f"{within}." if within else ""
    for name in results["rows"][0] if results.get("rows") else ():
        cells = [row[name] for row in results["rows"]]
        kinds = set(map(type, cells))
        datatype = next((of for of in ("BYTES", "BOOL", "INT64") if kinds & _TYPES[of] and float not in kinds), "FP64")
        yield {"name": before + name, "datatype": datatype, "shape": [len(cells)], "data": cells}
    for name, part in results.items():
        if isinstance(part, dict) and name != "figures":
            yield from _outputs(part, before + name)
