"""The reading of the task: what heads, losses, and labels show, and what contradicts."""

import numpy as np
import pytest

from keras_distill import InputError
from keras_distill.metrics import (
    Task,
    of_activation,
    of_labels,
    of_loss,
    read_task,
    settle,
)

CLASSES, BINARY, MULTI, VALUES = Task
MASKS = np.random.default_rng(0).integers(0, 2, (3, 4, 4))


@pytest.mark.parametrize(
    ("labels", "shape", "expected"),
    [
        ([0, 2, 1], (None, 3), CLASSES),
        ([[0], [2]], (None, 3), CLASSES),
        ([0.0, 2.0], (None, 3), CLASSES),
        (np.eye(3), (None, 3), CLASSES),
        ([[0.9, 0.05, 0.05]], (None, 3), CLASSES),  # smoothed
        ([[1, 1, 0], [0, 0, 0]], (None, 3), MULTI),
        ([[0.3, 0.9, 0.1]], (None, 3), VALUES),
        ([[5.2, -1.0, 2.0]], (None, 3), VALUES),
        ([0, 1, 1], (None, 1), BINARY),
        ([[0.0], [1.0]], (None, 1), BINARY),
        ([True, False], (None, 1), BINARY),
        ([-1, 0, 1], (None, 1), None),  # unlabeled, or values
        ([-1, 1], (None, 1), None),
        ([-1, -1], (None, 1), None),
        ([-1, 1] * 500, (None, 1), VALUES),  # as a hinge loss has them
        ([0, 1, 2], (None, 1), VALUES),
        ([0.2, 0.4], (None, 1), VALUES),
        ([3.7, -2.0], (None, 1), VALUES),
        ([3.7, -2.0], (None,), VALUES),
        (MASKS, (None, 4, 4, 1), BINARY),
        (MASKS[..., None], (None, 4, 4, 1), BINARY),
        (MASKS * 2, (None, 4, 4, 3), CLASSES),
    ],
)
def test_what_labels_show(labels, shape, expected):
    assert read_task(shape, np.asarray(labels)) is expected


def test_rows_without_a_label_are_not_read():
    found = of_labels([0.0, np.nan, 1.0], (None, 1), labeled=[True, False, True])
    assert found.likely is BINARY
    assert of_labels([np.nan], (None, 1), labeled=[False]).likely is None


@pytest.mark.parametrize(
    ("shape", "head", "loss", "labels", "expected"),
    [
        ((None, 5), "sigmoid", None, np.eye(5), MULTI),
        ((None, 5), None, "binary_crossentropy", np.eye(5), MULTI),
        ((None, 5), "softmax", "binary_crossentropy", np.eye(5), CLASSES),
        ((None, 5), "softmax", "mean_squared_error", np.eye(5), CLASSES),  # the Brier score
        ((None, 5), None, "mean_squared_error", None, VALUES),
        ((None, 1), "sigmoid", None, [-1, 0, 1], BINARY),
        ((None, 1), "sigmoid", None, [-1, 1, -1], BINARY),
        ((None, 1), None, "binary_crossentropy", [0.2, 0.7], BINARY),
        ((None, 1), None, "mean_squared_error", [0, 1], VALUES),
        ((None, 4, 4, 1), "sigmoid", None, None, BINARY),
        ((None, 1), None, "crossentropy", None, BINARY),
        ((None, 3), None, "crossentropy", None, CLASSES),
        ((None, 3), None, None, None, None),
    ],
)
def test_what_heads_and_losses_add(shape, head, loss, labels, expected):
    assert read_task(shape, labels, activation=head, loss=loss) is expected


@pytest.mark.parametrize(
    ("shape", "head", "loss", "labels", "message"),
    [
        ((None, 3), "softmax", None, [[1, 1, 0]], "For several labels, use MultiLabelSoftLoss"),
        ((None, 3), "sigmoid", None, [0, 2], "For classes, use SoftTargetLoss"),
        ((None, 1), "sigmoid", None, [0, 1, 2], r"values from 0 to 2 \(regression\), but it ends"),
        ((None, 1), None, "binary_crossentropy", [3.1, 5.2], "use RegressionLoss with MeanSquared"),
        ((None, 3), None, None, [0.5, 1.5], "not whole numbers, one for each row. For classes"),
        ((None, 3), None, None, np.zeros((2, 7)), r"No loss fits labels of shape \(None, 7\)"),
        ((None, 3), None, None, ["a", "b"], "Labels must be numbers"),
    ],
)
def test_contradictions_name_the_right_loss(shape, head, loss, labels, message):
    with pytest.raises(InputError, match=message) as caught:
        read_task(shape, labels, activation=head, loss=loss)
    assert len(str(caught.value)) <= 500


def test_the_last_likely_task_decides():
    shape = (None, 5)
    one_hot, loss = of_labels(np.eye(5), shape), of_loss("binary_crossentropy", shape, "its loss")
    assert settle([one_hot]) is CLASSES and settle([one_hot, loss]) is MULTI
    assert of_activation("linear", shape, "it") is None and of_loss("hinge", shape, "it") is None
