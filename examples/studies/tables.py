"""Writes the tables of all study pages, and the rows of the README that quote them.

    python examples/studies/tables.py

A page is `README.md` in the folder of a study. What its `study.py` returns from `readme_tables`
replaces the blocks `<!-- table -->` … `<!-- /table -->` of the page, in order. What its `headlines`
returns, pairs of a question and an answer, are rows in the results of the project's README.
"""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

STUDIES = Path(__file__).parent
README = STUDIES.parents[1] / "README.md"
_TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- /table -->)", re.DOTALL)


def studies_with_tables() -> list[str]:
    """Returns the names of the studies whose script makes the tables of its page."""
    scripts = sorted(STUDIES.glob("*/study.py"))
    return [s.parent.name for s in scripts if "\ndef readme_tables(" in s.read_text("utf-8")]


def load(name: str) -> ModuleType:
    """Imports the script of a study."""
    path = STUDIES / name / "study.py"
    spec = importlib.util.spec_from_file_location(f"{name.replace('-', '_')}_study", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # as for a script: it imports what is in its folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def with_tables(page: str, tables: list[str]) -> str:
    """Returns the page with its tables replaced.

    Raises:
        ValueError: If the page has more or fewer tables.
    """
    if len(_TABLE.findall(page)) != len(tables):
        raise ValueError(f"The page has {len(_TABLE.findall(page))} tables, not {len(tables)}.")
    new = iter(tables)
    return _TABLE.sub(lambda found: f"{found[1]}{next(new).strip()}\n{found[2]}", page)


def with_headline(readme: str, name: str, question: str, answer: str) -> str:
    """Returns the project's README with the row of a study replaced.

    Raises:
        ValueError: If no row, or more than one, has this question and links to the study.
    """
    row = re.compile(
        rf"^\| {re.escape(question)} \| .* \| (\[[^]]+\]\([^)]*/{name}/README\.md\)) \|$", re.M
    )
    if len(row.findall(readme)) != 1:
        raise ValueError(f"README.md needs one row {question!r} that links to {name}.")
    return row.sub(lambda found: f"| {question} | {answer} | {found[1]} |", readme)


def main() -> None:
    for name in studies_with_tables():
        module, page = load(name), STUDIES / name / "README.md"
        tables = module.readme_tables(STUDIES / name / "records")
        page.write_text(with_tables(page.read_text("utf-8"), tables), "utf-8")
        for question, answer in getattr(module, "headlines", lambda _: [])(page.parent / "records"):
            readme = README.read_text("utf-8")
            README.write_text(with_headline(readme, name, question, answer), "utf-8")


if __name__ == "__main__":
    main()
