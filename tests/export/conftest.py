"""One model exported in every precision, and small mounts for disks that are full."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

from keras_distill.export import _session, export_all
from keras_distill.export._converter_process import Converted
from keras_distill.records import ExportSet

layers = keras.layers


class Exported(NamedTuple):
    """A model and its files.

    Attributes:
        model: A small convolutional network that takes raw pixels.
        pixels: Rows for calibration and verification.
        names: Names of the classes.
        folder: The folder of the exported files.
        result: What the export returned.
        converted: The files as the converter made them, before metadata and verification.
    """

    model: keras.Model
    pixels: np.ndarray
    names: tuple[str, ...]
    folder: Path
    result: ExportSet
    converted: dict[str, Converted]


def _cnn():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(1 / 255, name="normalization")(image)
    x = layers.Conv2D(16, 3, activation="relu")(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The network in every precision, exported once per session."""
    random, model = np.random.default_rng(0), _cnn()
    pixels = random.integers(0, 256, (80, 8, 8, 3)).astype(np.uint8)
    data = (pixels, random.integers(0, 5, 80))
    names = ("ant", "bee", "cat", "dog", "eel")
    folder, kept = tmp_path_factory.mktemp("cnn"), tmp_path_factory.mktemp("converted")
    before = [keras.ops.convert_to_numpy(w) for w in model.weights]
    converted, run_converter = {}, _session.run_converter

    def keeping(*arguments, **options):
        found = run_converter(*arguments, **options)
        converted.update({n: m._replace(path=shutil.copy(m.path, kept)) for n, m in found.items()})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_session, "run_converter", keeping)
        result = export_all(
            model, folder, calibration=pixels, data=data, class_names=names, stem="net"
        )
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new)  # the user's model is unchanged
    return Exported(model, pixels, names, folder, result, converted)


@pytest.fixture
def converted_before(exported, monkeypatch, tmp_path_factory):
    """Makes exports of the network find the files of the session's conversion; returns the network.

    For tests of what comes after the conversion.
    """

    def run_converter(request, names, *, timeout):
        folder, made = tmp_path_factory.mktemp("copied"), exported.converted
        return {n: made[n]._replace(path=Path(shutil.copy(made[n].path, folder))) for n in names}

    monkeypatch.setattr(_session, "run_converter", run_converter)
    return exported.model


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system with the given options; skips where that is not allowed."""
    folders = []

    def mount(options):
        folder = tmp_path / f"mount{len(folders)}"
        folder.mkdir()
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"mounting needs root: {done.stderr.strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)
