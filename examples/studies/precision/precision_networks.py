"""The networks of the study, trained on real or synthetic data, and their labeled rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is on)

# isort: split
import keras
import numpy as np

from keras_distill import data, models

layers = keras.layers
ROWS = 2000  # labeled rows of most networks: one half chooses, and the other judges


class Case(NamedTuple):
    """A network of the study.

    Attributes:
        task: What it does.
        train: Returns the trained network.
        rows: Returns calibration rows, and labeled rows (x, y).
    """

    task: str
    train: Callable[[str | None], keras.Model]
    rows: Callable[[str | None], tuple[Any, tuple[Any, Any]]]


def _arrays(splits: data.Splits, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(getattr(splits, split).take(count).as_numpy_iterator())
    return np.stack([x for x, _ in pairs]), np.array([y for _, y in pairs])


def _source(spec: str, count: int = ROWS, train: int = 12000):
    """Returns functions for the training rows and the labeled rows of a data spec."""

    def training(folder):
        return _arrays(data.load(spec, data_dir=folder), "train", train)

    def rows(folder):
        splits = data.load(spec, data_dir=folder)
        return _arrays(splits, "train", 200)[0], _arrays(splits, "test", count)

    return training, rows


def _fitted(model, x, y, epochs, rate=2e-3, loss=None, batch=64):
    steps = epochs * -(-len(x) // batch)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, steps_per_execution=10)
    model.fit(x, y, epochs=epochs, batch_size=batch, verbose=2)
    return model


def _family(spec, shape, classes, source, epochs, rescale=(1 / 255, 0.0), change=lambda x: x):
    training, _ = source

    def train(folder):
        x, y = training(folder)
        model = models.build(spec, input_shape=shape, num_classes=classes, rescale=rescale, seed=0)
        return _fitted(model, change(x), y, epochs)

    return train


def _colored(x):
    """Pads 28x28 gray images to 32x32 and repeats them in three channels."""
    return np.repeat(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=-1)


def _mobilenet():
    training, rows = _source("tfds:mnist", train=6000)

    def changed(folder):
        calibration, (x, y) = rows(folder)
        return _colored(calibration), (_colored(x), y)

    spec = "applications:MobileNetV3Small"
    return _family(spec, (32, 32, 3), 10, (training, rows), 12, change=_colored), changed


def _lstm():
    training, rows = _source("tfds:mnist", train=6000)

    def train(folder):
        x, y = training(folder)
        frames = keras.Input((28, 28), name="frames")
        z = layers.LSTM(32)(layers.Rescaling(1 / 255)(frames))
        model = keras.Model(frames, layers.Dense(10, name="logits")(z), name="lstm")
        return _fitted(model, x[..., 0].astype("float32"), y, 20)

    def changed(folder):
        calibration, (x, y) = rows(folder)
        return calibration[..., 0].astype("float32"), (x[..., 0].astype("float32"), y)

    return train, changed


def _tokens(count, seed):
    """Random sequences; a token is of class 1 if it has occurred before, and 2 if it is 0."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 24, (count, 16)).astype("int32")
    seen = np.array([[x[i, t] in x[i, :t] for t in range(16)] for i in range(count)])
    return x, np.where(x == 0, 2, seen).astype("int64")


def _transformer():
    def train(_):
        tokens = keras.Input((16,), dtype="int32", name="tokens")
        positions = layers.Embedding(16, 32)(keras.ops.arange(16))
        z = layers.Embedding(24, 32)(tokens) + positions
        for _ in range(2):
            attended = layers.MultiHeadAttention(num_heads=2, key_dim=16)(
                z, z, use_causal_mask=True
            )
            z = layers.LayerNormalization()(z + attended)
            hidden = layers.Dense(64, activation="relu")(z)
            z = layers.LayerNormalization()(z + layers.Dense(32)(hidden))
        model = keras.Model(tokens, layers.Dense(3, name="logits")(z), name="transformer")
        return _fitted(model, *_tokens(6000, 0), 12)

    return train, lambda _: (_tokens(200, 1)[0], _tokens(ROWS, 2))


def _regions(x, y):
    """Labels for each pixel: background, a digit below 5, a digit of 5 or more."""
    digit = np.where(y < 5, 1, 2)[:, None, None]
    return np.where(x[..., 0] > 100, digit, 0).astype("int64")


