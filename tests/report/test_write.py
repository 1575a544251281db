"""`report.write` and the verb `report`: the page of any record, made again in place."""

import json
import shutil
import webbrowser

import pytest

from keras_distill import report
from keras_distill._internal import InputError
from keras_distill.cli import main


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run[0], tmp_path / "small")


def test_a_benchmark_that_was_printed_as_json_has_a_page(finished_run, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(finished_run[1].benchmark.model_dump_json())
    page = report.write(path)
    assert page == tmp_path / "mine.html" and "keras_distill benchmark" in page.read_text()


def test_a_run_is_found_by_its_folder_and_by_its_record(run):
    page = run / "report.html"
    before = page.read_text()
    page.unlink()
    assert report.write(run) == page == report.write(run / "record.json")
    assert page.read_text() == before


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "not a record in JSON"),
        ("[1]", "a JSON object is needed"),
        ('{"recipe": 3}', "`recipe` must"),
        ('{"entries": 3, "data": null}', "`entries` must"),
    ],
)
def test_a_broken_record_is_one_line(tmp_path, content, words):
    path = tmp_path / "record.json"
    path.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        report.write(path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_record_names_what_it_could_be(tmp_path):
    with pytest.raises(InputError, match=r"record\.json.*evaluation\.json"):
        report.write(tmp_path)


def test_values_that_contradict_each_other_are_one_line(run):
    values = json.loads((run / "record.json").read_text())
    values["variants"] = [{**v, "seeds": v["seeds"][:1]} for v in values["variants"]]
    (run / "record.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="seeds"):
        report.write(run)


@pytest.mark.parametrize("opens", [True, False])
def test_the_verb_opens_the_page_or_says_how(run, monkeypatch, capsys, opens):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or opens)
    assert main(["report", str(run), "--open"]) == 0
    assert opened == [(run / "report.html").resolve().as_uri()]
    out = capsys.readouterr().out
    assert str(run / "report.html") in out.replace("\n", "")
    assert ("No browser was found" in out) != opens


def test_the_verb_replaces_its_own_page_only(run, tmp_path, capsys):
    assert main(["report", str(run)]) == 0
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    assert main(["report", str(run), "-o", str(mine)]) == 2
    assert "exists" in capsys.readouterr().err and mine.read_text() == "mine"
    assert main(["report", str(run), "-o", str(mine), "--overwrite"]) == 0
