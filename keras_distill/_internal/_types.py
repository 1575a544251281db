"""The type aliases of the package.

They exist for type checkers only: at run time each is `Any`, so that importing this module imports
neither TensorFlow nor Keras. Use: `from keras_distill._internal._types import Tensor`.
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

    # A path as the standard library takes it.
    PathLike: TypeAlias = str | os.PathLike[str]
    # A value that JSON can hold.
    Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None
    # A NumPy array of any dtype and shape.
    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
    # One tensor.
    Tensor: TypeAlias = tf.Tensor
    # What `tf.convert_to_tensor` takes.
    TensorLike: TypeAlias = (
        tf.Tensor | tf.Variable | keras.Variable | Array | float | Sequence["TensorLike"]
    )
    # A data set with elements of any structure.
    Dataset: TypeAlias = tf.data.Dataset[Any]
    # A shape with None for a size that is not known.
    Shape: TypeAlias = tuple[int | None, ...]
    # The normal form of a model's outputs: a tensor by output name.
    Outputs: TypeAlias = dict[str, tf.Tensor]
    # The logits of a teacher: all of them, or the k largest with the moments of the rest.
    TeacherLogits: TypeAlias = TensorLike | TopK
    # A step of the optimizer, or None where no schedule needs it.
    Step: TypeAlias = TensorLike | None
    # A number, or a function of the optimizer's step, such as a Keras LearningRateSchedule.
    Schedule: TypeAlias = float | Callable[[Any], TensorLike]
else:
    PathLike = Json = Array = Tensor = TensorLike = Dataset = Shape = Outputs = Any
    TeacherLogits = Step = Schedule = Any
