"""`applications:NAME`: the models of keras.applications, without their ImageNet weights."""

import inspect
from dataclasses import dataclass

import keras
import numpy as np

from keras_distill._internal import InputError, _spec, bad, did_you_mean
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import Array
from keras_distill.models._family import Family, Rescaling, as_images

# Each of these models halves its input five times.
_SMALLEST = 32
_MOMENTUM = 0.9  # the largest momentum of batch normalization


@dataclass(frozen=True)
class Application(Family):
    """A model of keras.applications up to its pooled features, followed by the logits.

    The model takes raw values 0..255. Its `preprocess_input` becomes the first layer, unless the
    model has its own preprocessing layers. Channels stay in the order red, green, blue; for gray
    images, the first layer uses the mean over the three channels. Gray images are repeated to three
    channels, and images smaller than 32 x 32 are zero-padded. Weights are random; nothing is
    downloaded. Batch normalization has a momentum of at most 0.9, as in the other families. With
    the momentum 0.999 of MobileNetV3, the moving means used in evaluation are still inaccurate
    after a thousand steps.

    Attributes:
        name: A constructor of keras.applications, such as "MobileNetV3Small".
        alpha: Width multiplier, if the model has one (MobileNets); None for its default.
        minimalistic: Whether to use MobileNetV3 without hard-swish and squeeze-and-excite.
        dropout: Fraction of features dropped before the logits.
    """

    name: str
    alpha: float | None = None
    minimalistic: bool = False
    dropout: float = 0.0

    @classmethod
    def parse(cls, spec: Spec) -> "Application":
        options = spec.read(
            alpha=_spec.number(above=0, at_most=10),
            minimalistic=_spec.flag,
            dropout=_spec.number(at_least=0, at_most=0.95),
        )
        if spec.argument not in _names():
            raise bad(
                spec.name,
                f"be applications:NAME, NAME one of {', '.join(_names())}",
                spec.text,
                did_you_mean(spec.argument, _names()),
            )
        parameters = inspect.signature(getattr(keras.applications, spec.argument)).parameters
        for option in ("alpha", "minimalistic"):
            if option in options and option not in parameters:
                raise bad(
                    spec.name, f"not have the option {option}, which it does not take", spec.text
                )
        return cls(name=spec.argument, **options)

    def own_rescale(self, shape: tuple[int, ...]) -> Rescaling:
        channels = shape[2] if len(shape) == 3 else 1
        if channels not in (1, 3):
            raise InputError(
                f"applications:{self.name} takes images with 1 or 3 channels. Received:"
                f" input_shape={shape}."
            )
        scale, offset = _preprocessing(self.name)
        if channels == 1 or np.ptp(scale) == np.ptp(offset) == 0:
            return float(np.mean(scale)), float(np.mean(offset))
        return scale.tolist(), offset.tolist()

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        x = as_images(x, f"applications:{self.name}")
        if x.shape[-1] == 1:
            x = keras.layers.Concatenate(name="three_channels")([x, x, x])
        shape = tuple(x.shape[1:])
        if min(shape[:2]) < _SMALLEST:
            missing = [max(0, _SMALLEST - side) for side in shape[:2]]
            frame = tuple((n // 2, n - n // 2) for n in missing)
            x = keras.layers.ZeroPadding2D(frame, name="frame")(x)
        arguments: dict[str, float] = {"alpha": self.alpha} if self.alpha else {}
        if self.minimalistic:
            arguments["minimalistic"] = True
        # This unused layer takes the automatic name "normalization", which our first layer has, so
        # that no unnamed layer of the model gets the same name.
        keras.layers.Normalization()
        try:
            model = getattr(keras.applications, self.name)(
                include_top=False,
                weights=None,
                input_tensor=x,
                input_shape=tuple(x.shape[1:]),
                pooling="avg",
                **arguments,
            )
        except ValueError as error:
            raise InputError(
                f"applications:{self.name} cannot take input_shape {shape}: {error}"
            ) from error
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = min(layer.momentum, _MOMENTUM)
        x = model.output
        return keras.layers.Dropout(self.dropout, name="dropout")(x) if self.dropout else x


def _preprocessing(name: str) -> tuple[Array, Array]:
    """Returns the scale and offset of `preprocess_input` for red, green, and blue.

    Some models reverse the channels. With random weights, the order does not matter, so it is kept.
    """
    module = getattr(keras.applications, name).__module__.rpartition(".")[2]
    preprocess = getattr(keras.applications, module).preprocess_input
    zero = preprocess(np.zeros((1, 1, 3)))[0, 0]
    unit = np.stack([preprocess(np.eye(3)[[[c]]])[0, 0] - zero for c in range(3)])
    goes_to = np.argmax(np.abs(unit), axis=1)
    return unit[np.arange(3), goes_to], zero[goes_to]


def _names() -> list[str]:
    """Returns the names of the constructors of keras.applications."""
    return [
        n for n in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, n))
    ]
