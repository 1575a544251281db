"""A function as a teacher: PyTorch, ONNX, a server, anything that maps a NumPy batch to logits."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_distill._internal import InputError, bad
from keras_distill.teachers._base import Teacher, run_on_host


class CallableTeacher(Teacher):
    """A function from a NumPy batch to NumPy logits.

    Inside a graph it runs through `tf.numpy_function`: on the host, one call at a time, and not
    under XLA. Store its logits once rather than run it in every epoch.

    Args:
        function: Takes the batch as NumPy (in the structure of x), gives logits `(B, ..., N)`, or a
            dict of them with the keys of `output_shape`.
        name: Makes the fingerprint: the same name means the same teacher.
        output_shape: Shape without the batch axis, `(N,)` or `(L, N)`, or a dict of such by output
            name. Without it, shapes are known only when the function has run.

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
    ) -> None:
        if not callable(function):
            raise bad("function", "be callable", function)
        self._function = function
        self._has_name = name is not None
        self.name = name or "callable"
        self._names = sorted(output_shape) if isinstance(output_shape, dict) else None
        if isinstance(output_shape, dict):
            self.output_shapes = {k: (None, *shape) for k, shape in output_shape.items()}
        elif output_shape is not None:
            self.output_shapes = (None, *output_shape)

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """The function's logits; see `Teacher.outputs`. A function has no layers."""
        if layers:
            raise self.no_layers(layers)
        logits = run_on_host(self._call, x, self._names or [self.name], self.output_shapes)
        if self._names and len(self._names) == 1:
            return {self._names[0]: logits}, {}
        return logits, {}

    def fingerprint(self) -> str | None:
        """sha256 of the name, None without one: a function cannot be looked into."""
        if not self._has_name:
            return None
        return hashlib.sha256(f"callable:{self.name}".encode()).hexdigest()

    def _call(self, x: Any) -> list[np.ndarray]:
        result = self._function(x)
        if self._names is None:
            if isinstance(result, dict):
                raise InputError(
                    f"Teacher {self.name!r} gave a dict of outputs. Name them:"
                    " output_shape={'name': (N,), ...}."
                )
            return [self._checked(result, self.output_shapes)]
        if not isinstance(result, dict) or sorted(result) != self._names:
            got = sorted(result) if isinstance(result, dict) else type(result).__name__
            raise InputError(
                f"Teacher {self.name!r} must give outputs {self._names}. Received: {got}."
            )
        return [self._checked(result[name], self.output_shapes[name]) for name in self._names]

    def _checked(self, result: Any, shape: tuple | None) -> np.ndarray:
        logits = np.asarray(result, np.float32)
        fits = shape is None or len(shape) == logits.ndim
        fits = fits and all(n in (None, m) for n, m in zip(shape or (), logits.shape, strict=False))
        if not fits:
            raise InputError(
                f"Teacher {self.name!r} must give logits of shape {shape}."
                f" Received: {logits.shape}."
            )
        return logits
