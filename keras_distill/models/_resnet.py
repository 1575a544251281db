"""`resnet:DEPTH`: residual networks for small images, with 8 or more layers."""

import re
from dataclasses import dataclass

import keras

from keras_distill._internal import _spec, bad
from keras_distill._internal._spec import Spec
from keras_distill.models._family import Family, as_images, batch_norm, conv, scaled


@dataclass(frozen=True)
class ResNet(Family):
    """The CIFAR family of He et al. (2016, arXiv:1512.03385, section 4.2): depth 6n + 2.

    The network has a 3x3 stem, three stages of n basic blocks with 16, 32, and 64 filters, and
    global average pooling. If the shape changes, the shortcut is a strided 1x1 convolution with
    batch normalization (option B). The paper's CIFAR networks use option A (zero padding); the
    CIFAR distillation tables (Tian et al. 2020, arXiv:1910.10699) use option B, as here. Weights
    have He initialization, and batch normalization has the momentum 0.9.

    `resnet:8x4` and `resnet:32x4` are the wide networks of those tables, with a stem of 32 filters
    and stages of 64, 128, and 256 filters.

    Attributes:
        depth: 6n + 2, the number of layers with weights (without shortcuts).
        widen: The k of `DEPTHxk`, a factor for the stages. The stem has 32 filters if k > 1.
        width: Factor for the stem and the stages.
        weight_decay: Factor of the L2 penalty, whose gradient is weight_decay * w. The paper uses
            1e-4.
    """

    depth: int
    widen: int = 1
    width: float = 1.0
    weight_decay: float = 0.0

    @classmethod
    def parse(cls, spec: Spec) -> "ResNet":
        options = spec.read(
            width=_spec.number(above=0, at_most=64), weight_decay=_spec.number(at_least=0)
        )
        match = re.fullmatch(r"([0-9]{1,4})(?:x([1-9][0-9]?))?", spec.argument)
        if not match or int(match[1]) < 8 or int(match[1]) % 6 != 2:
            raise bad(
                spec.name,
                "have a depth of 6n + 2: resnet:8, 14, 20, 32, 44, 56, 110 …, or resnet:8x4",
                spec.text,
            )
        return cls(depth=int(match[1]), widen=int(match[2] or 1), **options)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        x = as_images(x, "resnet")
        stem = scaled(32 if self.widen > 1 else 16, self.width)
        x = conv(stem, 3, weight_decay=self.weight_decay, name="stem_conv")(x)
        x = keras.layers.ReLU(name="stem_relu")(batch_norm("stem_bn")(x))
        for stage, filters in enumerate((16, 32, 64), start=1):
            for block in range(1, (self.depth - 2) // 6 + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                name = f"stage{stage}_block{block}"
                x = self._block(x, scaled(filters * self.widen, self.width), stride, name)
        return keras.layers.GlobalAveragePooling2D(name="pool")(x)

    def _block(
        self, x: keras.KerasTensor, filters: int, stride: int, name: str
    ) -> keras.KerasTensor:
        decay = self.weight_decay
        y = conv(filters, 3, stride=stride, weight_decay=decay, name=f"{name}_conv1")(x)
        y = keras.layers.ReLU(name=f"{name}_relu1")(batch_norm(f"{name}_bn1")(y))
        y = conv(filters, 3, weight_decay=decay, name=f"{name}_conv2")(y)
        y = batch_norm(f"{name}_bn2")(y)
        if x.shape[-1] != filters or stride != 1:
            x = conv(filters, 1, stride=stride, weight_decay=decay, name=f"{name}_shortcut")(x)
            x = batch_norm(f"{name}_shortcut_bn")(x)
        return keras.layers.ReLU(name=f"{name}_relu2")(keras.layers.Add(name=f"{name}_add")([x, y]))
