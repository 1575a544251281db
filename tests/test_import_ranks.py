"""A module imports only from lower ranks, or from its own folder."""

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
    "specialists": 7,
    "benchmarks": 8,
    "report": 8,
    "runs": 9,
    "cli": 10,
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
            if node.module == "keras_distill":
                yield from ((node.lineno, f"keras_distill.{a.name}") for a in node.names)
            else:
                yield node.lineno, node.module


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


def test_the_test_sees_a_violation(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("from keras_distill.cli import main\nfrom keras_distill import training\n")
    assert [name for _, name in _imports(bad)] == ["keras_distill.cli", "keras_distill.training"]


def test_every_rank_exists():
    units = {_unit(p) for p in MODULES}
    assert set(RANKS) == units
