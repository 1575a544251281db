"""`dscnn`: small depthwise separable networks for small images and spectrograms."""

from dataclasses import dataclass

import keras

from keras_distill._internal import _spec
from keras_distill._internal._spec import Spec
from keras_distill.models._family import Family, as_images, batch_norm, conv, regularizer, scaled


@dataclass(frozen=True)
class DSCNN(Family):
    """A convolution, then blocks of 3x3 depthwise and 1x1 pointwise convolutions of equal width.

    The architecture is that of DS-CNN in Zhang et al. (2017, arXiv:1711.07128): 64 filters, 4
    blocks, global average pooling. Here, the first kernel is 3x3 for both images and spectrograms.

    Attributes:
        width: Factor for the 64 filters.
        blocks: The number of separable blocks.
        stride: The stride of the first convolution. 0 means 2 if both sides are > 16, otherwise 1.
        dropout: Fraction of features dropped before the logits.
        weight_decay: Factor of the L2 penalty, whose gradient is weight_decay * w.
    """

    width: float = 1.0
    blocks: int = 4
    stride: int = 0
    dropout: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def parse(cls, spec: Spec) -> "DSCNN":
        spec.refuse_argument()
        options = spec.read(
            width=_spec.number(above=0, at_most=64),
            blocks=_spec.count(at_most=1000),
            stride=_spec.count(at_most=64),
            dropout=_spec.number(at_least=0, at_most=0.95),
            weight_decay=_spec.number(at_least=0),
        )
        return cls(**options)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        x = as_images(x, "dscnn")
        filters = scaled(64, self.width)
        stride = self.stride or (2 if min(x.shape[1:3]) > 16 else 1)
        x = conv(filters, 3, stride=stride, weight_decay=self.weight_decay, name="stem_conv")(x)
        x = keras.layers.ReLU(name="stem_relu")(batch_norm("stem_bn")(x))
        for block in range(1, self.blocks + 1):
            name = f"block{block}"
            x = keras.layers.DepthwiseConv2D(
                3,
                padding="same",
                use_bias=False,
                depthwise_initializer="he_normal",
                depthwise_regularizer=regularizer(self.weight_decay),
                name=f"{name}_depthwise",
            )(x)
            x = keras.layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(x))
            x = conv(filters, 1, weight_decay=self.weight_decay, name=f"{name}_pointwise")(x)
            x = keras.layers.ReLU(name=f"{name}_relu2")(batch_norm(f"{name}_bn2")(x))
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.layers.Dropout(self.dropout, name="dropout")(x) if self.dropout else x
