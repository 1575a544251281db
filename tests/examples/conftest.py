"""The scripts of examples/, as modules."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def load_example():
    """Loads `load_example(name)` the script of that name."""

    def load(name):
        path = Path(__file__).parents[2] / "examples" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
