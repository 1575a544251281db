"""Layers that are trained together with a feature loss and map features to the same shape."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._types import Json, Shape, Tensor
from keras_distill.losses._base import known_differ
from keras_distill.losses._settings import PACKAGE

# The value added to the trained variance, and its initial value, as in the code of Ahn et al. 2019.
_LEAST_VARIANCE = 1e-5
_FIRST_VARIANCE = 5.0


def feature_projector(loss: str, teacher: Shape, student: Shape) -> keras.layers.Layer | None:
    """Creates the layer that maps the student's features to the teacher's shape.

    Feature maps `(B, H, W, C)` get a 1x1 convolution to the teacher's channels; all other features
    get a Dense layer on the last axis. Feature maps with a different height or width are then
    resized bilinearly to the teacher's size. The teacher's features are not changed.

    Args:
        loss: The name of the loss, for error messages.
        teacher: Shape with the batch axis; a size of None is assumed to be equal.
        student: Shape of the student's features, in the same form.

    Returns:
        A new, unbuilt layer, or None if the shapes agree.

    Raises:
        InputError: If the shapes differ in rank, in unknown channels, or in a position axis of
            features that are not feature maps.
    """
    same_places = _same_places(loss, teacher, student)
    channels = teacher[-1]
    if same_places and channels == student[-1]:
        return None
    if len(teacher) != 4:
        return keras.layers.Dense(channels, name="projector")
    convolution = keras.layers.Conv2D(channels, 1, data_format="channels_last")
    if same_places:
        return convolution
    return keras.Sequential([convolution, _resizing(teacher)], name="projector")


def _same_places(loss: str, teacher: Shape, student: Shape) -> bool:
    """Returns whether the position axes agree; raises an error if no projector can change them."""
    if len(teacher) != len(student) or teacher[-1] is None:
        raise InputError(
            f"{loss} needs features of one rank, with known channels."
            f" Received: teacher {teacher}, student {student}."
            " Pool or flatten one of them, or name other layers."
        )
    same = not known_differ(teacher[1:-1], student[1:-1])
    if len(teacher) != 4 and not same:
        raise InputError(
            f"{loss} can resize maps (B, H, W, C) only."
            f" Received: teacher {teacher}, student {student}."
        )
    return same


def _resizing(teacher: Shape) -> keras.layers.Layer:
    height, width = teacher[1:3]
    return keras.layers.Resizing(height, width, data_format="channels_last")


class Projector(keras.layers.Layer):
    """A trained layer of a loss, created for the feature shapes of one teacher and one student.

    Args:
        teacher_shape: The shape of the teacher's features, or a list of shapes.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, teacher_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.teacher_shape = _shapes(teacher_shape)

    def fits(self, teacher_shape: Any) -> bool:
        """Returns whether a teacher's features have the shape that the layer was created for."""
        return _shapes(teacher_shape) == self.teacher_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the settings for `from_config`."""
        return {**super().get_config(), "teacher_shape": self.teacher_shape}


def _shapes(value: Any) -> list[Any]:
    """Returns one or several shapes as lists, which JSON preserves."""
    return [_shapes(part) if isinstance(part, list | tuple) else part for part in value]


@keras.saving.register_keras_serializable(PACKAGE)
class VariationalProjector(Projector):
    """Predicts the mean and the variance of the teacher's features from the student's (VID).

    Three Dense layers on the channels, with ReLU between them, compute the mean. Feature maps of
    different sizes are resized bilinearly first. There is one variance per channel.
    """

    def build(self, input_shape: Shape) -> None:
        """Creates the weights for the shape of a student's features."""
        self._resizing = None
        teacher, channels = tuple(self.teacher_shape), self.teacher_shape[-1]
        if not _same_places("VariationalLoss", teacher, tuple(input_shape)):
            self._resizing = _resizing(teacher)
        self._mean = keras.Sequential(
            [keras.layers.Dense(channels, "relu") for _ in range(2)]
            + [keras.layers.Dense(channels)],
            name="mean",
        )
        self._mean.build((*input_shape[:1], *teacher[1:-1], input_shape[-1]))
        raw = math.log(math.expm1(_FIRST_VARIANCE - _LEAST_VARIANCE))
        self._raw = self.add_weight(
            shape=(channels,),
            initializer=keras.initializers.Constant(raw),
            dtype="float32",
            autocast=False,
            name="variance",
        )

    def call(self, student: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean `(..., C)` and the variance `(C,)`."""
        if self._resizing is not None:
            student = self._resizing(student)
        return self._mean(student), tf.nn.softplus(self._raw.value) + _LEAST_VARIANCE


@keras.saving.register_keras_serializable(PACKAGE)
class ContrastiveProjector(Projector):
    """Embeds the teacher's and student's features, with queues of earlier embeddings (CRD).

    The queues hold 2 · queue_size · dimension numbers of 4 bytes. They start empty, are written
    only in training, and are saved with the layer. Under a distribution strategy they hold the
    examples of the first replica.

    Args:
        teacher_shape: Shape `(None, C)` of the teacher's features, see `Projector`.
        dimension: Size of an embedding.
        queue_size: Number of examples in each queue; 0 for no queue.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, teacher_shape: Any, dimension: int, queue_size: int, **kwargs: Any) -> None:
        super().__init__(teacher_shape, **kwargs)
        self.dimension = dimension
        self.queue_size = queue_size

    def build(self, input_shape: Shape) -> None:
        """Creates the weights for the shape of a student's features."""
        self._heads = [keras.layers.Dense(self.dimension, name=name) for name in ("t", "s")]
        for head, shape in zip(self._heads, (tuple(self.teacher_shape), input_shape), strict=True):
            head.build(shape)
        self._queues: list[Any] = []
        if self.queue_size:
            size = (self.queue_size, self.dimension)
            self._queues = [self._state(name, size) for name in ("teacher", "student")]
            self._in_queue = self._state("in_queue", (self.queue_size,))
            self._next = self._state("next", (), "int32")

    def _state(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )

    def call(
        self,
        student: Tensor,
        teacher: Tensor,
        training: bool = False,
        keep: Tensor | None = None,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Embeds the features of both models and, in training, appends them to the queues.

        Args:
            student: Features `(B, C')`.
            teacher: Features `(B, C)`.
            training: Whether to append the embeddings to the queues.
            keep: None, or bool `(B,)`. Rows with False are appended as empty rows.

        Returns:
            `(embeddings, queue, in_queue)` for the teacher and for the student, with the queue as
            it was before this call; `(embeddings,)` if there is no queue.
        """
        inputs = (teacher, student)
        embedded = [
            tf.cast(head(tf.cast(x, self.compute_dtype)), tf.float32)
            for head, x in zip(self._heads, inputs, strict=True)
        ]
        if not self.queue_size:
            return (embedded[0],), (embedded[1],)
        there = tf.convert_to_tensor(self._in_queue.value)
        queues = [tf.convert_to_tensor(queue.value) for queue in self._queues]
        if training:
            self._append(embedded, queues, there, keep)
        t, s = zip(embedded, queues, strict=True)
        return (*t, there), (*s, there)

    def _append(
        self,
        embedded: Sequence[Tensor],
        queues: Sequence[Tensor],
        there: Tensor,
        keep: Tensor | None,
    ) -> None:
        """Overwrites the oldest rows of the queues."""
        size = tf.minimum(tf.shape(embedded[0])[0], self.queue_size)
        start = tf.convert_to_tensor(self._next.value)
        places = tf.math.floormod(start + tf.range(size), self.queue_size)
        counts = tf.ones((size,), there.dtype)
        if keep is not None:
            counts = tf.cast(keep[:size], there.dtype)
        for variable, old, new in zip(
            (*self._queues, self._in_queue),
            (*queues, there),
            (*(tf.stop_gradient(part[:size]) for part in embedded), counts),
            strict=True,
        ):
            variable.assign(tf.tensor_scatter_nd_update(old, places[:, None], new))
        self._next.assign(tf.math.floormod(start + size, self.queue_size))

    def get_config(self) -> dict[str, Json]:
        """Returns the settings for `from_config`."""
        settings = {"dimension": self.dimension, "queue_size": self.queue_size}
        return {**super().get_config(), **settings}


@keras.saving.register_keras_serializable(PACKAGE)
class ReviewProjector(Projector):
    """Fuses the student's feature maps of each stage with those of all deeper stages (ReviewKD).

    The stages are processed from the deepest to the first. A 1x1 convolution projects the maps of
    the stage to `channels`. The fused maps of the deeper stage are resized to the same size
    (nearest neighbor), and both maps are added, each weighted by a sigmoid map that a 1x1
    convolution computes from the two. A 3x3 convolution then outputs the teacher's channels. The
    first 1x1 and the 3x3 convolution are followed by BatchNormalization.

    Args:
        teacher_shape: Shapes of the teacher's maps `(None, H, W, C)`, starting at the first stage.
        channels: Number of channels of the fused maps.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, teacher_shape: Any, channels: int, **kwargs: Any) -> None:
        super().__init__(teacher_shape, **kwargs)
        self.channels = channels

    def build(self, input_shape: Sequence[Shape]) -> None:
        """Creates the weights for the shapes of a student's maps."""
        conv = keras.layers.Conv2D
        inner = (None, None, None, self.channels)
        self._inputs: list[keras.layers.Layer] = []
        self._outputs: list[keras.layers.Layer] = []
        self._attention: list[keras.layers.Layer] = []
        for shape, teacher in zip(input_shape, self.teacher_shape, strict=True):
            layer = _normalized(conv(self.channels, 1, use_bias=False, data_format=_LAST))
            layer.build(tuple(shape))
            self._inputs.append(layer)
            layer = _normalized(
                conv(teacher[-1], 3, padding="same", use_bias=False, data_format=_LAST)
            )
            layer.build(inner)
            self._outputs.append(layer)
        for _ in self.teacher_shape[:-1]:
            layer = conv(2, 1, activation="sigmoid", data_format=_LAST)
            layer.build((None, None, None, 2 * self.channels))
            self._attention.append(layer)

    def call(self, student: Sequence[Tensor], training: bool = False) -> list[Tensor]:
        """Returns maps of the teacher's shapes, starting at the first stage."""
        fused, results = None, []
        for stage in reversed(range(len(student))):
            x = self._inputs[stage](student[stage], training=training)
            if fused is not None:
                fused = _resized(fused, tf.shape(x)[1:3])
                weights = self._attention[stage](tf.concat([x, fused], axis=-1))
                x = x * weights[..., :1] + fused * weights[..., 1:]
            fused = x
            height, width = self.teacher_shape[stage][1:3]
            if (height, width) != tuple(x.shape[1:3]):
                x = _resized(x, (height, width))
            results.append(self._outputs[stage](x, training=training))
        return results[::-1]

    def get_config(self) -> dict[str, Json]:
        """Returns the settings for `from_config`."""
        return {**super().get_config(), "channels": self.channels}


_LAST = "channels_last"


def _normalized(convolution: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([convolution, keras.layers.BatchNormalization()])


def _resized(maps: Tensor, size: Any) -> Tensor:
    return tf.cast(tf.image.resize(maps, size, method="nearest"), maps.dtype)
