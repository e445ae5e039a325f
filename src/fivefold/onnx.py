"""Jobs of a model as ONNX files, with all that is before and after the networks inside; the packages for it are an extra."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from fivefold.atomic import atomic_file, check_free
from fivefold.errors import ModelError, UsageError
from fivefold.items import Items
from fivefold.modality import Graphs, modality_taking

if TYPE_CHECKING:
    import onnx

    from fivefold.model.fitted import FittedModel
    from fivefold.model.graph import Graph

JOBS = "decode", "denoise", "detect", "encode", "impute"
_OPSET, _TEXT_OPSET = 22, 4
_TRACED = 20  # items
_CHECKED, _HIDDEN = 200, 0.2  # items that both are tried on; the share of the elements of drawn ones that are hidden
_TOLERANCE = 1e-5
_INNER = "\x1f"  # begins names within graphs: columns may be called whatever nodes are


def export(
    model: FittedModel,
    path: str | Path,
    job: str = "detect",
    *,
    free: bool = False,
    check: Any = None,
    force: bool = False,
    **reading: Any,
) -> dict[str, float]:
    """Write a job as an ONNX file that takes data as they are, and gives what the job gives, for any number of items.

    Standardisation, categories, calibration and the way back to the data's units are in the file. Of tables each modelled
    column is an input `(n,)` by its name: float64, NaN where missing; texts of a category, empty where missing; dates and times
    as counts of the column's unit since 1970. `detect` gives `score` and `p_value`, `encode` `mean` and `std`, `decode` columns
    by name, and `impute` such as `height.imputed`; where a column is called `score`, the output is `score_`. Of images the input
    is `image` `(n, h, w, c)`, float32 in the data's range, NaN where missing; `decode` and `denoise` give such images in the
    data's dtype.

    Before the file is written, ONNX Runtime does the job for items, and is compared with the job itself.

    Parameters
    ----------
    job : decode, denoise, detect, encode or impute
    free : of tables: relations between columns that were found in the fit need not hold in what is filled in
    check : data to compare with; by default 200 items that the model draws, a fifth of whose elements is hidden
    force : overwrite what is at `path`
    reading : how the data are read; see the modality's `open`

    Returns
    -------
    The greatest difference, by output: of scores relative to 1 + |score|, of items to the range of the data, of p-values beyond
    those of scores that are 1e-5 lower or higher

    Raises
    ------
    UsageError : for a job that a graph can't hold, such as one that draws random numbers, or if the extra is not installed
    ModelError : if ONNX Runtime gives anything else than the job; nothing is written then

    Examples
    --------
    >>> differences = fivefold.export(tree_model, "trees.onnx", "encode")
    >>> list(differences), max(differences.values()) < 1e-5
    (['mean', 'std'], True)
    """
    check_free(path := Path(path), force)
    room = _room(model, job, free)
    graph = room.graph(_copy(model), job, free)
    items = _items(model, check, reading)
    content = _optimised(_with_texts(_translated(graph), graph))
    feeds, known = (of(model, job, items, free) for of in (room.feeds, room.results))
    found = dict(zip(graph.outputs, _run(content, feeds), strict=True))
    differences = {name: _difference(model, graph, name, found, known) for name in graph.outputs}
    _refuse_wrong(job, differences)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return differences


def _refuse_wrong(job: str, differences: Mapping[str, float]) -> None:
    """Raise `ModelError` if any is too great, or no number."""
    for name, difference in differences.items():
        if not difference <= _TOLERANCE:
            raise ModelError(
                f"{job} by ONNX Runtime gives another {name}: it differs by {difference:.2g}; nothing was written"
            )


def _require() -> None:
    """Raise `UsageError` if the extra is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(f"export needs {error.name}, an extra: pip install fivefold[onnx]") from None


def _items(model: FittedModel, data: Any, reading: Mapping[str, Any]) -> Items:
    """At most 200 of the data, or as many that the model draws, a fifth of whose elements is hidden."""
    from fivefold.dataset import open_data
    from fivefold.jobs.generate import new_items

    if data is not None:
        items = next(iter(open_data(data, model.schema, **reading).blocks("export"))).items
        return items.select(slice(0, _CHECKED))
    values = new_items(model, _CHECKED, 0).values
    hidden = np.random.default_rng(0).random(values.shape) < _HIDDEN
    return Items(values, model.schema, "drawn items", hidden)


def _room(model: FittedModel, job: str, free: bool) -> Graphs:
    """The modality's graphs; raises `UsageError` for what is no job, or if the extra is not installed."""
    modality = modality_taking(model, "export", free=free)
    if job not in JOBS:
        raise UsageError(f"`job` must be one of {', '.join(JOBS)}; got {job!r}")
    if free and job != "impute":
        raise UsageError("`free` goes with impute")
    _require()
    return modality.graphs


def _copy(model: FittedModel) -> FittedModel:
    """One whose weights ask for no gradients; those of a model in use may belong to inference, and can't be traced."""
    vae, context = deepcopy((model.vae, model.context))
    own = replace(model, vae=vae, context=context)
    own.networks.requires_grad_(False)
    return own


