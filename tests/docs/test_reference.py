"""The reference of the Python API lists every public name; mkdocs checks that each exists."""

import re
from pathlib import Path

import yaml

import keras_distill

DOCS = Path(__file__).parents[2] / "docs"


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference/api").glob("*.md"))
    listed = set(re.findall(r"^::: keras_distill\.(\S+)$", pages, re.MULTILINE))
    names = {name for name in keras_distill.__all__ if not name.startswith("__")}
    packages = {name for name in names if (DOCS.parent / "keras_distill" / name).is_dir()}
    documented = {name.partition(".")[0] for name in listed}
    of_records = {"ExportRecord", "VerifyRecord"}  # listed with all records
    assert names - packages - of_records <= listed
    assert packages | {"records"} <= documented


def test_every_page_is_in_the_navigation():
    text = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    nav = yaml.safe_load(text[text.index("nav:") :])["nav"]
    linked = set(re.findall(r"[\w/-]+\.md", str(nav)))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages <= linked
