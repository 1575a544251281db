"""A module imports only from its own package, and from packages of lower rank by their door."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "keras_distill"

RANKS = {
    "_internal": 0,
    "records": 1,
    **dict.fromkeys(["litert", "work", "data", "models", "losses", "metrics"], 2),
    "teachers": 3,
    "targets": 4,
    "training": 5,
    "export": 6,
    "compress": 7,
    "device": 7,
    "specialists": 7,
    "benchmarks": 8,
    "report": 8,
    "precision": 9,
    "shrink": 9,
    "runs": 10,
    "cli": 11,
}


def _unit(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def _imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{a.name}") for a in node.names)


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if _unit(p) not in ("__init__", "__main__"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_lower_ranks(path):
    own = _unit(path)
    assert own in RANKS, f"{own} has no rank: give it one here and in the design"
    for line, name in _imports(path):
        parts = name.split(".")
        if parts[0] != "keras_distill" or len(parts) == 1 or parts[1] == own:
            continue
        other = parts[1]
        if other not in RANKS:  # a public name of the package itself, such as __version__
            assert other == "__version__", f"{path}:{line}: imports {name} through the package"
            continue
        assert RANKS[other] < RANKS[own], (
            f"{path}:{line}: {own} (rank {RANKS[own]}) imports {other} (rank {RANKS[other]})"
        )


def _past_the_door(own: str, path: Path) -> list[str]:
    """Imports of another package's private modules; `_internal` is shared by all."""
    found = []
    for line, name in _imports(path):
        parts = name.split(".")
        if parts[0] != "keras_distill" or len(parts) < 3 or parts[1] in (own, "_internal"):
            continue
        if any(part.startswith("_") for part in parts[2:]):
            found.append(f"{path}:{line}: imports {name}; use the door of {parts[1]}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_other_packages_by_their_door(path):
    found = _past_the_door(_unit(path), path)
    assert not found, "\n".join(found)


def test_the_door_test_sees_a_violation(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "from keras_distill.data import load\n"
        "from keras_distill.data import _splits\n"
        "from keras_distill.data._load import load\n"
        "from keras_distill.losses import functional\n"
        "from keras_distill._internal._spec import Spec\n"
    )
    assert len(_past_the_door("runs", bad)) == 2
    assert _past_the_door("data", bad) == []


def test_the_test_sees_a_violation(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("from keras_distill.cli import main\nfrom keras_distill import training\n")
    names = [name for _, name in _imports(bad)]
    assert names == ["keras_distill.cli.main", "keras_distill.training"]


def test_every_rank_exists():
    units = {_unit(p) for p in MODULES}
    assert set(RANKS) == units
