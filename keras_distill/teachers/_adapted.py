"""A teacher whose inputs or classes differ from those of its student."""

import copy
import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Outputs, Shape
from keras_distill.teachers._base import Teacher
from keras_distill.teachers._class_map import ClassMap
from keras_distill.teachers._ensemble import as_teacher
from keras_distill.teachers._heads import Head
from keras_distill.teachers._outputs import ONLY, plain_outputs, to_numpy


class AdaptedTeacher(Teacher):
    """A teacher with its input converted, and its classes selected or summed.

    Args:
        teacher: Any value that `as_teacher` accepts.
        classes: The teacher's classes that make up each class of the student; None if both have the
            same classes.
        preprocess: Converts a batch of the student's x to the teacher's x with TensorFlow
            operations; None uses the same x.
        name: A name of `preprocess` for the fingerprint. Without a name, a teacher with
            `preprocess` has no fingerprint.

    Raises:
        InputError: If the map is for a different number of classes.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, use_bias=False)])
        >>> teacher = AdaptedTeacher(model, ClassMap(((3,), (0,)), classes=4))
        >>> teacher.predict(np.ones((1, 2), "float32")).shape
        (1, 2)
    """

    def __init__(
        self,
        teacher: Any,
        classes: ClassMap | None = None,
        *,
        preprocess: Callable[[Any], Any] | None = None,
        name: str | None = None,
    ) -> None:
        self.teacher = as_teacher(teacher)
        self.classes = classes
        self._preprocess, self._preprocess_name = preprocess, name
        self.name = self.teacher.name
        self.temperature = self.teacher.temperature
        self.on_host = self.teacher.on_host
        self.heads = self.teacher.heads
        self.input_shapes = self.teacher.input_shapes if preprocess is None else None
        self.output_shapes = self._shapes()
        self._function = tf.function(lambda x: self.outputs(x)[0], reduce_retracing=True)

    def _shapes(self) -> dict[str, Shape] | None:
        shapes = self.teacher.output_shapes
        if shapes is None or self.classes is None:
            return shapes
        if len(shapes) > 1:
            raise InputError(
                f"`classes` must be left out for a teacher with several outputs."
                f" Received: outputs {', '.join(shapes)}."
            )
        (name, shape), *_ = shapes.items()
        if shape[-1] != self.classes.classes:
            raise InputError(
                f"`classes` must be made for the teacher's {shape[-1]} classes. Received: a map for"
                f" {self.classes.classes}."
            )
        return {name: (*shape[:-1], len(self.classes.groups))}

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Computes logits of the student's classes, and inner layers; see `Teacher.outputs`."""
        logits, features = self.teacher.read(self._converted(x), layers)
        return self._mapped(logits), features

    def predict(self, x: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Returns the logits of a NumPy batch as float32 NumPy, by name for several outputs."""
        if self.on_host:
            return super().predict(x)
        logits = self._function(keras.tree.map_structure(tf.convert_to_tensor, x))
        return plain_outputs(to_numpy(logits))

    @property
    def needs_check(self) -> bool:
        """Whether the inner teacher needs a check; see `Teacher.needs_check`."""
        return self.teacher.needs_check

    def checked_logits(self, x: Any, values: Collection[str] = ()) -> Outputs:
        """Returns the logits after checking the inner teacher; see `Teacher.checked_logits`."""
        return self._mapped(self.teacher.checked_logits(self._converted(x), values))

    def declared(self, from_probabilities: Declared) -> Self:
        """Applies the declaration to the inner teacher; see `Teacher.declared`."""
        teacher = self.teacher.declared(from_probabilities)
        if teacher is self.teacher:
            return self
        changed = copy.copy(self)
        changed.teacher = teacher
        changed._function = tf.function(lambda x: changed.outputs(x)[0], reduce_retracing=True)
        return changed

    def head(self, name: str) -> Head | None:
        """Returns the head that was removed from an output; None if unknown."""
        return self.teacher.head(name)

    def feature_shape(self, layer: str) -> Shape:
        """Returns the shape `(None, ...)` of an inner layer's output."""
        return self.teacher.feature_shape(layer)

    def layer_weights(self, layer: str) -> list[tf.Tensor]:
        """Returns the weights of an inner layer."""
        return self.teacher.layer_weights(layer)

    def fingerprint(self) -> str | None:
        """Returns the SHA-256 of the teacher's fingerprint, the map, and the name of `preprocess`.

        Returns None if the teacher has no fingerprint, or `preprocess` has no name.
        """
        inner = self.teacher.fingerprint()
        if inner is None or (self._preprocess is not None and self._preprocess_name is None):
            return None
        groups = None if self.classes is None else self.classes.groups
        text = f"{inner} {groups} {self._preprocess_name}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _converted(self, x: Any) -> Any:
        return x if self._preprocess is None else self._preprocess(x)

    def _mapped(self, logits: Outputs) -> Outputs:
        if self.classes is None:
            return logits
        (name, values), *others = logits.items()
        if others or values.shape[-1] != self.classes.classes:
            raise InputError(
                f"`classes` is made for a teacher with one output of {self.classes.classes}"
                f" classes. Received: {', '.join(str(tuple(v.shape)) for v in logits.values())}."
            )
        return {name or ONLY: self.classes.logits(values, self.temperature or 1.0)}
