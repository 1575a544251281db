"""The scripts of examples/studies, as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "examples" / "studies"


@pytest.fixture(scope="session")
def studies():
    """The folder of all studies."""
    return STUDIES


@pytest.fixture(scope="session")
def load_study():
    """Loads the script `<study>/<script>.py` as a module: `load_study(study, script)`."""

    def load(study, script="study"):
        folder = STUDIES / study
        name = f"{study.replace('-', '_')}_study" if script == "study" else script
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, folder / f"{script}.py")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            sys.path.insert(0, str(folder))  # as for a script: it imports what is in its folder
            try:
                spec.loader.exec_module(sys.modules[name])
            finally:
                sys.path.remove(str(folder))
        return sys.modules[name]

    return load