def _unet():
    training, rows = _source("tfds:mnist", count=400, train=3000)

    def train(folder):
        x, y = training(folder)
        image = keras.Input((28, 28, 1), name="image")
        z = layers.Rescaling(1 / 255)(image)
        a = layers.Conv2D(8, 3, padding="same", activation="relu")(z)
        b = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(a)
        c = layers.Conv2D(32, 3, 2, padding="same", activation="relu")(b)
        c = layers.Conv2D(32, 3, padding="same", activation="relu")(c)
        c = layers.add([c, layers.Dense(32)(layers.GlobalAveragePooling2D(keepdims=True)(c))])
        z = layers.Conv2DTranspose(16, 2, 2, activation="relu")(c)
        z = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.concatenate([z, b]))
        z = layers.Conv2DTranspose(8, 2, 2, activation="relu")(z)
        z = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.concatenate([z, a]))
        model = keras.Model(image, layers.Conv2D(3, 1, name="logits")(z), name="unet")
        return _fitted(model, x, _regions(x, y), 6)

    def changed(folder):
        calibration, (x, y) = rows(folder)
        return calibration, (x, _regions(x, y))

    return train, changed


def signals(count, seed):
    """Windows of a machine's vibration on a large constant: (x, 1 for an anomaly).

    Normal windows are sums of three tones of random size and phase; an anomaly has a weak fourth
    one.
    """
    random = np.random.default_rng(seed)
    t = np.arange(64) / 64
    labels = (np.arange(count) % 4 == 0).astype("int64")
    x = np.zeros((count, 64))
    for tone in (2, 5, 9):
        size, phase = random.uniform(0.5, 1.5, (count, 1)), random.uniform(0, 2 * np.pi, (count, 1))
        x += size * np.sin(2 * np.pi * tone * t + phase)
    phase = random.uniform(0, 2 * np.pi, (count, 1))
    x += 0.12 * labels[:, None] * np.sin(2 * np.pi * 14 * t + phase)
    x += random.normal(0, 0.03, x.shape) + 10 * np.sin(2 * np.pi * t)
    return x.astype("float32"), labels


def autoencoder():
    """Fully connected, with a narrow middle, as the anomaly detection of MLPerf Tiny."""
    window = keras.Input((64,), name="window")
    z = window
    for units in (64, 64, 8, 64, 64):
        z = layers.Dense(units, activation="relu" if units > 8 else None)(z)
    return keras.Model(window, layers.Dense(64, name="window_again")(z), name="autoencoder")


def _autoencoder():
    def train(_):
        x, labels = signals(12000, 0)
        normal = x[labels == 0]
        return _fitted(autoencoder(), normal, normal, 40, loss="mse", batch=128)

    return train, lambda _: (signals(200, 1)[0], signals(ROWS, 2))


_DIGITS, _MNIST = _source("digits", count=500, train=1200), _source("tfds:mnist")
_CIFAR = _source("tfds:cifar100", count=6000, train=45000)


def _cifar(folder):
    """Trained alone for 12 epochs: with crops and flips, AdamW, cosine schedule."""
    splits = data.load("tfds:cifar100", data_dir=folder)
    steps = int(splits.train.cardinality()) // 128
    rescale = (1 / 255, 0.0)
    model = models.build(
        "resnet:8", input_shape=(32, 32, 3), num_classes=100, rescale=rescale, seed=0
    )
    batches = data.augmented_batches(
        splits.train.enumerate(),
        128,
        data.Augmentation(crop=4, flip=True),
        shuffle_seed=0,
        across=True,
    )
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, 12 * steps)
    model.compile(
        keras.optimizers.AdamW(schedule, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=20,
    )
    model.fit(batches, epochs=12, steps_per_epoch=steps, verbose=2)
    return model


CASES = {
    "digits, mlp:64x32": Case(
        "10 classes", _family("mlp:64x32", (8, 8, 1), 10, _DIGITS, 30, (1 / 16, 0.0)), _DIGITS[1]
    ),
    "MNIST, resnet:8": Case(
        "10 classes", _family("resnet:8", (28, 28, 1), 10, _MNIST, 3), _MNIST[1]
    ),
    "MNIST, DS-CNN": Case("10 classes", _family("dscnn", (28, 28, 1), 10, _MNIST, 3), _MNIST[1]),
    "MNIST, MobileNetV3Small": Case("10 classes", *_mobilenet()),
    "tokens, transformer": Case("a class for each token", *_transformer()),
    "MNIST, LSTM": Case("10 classes", *_lstm()),
    "MNIST, U-Net": Case("a class for each pixel", *_unet()),
    "vibration, autoencoder": Case("anomalies", *_autoencoder()),
    "CIFAR-100, resnet:8": Case("100 classes", _cifar, _CIFAR[1]),
}
