"""Whether outputs are probabilities: declared by the user, or detected and rejected."""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad
from keras_distill._internal._probabilities import (
    Declared,
    Kind,
    cannot_be_logits,
    floors,
    kind_of,
    probabilities_to_logits,
)
from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import Outputs, Tensor

_FLOATS: Mapping[str, float] = MappingProxyType({})
_LARGE = 1000  # values


class Declaration:
    """Stores whether outputs are probabilities, and converts them to logits.

    Args:
        declared: None to raise an error if the outputs look like probabilities. False for logits.
            True for probabilities: rows that sum to 1 are taken as softmax, other rows as sigmoid.
            "softmax" or "sigmoid" for probabilities of that kind.
        what: A description of the outputs for messages, such as "The outputs of teacher 'a'".
        steps: The quantization step of each quantized output by name.

    Example:
        >>> half = Declaration(True, "They").logits({"": tf.constant([[0.5]])})
        >>> half[""].numpy().tolist()
        [[0.0]]
    """

    def __init__(self, declared: Declared, what: str, steps: Mapping[str, float] = _FLOATS) -> None:
        self.declared: Declared = declared
        self._what, self._steps = what, steps
        self._passed = False
        self._kinds: dict[str, Kind] = {}

    def check(self, outputs: Outputs, values: Collection[str] = ()) -> None:
        """Checks a batch, once.

        Args:
            outputs: A batch by output name, as returned by the model or contained in the data.
            values: Names of regression outputs, which are not checked.

        Raises:
            InputError: If the outputs are probabilities but were not declared so, or were declared
                as probabilities but are not.
        """
        if self.declared is False or self._passed:
            return
        judged = {name: part for name, part in outputs.items() if name not in values}
        for name, output in judged.items():
            if self.declared is not None:
                self.kind(name, output)
            elif not isinstance(output, TopK) and cannot_be_logits(output):
                raise self.error()
        # If the first batch is large enough, later batches give no more information.
        sizes = [np.size(part) for part in judged.values() if not isinstance(part, TopK)]
        self._passed = bool(sizes) and min(sizes) >= _LARGE

    def error(self) -> InputError:
        """Returns the error for probabilities that were not declared."""
        return InputError(
            f"{self._what} look like probabilities, not logits: all are in 0..1. Give logits, or"
            " from_probabilities=True (--from-probabilities). If they are logits,"
            " from_probabilities=False (--from-logits)."
        )

    def logits(self, outputs: Outputs) -> Outputs:
        """Returns the logits of a batch, eagerly or inside a graph.

        Args:
            outputs: The outputs by name.

        Raises:
            InputError: If the outputs are declared as probabilities but are not.
        """
        if not self.declared:
            return outputs
        return {name: self._converted(name, output) for name, output in outputs.items()}

    def _converted(self, name: str, output: Any) -> Tensor:
        kind, p = self.kind(name, output), tf.convert_to_tensor(output)
        step = self._steps.get(name)
        if not tf.is_symbolic_tensor(p):
            return tf.constant(probabilities_to_logits(p.numpy(), kind, step=step))
        low, high = floors(p.dtype.as_numpy_dtype, step)
        p = tf.cast(p, tf.float32)
        logits = tf.math.log(tf.maximum(p, low))
        if kind == "softmax":
            return logits
        return logits - tf.math.log(tf.maximum(1 - p, high))

    def kind(self, name: str, output: Any) -> Kind:
        """Returns the kind of declared probabilities, from a first batch or (in a graph) the units.

        Args:
            name: The name of the output.
            output: A batch of the output.

        Raises:
            InputError: If the values are not probabilities, or their kind cannot be determined.
        """
        if isinstance(output, TopK):
            raise bad("from_probabilities", "be left out for a TopK", self.declared)
        if isinstance(self.declared, str):
            return self.declared
        if name not in self._kinds:
            if tf.is_tensor(output) and tf.is_symbolic_tensor(output):
                return "sigmoid" if output.shape[-1] == 1 else "softmax"
            self._kinds[name] = kind_of(np.asarray(output), self.declared, self._what)
        return self._kinds[name]
