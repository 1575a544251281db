"""A Keras model as teacher: inference mode, exact logits, features of nested layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.teachers import KerasTeacher

layers = keras.layers
X = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")


def _net():
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(5, "relu", name="hidden"), layers.BatchNormalization()],
        name="inner",
    )
    x = keras.Input((8,))
    y = layers.Dense(3, "softmax", name="probabilities")(layers.Dropout(0.5)(inner(x)))
    return keras.Model(x, y, name="net")


def test_runs_in_inference_mode_and_changes_no_variable():
    model = _net()
    teacher = KerasTeacher(model)
    before = [w.numpy().copy() for w in model.variables]

    @tf.function
    def twice(x):
        return teacher.logits(x), teacher.logits(x)

    one, two = twice(tf.constant(X))
    np.testing.assert_array_equal(one, two)  # no dropout
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, b)  # no moving average, no seed
    assert all(layer.trainable for layer in model.layers)


def test_features_of_nested_layers_come_from_the_same_pass():
    model = _net()
    teacher = KerasTeacher(model)
    logits, features = teacher.outputs(X, ["inner/hidden", "inner", "probabilities"])
    kernel, bias = model.get_layer("inner").get_layer("hidden").get_weights()
    np.testing.assert_allclose(
        features["inner/hidden"], np.maximum(X @ kernel + bias, 0), atol=1e-5
    )
    np.testing.assert_allclose(
        features["inner"], model.get_layer("inner")(X, training=False), atol=1e-6
    )
    np.testing.assert_allclose(features["probabilities"], keras.ops.softmax(logits[""]), atol=1e-6)
    assert teacher.feature_shape("inner/hidden") == (None, 5)
    assert list(teacher.features(X, ["hidden"])) == ["hidden"]


def test_layer_that_is_not_there_or_not_unique():
    teacher = KerasTeacher(_net())
    with pytest.raises(
        InputError, match=r"The teacher has no layer 'x'. Its layers: .*inner/hidden"
    ):
        teacher.features(X, ["x"])
    block = [keras.Sequential([keras.Input((8,)), layers.Dense(8, name="d")]) for _ in range(2)]
    twins = KerasTeacher(keras.Sequential([keras.Input((8,)), *block]))
    with pytest.raises(InputError, match=r"2 layers named 'd'. Give one of the paths"):
        twins.features(X, ["d"])


def test_several_outputs_by_name():
    x = keras.Input((8,))
    outputs = [layers.Dense(3, name="a")(x), layers.Dense(2, "softmax", name="b")(x)]
    as_list = KerasTeacher(keras.Model(x, outputs))
    as_dict = KerasTeacher(keras.Model(x, dict(zip("ab", outputs, strict=True))))
    assert as_list.output_shapes == as_dict.output_shapes == {"a": (None, 3), "b": (None, 2)}
    one, two = as_list.predict(X), as_dict.predict(X)
    assert sorted(one) == ["a", "b"]
    for name in "ab":
        np.testing.assert_array_equal(one[name], two[name])
    assert one["b"].min() < 0  # logits, not probabilities


def test_predict_gives_float32_numpy_for_half_precision():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    half = keras.Sequential([keras.Input((8,)), layers.Dense(3, dtype="mixed_float16")])
    half.set_weights(model.get_weights())
    logits = KerasTeacher(half).predict(X)
    assert isinstance(logits, np.ndarray) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, KerasTeacher(model).predict(X), atol=2e-2)


def test_fingerprint_is_of_weights_and_settings_not_of_names():
    keras.utils.set_random_seed(0)
    model = _net()
    print_ = KerasTeacher(model).fingerprint()
    assert len(print_) == 64
    keras.utils.set_random_seed(0)
    assert KerasTeacher(_net()).fingerprint() == print_
    model.trainable_weights[0].assign_add(tf.ones_like(model.trainable_weights[0]) * 1e-6)
    assert KerasTeacher(model).fingerprint() != print_
    pair = [keras.Sequential([keras.Input((8,)), layers.Dense(3, a)]) for a in ("relu", "tanh")]
    pair[1].set_weights(pair[0].get_weights())
    assert len({KerasTeacher(m).fingerprint() for m in pair}) == 2


class Own(keras.Model):
    def __init__(self, activation):
        super().__init__(name="own")
        self.dense = layers.Dense(4)
        self.activation = activation

    def call(self, x):
        return self.activation(self.dense(x))


def test_subclassed_model():
    model = Own(keras.activations.softmax)
    model(X)
    teacher = KerasTeacher(model)
    assert teacher.output_shapes is None and teacher.needs_check
    np.testing.assert_allclose(teacher.predict(X), model.dense(X), atol=1e-6)
    with pytest.raises(InputError, match="needs a built Functional or Sequential teacher"):
        teacher.features(X, ["dense"])
    assert len(teacher.fingerprint()) == 64


def test_probabilities_that_only_the_values_show_are_refused():
    model = Own(tf.nn.softmax)
    model(X)
    with pytest.raises(InputError, match="'own' look like probabilities, not logits"):
        KerasTeacher(model).predict(X)


def test_unbuilt_model_is_no_teacher():
    with pytest.raises(InputError, match="is not built, so it cannot have been trained"):
        KerasTeacher(keras.Sequential([layers.Dense(3)]))
