"""Tests of `keras_distill._internal._fused_normalization` against Keras's own implementation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill._internal._fused_normalization import fused_batch_normalization


def _model(**options: object) -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((6, 5, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(**options),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )


def _step(model: keras.Model, x: np.ndarray) -> tuple[np.ndarray, list, list]:
    with tf.GradientTape() as tape:
        y = model(x, training=True)
        loss = tf.reduce_sum(tf.sin(y))
    gradients = tape.gradient(loss, model.trainable_variables)
    return y, gradients, [v.numpy() for v in model.variables]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.5, "epsilon": 1e-5},
        {"center": False},
        {"scale": False},
        {"trainable": False},
        {"renorm": True},
        {"axis": 1},
        {"epsilon": 1e-7},
        {"dtype": "mixed_float16"},
        {"dtype": "mixed_bfloat16"},
    ],
    ids=str,
)
def test_outputs_gradients_and_averages_are_kerass(options):
    x = np.random.default_rng(0).normal(2, 3, (7, 6, 5, 3)).astype("float32")
    expected = _step(_model(**options), x)
    model = _model(**options)
    with fused_batch_normalization(model):
        found = _step(model, x)
    tolerance = {"mixed_float16": 2e-2, "mixed_bfloat16": 1e-1}.get(options.get("dtype"), 2e-4)
    for a, b in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_the_fused_operation_runs_in_training_only():
    model = _model()

    def operations(training: bool) -> set[str]:
        function = tf.function(lambda x: model(x, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((2, 6, 5, 3))).graph
        return {op.type for op in graph.get_operations()}

    assert "FusedBatchNormV3" not in operations(True)
    with fused_batch_normalization(model):
        assert "FusedBatchNormV3" in operations(True)
        assert "FusedBatchNormV3" not in operations(False)
    assert "FusedBatchNormV3" not in operations(True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_the_operation_reads_16_bits_without_a_conversion(dtype):
    layer = keras.layers.BatchNormalization(dtype=f"mixed_{dtype}" if dtype != "float32" else dtype)
    model = keras.Sequential([keras.Input((4, 4, 2)), layer])
    function = tf.function(lambda x: model(x, training=True))
    with fused_batch_normalization(model):
        graph = function.get_concrete_function(tf.TensorSpec((2, 4, 4, 2))).graph
    (fused,) = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    assert fused.inputs[0].dtype.name == dtype


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_other_inputs_are_converted(dtype):
    layer = keras.layers.BatchNormalization(dtype=keras.DTypePolicy("float32"), autocast=False)
    x = np.random.default_rng(0).integers(0, 9, (4, 3, 3, 2)).astype(dtype)
    model = keras.Sequential([keras.Input((3, 3, 2), dtype=dtype), layer])
    plain = model(x, training=True)
    with fused_batch_normalization(model):
        np.testing.assert_allclose(model(x, training=True), plain, rtol=1e-4, atol=1e-5)


def test_the_networks_of_the_package_train_fused():
    model = kd.models.build("resnet:8", input_shape=(8, 8, 3), num_classes=3)
    function = tf.function(lambda x: model(x, training=True))
    with fused_batch_normalization(model):
        graph = function.get_concrete_function(tf.TensorSpec((2, 8, 8, 3))).graph
    fused = [op for op in graph.get_operations() if op.type == "FusedBatchNormV3"]
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(fused) == len(layers) > 0


def test_a_batch_of_one_position_is_kerass():
    x = np.ones((1, 1, 1, 2), "float32")
    results = []
    for fused in (False, True):
        layer = keras.layers.BatchNormalization()
        model = keras.Sequential([keras.Input((1, 1, 2)), layer])
        if fused:
            with fused_batch_normalization(model):
                y = model(x, training=True)
        else:
            y = model(x, training=True)
        results.append([y, layer.moving_mean, layer.moving_variance])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_subclass_keeps_its_own_call():
    class Doubled(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    layer = Doubled()
    model = keras.Sequential([keras.Input((4, 4, 2)), layer])
    x = keras.random.normal((8, 4, 4, 2), seed=0)
    plain = model(x, training=True)
    with fused_batch_normalization(model):
        np.testing.assert_allclose(model(x, training=True), plain, rtol=1e-6)


def test_a_distiller_trains_fused_and_leaves_a_plain_student(tmp_path):
    student = _model()
    x = np.random.default_rng(0).normal(size=(32, 6, 5, 3)).astype("float32")
    distiller = kd.Distiller(_model(), student)
    distiller.fit(x, np.arange(32) % 3, batch_size=8, epochs=1, verbose=0)
    assert "call" not in student.layers[1].__dict__
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded(x), student(x), atol=1e-6)
