"""What the OpenAPI document says of verbs: their options, bodies and answers, with examples."""

from __future__ import annotations

import inspect
from typing import Any

from fivefold.serve.forms import ARROW_STREAM, BYTES, CSV, JSON, NPY, PNG, ZIP
from fivefold.serve.inference import JOBS
from fivefold.verbs.catalogue import Option, Verb

_ROWS = {
    "type": "object",
    "required": ["rows"],
    "properties": {"rows": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
}
_SPLIT = {
    "type": "object",
    "required": ["columns", "data"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "items": {"type": "array"}},
        "index": {"type": "array"},
    },
}
_VALUES = {"type": "object", "required": ["values"], "properties": {"values": {"type": "array"}}}
_ERROR = {
    "type": "object",
    "required": ["error", "request"],
    "properties": {"error": {"type": "string"}, "request": {"type": "string"}},
}
_EXAMPLES = {
    "records": {"value": {"rows": [{"kind": "oak", "height": 21.4, "girth": None}]}},
    "split": {"value": {"columns": ["kind", "height"], "data": [["oak", 21.4], ["elm", None]]}},
    "array": {"value": {"values": [[0.1, 0.2, None]]}},
}
_REFUSALS = {
    400: "The body is not what its content type says",
    401: "No key, or a wrong one",
    404: "There is no such model",
    406: "No answer in such a form",
    408: "The body was too slow in coming",
    413: "Too large",
    422: "Data or options can't be what they are",
    429: "Too many requests wait",
    503: "It took too long, or the server is full",
}

_REFUSED = {
    str(status): {"description": text, "content": {JSON: {"schema": _ERROR}}} for status, text in _REFUSALS.items()
}
_TENSOR = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
        "datatype": {"type": "string"},
        "data": {"type": "array"},
    },
}
_NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
_INFERENCE = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object", "properties": {"job": {"type": "string", "enum": list(JOBS)}}},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": _NAMED},
    },
}
_HEIGHT = {"name": "height", "shape": [2], "datatype": "FP64", "data": [21.4, None]}
INFER: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": _INFERENCE,
                "examples": {"detect": {"value": {"parameters": {"job": "detect"}, "inputs": [_HEIGHT]}}},
            }
        },
    },
    "responses": {
        "200": {"description": "The results as tensors", "content": {JSON: {"schema": {"type": "object"}}}},
        **_REFUSED,
    },
}


def describe_verb(verb: Verb) -> dict[str, Any]:
    """Of an operation all that FastAPI can't know: the body is read by the modality, not by a schema."""
    parameters = [_parameter(option) for option in verb.options.values() if not option.is_file]
    part = {"type": "string"}
    parameters.append({"name": "part", "in": "query", "required": False, "schema": part, "description": _PART})
    described: dict[str, Any] = {"parameters": parameters, "responses": {"200": _answer(verb), **_REFUSED}}
    if body := _body(verb):
        described["requestBody"] = body
    return described


_PART = "Of results in several files the one that is wanted: data, lower, upper, draw1, std, …; by default data, in JSON all"


def _parameter(option: Option) -> dict[str, Any]:
    required = option.default is inspect.Parameter.empty
    return {"name": option.public, "in": "query", "required": required, "schema": option.json_schema}


def _body(verb: Verb) -> dict[str, Any] | None:
    binary = {"type": "string", "format": "binary"}
    files = {option.public: binary for option in verb.options.values() if option.is_file}
    if verb.takes == "nothing":
        form = {"schema": {"type": "object", "properties": files}}
        return {"required": False, "content": {"multipart/form-data": form}}
    form = {"schema": {"type": "object", "required": ["data"], "properties": {"data": binary, **files}}}
    content: dict[str, Any] = {"multipart/form-data": form}
    if verb.takes == "archive":
        return {"required": True, "content": {BYTES: {"schema": binary}, **content}}
    if verb.takes == "codes":
        values = {"schema": _VALUES, "examples": {"codes": {"value": {"values": [[0.0, 0.5, -1.0]]}}}}
        return {"required": True, "content": {JSON: values, NPY: {"schema": binary}, **content}}
    content[JSON] = {"schema": {"anyOf": [_ROWS, _SPLIT, _VALUES]}, "examples": _EXAMPLES}
    for media in (CSV, "application/vnd.apache.parquet", ARROW_STREAM, NPY, PNG, "audio/wav"):
        content[media] = {"schema": binary}
    return {"required": True, "content": content}


def _answer(verb: Verb) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    if verb.gives == "archive":
        return {"description": "An archive", "content": {BYTES: binary}}
    media = [NPY, ZIP] if verb.gives == "codes" else [CSV, ARROW_STREAM, ZIP]
    media += [NPY, PNG] if verb.gives == "items" else []
    content = {JSON: {"schema": {"type": "object"}}, **dict.fromkeys(media, binary)}
    return {"description": "The results, in the form of `Accept` or of what came", "content": content}