def _translated(graph: Graph) -> onnx.ModelProto:
    """The network in ONNX's operators."""
    import torch

    from fivefold.model.graph import Varied
    from fivefold.model.operators import OPERATORS

    network = Varied(graph.network).eval()
    inputs = tuple(torch.zeros(_TRACED, *shape, dtype=kind) for shape, kind in graph.inputs.values())
    rows = torch.export.Dim("n")
    with torch.no_grad(), _quiet():
        network(*inputs)  # constants that are kept are made now, not while it is traced
        program = torch.export.export(network, inputs, dynamic_shapes=(tuple({0: rows} for _ in inputs),))
        found = torch.onnx.export(
            program,
            custom_translation_table=dict(OPERATORS),
            input_names=[f"given:{place}" for place in range(len(graph.inputs))],
            output_names=[f"found:{place}" for place in range(len(graph.outputs))],
            opset_version=_OPSET,
            optimize=False,
            verbose=False,
        )
    assert found is not None
    return _named(found.model_proto, graph)


def _named(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto:
    """With the inputs' and outputs' own names, and all others such as no column has."""
    names = {f"given:{place}": name for place, name in enumerate(graph.inputs)}
    names |= {f"found:{place}": name for place, name in enumerate(graph.places)}
    del model.graph.value_info[:]
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name and f"{_INNER}{name}") for name in values]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name = names.get(value.name, f"{_INNER}{value.name}")
    return model


def _with_texts(model: onnx.ModelProto, graph: Graph) -> onnx.ModelProto:
    """With texts as inputs and outputs in the place of their codes."""
    from onnx import TensorProto, helper

    model.graph.initializer.append(helper.make_tensor(zero := f"{_INNER}zero", TensorProto.DOUBLE, [], [0.0]))
    before, after = list[Any](), list[Any]()
    for name, (codes, other) in graph.texts.items():
        _rename(model, name, own := f"{_INNER}{name}:code")
        keys, values = list(codes), list(codes.values())
        encoder: dict[str, Any] = {"keys_strings": keys, "values_int64s": values, "default_int64": other}
        before.append(helper.make_node("LabelEncoder", [name], [f"{own}:whole"], domain="ai.onnx.ml", **encoder))
        before.append(helper.make_node("Cast", [f"{own}:whole"], [own], to=TensorProto.DOUBLE))
    for name, (texts, source) in graph.labels.items():
        _rename(model, name, own := f"{_INNER}{name}:code")
        label = f"{own}:label" if source else name
        decoder: dict[str, Any] = {
            "keys_int64s": list(range(len(texts))),
            "values_strings": texts,
            "default_string": "",
        }
        after.append(helper.make_node("Cast", [own], [f"{own}:whole"], to=TensorProto.INT64))
        after.append(helper.make_node("LabelEncoder", [f"{own}:whole"], [label], domain="ai.onnx.ml", **decoder))
        if source:
            after.append(helper.make_node("Less", [own, zero], [f"{own}:kept"]))
            after.append(helper.make_node("Where", [f"{own}:kept", source, label], [name]))
    nodes = [*before, *model.graph.node, *after]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for value in (*model.graph.input, *model.graph.output):
        if value.name in graph.texts or value.name in graph.labels:
            value.type.tensor_type.elem_type = TensorProto.STRING
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", _TEXT_OPSET))
    return model


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """A value within a graph."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new


def _optimised(model: onnx.ModelProto) -> bytes:
    """Constants folded, by ONNX Runtime, in the standard's operators."""
    import onnxruntime

    with TemporaryDirectory(prefix="fivefold-") as folder:
        options = _options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "model.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def _run(content: bytes, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, _options(), ["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, dict(feeds))
    return found


def _options() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    return options


def _difference(
    model: FittedModel, graph: Graph, name: str, found: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
) -> float:
    """The greatest of an output, see `export`; infinite where texts are others, or NaN are elsewhere."""
    one, other = found[name], known[name]
    if one.dtype.kind == "O" or not np.array_equal(one != one, other != other):
        return 0.0 if np.array_equal(one, other) else np.inf
    if name == "p_value":
        assert model.normality is not None
        reach = _TOLERANCE * (1 + np.abs(known["score"]))
        low, high = (model.normality.p_value(known["score"] + sign * reach) for sign in (-1, 1))
        return float(np.nanmax(np.maximum(low - one, one - high), initial=0.0))
    one, other = one.astype(np.float64), other.astype(np.float64)
    off = np.abs(one - other)
    if name == "score":
        return float(np.nanmax(off / (1 + np.abs(other)), initial=0.0))
    span = np.nanmax(other, initial=-np.inf) - np.nanmin(other, initial=np.inf)
    return float(np.nanmax(off - graph.steps.get(name, 0), initial=0.0) / (span if 0 < span < np.inf else 1.0))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without remarks on the exporter's own affairs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
