"""Copies of a student in one graph: each is trained as alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller, SoftTargetStore
from keras_distill.training import Adjustable, StackedStudents, can_be_stacked

VALUES = [{"alpha": 0.2, "temperature": 1.0}, {"alpha": 0.9, "temperature": 4.0}]
STEPS = 6


def network(*layers):
    return keras.Sequential([keras.Input((5,)), *layers, keras.layers.Dense(3)])


def compiled(**numbers):
    keras.utils.set_random_seed(0)
    student = network(keras.layers.Dense(8, "relu"))
    distiller = Distiller(None, student, **numbers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.AdamW(1e-2), loss, metrics=["accuracy"])
    return distiller


@pytest.mark.parametrize("top_k", [None, 2])
def test_each_copy_is_trained_as_alone(tmp_path, top_k):
    random = np.random.default_rng(0)
    x, logits = random.normal(size=(48, 5)).astype("float32"), random.normal(size=(48, 3)) * 3
    labels = np.where(np.arange(48) % 4 == 3, -1, random.integers(0, 3, 48))  # a quarter has none
    examples = tf.data.Dataset.from_tensor_slices((x, labels))
    store = SoftTargetStore.build(
        logits.astype("float32"), examples, tmp_path / "store", top_k=top_k
    )

    def batches():
        return store.batches(examples, 16, seed=0, first_epoch=0).repeat()

    arguments = {"epochs": 1, "steps_per_epoch": STEPS, "shuffle": False, "verbose": 0}
    held_out = tf.data.Dataset.from_tensors((x, np.abs(labels)))

    knobs = {name: Adjustable(1.0) for name in VALUES[0]}
    together = compiled(**knobs)
    first = together.student.get_weights()
    stack = StackedStudents(together, knobs, len(VALUES))
    for values in (VALUES[::-1], VALUES):  # the second training forgets the first
        stack.start(values, first)
        found = stack.fit(batches(), validation_data=held_out, **arguments).history
    for i, numbers in enumerate(VALUES):
        alone = compiled(**numbers)
        expected = alone.fit(batches(), validation_data=held_out, **arguments).history
        stack.copy_to(together.student, i)
        for mine, other in zip(together.student.weights, alone.student.weights, strict=True):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=2e-6)
        for key, values in expected.items():
            if key != "accuracy":  # counts examples without a label too
                assert found[f"{key}/{i}"] == pytest.approx(values, rel=1e-5), key
    pairs = zip(first, together.student.get_weights(), strict=True)
    assert all(np.abs(before - after).max() > 1e-3 for before, after in pairs)


@pytest.mark.parametrize(
    ("layer", "fits"),
    [
        (keras.layers.Dense(4, "relu"), True),
        (keras.layers.Rescaling(2.0), True),
        (keras.layers.Dense(4, kernel_regularizer="l2"), False),
        (keras.layers.Dense(4, kernel_constraint="max_norm"), False),
        (keras.layers.Dense(4, activity_regularizer="l2"), False),
        (keras.layers.Dense(4, dtype="mixed_bfloat16"), False),
        (keras.layers.BatchNormalization(), False),
        (keras.layers.Dropout(0.5), False),
        (keras.layers.GaussianNoise(0.5), False),
        (keras.layers.Lambda(lambda x: x), False),
        (keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5)]), False),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_what_depends_on_more_than_weights_and_batch_is_not_stacked(layer, fits):
    assert can_be_stacked(network(layer)) is fits


class Own(keras.Model):
    def call(self, inputs):
        return super().call(inputs) * 2


def test_a_model_with_code_of_the_user_is_not_stacked():
    inner = network(keras.layers.Dense(4))
    inputs = keras.Input((5,))
    assert can_be_stacked(keras.Model(inputs, inner(inputs)))
    assert not can_be_stacked(Own(inputs, inner(inputs)))


def test_frozen_layers_are_those_of_the_copies():
    def student(seed):
        keras.utils.set_random_seed(seed)
        return network(keras.layers.Dense(4, "relu", trainable=False))

    first, second = student(0), student(1)
    distiller = Distiller(None, first, alpha=(alpha := Adjustable(0.5)))
    distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stack = StackedStudents(distiller, {"alpha": alpha}, 2)
    stack.start([{"alpha": 0.1}, {"alpha": 0.9}], [v.numpy() for v in second.variables])
    for mine, other in zip(first.variables, second.variables, strict=True):
        if not mine.trainable:
            np.testing.assert_array_equal(mine.numpy(), other.numpy())
    stack.copy_to(first, 1)
    for mine, other in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())
