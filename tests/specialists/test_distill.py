"""Specialists distilled back into one model: from a folder, from any teacher, resumed."""

import numpy as np
import pytest

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill.records import (
    ClassifierSettings,
    KerasTrainingSettings,
    SpecialistsRecipe,
    SpecialistTraining,
    TrainingSettings,
)
from keras_distill.specialists import SpecialistEnsemble, distill, train
from keras_distill.work import TrainingState


@pytest.fixture(scope="module")
def folder(generalist_file, tmp_path_factory):
    recipe = SpecialistsRecipe(
        generalist=str(generalist_file),
        source="digits",
        clusters=2,
        training=SpecialistTraining(epochs=2, batch_size=32, learning_rate=3e-3),
    )
    out = tmp_path_factory.mktemp("distill") / "specialists"
    train(recipe, out)
    return out


def test_the_student_starts_as_the_generalist_and_improves(
    folder, generalist_file, test_arrays, tmp_path
):
    training = KerasTrainingSettings(epochs=8, batch_size=32, learning_rate=3e-3)
    result = distill(folder, tmp_path / "student.keras", training=training, crop=1, views=2)
    student, generalist = models.load(tmp_path / "student.keras"), models.load(generalist_file)
    assert result.parameters == student.count_params() == generalist.count_params()
    assert result.steps == 8 * 37 and result.seconds > 0
    x, y = test_arrays
    before, after = (
        (model.predict(x, verbose=0).argmax(axis=1) == y).mean() for model in (generalist, student)
    )
    assert after > before + 0.02
    assert result.validation_accuracy == pytest.approx(after, abs=0.08)
    assert [path.name for path in tmp_path.iterdir()] == ["student.keras"]


def test_a_student_distilled_in_16_bits_computes_in_32(folder, test_arrays, tmp_path):
    x, _ = test_arrays
    found = []
    for precision in ("float32", "mixed_bfloat16"):
        training = KerasTrainingSettings(epochs=4, batch_size=32, precision=precision)
        distill(folder, tmp_path / f"{precision}.keras", training=training)
        model = models.load(tmp_path / f"{precision}.keras")
        assert {layer.compute_dtype for layer in model.layers} == {"float32"}
        found.append(model.predict(x, verbose=0))
    difference = np.abs(found[0] - found[1])
    assert 0 < difference.mean() < 0.1


def test_a_second_student_uses_the_stored_targets(folder, generalist_file, tmp_path, monkeypatch):
    quick = {"training": KerasTrainingSettings(epochs=1), "targets": tmp_path / "targets"}
    distill(folder, tmp_path / "one.keras", **quick)
    manifest = (tmp_path / "targets" / "manifest.json").read_bytes()
    rows, real = [], SpecialistEnsemble.predict

    def counted(ensemble, x):
        rows.append(len(x))
        return real(ensemble, x)

    monkeypatch.setattr(SpecialistEnsemble, "predict", counted)
    distill(folder, tmp_path / "two.keras", temperature=4.0, **quick)
    assert sum(rows) == 128  # the first batch, to check that the store is of this ensemble
    assert (tmp_path / "targets" / "manifest.json").read_bytes() == manifest
    with pytest.raises(InputError, match="targets"):  # those of another teacher
        distill(generalist_file, tmp_path / "t.keras", student="mlp:8", source="digits", **quick)


@pytest.mark.parametrize("kind", [TrainingSettings, ClassifierSettings])
def test_settings_of_other_trainings_are_taken(kind, generalist_file, tmp_path):
    options = {"student": "mlp:8", "source": "digits", "training": kind(epochs=1)}
    assert distill(generalist_file, tmp_path / "s.keras", **options).steps == 10


def test_any_teacher_with_a_student_of_another_kind(generalist_file, tmp_path):
    quick = KerasTrainingSettings(epochs=1)
    teacher = models.load(generalist_file)
    out = tmp_path / "s.keras"
    distill(teacher, out, student="mlp:8", source="digits", training=quick, seed=1)
    assert models.load(out).count_params() < teacher.count_params()
    with pytest.raises(InputError, match="exists"):
        distill(teacher, out, student="mlp:8", source="digits", training=quick)
    for missing in ({"student": "mlp:8"}, {"source": "digits"}):
        with pytest.raises(InputError, match="`student` and `source` must be given"):
            distill(teacher, tmp_path / "t.keras", **missing)


def test_an_interrupted_distillation_resumes_to_the_same_weights(folder, tmp_path, monkeypatch):
    """Interrupted after the first saved state, it ends as if nothing had happened."""
    options = {"training": KerasTrainingSettings(epochs=20), "seed": 3, "student": "mlp:8"}
    whole = distill(folder, tmp_path / "whole.keras", **options)
    real = TrainingState.save
    calls = []

    def interrupted(*args):
        real(*args)
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(folder, tmp_path / "parts.keras", **options)
    monkeypatch.setattr(TrainingState, "save", real)
    work = tmp_path / "parts-distillation.unfinished"
    assert len(calls) == 1 and (work / "work" / "state.npz").exists()
    with pytest.raises(InputError, match="other settings"):
        distill(folder, tmp_path / "parts.keras", **{**options, "seed": 4})
    parts = distill(folder, tmp_path / "parts.keras", **options)
    assert len(parts.loss) == len(whole.loss) > 1
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-4)
    pair = (models.load(tmp_path / f"{name}.keras") for name in ("whole", "parts"))
    for one, other in zip(*(model.get_weights() for model in pair), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not work.exists()


def test_bad_arguments_are_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.keras"):
        distill(folder, tmp_path / "student.h5")
    with pytest.raises(InputError, match="not a folder of trained specialists"):
        distill(tmp_path, tmp_path / "student.keras")
    with pytest.raises(InputError, match="alpha"):
        distill(folder, tmp_path / "student.keras", alpha=2.0)
    assert list(tmp_path.iterdir()) == []
