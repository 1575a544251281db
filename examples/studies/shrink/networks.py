"""The networks of the study: the package's families, keras.applications, and a user's own."""

import keras_distill  # noqa: F401 (before TensorFlow, so that oneDNN is on)

# isort: split
import keras

from keras_distill import models

L = keras.layers
CLASSES = 10
APPLICATIONS = (
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ResNet50V2",
    "DenseNet121",
    "Xception",
    "InceptionV3",
    "NASNetMobile",
    "ConvNeXtTiny",
)
_SIDE = 96  # pixels of an image for keras.applications


def u_net():
    """Two levels, with concatenated skips and a transposed convolution."""
    inputs = keras.Input((32, 32, 3))
    a = L.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    b = L.Conv2D(64, 3, padding="same", activation="relu")(L.MaxPooling2D()(a))
    c = L.Conv2D(128, 3, padding="same", activation="relu")(L.MaxPooling2D()(b))
    up = L.Conv2DTranspose(64, 2, strides=2)(c)
    b = L.Conv2D(64, 3, padding="same", activation="relu")(L.Concatenate()([b, up]))
    up = L.Conv2DTranspose(32, 2, strides=2)(b)
    a = L.Conv2D(32, 3, padding="same", activation="relu")(L.Concatenate()([a, up]))
    return keras.Model(inputs, L.Conv2D(CLASSES, 1)(a))


def transformer():
    """Two attention blocks on tokens."""
    tokens = keras.Input((32,), dtype="int32")
    x = L.Embedding(200, 64)(tokens)
    for _ in range(2):
        x = L.LayerNormalization()(x + L.MultiHeadAttention(4, 16)(x, x))
        x = L.LayerNormalization()(x + L.Dense(64)(L.Dense(128, "gelu")(x)))
    return keras.Model(tokens, L.Dense(CLASSES)(L.GlobalAveragePooling1D()(x)))


def recurrent():
    """A convolution, a bidirectional GRU, and an LSTM on frames."""
    frames = keras.Input((20, 16))
    x = L.Conv1D(32, 3, padding="causal", activation="relu")(frames)
    x = L.Bidirectional(L.GRU(32, return_sequences=True))(x)
    return keras.Model(frames, L.Dense(CLASSES)(L.LSTM(32)(x)))


def nested():
    """A convolutional encoder, called twice, in a model with two inputs."""
    encoder = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            L.Conv2D(32, 3, activation="relu"),
            L.BatchNormalization(),
            L.Conv2D(64, 3, strides=2, activation="relu"),
            L.Flatten(),
            L.Dense(64, "relu"),
        ],
        name="encoder",
    )
    a, b = keras.Input((16, 16, 3), name="a"), keras.Input((16, 16, 3), name="b")
    x = L.Concatenate()([L.Subtract()([encoder(a), encoder(b)]), encoder(a)])
    return keras.Model([a, b], L.Dense(CLASSES)(L.Dense(64, "relu")(x)))


def vision_transformer():
    """Patches, and attention written with keras.ops: the product of two activations stays."""
    images = keras.Input((32, 32, 3))
    x = L.Conv2D(64, 4, strides=4)(images)
    x = L.LayerNormalization()(keras.ops.reshape(x, (-1, 64, 64)))
    q, k, v = (L.Dense(64)(x) for _ in range(3))
    scores = keras.ops.softmax(keras.ops.matmul(q, keras.ops.transpose(k, (0, 2, 1))) / 8.0)
    x = x + L.Dense(64)(keras.ops.matmul(scores, v))
    x = x + L.Dense(64)(L.Dense(128, "gelu")(L.LayerNormalization()(x)))
    return keras.Model(images, L.Dense(CLASSES)(keras.ops.mean(x, axis=1)))


def _family(spec, shape):
    return lambda: models.build(spec, input_shape=shape, num_classes=CLASSES, seed=0)


def _application(name):
    def build():
        return getattr(keras.applications, name)(
            weights=None, input_shape=(_SIDE, _SIDE, 3), classes=CLASSES
        )

    return build


NETWORKS = {
    "mlp:256x256": _family("mlp:256x256", (28, 28, 1)),
    "resnet:20": _family("resnet:20", (32, 32, 3)),
    "wrn:16-2": _family("wrn:16-2", (32, 32, 3)),
    "dscnn": _family("dscnn", (49, 10, 1)),
    **{name: _application(name) for name in APPLICATIONS},
    "U-Net": u_net,
    "transformer": transformer,
    "BiGRU, LSTM": recurrent,
    "nested, shared, two inputs": nested,
    "ViT in keras.ops": vision_transformer,
}
