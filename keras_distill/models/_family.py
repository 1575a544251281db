"""What every family of nets gives: its settings read off a spec, and its layers."""

import abc

import keras

from keras_distill._internal import InputError
from keras_distill._internal._spec import Spec


class Family(abc.ABC):
    """A family of nets; a subclass is a frozen dataclass of its settings."""

    @classmethod
    @abc.abstractmethod
    def parse(cls, spec: Spec) -> "Family":
        """Reads the settings off a spec.

        Raises:
            InputError: If the spec does not fit the family.
        """

    @abc.abstractmethod
    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Applies the net up to its last hidden representation, `(batch, features)`.

        Args:
            x: Normalized input, `(batch, *input_shape)`.

        Raises:
            InputError: If the net cannot take that shape.
        """

    def own_rescale(self, shape: tuple[int, ...]) -> tuple | None:
        """The (scale, offset) that belongs to the net; None where any will do.

        Args:
            shape: Of one example.
        """
        return None

    def logits(self, x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
        """The last layer, Dense without activation."""
        return keras.layers.Dense(num_classes, name="logits")(x)


def as_images(x: keras.KerasTensor, family: str) -> keras.KerasTensor:
    """Returns x as `(batch, height, width, channels)`; `(batch, a, b)` gets one channel.

    Raises:
        InputError: If it is neither.
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
    """L2 with factor weight_decay/2, whose gradient is weight_decay * w, as SGD's decay is."""
    return keras.regularizers.L2(weight_decay / 2) if weight_decay else None


def batch_norm(name: str) -> keras.layers.Layer:
    """Batch normalization with the settings common for CIFAR nets."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)


def conv(
    filters: int,
    kernel: int,
    *,
    stride: int = 1,
    weight_decay: float = 0.0,
    name: str,
) -> keras.layers.Layer:
    """A convolution without bias, padded to keep the size, He-initialized."""
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
