"""What a teacher is: anything that yields logits for a batch of inputs."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.teachers._heads import look_like_probabilities


class Teacher(abc.ABC):
    """A source of logits. Its state never changes: inference mode, no gradient, never saved.

    Attributes:
        name: A short name for messages and manifests.
        temperature: The only temperature its logits are good for, None for any.
        output_shapes: Shapes `(None, ..., N)` in place of each output, None where not known.
        input_shapes: Shapes `(None, ...)` of its inputs in order, None where not known.
        on_host: It leaves the graph for Python, so XLA cannot compile it.
        heads: What was taken off: a `Head`, or a dict by output name; None where not known.
    """

    name: str = "teacher"
    temperature: float | None = None
    output_shapes: Any = None
    input_shapes: list[tuple] | None = None
    on_host: bool = False
    heads: Any = None

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

    @property
    def uncertain(self) -> bool:
        """Whether a batch must be seen to know that the outputs are logits of the right shape."""
        return self.output_shapes is None

    def look(self, x: Any) -> Any:
        """The logits of a batch, once it is seen that they are no probabilities.

        Args:
            x: A batch of inputs.

        Raises:
            InputError: If every row of an output is >= 0 and sums to 1.
        """
        logits = self.logits(x)
        map_outputs(self._check_output, logits)
        return logits

    def _check_output(self, values: Any) -> None:
        if look_like_probabilities(values):
            raise InputError(
                f"The outputs of teacher {self.name!r} look like probabilities, not logits. Return"
                " logits, or the logarithms of the probabilities."
            )

    def no_layers(self, layers: Sequence[str]) -> InputError:
        """Returns the error for features asked of a teacher that has none."""
        return InputError(
            f"{type(self).__name__} has no layers to read. Received: {', '.join(layers)}. A loss on"
            " features needs a teacher that is a Functional or Sequential Keras model."
        )


def to_numpy(logits: Any) -> np.ndarray | dict[str, np.ndarray]:
    """A tensor, or a dict of them, as float32 arrays."""
    return map_outputs(lambda value: np.asarray(tf.cast(value, tf.float32)), logits)


def run_on_host(
    function: Callable[[Any], list[np.ndarray]], x: Any, names: Sequence[str], shapes: Any
) -> Any:
    """Calls a function of NumPy inputs, eagerly or from inside a graph.

    Args:
        function: Takes x as NumPy, gives one float32 array per output.
        x: A structure of tensors or arrays.
        names: The outputs' names; one name means one output.
        shapes: The output's shape, or a dict by name; None where not known.

    Returns:
        A tensor, or a dict of them by name.
    """
    flat = keras.tree.flatten(x)

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        return function(keras.tree.pack_sequence_as(x, list(arrays)))

    results = tf.numpy_function(call, flat, [tf.float32] * len(names), stateful=False)
    # Eagerly, a single result comes without its list.
    results = results if isinstance(results, list | tuple) else [results]
    for name, result in zip(names, results, strict=True):
        result.set_shape(shapes[name] if isinstance(shapes, dict) else shapes)
    return results[0] if len(names) == 1 else dict(zip(names, results, strict=True))


def map_outputs(function: Callable, outputs: Any, *others: Any) -> Any:
    """`function` of an output, or of each of a dict, beside what `others` have of that output.

    Args:
        function: Takes one output and one value of each of `others`.
        outputs: A single output or a dict by name.
        *others: A dict by name, or one value for every output.
    """
    if not isinstance(outputs, dict):
        return function(outputs, *others)

    def of(name: str) -> list[Any]:
        return [other.get(name) if isinstance(other, dict) else other for other in others]

    return {name: function(value, *of(name)) for name, value in outputs.items()}


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
