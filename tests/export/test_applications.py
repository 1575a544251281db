"""A network of every family of keras.applications, random weights, as float32 and dynamic."""

import keras
import numpy as np
import pytest

from keras_distill.export import export_all

FAMILIES = {
    "ConvNeXtTiny": 64,
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "InceptionResNetV2": 96,
    "InceptionV3": 96,
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "NASNetMobile": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "VGG16": 64,
    "Xception": 96,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
@pytest.mark.parametrize("name", FAMILIES)
def test_family(name, tmp_path):
    size = FAMILIES[name]
    keras.utils.set_random_seed(0)
    net = keras.applications.__dict__[name](
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation=None
    )
    rows = np.random.default_rng(0).uniform(0, 255, (16, size, size, 3)).astype(np.float32)
    for layer in net._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # so that one pass makes its statistics those of the rows
    net(rows, training=True)
    result = export_all(
        net, tmp_path, quantizations=("float32", "dynamic"), data=rows, limits={"dynamic": 10.0}
    )
    assert result.summary() == {"float32": "made", "dynamic": "made"}
    assert result.exports["dynamic"].bytes < result.exports["float32"].bytes / 3
