"""The page of a sweep, of records without any training behind them."""

import html
import re
import shlex
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from keras_distill import report, runs
from keras_distill.records import JobRecord, SweepRecord, parse_setting
from keras_distill.report._sweep_charts import anchor
from keras_distill.runs import _sweep_plan, _sweep_table

TWO_KEYS = {"distillation.temperature": [1, 2, 4, 8], "distillation.alpha": [0.5, 0.7, 0.9]}
ONE_KEY = {"distillation.temperature": [1, 2, 4]}
THREE_KEYS = {**TWO_KEYS, "student.model": ["mlp:16", "mlp:32"]}


def made(grid, seeds=3, *, failed=(), reference="alone") -> SweepRecord:
    """A record with accuracies that are best at temperature 4 and alpha 0.9."""
    changes = {"sweep.grid": grid, "sweep.reference": reference, "seeds": seeds}
    recipe = runs.load_recipe("digits", changes)
    points, random = _sweep_plan.plan(recipe, "full"), np.random.default_rng(0)
    jobs, tested = {"teachers": {}, "stores": {}, "students": {}}, {}

    def job(kind, name, result, error=None):
        jobs[kind][name] = JobRecord(
            name=name, function="a:b", fingerprint="0", status="failed" if error else "done",
            result=None if error else result, error=error, attempts=1, seconds=1.0,
        )  # fmt: skip

    for point in points:
        if point.teacher:
            sizes = {"train": 1167, "validation": 130, "test": 500}
            facts = {"model": "mlp:256", "source": "digits", "parameters": 9, "fingerprint": "ab"}
            job("teachers", point.teacher, {**sizes, **facts, "validation_accuracy": 0.98})
            job("stores", point.store, {"store_bytes": 23340})
            tested[point.teacher] = 0.97
        part = point.recipe.distillation
        center = 0.9
        if point.taught:
            center = 0.95 - 0.01 * abs(np.log2(part.temperature) - 2) - 0.1 * (0.9 - part.alpha)
        for seed in point.seeds:
            name = point.student(seed)
            accuracy = float(center + random.normal(0, 0.002))
            course = [accuracy - 0.2 * 0.5**i for i in range(5)] + [accuracy]
            curve = {"epochs": [*range(1, 7)], "loss": [1.0] * 6, "validation_accuracy": course}
            facts = {"labels": 100, "parameters": 1210, "steps": 60, "validation": 130}
            result = {"seed": seed, "validation_accuracy": accuracy, "seconds": 1.0, **facts}
            error = "out of <memory>" if (point.name, seed) in failed else None
            job("students", name, {**result, "curve": curve}, error)
            if error is None:
                tested[name] = accuracy - 0.005
    outcome = _sweep_table.Outcome(**jobs, tested=tested)
    return _sweep_table.sweep_record(
        recipe, "full", points, outcome, None, started="2026-01-01T00:00:00+00:00", seconds=9.0
    )


@pytest.mark.parametrize("grid", [ONE_KEY, TWO_KEYS, THREE_KEYS], ids=["one", "two", "three"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_every_point_has_a_section_that_links_lead_to(grid, seeds):
    record = made(grid, seeds)
    page = report.render_sweep(record)
    sections = set(re.findall(r'<section class="point" id="([^"]+)"', page))
    assert sections == {anchor(point) for point in record.points}
    links = set(re.findall(r'href="#(point-[^"]+)"', page))
    assert links <= sections
    taught = {anchor(point) for point in record.points if not point.is_reference}
    assert links == taught  # of the heat map, or of the differences
    assert "vega.github.io" not in page
    assert len(page) < 1_000_000


def test_losses_are_named_and_commands_give_the_point_again():
    losses = [{"loss": "DISTLoss", "weight": 1.0}, {"loss": "DecoupledLoss", "weight": 0.5}]
    rates = [0.00495312345, 0.1]
    grid = {"distillation.losses": [[], losses], "training.learning_rate": rates}
    record = made(grid, 1, reference="label_smoothing")
    text = " ".join(report.sweep_sentences(record))
    assert "Best minus the student with label smoothing" in text
    cells = {cell for row in report.sweep_table(record)[1] for cell in row}
    assert {"DISTLoss + DecoupledLoss(weight=0.5)", "label smoothing", "default"} <= cells
    page = html.unescape(report.render_sweep(record))
    commands = re.findall(r"keras-distill run recipe.toml (--set .*?)<", page)
    found = []
    for command in commands:
        settings = dict(map(parse_setting, shlex.split(command.replace("--set ", ""))))
        found.append((settings["distillation.losses"], settings["training.learning_rate"]))
    assert found == [(given, rate) for given in ([], losses) for rate in rates]


def test_the_heat_map_frames_the_best_point_and_the_flat_region():
    record = made(TWO_KEYS)
    best = record.point(record.best)
    assert best.values == {"distillation.temperature": 4.0, "distillation.alpha": 0.9}
    page = report.render_sweep(record)
    wide = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page, re.S)[0])
    frames = {"3": set(), "1.2": set()}
    for link in wide.iter("{http://www.w3.org/2000/svg}a"):
        for shape in link:
            frames.get(shape.get("stroke-width"), set()).add(link.get("href"))
    assert frames["3"] == {f"#{anchor(best)}"}
    flat = {f"#point-{name}" for name in record.flat}
    assert frames["1.2"] == flat - frames["3"]
    labels = [text.text for text in wide.iter("{http://www.w3.org/2000/svg}text")]
    assert labels.count(f"{100 * best.validation_accuracy.value:.1f}") >= 1


