import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from keras_distill.metrics import accuracy
from keras_distill.records import SystemResult
from keras_distill.specialists import ClassSets, arithmetic_mean, combine
from keras_distill.specialists._evaluation import (
    EnsembleOutputs,
    class_rows,
    conditional_accuracy,
    coverage_rows,
    evaluate_system,
    probabilities,
    within_accuracy,
)
from keras_distill.specialists._report import _labeled

SETS = ClassSets(([0, 1], [1, 2]), 5)
LABELS = np.array([0, 1, 2, 3, 4, 1])
EYE = np.eye(5)
# Right: 0, 1, 3. Wrong: 2 as 3 (outside the sets), 4 as 0, 1 as 2.
SCORES = EYE[[0, 1, 3, 3, 0, 2]] + 0.1 * EYE[[1, 0, 2, 4, 4, 1]]


def test_accuracies_by_hand():
    assert accuracy(SCORES, LABELS) == 0.5
    # Covered: classes 0..2, four examples; 2 is found once 3 may not be said.
    assert conditional_accuracy(SCORES, LABELS, SETS) == 0.75
    # Set {0,1}: examples 0, 1, 1 all right; set {1,2}: 1 right, 2 right, the other 1 wrong.
    assert within_accuracy(SCORES, LABELS, SETS) == pytest.approx(5 / 6)


def test_table_3_row():
    generalist = EYE[[0, 0, 0, 3, 0, 0]]  # two of six right, and both are right in SCORES
    row = evaluate_system("both", "both", [SCORES, EYE[LABELS]], LABELS, SETS, generalist)
    assert row.accuracy == (0.5, 1.0)
    assert row.relative.value == pytest.approx((0.5 + 2) / 2) and row.relative.n == 2
    # Example by example, the mean of both seeds gains 0, 1, 0.5, 0, 0.5, 0.5.
    assert row.gain.value == pytest.approx(2.5 / 6) and row.gain.n == 6
    half = stats.t.ppf(0.975, 5) * np.std([0, 1, 0.5, 0, 0.5, 0.5], ddof=1) / 6**0.5
    assert row.gain.high - row.gain.value == pytest.approx(half)


def test_no_relative_change_where_the_generalist_has_nothing_right():
    row = evaluate_system("one", "one", [SCORES], LABELS, SETS, EYE[(LABELS + 1) % 5])
    assert row.relative is None and row.gain.value == 0.5


def test_table_4_rows():
    before, after = SCORES, [EYE[LABELS], SCORES]
    rows = coverage_rows(before, after, LABELS, SETS)
    assert [(r.specialists, r.examples) for r in rows] == [(0, 2), (1, 2), (2, 2)]
    assert [r.generalist for r in rows] == [0.5, 0.5, 0.5]
    assert [r.ensemble for r in rows] == [0.75, 0.75, 0.75]
    assert [r.change for r in rows] == [0.5, 0.5, 0.5]


def test_no_change_can_be_told_where_the_generalist_has_nothing_right():
    rows = coverage_rows(EYE[[1]], [EYE[[0]]], np.array([0]), SETS)
    assert rows[0].change is None


def test_class_rows():
    rows = class_rows(SCORES, [EYE[LABELS]], LABELS, SETS, "abcde")
    assert [r.name for r in rows] == list("abcde")
    assert rows[1].sets == (0, 1) and rows[4].sets == ()
    assert (rows[1].generalist, rows[1].ensemble) == (0.5, 1.0)


def test_outputs_combine_as_asked():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 5)), tuple(rng.normal(size=(8, 3)) for _ in range(2))
    outputs = EnsembleOutputs(*logits, SETS, top=None, corrections=(1.0, 2.0))
    probs = probabilities(logits[0]), [probabilities(part) for part in logits[1]]
    np.testing.assert_allclose(outputs.combined(), combine(*probs, SETS.sets))
    np.testing.assert_allclose(outputs.combined(mean=True), arithmetic_mean(*probs, SETS.sets))
    lowered = [probabilities(p - [[0, 0, c]]) for p, c in zip(logits[1], (1.0, 2.0), strict=True)]
    np.testing.assert_allclose(
        outputs.combined(corrected=False), combine(probs[0], lowered, SETS.sets)
    )
    np.testing.assert_allclose(
        EnsembleOutputs.merged([outputs, outputs]).combined(),
        combine(probs[0], probs[1] * 2, SETS.sets * 2),
    )


def test_calibrated_outputs_undo_what_was_overdone():
    """Logits that tell the true odds, times 3, times 2: divided by 3 and 2 again."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20_000, 5))
    labels = np.array([rng.choice(5, p=p) for p in probabilities(true)])
    parts = []
    for ids in SETS.sets:
        rest = np.log(np.exp(np.delete(true, ids, axis=1)).sum(axis=1, keepdims=True))
        parts.append(np.hstack([true[:, ids], rest]))
    right = EnsembleOutputs(true, tuple(parts), SETS, top=None)
    overdone = EnsembleOutputs(3 * true, tuple(2 * part for part in parts), SETS, top=None)
    calibrated = overdone.calibrated(overdone, labels)
    np.testing.assert_allclose(calibrated.combined(), right.combined(), atol=0.02)
    assert np.abs(overdone.combined() - right.combined()).max() > 0.3


def test_where_no_example_is_covered_there_is_no_conditional_accuracy():
    labels = np.array([3, 4])
    row = evaluate_system("one", "one", [EYE[[3, 4]]], labels, SETS, EYE[[3, 3]])
    assert row.conditional == (None,) and row.within == (None,)
    assert SystemResult.parse(row.model_dump_json(), source="test") == row


def test_unlabeled_examples_are_not_evaluated():
    data = tf.data.Dataset.from_tensor_slices((np.arange(4.0)[:, None], [0, -1, 2, -1]))
    examples, labels = _labeled(data)
    assert labels.tolist() == [0, 2]
    assert [x.tolist() for x, _ in examples.as_numpy_iterator()] == [[0.0], [2.0]]
