"""What keeps the house as it is: shared files name no class of one modality; functions are short and take few parameters;
no files import each other in a circle."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fivefold"
MODALITIES = ("images", "tables", "series", "pictures", "parts")
ROOMS = ("schema", "settings", "dataset", "networks", "context", "likelihood", "linear", "jobs", "coding", "exact")
SHARED = [path for path in sorted(PACKAGE.rglob("*.py")) if not set(MODALITIES) & set(path.relative_to(PACKAGE).parts)]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def own_classes() -> set[str]:
    """All classes in the modalities' rooms."""
    rooms = [PACKAGE / modality / f"{room}.py" for modality in MODALITIES for room in ROOMS]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in rooms if path.exists()]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def names(path: Path) -> set[str]:
    """Every name, attribute and import in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.rpartition(".")[2])
    return found


def test_there_is_something_to_look_for():
    assert {"ImageSchema", "TableSchema", "SeriesSet", "TableSet", "SeriesContext"} <= own_classes()
    assert len(SHARED) > 40


@pytest.mark.parametrize("path", [path for path in SHARED if "rivals" not in path.parts], ids=lambda path: path.stem)
def test_shared_files_name_no_class_of_one_modality(path):
    assert not names(path) & own_classes()


def test_functions_are_short_and_take_few_parameters():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, FUNCTIONS):
                parts = node.args
                count = len(parts.posonlyargs) + len(parts.args) + len(parts.kwonlyargs)
                assert count <= 14, f"{path.name}: {node.name} has {count} parameters"
                lines = node.end_lineno - node.lineno + 1
                assert lines <= 60, f"{path.name}: {node.name} has {lines} lines"


def test_no_files_import_each_other_in_a_circle():
    """Imports for types and within functions count; `CycleError` has the circle."""
    graph = grimp.build_graph("fivefold", cache_dir=None)
    imports = {file: graph.find_modules_directly_imported_by(file) for file in graph.modules}
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()
