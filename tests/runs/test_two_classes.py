"""A run of two classes with models of one sigmoid unit, and half of the labels."""

import keras
import numpy as np

from keras_distill.records import Recipe
from keras_distill.runs._run import run

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def trained(path, width):
    keras.utils.set_random_seed(width)
    hidden = layers.Dense(width, "relu")
    model = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.03), "binary_crossentropy")
    model.fit(X, Y, epochs=5, verbose=0)
    model.save(path)
    return str(path)


def test_a_run(tmp_path):
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y)
    recipe = Recipe.parse(
        {
            "name": "two",
            "data": {"source": f"npz:{tmp_path / 'data.npz'}", "labels": 0.5},
            "teacher": {"model": trained(tmp_path / "t.keras", 16)},
            "student": {"model": trained(tmp_path / "s.keras", 4)},
            "training": {"batch_size": 32},
            "seeds": 1,
            "export": {"quantizations": ["float32", "int8"]},
        },
        source="test",
    )
    record = run(recipe, tmp_path / "run", scale="smoke")
    assert record.teacher.test_accuracy > 0.85
    assert [v.name for v in record.variants] == ["alone", "alone_all_labels", "distilled"]
    for variant in record.variants:
        assert variant.seeds[0].test_accuracy > 0.85
    assert set(record.exports.exports) == {"float32", "int8"}
    for exported in record.exports.exports.values():
        assert exported.verification.outputs[0].accuracy > 0.8
    for entry in record.benchmark.entries:
        assert entry.quality.accuracy > 0.85 and np.isfinite(entry.quality.negative_log_likelihood)
