"""Schedules of the step for alpha, temperatures, and loss weights.

You can also use any Keras `LearningRateSchedule`. The two schedules here can increase or decrease.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import check_count, check_number
from keras_distill._internal._checks import MAX_INT
from keras_distill.losses import PACKAGE


class _Between(keras.optimizers.schedules.LearningRateSchedule):
    """Changes from one value to another over a number of steps; constant before and after."""

    def __init__(self, start: float, end: float, steps: int, *, delay: int = 0) -> None:
        self.start = check_number("start", start)
        self.end = check_number("end", end)
        self.steps = check_count("steps", steps, at_most=MAX_INT)
        self.delay = check_count("delay", delay, at_least=0, at_most=MAX_INT)

    def __call__(self, step: Any) -> tf.Tensor:
        passed = (tf.cast(step, tf.float32) - self.delay) / self.steps
        return self.start + (self.end - self.start) * self._share(tf.clip_by_value(passed, 0, 1))

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        """Returns the fraction of the change after the fraction `passed` of the steps."""
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
    """start + (end - start) · t, with t = (step - delay)/steps clipped to 0..1.

    Args:
        start: The value up to step `delay`.
        end: The value from step `delay + steps` on.
        steps: Number of steps from start to end, >= 1.
        delay: Number of steps before the change starts.

    Example:
        >>> schedule = LinearSchedule(0.9, 0.1, steps=100)
        >>> [round(float(schedule(step)), 2) for step in (0, 50, 100, 500)]
        [0.9, 0.5, 0.1, 0.1]
    """

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        return passed


@keras.saving.register_keras_serializable(PACKAGE)
class CosineSchedule(_Between):
    """start + (end - start) · (1 - cos πt)/2, with t = (step - delay)/steps clipped to 0..1.

    Args:
        start: The value up to step `delay`.
        end: The value from step `delay + steps` on.
        steps: Number of steps from start to end, >= 1.
        delay: Number of steps before the change starts.

    Example:
        >>> schedule = CosineSchedule(8.0, 1.0, steps=100, delay=10)
        >>> [round(float(schedule(step)), 2) for step in (10, 35, 60, 110)]
        [8.0, 6.97, 4.5, 1.0]
    """

    def _share(self, passed: tf.Tensor) -> tf.Tensor:
        return (1.0 - tf.cos(math.pi * passed)) / 2.0


class Adjustable:
    """A number for alpha or a temperature that can be changed without retracing.

    A trainer compiled with this object reads the number in every step. It cannot be saved.

    Args:
        value: The initial value.

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
        """Replaces the number with a tensor of the graph being traced; None restores the number."""
        self._held = value

    def __call__(self, step: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self._variable) if self._held is None else self._held
