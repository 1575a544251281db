"""Steps and files are judged against the student that was given; steps that lose are recovered."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, VerificationError
from keras_distill._internal._compression_steps import Step
from keras_distill.compress import _steps, compress, step_rows
from keras_distill.compress._recover import attempts
from keras_distill.records import CompressRecord, TrainingSettings

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 6)).astype("float32")


def _student():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6,), name="x"), keras.layers.Dense(4, name="logits")], name="mine"
    )


STUDENT = _student()
LABELS = STUDENT.predict(X, verbose=0).argmax(1)  # the student is always right


@pytest.fixture
def trainings(monkeypatch):
    """Replaces the training of a prune step: above 60 % it ruins the student, the more the shorter.

    Returns the list of (sparsity, epochs) that were trained.
    """
    done = []

    def prune_logged(student, data, sparsity, schedule, skip, training):
        epochs = training.settings.epochs
        done.append((sparsity, epochs))
        made = _student()
        kernel, bias = student.get_weights()
        wrong = 0 if sparsity <= 0.6 else 3 if epochs < 5 else 2
        kernel[:, :wrong] = 0  # this many classes of four are no longer found
        bias[:wrong] = -9
        made.set_weights([kernel, bias])
        return made, {"loss": [1.0] * epochs, "seconds": 0.5}

    monkeypatch.setattr(_steps, "prune_logged", prune_logged)
    return done


def _compress(out, step="prune:0.9", **options):
    settings = {"alpha": 0, "epochs": 2, "validation_data": (X, LABELS)}
    return compress(STUDENT, (X, LABELS), [step], out, **settings | options)


def _accuracy(wrong):
    """Of a student that finds no class below `wrong`."""
    return float((wrong <= LABELS).mean())


def test_a_file_of_a_ruined_student_fails_and_the_steps_are_kept(trainings, tmp_path):
    out, unfinished = tmp_path / "small", tmp_path / "small.unfinished"
    with pytest.raises(VerificationError) as told:
        _compress(out)
    drop = 100 * (1 - told.value.record.steps[0].accuracy)
    assert f"accuracy falls by {drop:.2f} points, from 100.00% to" in str(told.value)
    assert f"The trained steps are kept in {unfinished}" in str(told.value)
    assert len(str(told.value)) < 480 + len(str(unfinished))
    record = CompressRecord.load(unfinished / "compress.json")
    assert record == told.value.record
    assert record.verdict == "failed" and record.failed in str(told.value)
    assert (record.accuracy, record.max_drop, record.samples) == (1.0, 1.0, 200)
    step = record.steps[0]
    assert step.accuracy_before == 1.0 and step.drop == pytest.approx(drop) and drop > 30
    output = record.export.verification.outputs[0]
    assert output.accuracy_reference == 1 and output.accuracy_converted == output.accuracy
    assert output.max_difference < 1e-4  # the conversion itself lost nothing
    names = {path.name for path in unfinished.iterdir()}
    assert "student.keras" in names and not [n for n in names if ".tflite" in n]
    assert not out.exists()
    assert [row[0] for row in step_rows(record)] == [
        *("student given", "prune:0.9", "float32 file, not written"),
    ]

    done = _compress(out, max_drop=100)
    assert trainings == [(0.9, 2)], "it was trained again"
    assert done.record.failed is None and done.record.export.verification.passed
    assert (out / "student-float32.tflite").is_file() and not unfinished.exists()


def test_recovery_trains_longer_then_asks_for_less(trainings, tmp_path):
    done = _compress(tmp_path / "small", "prune:0.8", recover=True, max_drop=0)
    assert trainings == [(0.8, 2), (0.8, 6), (0.7, 6), (0.55, 6)]
    step = done.record.steps[0]
    assert (step.step, step.asked, step.epochs) == ("prune:0.55", "prune:0.8", 6)
    assert (step.accuracy, step.drop) == (1.0, 0.0)
    assert [one.step for one in step.attempts] == [
        *("prune:0.8", "prune:0.8", "prune:0.7", "prune:0.55"),
    ]
    assert step.attempts[0].accuracy < step.attempts[1].accuracy < 1
    assert done.record.recover and done.record.export.verification.outputs[0].accuracy == 1
    assert CompressRecord.load(done.folder / "compress.json") == done.record


def test_without_need_there_is_one_attempt(trainings, tmp_path):
    done = _compress(tmp_path / "small", "prune:0.5", recover=True)
    assert trainings == [(0.5, 2)]
    assert (done.record.steps[0].asked, len(done.record.steps[0].attempts)) == (None, 1)


def test_the_best_attempt_is_kept_where_none_is_good_enough(trainings, tmp_path):
    with pytest.raises(VerificationError) as told:
        _compress(tmp_path / "small", "prune:0.95", recover=True)
    step = told.value.record.steps[0]
    assert trainings[-1] == (0.888, 6) and len(step.attempts) == 4
    assert (step.step, step.asked, step.epochs) == ("prune:0.95", None, 6)
    assert step.accuracy == max(one.accuracy for one in step.attempts)


def test_recovery_resumes_with_the_attempts_done(trainings, tmp_path):
    with pytest.raises(VerificationError):
        _compress(tmp_path / "small", "prune:0.8")
    _compress(tmp_path / "small", "prune:0.8", recover=True)
    assert trainings == [(0.8, 2), (0.8, 6), (0.7, 6), (0.55, 6)]


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_without_labels_nothing_is_judged_and_the_verdict_says_so(trainings, tmp_path):
    done = _compress(tmp_path / "small", validation_data=None)
    assert done.record.verdict == "not verified on data"
    assert (done.record.accuracy, done.record.source, done.record.max_drop) == (None, None, None)
    assert done.record.steps[0].accuracy is None


def test_two_rows_do_not_verify_a_student_that_lost_one_of_them(trainings, tmp_path):
    picks = [int((LABELS == 3).argmax()), int((LABELS == 0).argmax())]  # only class 3 is found
    done = _compress(tmp_path / "small", validation_data=(X[picks], LABELS[picks]))
    verification = done.record.export.verification
    assert done.record.verdict == "not verified on data" and verification.too_few
    assert (verification.max_drop, verification.needed) == (1.0, 100)
    assert done.record.steps[0].drop == done.record.max_drop == 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_drop": 2, "validation_data": None}, "`max_drop` needs labeled rows"),
        ({"recover": True, "validation_data": None}, "`recover` needs labeled rows"),
        ({"max_drop": 101}, "`max_drop` must be in 0..100"),
        ({"export": {"timeout": 0}}, "`timeout` must be > 0"),
        ({"validation_data": (X * 1000, LABELS * 0 - 1)}, "no labeled row"),
    ],
)
def test_bad_settings_are_told_before_any_training(trainings, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        _compress(tmp_path / "small", **options)
    assert trainings == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prune:0.5", ["prune:0.5", "prune:0.5", "prune:0.25", "prune:0.25"]),
        (
            "prune:0.9:constant",
            ["prune:0.9:constant"] * 2 + ["prune:0.85:constant", "prune:0.775:constant"],
        ),
        ("prune:2:4", ["prune:2:4"] * 4),
        ("cluster:8", ["cluster:8", "cluster:8", "cluster:16", "cluster:32"]),
    ],
)
def test_attempts(text, expected):
    made = attempts(Step.parse(text), TrainingSettings(epochs=4), recover=True)
    assert [one.step.text for one in made] == expected
    assert [one.settings.epochs for one in made] == [4, 12, 12, 12]
    gentler = made[3].step == made[2].step
    assert (made[3].settings.learning_rate < 1e-3) == gentler
    assert attempts(Step.parse(text), TrainingSettings(epochs=4), recover=False) == made[:1]