def test_failures_and_their_reasons_are_shown_as_text():
    points = _sweep_plan.plan(runs.load_recipe("digits", {"sweep.grid": ONE_KEY}), "full")
    record = made(ONE_KEY, failed={(points[0].name, 1)})
    page = report.render_sweep(record)
    assert "Seed 1 failed: out of &lt;memory&gt;" in page and "Failed:" in page
    assert len(record.points[0].seeds) == 2
    assert "2 (1 failed)" in page


def test_a_loss_that_needs_labels_is_named_where_they_are_few():
    both = [[{"loss": "SoftTargetLoss"}], [{"loss": "DecoupledLoss"}]]
    named = "DecoupledLoss learned from the labeled examples only"
    grid = {"distillation.losses": both}
    assert named in " ".join(report.sweep_sentences(made(grid)))  # digits: 100 labels
    grid["data.labels"] = [0.2, 1.0]
    assert named in " ".join(report.sweep_sentences(made(grid)))
    assert named not in " ".join(report.sweep_sentences(made(grid | {"data.labels": [1.0]})))
    assert named not in " ".join(report.sweep_sentences(made({"distillation.losses": both[:1]})))


def test_sentences_say_no_more_than_the_statistics():
    one_seed = " ".join(report.sweep_sentences(made(ONE_KEY, 1)))
    assert "on 1 seed, without a test" in one_seed and "p =" not in one_seed
    several = " ".join(report.sweep_sentences(made(ONE_KEY, 3)))
    assert "after Holm's correction for 3 paired t tests" in several
    no_reference = " ".join(report.sweep_sentences(made(ONE_KEY, 3, reference="none")))
    assert "Best minus" not in no_reference
    columns, _ = report.sweep_table(made(ONE_KEY, 3, reference="none"))
    assert "minus ref." not in columns


def test_the_page_is_made_again_from_the_record_without_tensorflow(tmp_path):
    record = made(TWO_KEYS)
    record.save(tmp_path / "sweep.json")
    code = (
        "import sys; from keras_distill import report\n"
        f"print(report.write({str(tmp_path)!r})); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").read_text("utf-8") == report.render_sweep(record)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_asks_for_nothing(browser, tmp_path, width, dark):
    page = tmp_path / "page.html"
    page.write_text(report.render_sweep(made(TWO_KEYS)), "utf-8")
    browser.open(page, width=width, dark=dark)
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.run(wider) == 0
    assert browser.messages() == [] and browser.requests() == []
    click = "document.querySelector('.chart a[href] path').dispatchEvent("
    browser.run(f"{click}new MouseEvent('click', {{bubbles: true, cancelable: true}}))")
    assert browser.run("return location.hash").startswith("#point-")


def test_the_curves_of_two_references_have_names_of_their_own():
    page = report.render_sweep(made({**ONE_KEY, "data.labels": [50, 100]}, 1))
    assert {"alone (labels 50)", "alone (labels 100)"} <= set(
        re.findall(r">(alone [^<]+)</text>", page)
    )
