"""Copies of a small student, each with its own alpha and temperature, in one graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import _keras_private as private
from keras_distill._internal._types import Tensor
from keras_distill.training import _batch, _step
from keras_distill.training._distiller import Distiller
from keras_distill.training._schedules import Adjustable

_EXACT = (
    keras.layers.InputLayer,
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.Flatten,
    keras.layers.Normalization,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Softmax,
)
_KEYS = ("loss", _step.HARD, _step.SOFT, "accuracy")


@dataclass(frozen=True)
class _Held:
    """Objects that a stack uses but does not own; plain attributes would be tracked by Keras."""

    distiller: Distiller
    knobs: Mapping[str, Adjustable]


class StackedStudents(private.TrainerModel):
    """Trains copies of a student that differ only in the numbers of their loss.

    All copies use the same batches. A training step of a small student is mostly overhead, and a
    stack has this overhead only once. Each copy gets the same result as if trained alone, up to the
    rounding of sums: its gradient depends only on its own weights, and Adam, AdamW, and SGD update
    every weight independently.

    `fit` logs each key of a `Distiller` for each copy (`loss/0`, `val_accuracy/3`), and the means
    over all copies as `loss` and `accuracy`.

    Args:
        distiller: A compiled Distiller around the student, which defines the loss. The data contain
            its `Targets`.
        knobs: The numbers of the loss that differ between copies, by name.
        copies: Number of copies. `start` sets the initial values of each copy.

    Example:
        >>> knobs = {"alpha": Adjustable(0.5)}
        >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> distiller = Distiller(None, student, **knobs)
        >>> distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> stack = StackedStudents(distiller, knobs, copies=2)
        >>> stack.start([{"alpha": 0.2}, {"alpha": 0.9}], student.get_weights())
        >>> [tuple(v.shape) for v in stack.trainable_variables]
        [(2, 4, 3), (2, 3)]
    """

    def __init__(self, distiller: Distiller, knobs: Mapping[str, Adjustable], copies: int) -> None:
        super().__init__(name="stacked_students")
        self._held = _Held(distiller, knobs)
        self._stacked = [
            self.add_weight(shape=(copies, *v.shape), dtype=v.dtype, name=v.name)
            for v in distiller.student.trainable_variables
        ]
        self._numbers = {
            name: self.add_weight(shape=(copies,), name=name, trainable=False) for name in knobs
        }
        self._sums = _Sums(copies)
        self.built = True
        same = keras.optimizers.serialize(distiller.optimizer)
        self.compile(
            optimizer=keras.optimizers.deserialize(same),
            steps_per_execution=distiller.steps_per_execution,
        )
        self.optimizer.build(self._stacked)
        self._fresh = [variable.numpy() for variable in self.optimizer.variables]

    def start(self, values: Sequence[Mapping[str, float]], initial: Sequence[np.ndarray]) -> None:
        """Sets all values to their state before the first step.

        Args:
            values: The numbers of each copy, by name.
            initial: The values of the student's variables, the same for all copies.
        """
        for variable, value in zip(self.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        for name, variable in self._numbers.items():
            variable.assign([row[name] for row in values])
        student = self._held.distiller.student
        for variable, value in zip(student.variables, initial, strict=True):
            variable.assign(value)  # the copies share the variables that are not trained
        for rows, variable in zip(self._stacked, student.trainable_variables, strict=True):
            rows.assign(np.broadcast_to(variable.numpy(), rows.shape))

    def copy_to(self, student: keras.Model, copy: int) -> None:
        """Sets the trainable weights of a student to those of a copy."""
        for rows, variable in zip(self._stacked, student.trainable_variables, strict=True):
            variable.assign(rows.numpy()[copy])

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `fit` for all copies."""
        element = _batch.unpack(data)
        with tf.GradientTape() as tape:
            losses = self._of_copies(element, training=True)
            total = tf.reduce_sum(losses[:, 0])
        gradients = tape.gradient(total, self._stacked)
        _step.apply_gradients(self.optimizer, zip(gradients, self._stacked, strict=True))
        return self._logs(element, losses)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `evaluate` for all copies."""
        element = _batch.unpack(data)
        return self._logs(element, self._of_copies(element, training=False))

    def _of_copies(self, element: _batch.Element, *, training: bool) -> Tensor:
        """Returns the total, hard, and soft loss and the accuracy of every copy `(copies, 4)`."""
        distiller, knobs = self._held.distiller, self._held.knobs
        teacher = distiller._pair.teacher_view(element, training=training)
        variables = distiller.student.trainable_variables

        def of_one(row: Any) -> Tensor:
            weights, numbers = row
            with keras.StatelessScope(list(zip(variables, weights, strict=True))):
                for name, knob in knobs.items():
                    knob.hold(numbers[name])
                found = distiller._forward(element, teacher, training=training)
            zero = tf.zeros(())
            hard, soft = (zero if part is None else part for part in (found.hard, found.soft))
            return tf.stack([found.total, hard, soft, _right(found.batch)])

        try:
            rows = [tf.convert_to_tensor(variable.value) for variable in self._stacked]
            values = {name: tf.convert_to_tensor(v.value) for name, v in self._numbers.items()}
            return tf.vectorized_map(of_one, (rows, values), fallback_to_while_loop=False)
        finally:
            for knob in knobs.values():
                knob.hold(None)

    def _logs(self, element: _batch.Element, losses: Tensor) -> dict[str, Tensor]:
        self._sums.update_state(losses, element.size)
        return self._sums.result()


class _Sums(keras.metrics.Metric):
    """Means over examples of the values that a stack logs, by key and copy."""

    def __init__(self, copies: int) -> None:
        super().__init__(name="sums")
        self.copies = copies
        self.sums = self.add_variable((copies, len(_KEYS)), initializer="zeros", name="sums")
        self.size = self.add_variable((), initializer="zeros", name="size")

    def update_state(self, losses: Tensor, size: Tensor) -> None:
        """Adds a batch: its means by copy and key, and its number of examples."""
        size = tf.cast(size, tf.float32)
        self.sums.assign_add(losses * size)
        self.size.assign_add(size)

    def result(self) -> dict[str, Tensor]:
        """Returns the means of all copies, and those of each."""
        means = tf.math.divide_no_nan(tf.convert_to_tensor(self.sums), self.size)
        found = {key: tf.reduce_mean(means[:, k]) for k, key in enumerate(_KEYS)}
        for i in range(self.copies):
            found |= {f"{key}/{i}": means[i, k] for k, key in enumerate(_KEYS)}
        return found


def _right(batch: _batch.KerasBatch | None) -> Tensor:
    """Returns the fraction of labeled examples that are predicted correctly."""
    if batch is None:
        return tf.zeros(())
    # Keras's argmax has an operation that `vectorized_map` cannot convert.
    found = tf.argmax(batch.outputs, -1, batch.labels.dtype)
    right = tf.cast(found == tf.reshape(batch.labels, tf.shape(found)), tf.float32)
    if batch.present is None:
        return tf.reduce_mean(right)
    return tf.math.divide_no_nan(tf.reduce_sum(right * batch.present), tf.reduce_sum(batch.present))


def can_be_stacked(student: keras.Model) -> bool:
    """Returns whether a stack gives copies of this student the same results as separate training.

    This requires built-in layers that compute every example independently, from weights that only
    the optimizer changes: no batch normalization, no dropout, no regularization, no custom code.
    Convolutions are excluded because they would not train faster in a stack.

    Example:
        >>> can_be_stacked(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
        True
    """
    parts = [student, *private.sublayers(student)]
    models = [part for part in parts if isinstance(part, keras.Model)]
    layers = [part for part in parts if not isinstance(part, keras.Model)]
    penalties = [v.constraint or getattr(v, "regularizer", None) for v in student.variables]
    return (
        all(map(private.is_plain_model, models))
        and all(type(layer) in _EXACT for layer in layers)
        and all(part.dtype_policy.name == "float32" for part in parts)
        and not any(layer.activity_regularizer for layer in layers)
        and not any(penalties)
    )
