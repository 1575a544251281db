"""Each study's README shows the numbers of its records, to the last digit."""

import json
import re
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "examples" / "studies"
WITH_TABLES = sorted(
    path.parent.name
    for path in STUDIES.glob("*/study.py")
    if "\ndef readme_tables(" in path.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def pages(load_study):
    """The script that writes all tables."""
    return load_study(".", "tables")


@pytest.mark.parametrize("name", WITH_TABLES)
def test_readme_shows_the_tables_of_its_records(name, pages, load_study, studies):
    readme = (studies / name / "README.md").read_text(encoding="utf-8")
    tables = load_study(name).readme_tables(studies / name / "records")
    assert tables
    assert pages.with_tables(readme, tables) == readme


def test_the_readme_quotes_the_records(pages, load_study, studies):
    readme = (studies.parents[1] / "README.md").read_text(encoding="utf-8")
    quoted = [name for name in WITH_TABLES if "headlines" in vars(load_study(name))]
    assert len(quoted) > 3
    for name in quoted:
        for question, answer in load_study(name).headlines(studies / name / "records"):
            assert pages.with_headline(readme, name, question, answer) == readme


def test_a_page_with_other_tables_or_rows_is_refused(pages):
    page = "a\n<!-- table -->\nold\n<!-- /table -->\nb"
    assert pages.with_tables(page, ["new\n"]) == page.replace("old", "new")
    with pytest.raises(ValueError, match="1 tables, not 2"):
        pages.with_tables(page, ["one", "two"])
    row = "| Why? | {} | [x](studies/x/README.md) |"
    assert pages.with_headline(row.format("old"), "x", "Why?", "new") == row.format("new")
    with pytest.raises(ValueError, match="one row"):
        pages.with_headline(row.format("old"), "y", "Why?", "new")


def test_readme_of_export_shows_the_run(studies):
    readme = (studies / "export" / "README.md").read_text(encoding="utf-8")
    record = json.loads((studies / "export" / "records" / "mnist-run.json").read_text())
    entries = {e["name"]: e for e in record["benchmark"]["entries"] if e["runtime"] == "litert"}
    titles = ("teacher `mlp:1200x1200`, float32", "student `mlp:100x100`, float32", "student, int8")
    for title, entry in zip(titles, entries.values(), strict=True):
        cells = (
            f"| {title} | {entry['size']['bytes']:,} | {100 * entry['quality']['accuracy']:.2f} |"
        )
        assert cells in readme
        agreement = entry["quality"]["agreement"]
        assert agreement is None or f"{cells} {agreement:.3f} |" in readme
    for variant in record["variants"]:
        accuracy = variant["test_accuracy"]
        value, low, high = (f"{100 * accuracy[key]:.1f}" for key in ("value", "low", "high"))
        assert f"{value} ({low} to {high})\n{variant['name']}" in readme or (
            f"{value} ({low} to {high}) {variant['name']}" in readme
        )


def test_every_study_has_a_question_an_answer_and_a_command(studies):
    names = {path.name for path in studies.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert set(WITH_TABLES) < names
    for name in names:
        lines = (studies / name / "README.md").read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# ") and lines[0].endswith("?"), name
        assert lines[2].startswith("**"), name
        assert any(line.startswith("## Command") for line in lines), name
        assert "## Limits" in lines, name


def test_every_figure_of_the_findings_is_in_its_study(studies):
    findings = studies.parents[1] / "docs" / "findings.md"
    rows = re.findall(r"^\| (.+) \| (.+) \| \[[^]]+\]\((.+)\) \|$", findings.read_text(), re.M)
    assert len(rows) > 5
    for _, found, link in rows:
        page = (findings.parent / link).read_text(encoding="utf-8")
        figures = re.findall(r"(?<![\d:x])-?\d+\.\d+|(?<![\d.:x])\d{2,}(?![\d.x])", found)
        assert figures, found
        for figure in figures:
            assert figure in page, (figure, link)


def test_readme_of_class_maps_shows_the_runs(studies):
    folder = studies / "class-maps"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0]: line for line in readme.splitlines() if line.startswith("| ")}
    for column, name in ((1, "ten"), (2, "coarse")):
        record = json.loads((folder / "records" / f"{name}.json").read_text())
        found = {v["name"]: v["test_accuracy"] for v in record["variants"]}
        shown = {
            "| student alone, on the labels": _interval(found["alone"]),
            "| student distilled": _interval(found["distilled"]),
            "| gain, points, paired over 3 seeds": _interval(record["gain"], "+"),
        }
        for title, text in shown.items():
            assert rows[title].strip("| ").split(" | ")[column] == text
        accuracy = f"{100 * record['teacher']['test_accuracy']:.1f}"
        assert accuracy in rows["| teacher, a ResNet-8 of 84,564 parameters, through the map"]


def _interval(found, sign=""):
    value, low, high = (f"{100 * found[key]:{sign}.1f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
