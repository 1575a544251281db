"""The interface of a teacher, which returns logits for a batch of inputs."""

import abc
import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import Self

from keras_distill._internal import InputError, check_choice
from keras_distill._internal._graph_errors import coded
from keras_distill._internal._probabilities import DECLARATIONS, Declared
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers._declaration import Declaration
from keras_distill.teachers._heads import Head
from keras_distill.teachers._outputs import ONLY, outputs_by_name, plain_outputs, to_numpy


class Teacher(abc.ABC):
    """A source of logits, which runs in inference mode, without gradients, and is never saved.

    Attributes:
        name: A short name for messages and manifests.
        temperature: The only temperature at which the logits are valid; None for any temperature.
        output_shapes: Shapes `(None, ..., N)` by output name, "" for a single output; None if
            unknown.
        input_shapes: Shapes `(None, ...)` of the inputs in order; None if unknown.
        on_host: Whether the teacher runs in Python outside the graph, so XLA cannot compile it.
        heads: The head that was removed from each output, by name; None if unknown.
        from_probabilities: Whether `outputs` returns probabilities, for outputs with an unknown
            head: None, False, True, "softmax", or "sigmoid"; see `as_teacher`. With None (not
            declared), outputs that look like probabilities raise an error.
        steps: The quantization step of each quantized output by name; empty for float outputs.
        compiled_losses: The hard losses that the teacher was trained with, by output name; empty
            if unknown.
    """

    name: str = "teacher"
    temperature: float | None = None
    output_shapes: dict[str, Shape] | None = None
    input_shapes: list[Shape] | None = None
    on_host: bool = False
    heads: dict[str, Head] | None = None
    from_probabilities: Declared = None
    compiled_losses: Mapping[str, Any] = MappingProxyType({})
    steps: Mapping[str, float] = MappingProxyType({})
    _own_declaration: Declaration | None = None

    def __repr__(self) -> str:
        only = "" if self.temperature is None else f", temperature={self.temperature:g}"
        return f"{type(self).__name__}({self.name!r}{only})"

    @abc.abstractmethod
    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Computes logits and outputs of inner layers in one pass, eagerly or inside a graph.

        Args:
            x: A batch of inputs: tensors in the structure that the teacher expects.
            layers: Names of layers to read, "outer/inner" inside nested models.

        Returns:
            The logits `(B, ..., N)` by output name, "" for a single output; and the layers'
            outputs by layer name.

        Raises:
            InputError: If the teacher has no such layers.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str | None:
        """Returns 64 hexadecimal digits that identify this teacher; None if not available."""

    def read(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Returns the logits of `outputs` by name, and the layers' outputs.

        A subclass may return a single tensor from `outputs`. Outputs that `from_probabilities`
        declares as probabilities are converted to logits.

        Raises:
            InputError: If `outputs` does not return a pair, or declared probabilities are not
                probabilities.
        """
        logits, features = self._read(x, layers)
        return self._as_logits(logits), features

    def _read(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
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
        """Returns the logits of a NumPy batch as float32 NumPy, by name for several outputs.

        Raises:
            InputError: As in `checked_logits`.
        """
        return plain_outputs(to_numpy(self.checked_logits(x)))

    @property
    def needs_check(self) -> bool:
        """Whether only a batch can show that the outputs are logits of the right shape."""
        return self.output_shapes is None or any(
            self.hides_head(name) for name in self.output_shapes
        )

    def checked_logits(self, x: Any, values: Collection[str] = ()) -> Outputs:
        """Returns the logits of a batch by output name, after checking that they are logits.

        Args:
            x: A batch of inputs.
            values: Names of regression outputs, which are not checked.

        Raises:
            InputError: If the outputs are probabilities but were not declared so, or were declared
                as probabilities but are not.
        """
        return self._as_checked_logits(self._read(x)[0], values)

    def _as_checked_logits(self, outputs: Outputs, values: Collection[str] = ()) -> Outputs:
        hidden = {name: output for name, output in outputs.items() if self.hides_head(name)}
        self._declaration.check(hidden, values)
        return self._as_logits(outputs)

    def head(self, name: str) -> Head | None:
        """Returns the head that was removed from an output; None if unknown."""
        heads = self.heads or {}
        return heads.get(name) or heads.get(ONLY)

    def hides_head(self, name: str) -> bool:
        """Returns whether the head of an output is unknown."""
        head = self.head(name)
        return head is None or head.kind == "unknown"

    def declared(self, from_probabilities: Declared) -> Self:
        """Returns this teacher, or a copy of it with the given `from_probabilities`.

        Args:
            from_probabilities: See the attribute; None keeps the current value.

        Raises:
            InputError: If an output is known to be logits but is declared as probabilities.
        """
        check_choice("from_probabilities", from_probabilities, DECLARATIONS)
        if from_probabilities is None or from_probabilities == self.from_probabilities:
            return self
        for head in (self.heads or {}).values():
            if from_probabilities and head.kind == "linear":
                raise InputError(
                    f"`from_probabilities` must be left out for a teacher that ends in logits."
                    f" Received: {from_probabilities!r}, and layer {head.layer!r} without softmax"
                    " or sigmoid."
                )
        declared = copy.copy(self)
        declared.from_probabilities, declared._own_declaration = from_probabilities, None
        return declared

    @property
    def _declaration(self) -> Declaration:
        if self._own_declaration is None:
            what = f"The outputs of teacher {self.name!r}"
            self._own_declaration = Declaration(self.from_probabilities, what, self.steps)
        return self._own_declaration

    def _as_logits(self, outputs: Outputs) -> Outputs:
        if not self.from_probabilities:
            return outputs
        hidden = {name: output for name, output in outputs.items() if self.hides_head(name)}
        return {**outputs, **self._declaration.logits(hidden)}

    def choice(self, name: str) -> str:
        """Returns Python code that creates a teacher from one of the outputs of `teacher`."""
        return f"lambda x: as_teacher(teacher).predict(x)[{name!r}]"

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
        InputError: If the function raises an InputError. Inside a graph, `readable_errors` restores
            it.
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
