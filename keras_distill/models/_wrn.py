"""`wrn:DEPTH-K`: wide residual networks for small images."""

import re
from dataclasses import dataclass

import keras

from keras_distill._internal import _spec, bad
from keras_distill._internal._spec import Spec
from keras_distill.models._family import Family, as_images, batch_norm, conv


@dataclass(frozen=True)
class WRN(Family):
    """Wide ResNets of Zagoruyko and Komodakis (2016, arXiv:1605.07146): depth 6n + 4, width k.

    The network has a stem of 16 filters, three stages of n pre-activation blocks with 16k, 32k, and
    64k filters, batch normalization, ReLU, and global average pooling. If the number of filters
    changes, the shortcut is a strided 1x1 convolution of the activated input.

    Attributes:
        depth: The depth, 6n + 4.
        k: Factor for the filters of the stages.
        dropout: Fraction of features dropped between the two convolutions of a block.
        weight_decay: Factor of the L2 penalty, whose gradient is weight_decay * w. The paper uses
            5e-4.
    """

    depth: int
    k: int
    dropout: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def parse(cls, spec: Spec) -> "WRN":
        options = spec.read(
            dropout=_spec.number(at_least=0, at_most=0.95), weight_decay=_spec.number(at_least=0)
        )
        match = re.fullmatch(r"([0-9]{1,4})-([1-9][0-9]?)", spec.argument)
        if not match or int(match[1]) < 10 or int(match[1]) % 6 != 4:
            raise bad(
                spec.name, "be wrn:DEPTH-K with a depth of 6n + 4, as wrn:16-2, wrn:40-2", spec.text
            )
        return cls(depth=int(match[1]), k=int(match[2]), **options)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        x = as_images(x, "wrn")
        x = conv(16, 3, weight_decay=self.weight_decay, name="stem_conv")(x)
        for stage, filters in enumerate((16, 32, 64), start=1):
            for block in range(1, (self.depth - 4) // 6 + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                x = self._block(x, filters * self.k, stride, f"stage{stage}_block{block}")
        x = keras.layers.ReLU(name="last_relu")(batch_norm("last_bn")(x))
        return keras.layers.GlobalAveragePooling2D(name="pool")(x)

    def _block(
        self, x: keras.KerasTensor, filters: int, stride: int, name: str
    ) -> keras.KerasTensor:
        decay = self.weight_decay
        y = keras.layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(x))
        if x.shape[-1] != filters:
            x = conv(filters, 1, stride=stride, weight_decay=decay, name=f"{name}_shortcut")(y)
        y = conv(filters, 3, stride=stride, weight_decay=decay, name=f"{name}_conv1")(y)
        y = keras.layers.ReLU(name=f"{name}_relu2")(batch_norm(f"{name}_bn2")(y))
        if self.dropout:
            y = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(y)
        y = conv(filters, 3, weight_decay=decay, name=f"{name}_conv2")(y)
        return keras.layers.Add(name=f"{name}_add")([x, y])
