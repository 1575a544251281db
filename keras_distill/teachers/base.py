"""What a teacher is: anything that yields logits for a batch of inputs."""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._checks import InputError


class Teacher(abc.ABC):
    """A source of logits. Its state never changes: inference mode, no gradient, never saved.

    Attributes:
        name: A short name for messages and manifests.
        temperature: The only temperature its logits are good for, None for any.
        output_shapes: Shapes `(None, ..., N)` in place of each output, None where not known.
    """

    name: str = "teacher"
    temperature: float | None = None
    output_shapes: Any = None

    @abc.abstractmethod
    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """Logits and inner layers' outputs in one pass; works eagerly and inside a graph.

        Args:
            x: A batch of inputs, tensors in the structure the teacher takes.
            layers: Names of layers to read, "outer/inner" inside nested models.

        Returns:
            The logits `(B, ..., N)`, a dict of them by output name where there are several, and the
            layers' outputs by name.

        Raises:
            InputError: If the teacher has no such layers.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str | None:
        """64 hexadecimal digits that tell this teacher from any other, None where nothing can."""

    def logits(self, x: Any) -> Any:
        """The logits of a batch: a tensor `(B, ..., N)` or a dict by output name."""
        return self.outputs(x)[0]

    def features(self, x: Any, layers: Sequence[str]) -> dict[str, Any]:
        """The outputs of inner layers, by name."""
        return self.outputs(x, layers)[1]

    def feature_shape(self, layer: str) -> tuple:
        """The shape `(None, ...)` of an inner layer's output.

        Raises:
            InputError: If the teacher has no such layer.
        """
        raise self.no_layers([layer])

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """The logits of a NumPy batch as float32 NumPy."""
        return to_numpy(self.logits(x))

    def no_layers(self, layers: Sequence[str]) -> InputError:
        """Returns the error for features asked of a teacher that has none."""
        return InputError(
            f"{type(self).__name__} has no layers to read. Received: {', '.join(layers)}. A loss on"
            " features needs a teacher that is a Functional or Sequential Keras model."
        )


def to_numpy(logits: Any) -> np.ndarray | dict[str, np.ndarray]:
    """A tensor, or a dict of them, as float32 arrays."""
    if isinstance(logits, dict):
        return {name: to_numpy(value) for name, value in logits.items()}
    return np.asarray(tf.cast(logits, tf.float32))


def named(outputs: Any, names: Sequence[str] | None = None) -> Any:
    """One tensor, or a dict by output name.

    Args:
        outputs: A tensor, a dict of tensors, or a list or tuple of them.
        names: The names in a list's order; "output_0", "output_1", … without.
    """
    if isinstance(outputs, dict):
        return dict(outputs)
    if not isinstance(outputs, list | tuple):
        return outputs
    if len(outputs) == 1:
        return outputs[0]
    if names is None or len(set(names)) != len(outputs):
        names = [f"output_{i}" for i in range(len(outputs))]
    return dict(zip(names, outputs, strict=True))
