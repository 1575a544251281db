"""A run whose student is the teacher, made narrower."""

from pathlib import Path

import keras
import pytest

from keras_distill import models, runs
from keras_distill._internal import InputError
from keras_distill.records import RunRecord
from keras_distill.runs import _run, _shrink
from keras_distill.runs._run import run

SMALL = Path(__file__).parents[1] / "golden" / "small.toml"


def _recipe(student, **changes):
    settings = {"student.model": student, "seeds": 1, "export.quantizations": ["float32"]}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return runs.load_recipe(str(SMALL), settings | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "shrunk"
    record = run(_recipe("shrink:0.5?importance=taylor"), out)
    return out, record


def test_the_student_is_the_teacher_of_half_the_width(finished):
    out, record = finished
    student = models.load(out / "student.keras")
    assert [layer.units for layer in student.layers if isinstance(layer, keras.layers.Dense)] == [
        16,
        10,
    ]
    assert record.variant("distilled").parameters == student.count_params()
    assert record.shrink.width == 0.5 and record.shrink.importance == "taylor"
    assert RunRecord.load(out / "record.json") == record


def test_both_variants_start_from_the_teacher(finished):
    for variant in finished[1].variants:
        assert variant.seeds[0].curve.validation_accuracy[0] > 0.5  # of 10 classes, at once


def test_the_page_shows_the_layers(finished):
    page = (finished[0] / "report.html").read_text()
    assert "layer by layer" in page and "32 to 16 channels" in page


@pytest.mark.slow
def test_a_killed_run_shrinks_once(finished, tmp_path, monkeypatch):
    """With the teacher from a file, to a number of parameters."""
    recipe = _recipe("shrink:params=500", teacher__model=str(finished[0] / "teacher.keras"))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_run, "train_students", killed)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run")
    monkeypatch.undo()
    calls, original = [], _shrink.shrunk

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(_shrink, "shrunk", counted)
    record = run(recipe, tmp_path / "run")
    assert record.shrink.parameters_after <= 500
    assert calls == [{"measure": False}]  # the check before the training


@pytest.mark.parametrize(
    ("student", "changes", "message"),
    [
        ("shrink:1.5", {}, "must be > 0 and <= 1"),
        ("shrink", {}, "shrink:WIDTH or shrink:BUDGET"),
        ("shrink:params=10", {}, r"be >= params=\d+, the smallest"),
        ("shrink:size=10", {}, "params=NUMBER"),
        ("shrink:0.5?depth=0.5", {}, "has none whose shapes allow it"),
        ("shrink:0.5?height=1", {}, "known options only"),
        ("shrink:0.5?skip=stem", {}, "no layer 'stem'"),
    ],
)
def test_mistakes_are_found_before_the_teacher_is_trained(
    student, changes, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(_run, "obtain_teacher", lambda _: pytest.fail("the teacher is trained"))
    with pytest.raises(InputError, match=message):
        run(_recipe(student, **changes), tmp_path / "run")


def test_a_tflite_teacher_has_no_channels_to_inherit(finished, tmp_path):
    file = finished[0] / "student-float32.tflite"
    with pytest.raises(InputError, match="only if the teacher is a Keras model"):
        run(_recipe("shrink:0.5", teacher__model=str(file)), tmp_path / "run")
