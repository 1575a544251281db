"""The base class of the model families, and the layers they share."""

import abc
from collections.abc import Sequence
from typing import TypeAlias

import keras

from keras_distill._internal import InputError
from keras_distill._internal._spec import Spec

# A number, or one number per channel. `Rescaling` is the (scale, offset) of the first layer.
Channels: TypeAlias = float | Sequence[float]
Rescaling: TypeAlias = tuple[Channels, Channels]


MAX_PARAMETERS = 1_000_000_000  # the most parameters of a network that a spec names


class Family(abc.ABC):
    """A family of models; a subclass is a frozen dataclass of its settings."""

    @classmethod
    @abc.abstractmethod
    def parse(cls, spec: Spec) -> "Family":
        """Reads the settings from a spec.

        Raises:
            InputError: If the spec is not valid for the family.
        """

    @abc.abstractmethod
    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Applies all layers before the logits; returns `(batch, features)`.

        Args:
            x: Normalized input, `(batch, *input_shape)`.

        Raises:
            InputError: If the family does not support the shape.
        """

    def own_rescale(self, shape: tuple[int, ...]) -> Rescaling | None:
        """Returns the (scale, offset) that the family requires; None if the caller may choose.

        Args:
            shape: The shape of one example.
        """
        return None

    def logits(self, x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
        """Applies the last layer, a `Dense` without activation."""
        return keras.layers.Dense(num_classes, name="logits")(x)


def as_images(x: keras.KerasTensor, family: str) -> keras.KerasTensor:
    """Returns x as `(batch, height, width, channels)`; `(batch, a, b)` gets one channel.

    Args:
        x: The input of a model.
        family: The name of the family, for the error.

    Raises:
        InputError: If x has another rank.
    """
    shape = tuple(x.shape[1:])
    if len(shape) == 2:
        return keras.layers.Reshape((*shape, 1), name="as_image")(x)
    if len(shape) != 3:
        raise InputError(
            f"{family} takes images (height, width, channels) or spectrograms (frames, bands)."
            f" Received: input_shape={shape}. Choose an mlp for other shapes."
        )
    return x


def regularizer(weight_decay: float) -> keras.Regularizer | None:
    """Returns an L2 penalty with the gradient weight_decay * w; None if weight_decay is 0."""
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None


def batch_norm(name: str) -> keras.layers.Layer:
    """Creates a batch normalization with the usual settings of CIFAR models."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def conv(
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    weight_decay: float = 0.0,
    name: str,
) -> keras.layers.Layer:
    """Creates a convolution with "same" padding, He initialization, and no bias."""
    return keras.layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        kernel_regularizer=regularizer(weight_decay),
        name=name,
    )


def scaled(filters: int, width: float) -> int:
    """Returns `filters * width`, rounded, at least 1.

    Example:
        >>> scaled(16, 0.5), scaled(16, 0.01)
        (8, 1)
    """
    return max(1, round(filters * width))
