import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.export import LIMITS, class_ids
from keras_distill.export._verification import difference, judge, labeled_classes

REFERENCE = np.array([[0.0, 4.0], [2.0, -2.0]], np.float32)


def _judge(produced, **settings):
    given = {"quantization": "float32", "source": "test"} | settings
    return judge({"y": REFERENCE}, {"y": produced}, **given)


def test_known_difference():
    produced = REFERENCE + np.array([[0.5, 0], [0, 0]])
    largest, relative, noise = difference(REFERENCE, produced)
    assert largest == 0.5
    assert relative == pytest.approx(0.5 / 6)  # the range is -2..4
    assert noise == pytest.approx(0.25 / REFERENCE.std())  # rms of (.5, 0, 0, 0) is .25


def test_difference_does_not_depend_on_the_scale():
    produced = REFERENCE + np.array([[0.5, 0], [0, 0.1]])
    small = difference(REFERENCE * 1e-4, produced * 1e-4)
    assert small[1:] == pytest.approx(difference(REFERENCE, produced)[1:])


def test_an_output_that_never_moves_is_judged_by_its_size():
    constant = np.full((4, 1), 5.0)
    assert difference(constant, constant + 0.5) == pytest.approx((0.5, 0.1, 0.1))
    assert difference(np.zeros((4, 1)), np.zeros((4, 1))) == (0.0, 0.0, 0.0)


def test_equal_outputs_pass():
    verification = _judge(REFERENCE)
    assert verification.passed and verification.failures == ()
    assert verification.outputs[0].agreement == 1.0
    assert verification.outputs[0].limit == LIMITS["float32"]
    assert (verification.samples, verification.source) == (2, "test")


def test_the_limit_is_by_precision_and_can_be_set():
    produced = REFERENCE + 0.3  # 5 % of the range
    assert not _judge(produced).passed
    assert _judge(produced, quantization="int8").passed
    assert _judge(produced, limit=0.2).passed
    assert not _judge(produced, quantization="int8", limit=0.01).passed


def test_a_failure_says_what_by_how_much_and_what_to_try():
    verification = _judge(-REFERENCE, quantization="weight-only-int4")
    assert verification.failures == (
        "output 'y' differs from Keras by up to 8, 133.3% of its range (noise 219.1%; limit 50.0%);"
        " use weight-only-int8",
    )
    assert verification.outputs[0].agreement == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value):
    produced = REFERENCE.copy()
    produced[0, 0] = value
    verification = _judge(produced, quantization="float16")
    assert verification.failures == (
        "output 'y' is not finite; weights may exceed the float16 range of 65504; use float32",
    )
    assert verification.outputs[0].max_difference is None


def test_wrong_shape():
    assert "has shape (2, 1), not (2, 2)" in _judge(REFERENCE[:, :1]).failures[0]


def test_accuracy_may_fall_by_max_drop_and_no_more():
    swapped = REFERENCE.copy()
    swapped[0] = swapped[0, ::-1]
    labels = {"y": np.array([1, 0])}
    verification = _judge(swapped, labels=labels, limit=9.0, max_drop=50.0)
    assert verification.passed
    assert (verification.outputs[0].accuracy_keras, verification.outputs[0].accuracy) == (1.0, 0.5)
    verification = _judge(swapped, labels=labels, limit=9.0, max_drop=49.9)
    assert verification.failures[0].startswith(
        "accuracy falls by 50.00 points, from 100.00% to 50.00% (output 'y'; limit 49.9);"
    )
    assert _judge(swapped, labels=labels, limit=9.0).passed  # not asked for


def test_labels_of_several_outputs_go_by_name():
    outputs = {"a": REFERENCE, "b": REFERENCE[:, :1], "c": REFERENCE}
    ids = np.array([1, 0])
    labels = labeled_classes({"a": ids, "b": np.ones(2)}, outputs)
    assert list(labels) == ["a"]
    in_order = labeled_classes([ids, np.ones(2), np.eye(2)[ids]], outputs)
    assert list(in_order) == ["a", "c"]
    verification = judge(outputs, outputs, quantization="int8", labels=labels, source="test")
    assert verification.outputs[0].accuracy == 1.0
    assert verification.outputs[1].agreement is None and verification.outputs[2].accuracy is None


def test_what_a_regression_aims_at_is_no_class():
    assert labeled_classes(np.array([[0.5, 2.0], [1.0, 1.0]]), {"y": REFERENCE}) == {}
    assert labeled_classes(None, {"y": REFERENCE}) == {}


def test_rows_without_a_label():
    assert list(labeled_classes(np.array([-1, 0]), {"y": REFERENCE})) == ["y"]
    with pytest.raises(InputError, match="no labeled row for output 'y'"):
        labeled_classes(np.array([-1, -1]), {"y": REFERENCE})


def test_class_ids_and_one_hot():
    ids = np.array([1, 0])
    for labels in (ids, ids[:, None], np.eye(2)[ids], ids.tolist(), [[0.1, 0.9], [0.8, 0.2]]):
        np.testing.assert_array_equal(class_ids(labels, REFERENCE), ids)
    with pytest.raises(InputError, match=r"class ids \(2,\) or one-hot rows"):
        class_ids(np.array([1, 0, 1]), REFERENCE)
    with pytest.raises(InputError, match="Received: labels float64"):
        class_ids(np.array([0.5, 0.2]), REFERENCE)
