"""The package's front door."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import fivefold


def in_new_interpreter(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_importing_does_not_import_torch():
    code = "import sys, fivefold; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert in_new_interpreter(code) == "[]"


def test_using_a_name_imports_what_it_needs():
    code = "import sys, fivefold; fivefold.encode; print('torch' in sys.modules)"
    assert in_new_interpreter(code) == "True"


@pytest.mark.parametrize("name", fivefold.__all__)
def test_public_names_resolve(name):
    public = getattr(fivefold, name)
    assert callable(public)
    assert public.__name__ == name
    assert public.__doc__


def test_unknown_name():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fivefold.nonsense


def test_version_is_that_of_the_distribution():
    assert metadata.version("fivefold") == fivefold.__version__


@pytest.mark.parametrize("kind", ["images", "series", "tables"])
def test_models_are_opened_without_the_compiler(kind):
    """Which takes longer to import than a small job."""
    model = Path(__file__).parent / "golden" / kind / "model"
    code = f"import sys, fivefold; fivefold.load({str(model)!r}); print('torch._dynamo' in sys.modules)"
    assert in_new_interpreter(code) == "False"
