"""Models that compute in 16 bits while they are trained, and copies of weights."""

import keras
import numpy as np
import pytest

from keras_distill import models
from keras_distill._internal._fused_normalization import fused_batch_normalization


def adapted():
    """A model whose normalization is adapted to data far from 0 and 1."""
    layer = keras.layers.Normalization()
    layer.adapt(np.array([[50.0, 10.0], [70.0, 30.0]]))
    return keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(3)])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_copy_normalizes_as_the_model_does(policy):
    model, x = adapted(), np.array([[55.0, 12.0], [69.0, 31.0]], "float32")
    copy = models.with_precision(model, policy)
    np.testing.assert_allclose(np.float32(copy(x)), model(x), rtol=0.05, atol=0.05)
    back = models.with_precision(copy, "float32")
    np.testing.assert_allclose(back(x), model(x), rtol=1e-6)


def test_weights_of_nested_layers_are_copied():
    inner = adapted()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))
    copy = keras.models.clone_model(model)
    x = np.array([[55.0, 12.0]], "float32")
    models.copy_weights(model, copy)
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-6)


def test_a_saved_copy_without_optimizer_normalizes_too(tmp_path):
    model, x = adapted(), np.array([[55.0, 12.0]], "float32")
    plain = models.save_uncompiled(model, tmp_path / "model.keras")
    np.testing.assert_allclose(plain(x), model(x), rtol=1e-6)


def test_a_network_trained_in_16_bits_is_nearly_that_of_32(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 8, 8, 3)).astype("float32")
    y = random.integers(0, 4, 64)
    found = {}
    for policy in ("float32", "mixed_bfloat16"):
        model = models.build("resnet:8", input_shape=(8, 8, 3), num_classes=4, seed=0)
        trained = models.trained_as(model, policy)
        assert (trained is model) == (policy == "float32")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trained.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
        with fused_batch_normalization(trained):
            trained.fit(x, y, batch_size=32, epochs=3, shuffle=False, verbose=0)
        if trained is not model:
            models.copy_weights(trained, model)
        found[policy] = model
    exact, half = found.values()
    assert {layer.compute_dtype for layer in half.layers} == {"float32"}
    statistics = [
        [w for layer in model.layers for w in layer.non_trainable_weights if "moving" in w.path]
        for model in (exact, half)
    ]
    assert len(statistics[0]) == 18  # mean and variance of nine layers
    for one, other in zip(*statistics, strict=True):
        scale = np.abs(one).max()
        assert 0 < np.abs(np.asarray(one) - np.asarray(other)).max() < 0.1 * scale
    models.save(half, tmp_path / "half.keras")
    np.testing.assert_allclose(models.load(tmp_path / "half.keras")(x), half(x), atol=1e-6)


def test_the_last_layer_computes_in_float32():
    model = models.build("resnet:8", input_shape=(8, 8, 3), num_classes=4, seed=0)
    copy = models.with_precision(model, "mixed_bfloat16")
    assert [layer.compute_dtype for layer in copy.layers[-2:]] == ["bfloat16", "float32"]
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
