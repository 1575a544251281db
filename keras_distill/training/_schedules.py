"""Schedules of the step for alpha, temperatures and loss weights.

Any Keras `LearningRateSchedule` will do as well; these two go both up and down between two values.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import check_count, check_number
from keras_distill._internal._checks import MAX_INT
from keras_distill.losses import PACKAGE


class _Between(keras.optimizers.schedules.LearningRateSchedule):
    """From one value to another over some steps, constant before and after."""

    def __init__(self, start: float, end: float, steps: int, *, delay: int = 0) -> None:
        self.start = check_number("start", start)
        self.end = check_number("end", end)
        self.steps = check_count("steps", steps, at_most=MAX_INT)
        self.delay = check_count("delay", delay, at_least=0, at_most=MAX_INT)

    def __call__(self, step: Any) -> tf.Tensor:
        passed = (tf.cast(step, tf.float32) - self.delay) / self.steps
        return self.start + (self.end - self.start) * self._share(tf.clip_by_value(passed, 0, 1))

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        """Returns the share of the way after the share `passed` of the steps."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({shown})"

    def get_config(self) -> dict[str, Any]:
        """The settings."""
        return {
            "start": self.start,
            "end": self.end,
            "steps": self.steps,
            "delay": self.delay,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class LinearSchedule(_Between):
    """start + (end - start) · t, with t = (step - delay)/steps held in 0..1.

    Args:
        start: The value up to step `delay`.
        end: The value from step `delay + steps` on.
        steps: Steps from one to the other, >= 1.
        delay: Steps before it starts.

    Example:
        >>> schedule = LinearSchedule(0.9, 0.1, steps=100)
        >>> [round(float(schedule(step)), 2) for step in (0, 50, 100, 500)]
        [0.9, 0.5, 0.1, 0.1]
    """

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        return passed


@keras.saving.register_keras_serializable(PACKAGE)
class CosineSchedule(_Between):
    """start + (end - start) · (1 - cos πt)/2, with t = (step - delay)/steps held in 0..1.

    Args:
        start: The value up to step `delay`.
        end: The value from step `delay + steps` on.
        steps: Steps from one to the other, >= 1.
        delay: Steps before it starts.

    Example:
        >>> schedule = CosineSchedule(8.0, 1.0, steps=100, delay=10)
        >>> [round(float(schedule(step)), 2) for step in (10, 35, 60, 110)]
        [8.0, 6.97, 4.5, 1.0]
    """

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        return (1.0 - tf.cos(math.pi * passed)) / 2.0


class Adjustable:
    """A number for alpha or a temperature that can be changed without another trace.

    A trainer compiled with it reads the number in every step. It cannot be saved.

    Args:
        value: The first value.

    Example:
        >>> temperature = Adjustable(4.0)
        >>> temperature.set(2.0)
        >>> float(temperature(step=0))
        2.0
    """

    def __init__(self, value: float) -> None:
        self._variable = tf.Variable(tf.constant(value, tf.float32), trainable=False)
        self._held: tf.Tensor | None = None

    def set(self, value: float) -> None:
        """Changes the number."""
        self._variable.assign(value)

    def hold(self, value: tf.Tensor | None) -> None:
        """Puts a tensor of the graph being traced in the place of the number; None: no longer."""
        self._held = value

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self._variable) if self._held is None else self._held
