"""The interface of a teacher: anything that gives logits for a batch of inputs."""

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._graph_errors import coded
from keras_distill._internal._probabilities import look_like_probabilities
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers._heads import Head
from keras_distill.teachers._outputs import outputs_by_name, plain_outputs, to_numpy


class Teacher(abc.ABC):
    """A source of logits. It runs in inference mode, without gradients, and is never saved.

    Attributes:
        name: A short name for messages and manifests.
        temperature: The only temperature at which its logits are valid; None: any temperature.
        output_shapes: Shapes `(None, ..., N)` by output name, "" for a single output; None if
            unknown.
        input_shapes: Shapes `(None, ...)` of its inputs in order; None if unknown.
        on_host: Whether it runs in Python outside the graph, so that XLA cannot compile it.
        heads: The head that was removed from each output, by name; None if unknown.
    """

    name: str = "teacher"
    temperature: float | None = None
    output_shapes: dict[str, Shape] | None = None
    input_shapes: list[Shape] | None = None
    on_host: bool = False
    heads: dict[str, Head] | None = None

    @abc.abstractmethod
    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Computes logits and inner layers' outputs in one pass, eagerly or inside a graph.

        Args:
            x: A batch of inputs: tensors in the structure that the teacher takes.
            layers: Names of layers to read, "outer/inner" inside nested models.

        Returns:
            The logits `(B, ..., N)` by output name, "" for a single output; and the layers'
            outputs by layer name.

        Raises:
            InputError: If the teacher has no such layers.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str | None:
        """Returns 64 hexadecimal digits that identify this teacher; None if nothing can."""

    def read(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Returns `outputs` by name, also those of a subclass that returns a single tensor.

        Raises:
            InputError: If `outputs` does not return a pair.
        """
        found = self.outputs(x, layers)
        if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
            raise InputError(
                f"`{type(self).__name__}.outputs` must return a pair of dicts: the logits by output"
                " name, and the layers' outputs by layer name. Received:"
                f" {type(found).__name__}"
            )
        return outputs_by_name(found[0]), dict(found[1])

    def logits(self, x: Any) -> Any:
        """Returns the logits of a batch: a tensor `(B, ..., N)`, or a dict by output name."""
        return plain_outputs(self.read(x)[0])

    def features(self, x: Any, layers: Sequence[str]) -> Outputs:
        """Returns the outputs of inner layers, by layer name."""
        return self.read(x, layers)[1]

    def feature_shape(self, layer: str) -> Shape:
        """Returns the shape `(None, ...)` of an inner layer's output.

        Raises:
            InputError: If the teacher has no such layer.
        """
        raise self.no_layers([layer])

    def layer_weights(self, layer: str) -> list[tf.Tensor]:
        """Returns the weights of an inner layer, in the order of Keras.

        Raises:
            InputError: If the teacher has no such layer.
        """
        raise self.no_layers([layer])

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Returns the logits of a NumPy batch as float32 NumPy, by name for several outputs."""
        return plain_outputs(to_numpy(self.read(x)[0]))

    @property
    def needs_check(self) -> bool:
        """Whether only a batch can show that the outputs are logits of the right shape."""
        return self.output_shapes is None

    def checked_logits(self, x: Any) -> Outputs:
        """Returns the logits of a batch by output name, after checking that they are logits.

        Args:
            x: A batch of inputs.

        Raises:
            InputError: If every row of an output is >= 0 and sums to 1.
        """
        logits = self.read(x)[0]
        for values in logits.values():
            if look_like_probabilities(values):
                raise self.probabilities_error()
        return logits

    def probabilities_error(self) -> InputError:
        """Returns the error for outputs that look like probabilities."""
        return InputError(
            f"The outputs of teacher {self.name!r} look like probabilities, not logits. Return"
            " logits, or the logarithms of the probabilities."
        )

    def no_layers(self, layers: Sequence[str]) -> InputError:
        """Returns the error for reading layers of a teacher that has none."""
        return InputError(
            f"{type(self).__name__} has no layers to read. Received: {', '.join(layers)}. A loss on"
            " features needs a teacher that is a Functional or Sequential Keras model."
        )


def run_on_host(
    function: Callable[[Any], list[np.ndarray]], x: Any, shapes: Mapping[str, Shape | None]
) -> Outputs:
    """Calls a function of NumPy inputs, eagerly or from inside a graph.

    Args:
        function: Takes x as NumPy and returns one float32 array per output.
        x: A structure of tensors or arrays.
        shapes: The outputs' shapes by name; None where unknown.

    Returns:
        The function's results by output name.

    Raises:
        InputError: If the function raises one. From inside a graph, `readable_errors` restores it.
    """
    flat = keras.tree.flatten(x)

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        return function(keras.tree.pack_sequence_as(x, list(arrays)))

    if tf.executing_eagerly():
        results = [tf.constant(part) for part in call(*[np.asarray(part) for part in flat])]
        return dict(zip(shapes, results, strict=True))

    def call_from_graph(*arrays: np.ndarray) -> list[np.ndarray]:
        try:
            return call(*arrays)
        except InputError as error:
            raise InputError(coded(str(error))) from error

    results = tf.numpy_function(call_from_graph, flat, [tf.float32] * len(shapes), stateful=False)
    for result, shape in zip(results, shapes.values(), strict=True):
        result.set_shape(shape)
    return dict(zip(shapes, results, strict=True))
