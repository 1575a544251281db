"""What a run says about its test split: counts, bins, and which examples it picks."""

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.data._splits import Splits
from keras_distill.records import ExploreRecord
from keras_distill.runs._explore import explore


def _splits(x, classes):
    import tensorflow as tf

    examples = tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x), np.int64)))
    names = (
        tuple("abcdefghijklmnopqrstuvwxyz"[:classes])
        if classes <= 26
        else tuple(map(str, range(classes)))
    )
    return Splits(examples, examples, examples, names, x.shape[1:], "made", "made")


def _logits(probabilities):
    return np.log(np.array(probabilities))


TEACHER = _logits([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.05, 0.05, 0.9]])
STUDENT = _logits([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 0, 2])


def _explored(x=None, teacher=TEACHER, student=STUDENT, labels=LABELS, classes=3):
    x = np.zeros((len(labels), 8, 8, 1), np.uint8) if x is None else x
    outputs = {"teacher": ("the teacher", teacher), "distilled": ("distilled", student)}
    return explore(_splits(x, classes), outputs, labels)


def test_right_predictions_and_confusions_are_counted_by_class():
    found = _explored()
    assert found.class_examples == (2, 1, 1)
    assert [model.correct for model in found.models] == [(2, 1, 1), (1, 1, 1)]
    assert [(c.label, c.predicted, c.counts) for c in found.confusions] == [(0, 1, (0, 1))]


def test_bins_hold_confidence_and_accuracy():
    student = _explored().model("distilled")
    # Bin 12 of 15 holds 0.8 twice, one of them right; bins 6 and 9 hold one example each.
    assert [(b.examples, round(b.confidence, 3), b.accuracy) for b in student.bins] == [
        (1, 0.4, 1.0),
        (1, 0.6, 1.0),
        (2, 0.8, 0.5),
    ]
    assert student.expected_calibration_error == pytest.approx((0.6 + 0.4 + 2 * 0.3) / 4)


def test_examples_are_picked_by_disagreement_first():
    found = _explored()
    assert {e.index: e.picked for e in found.examples}[0] == "disagreement"
    logits = np.array(found.examples[0].logits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, np.exp([TEACHER[0], STUDENT[0]]), atol=1e-4)
    assert logits.max(axis=1).tolist() == [0, 0]


def test_pictures_belong_to_their_examples():
    import base64

    import tensorflow as tf

    x = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.full((8, 8, 1), 60, np.uint8)
    for example in _explored(x).examples:
        pixels = tf.io.decode_png(base64.b64decode(example.image)).numpy()
        assert pixels.shape == (8, 8, 1) and (pixels == 60 * example.index).all()


@pytest.mark.parametrize(
    "shape, dtype, values",
    [((4,), "float32", 4), ((40, 1), "float32", 40), ((1000,), "float32", 250), ((9,), "int64", 0)],
)
def test_other_data_show_values_or_nothing(shape, dtype, values):
    x = np.arange(4 * np.prod(shape)).reshape(4, *shape).astype(dtype)
    example = _explored(x).examples[1]
    assert example.image is None
    assert len(example.values or ()) == values
    if values:
        assert example.values[0] == pytest.approx(x[1].flat[0])


def test_probabilities_are_read_as_logits():
    exact = _explored()
    found = _explored(student=np.exp(STUDENT).astype(np.float32))
    assert [m.bins for m in found.models] == [
        tuple(b.model_copy(update={"confidence": pytest.approx(b.confidence)}) for b in m.bins)
        for m in exact.models
    ]


def test_unlabeled_examples_are_left_out():
    found = _explored(labels=np.array([0, 1, -1, 2]))
    assert found.class_examples == (1, 1, 1)
    assert 2 not in [example.index for example in found.examples]


@pytest.mark.parametrize("classes", [1000, 50_000])
def test_the_record_is_bounded(classes, tmp_path):
    draw = np.random.default_rng(0)
    outputs = draw.normal(0, 2, (2, 120, classes)).astype(np.float32)
    labels = draw.integers(0, classes, 120)
    found = _explored(np.zeros((120, 8, 8, 1), np.uint8), *outputs, labels, classes)
    assert found.save(tmp_path / "explore.json").stat().st_size < 3e6
    assert ExploreRecord.load(tmp_path / "explore.json") == found


def test_outputs_of_another_shape_are_not_explored():
    assert _explored(student=STUDENT[:, :2]) is None
    assert _explored(teacher=np.zeros((4, 5, 3)), student=np.zeros((4, 5, 3))) is None


@pytest.mark.parametrize(
    "change, message",
    [
        ({"class_examples": (1, 2)}, "3 entries"),
        ({"confusions": [{"label": 0, "predicted": 3, "counts": (1, 1)}]}, "below 3"),
        ({"confusions": [{"label": 0, "predicted": 1, "counts": (1,)}]}, "2 entries"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change, message):
    values = {**_explored().model_dump(mode="json"), **change}
    with pytest.raises(InputError, match=message):
        ExploreRecord.parse(values, source="explore.json")
