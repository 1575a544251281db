"""A function (PyTorch, ONNX, a server, …) from a NumPy batch to logits as a teacher."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill._internal import InputError, bad, check_choice
from keras_distill._internal._probabilities import DECLARATIONS, Declared
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers._base import Teacher, run_on_host
from keras_distill.teachers._outputs import ONLY


class CallableTeacher(Teacher):
    """A function from a NumPy batch to NumPy logits.

    Inside a graph, the function runs through `tf.numpy_function`: on the host, one call at a time,
    and not under XLA. Store its logits once instead of running it in every epoch.

    Args:
        function: A function that takes the batch as NumPy (in the structure of x) and returns
            logits `(B, ..., N)`, or a dict of logits with the keys of `output_shape`.
        name: A name that determines the fingerprint: the same name means the same teacher.
        output_shape: Shape without the batch axis, `(N,)` or `(L, N)`, or a dict of shapes by
            output name. Without it, shapes are known only after the function has run.
        from_probabilities: Whether the function returns probabilities; see `as_teacher`.

    Raises:
        InputError: If `function` is not callable.

    Example:
        >>> teacher = CallableTeacher(lambda x: x[:, :3] * 2, name="twice", output_shape=(3,))
        >>> teacher.predict(np.ones((1, 5), "float32")).tolist()
        [[2.0, 2.0, 2.0]]
    """

    on_host = True

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        name: str | None = None,
        output_shape: Any = None,
        from_probabilities: Declared = None,
    ) -> None:
        if not callable(function):
            raise bad("function", "be callable", function)
        self.from_probabilities = check_choice(
            "from_probabilities", from_probabilities, DECLARATIONS
        )
        self._function = function
        self._has_name = name is not None
        self.name = name or "callable"
        self._several = isinstance(output_shape, Mapping)
        if self._several:
            self.output_shapes = {
                name: (None, *output_shape[name]) for name in sorted(output_shape)
            }
        elif output_shape is not None:
            self.output_shapes = {ONLY: (None, *output_shape)}

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Runs the function; see `Teacher.outputs`. A function has no layers."""
        if layers:
            raise self.no_layers(layers)
        return run_on_host(self._call, x, self.output_shapes or {ONLY: None}), {}

    def fingerprint(self) -> str | None:
        """Returns the SHA-256 of the name; None without a name."""
        if not self._has_name:
            return None
        return hashlib.sha256(f"callable:{self.name}".encode()).hexdigest()

    def _call(self, x: Any) -> list[np.ndarray]:
        result = self._function(x)
        named = isinstance(result, Mapping)
        if not self._several:
            if named:
                raise InputError(
                    f"Teacher {self.name!r} gave a dict of outputs. Name them:"
                    " output_shape={'name': (N,), ...}."
                )
            return [self._checked(result, ONLY)]
        names = list(self.output_shapes or {})
        if not named or sorted(result) != names:
            got = sorted(result) if named else type(result).__name__
            raise InputError(f"Teacher {self.name!r} must give outputs {names}. Received: {got}.")
        return [self._checked(result[name], name) for name in names]

    def _checked(self, result: Any, name: str) -> np.ndarray:
        logits = np.asarray(result, np.float32)
        shape: Shape | None = None if self.output_shapes is None else self.output_shapes[name]
        fits = shape is None or len(shape) == logits.ndim
        fits = fits and all(n in (None, m) for n, m in zip(shape or (), logits.shape, strict=False))
        if not fits:
            raise InputError(
                f"Teacher {self.name!r} must give logits of shape {shape}."
                f" Received: {logits.shape}."
            )
        return logits
