"""One choice on a small trained network, and an autoencoder whose int8 file loses AUC."""

import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_distill import precision
from keras_distill.records import ExportRecord

layers = keras.layers


class Chosen(NamedTuple):
    """A network, its labeled rows, and what was chosen.

    Attributes:
        model: A trained network of two layers, of which the first reacts to quantization.
        data: Labeled rows.
        record: The record of the choice.
        file: The file.
        lines: The progress.
    """

    model: keras.Model
    data: tuple[np.ndarray, np.ndarray]
    record: ExportRecord
    file: Path
    lines: list[str]


def _classes(count, seed):
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(6, 32))
    y = random.integers(0, 6, count)
    return (centers[y] + random.normal(0, 0.9, (count, 32))).astype("float32"), y


@pytest.fixture(scope="session")
def chosen(tmp_path_factory):
    """The choice on a network of the rows, made once per session."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32,), name="x"),
            layers.Dense(64, activation="relu", name="first"),
            layers.Dense(6, name="logits"),
        ],
        name="net",
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*_classes(1200, 1), epochs=3, verbose=0)
    data, lines = _classes(800, 2), []
    file = tmp_path_factory.mktemp("chosen") / "net.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = precision.export_tflite(
            model, file, quantization="auto", data=data, max_drop=1.0, progress=lines.append
        )
    return Chosen(model, data, record, file, lines)


def signals(count, seed):
    """Windows around a large constant curve; an anomaly has a weak tone more."""
    random = np.random.default_rng(seed)
    t = np.arange(32) / 32
    labels = np.arange(count) % 4 == 0
    phase = random.uniform(0, 2 * np.pi, (2, count, 1))
    x = 10 * np.sin(2 * np.pi * t) + np.sin(4 * np.pi * t + phase[0])
    x += 0.03 * labels[:, None] * np.sin(2 * np.pi * 7 * t + phase[1])
    return (x + random.normal(0, 0.01, x.shape)).astype("float32"), labels.astype(int)


@pytest.fixture(scope="session")
def autoencoder():
    """An autoencoder in the form of principal components, and rows with anomalies."""
    x, labels = signals(400, 0)
    normal = x[labels == 0]
    mean = normal.mean(axis=0)
    _, _, axes = np.linalg.svd(normal - mean, full_matrices=False)
    down = axes[:3].T
    window = keras.Input((32,), name="window")
    code = layers.Dense(3, name="code")(window)
    model = keras.Model(window, layers.Dense(32, name="again")(code), name="autoencoder")
    model.get_layer("code").set_weights([down, -mean @ down])
    model.get_layer("again").set_weights([down.T, mean])
    return model, signals(400, 1)
