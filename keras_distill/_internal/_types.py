"""Defines the type aliases of the package.

They are for type checkers only. At run time each alias is `Any`, so that importing this module
imports neither TensorFlow nor Keras. Use: `from keras_distill._internal._types import Tensor`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import keras
    import numpy as np
    import tensorflow as tf

    from keras_distill._internal._soft_targets import TopK

    # A path that the standard library accepts.
    PathLike: TypeAlias = str | os.PathLike[str]
    # A value that JSON can represent.
    Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None
    # A NumPy array of any dtype and shape.
    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
    # One tensor.
    Tensor: TypeAlias = tf.Tensor
    # A value that `tf.convert_to_tensor` accepts.
    TensorLike: TypeAlias = (
        tf.Tensor | tf.Variable | keras.Variable | Array | float | Sequence["TensorLike"]
    )
    # A data set with elements of any structure.
    Dataset: TypeAlias = tf.data.Dataset[Any]
    # A shape, with None for an unknown size.
    Shape: TypeAlias = tuple[int | None, ...]
    # The normal form of a model's outputs: tensors by output name.
    Outputs: TypeAlias = dict[str, tf.Tensor]
    # The logits of a teacher: all of them, or the k largest with the moments of the others.
    TeacherLogits: TypeAlias = TensorLike | TopK
    # A step of the optimizer, or None where no schedule needs it.
    Step: TypeAlias = TensorLike | None
    # A number, or a function of the optimizer's step, such as a Keras LearningRateSchedule.
    Schedule: TypeAlias = float | Callable[[Any], TensorLike]
else:
    PathLike = Json = Array = Tensor = TensorLike = Dataset = Shape = Outputs = Any
    TeacherLogits = Step = Schedule = Any
