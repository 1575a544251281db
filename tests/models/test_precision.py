"""Models that compute in 16 bits while they are trained, and their fused batch normalization."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import models
from keras_distill.models._precision import FusedBatchNormalization

IMAGES = (8, 5, 5, 3)


def pair(shape, **options):
    """A fused layer and Keras's own with the same weights, none of them 0 or 1."""
    layers = FusedBatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for layer in layers:
        random = np.random.default_rng(0)
        layer.build(shape)
        layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    return layers


def outcome(layer, x, training):
    """Output, the gradients by input and weights, and the weights afterwards."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.sin(y))
    weights = [w.value for w in layer.trainable_weights]
    found = [y, *tape.gradient(loss, [x, *weights]), *layer.get_weights()]
    return [np.asarray(value) for value in found]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 1e-2}, {"axis": 3}],
    ids=str,
)
def test_the_fused_layer_is_keras_s_own(options, training):
    x = np.random.default_rng(1).normal(3.0, 2.0, IMAGES).astype("float32")
    fused, plain = pair(IMAGES, **options)
    for one, other in zip(outcome(fused, x, training), outcome(plain, x, training), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_frozen_layer_keeps_its_statistics():
    x = np.random.default_rng(1).normal(size=IMAGES).astype("float32")
    fused, plain = pair(IMAGES)
    for layer in (fused, plain):
        layer.trainable = False
    before = fused.get_weights()
    np.testing.assert_allclose(fused(x, training=True), plain(x, training=True), rtol=1e-4)
    for one, other in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((8, 3), {}), ((8, 5, 3), {}), (IMAGES, {"axis": 1}), (IMAGES, {"renorm": True})],
    ids=str,
)
def test_what_the_kernel_cannot_is_computed_as_keras_does(shape, options):
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    fused, plain = pair(shape, **options)
    for one, other in zip(outcome(fused, x, True), outcome(plain, x, True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_pixel_has_no_variance():
    fused, plain = pair((1, 1, 1, 3))
    x = np.ones((1, 1, 1, 3), "float32")
    for one, other in zip(outcome(fused, x, True), outcome(plain, x, True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def kinds(model):
    return {type(layer).__name__ for layer in model.layers}


def test_a_trained_copy_has_fused_layers_and_the_saved_model_has_none(tmp_path):
    model = models.build("resnet:8", input_shape=(8, 8, 3), num_classes=4, seed=0)
    copy = models.trained_as(model, "mixed_bfloat16")
    assert "FusedBatchNormalization" in kinds(copy) and "BatchNormalization" not in kinds(copy)
    assert [w.path for w in copy.weights] == [w.path for w in model.weights]
    assert copy.layers[-1].compute_dtype == "float32"
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    copy(x, training=True)  # moves the statistics
    model.set_weights(copy.get_weights())
    back = models.with_precision(copy, "float32")
    assert kinds(back) == kinds(model) and "BatchNormalization" in kinds(model)
    np.testing.assert_allclose(back(x), model(x), rtol=1e-6)
    assert np.abs(np.asarray(copy(x)) - np.asarray(model(x))).max() < 0.1
    models.save(back, tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_in_float32_the_model_itself_is_trained():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert models.trained_as(model, "float32") is model
