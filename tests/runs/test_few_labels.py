"""The number of labels that a student sees, at both scales."""

import numpy as np
import pytest

from keras_distill import data, runs
from keras_distill._internal import InputError
from keras_distill.runs._loaded_data import load_data
from keras_distill.runs._student_data import StudentData


def _of(labels, scale):
    recipe = runs.load_recipe("digits", {"data.labels": labels, "training.batch_size": 32})
    found = load_data(recipe, scale, ())
    return StudentData.of(recipe, found.splits, None, None, scale)


def _seen(student_data):
    labels = data.labels_of(student_data.with_few_labels(0))
    return labels[labels >= 0]


@pytest.mark.parametrize("labels", [0.01, 1, 10])
def test_few_labels_are_raised_in_a_smoke_run_until_each_class_has_one(labels):
    found = _of(labels, "smoke")
    assert found.examples == 64 and found.few
    assert found.labels_kept == len(_seen(found)) < 64
    assert set(_seen(found)) == set(data.labels_of(found.train))


def test_more_labels_than_the_examples_of_a_smoke_run_are_all():
    found = _of(1000, "smoke")
    assert found.labels_kept == found.labeled == 64


@pytest.mark.parametrize(("labels", "message"), [(0.001, "each of the 10"), (9999, "at most")])
def test_the_full_scale_takes_the_number_as_it_is(labels, message):
    with pytest.raises(InputError, match=message):
        _of(labels, "full")
    assert len(np.unique(_seen(_of(0.05, "full")))) == 10


@pytest.mark.parametrize(
    ("labels", "loss", "noted"),
    [(0.2, "DecoupledLoss", True), (0.2, "SoftTargetLoss", False), (None, "DecoupledLoss", False)],
)
def test_a_loss_that_needs_labels_is_noted_where_they_are_few(labels, loss, noted):
    changes = {"data.labels": labels, "distillation.losses": [{"loss": loss}]}
    stated = runs.plan(runs.load_recipe("digits", changes)).notes
    note = f"{loss} learned from the labeled examples only, because it needs labels."
    assert (note in stated) == noted
