"""The bridge: same outputs, same weights, nothing dropped in silence."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, models
from keras_distill._internal import VerificationError
from keras_distill.compress import _bridge, to_keras, to_tf_keras
from keras_distill.compress._layers import SUPPORTED

L = keras.layers


def difference(model, twin):
    x = _bridge.random_inputs(model, rows=3)
    return _bridge.largest_difference(model(x, training=False), twin(x, training=False))


def check(model, tolerance=1e-6):
    before = model.get_weights()
    twin = to_tf_keras(model)
    assert type(twin).__module__.startswith("tf_keras.")
    assert difference(model, twin) <= tolerance
    back = to_keras(twin, like=model)
    for a, b, c in zip(before, back.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert back is not model
    return twin


def vector(*layers, size=6, dtype="float32"):
    return keras.Sequential([keras.Input((size,), dtype=dtype), *layers])


def image(*layers, size=8):
    return keras.Sequential([keras.Input((size, size, 4)), *layers])


def series(*layers):
    return keras.Sequential([keras.Input((9, 4)), *layers])


def volume(*layers):
    return keras.Sequential([keras.Input((5, 5, 5, 2)), *layers])


BUILT = {
    "dense": lambda: vector(L.Dense(3, "relu"), L.Dense(2, use_bias=False)),
    "regularized": lambda: vector(
        L.Dense(
            3, kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2), kernel_constraint="max_norm"
        )
    ),
    "conv1d": lambda: series(L.Conv1D(4, 3, dilation_rate=2), L.SeparableConv1D(3, 2)),
    "conv1d transpose": lambda: series(L.Conv1DTranspose(3, 3, strides=2), L.DepthwiseConv1D(2)),
    "conv2d": lambda: image(L.Conv2D(6, 3, strides=2, padding="same", groups=2, activation="elu")),
    "conv2d transpose": lambda: image(L.Conv2DTranspose(3, 3, strides=2, output_padding=1)),
    "depthwise": lambda: image(L.DepthwiseConv2D(3, depth_multiplier=2), L.SeparableConv2D(3, 3)),
    "conv3d": lambda: volume(L.Conv3D(2, 2), L.Conv3DTranspose(2, 2)),
    "norms": lambda: image(L.BatchNormalization(epsilon=0.01), L.GroupNormalization(2)),
    "layer norm": lambda: series(L.LayerNormalization(), L.UnitNormalization()),
    "normalization": lambda: vector(
        L.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 4, 9, 1, 1, 1]), L.Dense(2)
    ),
    "rescaling": lambda: image(L.Rescaling([0.1, 0.2, 0.3, 0.4], offset=[1.0, 2, 3, 4])),
    "activations": lambda: vector(
        L.LeakyReLU(negative_slope=0.1), L.PReLU(), L.ELU(alpha=0.5), L.ReLU(6.0, 0.1), L.Softmax()
    ),
    "pooling": lambda: image(
        L.MaxPooling2D(2, padding="same"), L.AveragePooling2D(2), L.GlobalAveragePooling2D()
    ),
    "pooling1d": lambda: series(L.MaxPooling1D(2), L.GlobalMaxPooling1D(keepdims=True)),
    "shapes": lambda: series(
        L.ZeroPadding1D(1), L.Cropping1D(1), L.Permute((2, 1)), L.Reshape((6, 6)), L.UpSampling1D(2)
    ),
    "images": lambda: image(
        L.ZeroPadding2D(((0, 1), (1, 0))),
        L.Cropping2D(1),
        L.UpSampling2D(2, interpolation="bilinear"),
    ),
    "noise": lambda: vector(
        L.Dropout(0.5),
        L.GaussianNoise(0.1),
        L.GaussianDropout(0.1),
        L.AlphaDropout(0.1),
        L.Dense(2),
    ),
    "embedding": lambda: vector(
        L.Embedding(5, 4, mask_zero=True), L.GRU(3, return_sequences=True), L.LSTM(4), dtype="int32"
    ),
    "rnn": lambda: series(L.SimpleRNN(3, go_backwards=True), L.RepeatVector(2), L.Identity()),
    **{
        f"activation {name}": lambda name=name: vector(L.Dense(4), L.Activation(name))
        for name in (
            *("relu6", "gelu", "silu", "hard_sigmoid", "hard_silu", "leaky_relu", "log_softmax"),
            *("mish", "selu", "softplus", "softsign", "exponential", "tanh", "sigmoid"),
        )
    },
}


@pytest.mark.parametrize("name", BUILT)
def test_layers_cross_over_and_back(name):
    check(BUILT[name]())


def test_merging_layers():
    a, b = keras.Input((4,)), keras.Input((4,))
    merges = [L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate]
    outputs = [merge()([a, b]) for merge in merges]
    check(keras.Model([a, b], [*outputs, L.Dot(axes=1)([a, b])]))


def test_a_shared_layer_stays_shared():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = L.Dense(3, name="shared")
    twin = check(keras.Model([a, b], L.Add()([shared(a), shared(L.Dense(4)(b))])))
    assert len(twin.get_layer("shared").inbound_nodes) == 2
    assert sum(layer.name == "shared" for layer in twin.layers) == 1


def test_dicts_of_inputs_and_outputs_stay_dicts():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model({"a": a, "b": b}, {"sum": L.Add()([a, b]), "dense": L.Dense(2)(a)})
    twin = check(model)
    assert set(twin(_bridge.random_inputs(model))) == {"sum", "dense"}


def test_arithmetic_becomes_layers():
    a, b = keras.Input((4, 4, 3), name="a"), keras.Input((4, 4, 3), name="b")
    gate = L.ReLU(6.0)(a + 3.0) * (1 / 6)
    outputs = [
        gate * b,
        a + b,
        a - b,
        1 - a,
        a - 2.5,
        3 + a,
        2 * a,
        a / 4,
        keras.ops.add(a, 1),
    ]
    twin = check(keras.Model([a, b], outputs))
    kinds = [type(layer).__name__ for layer in twin.layers]
    assert kinds.count("Rescaling") == 8
    assert {"Add", "Subtract", "Multiply"} <= set(kinds)


def nested():
    i = keras.Input((8, 8, 4))
    stem = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 3, name="conv")], name="stem")
    k = keras.Input((6, 6, 4))
    pools = keras.Model(k, [L.GlobalAveragePooling2D()(k), L.GlobalMaxPooling2D()(k)], name="pools")
    return keras.Model(i, L.Dense(2, "softmax", name="head")(L.Concatenate()(pools(stem(i)))))


def test_nested_models_stay_nested_or_are_dissolved():
    model = nested()
    twin = check(model)
    assert {"stem", "pools"} <= {layer.name for layer in twin.layers}
    flat = to_tf_keras(model, flat=True)
    assert "stem_conv" in {layer.name for layer in flat.layers}
    assert difference(model, flat) <= 1e-6
    flat.get_layer("stem_conv").kernel.assign_add(np.ones((3, 3, 4, 4)))
    moved = to_keras(flat, like=model).get_layer("stem").get_layer("conv").kernel
    np.testing.assert_allclose(moved, model.get_layer("stem").get_layer("conv").kernel + 1)


def test_a_nested_model_may_come_last_and_may_be_called_twice():
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(a, 3.0 - L.Dense(4, name="dense")(a), name="inner")
    outer = keras.Model(b, [inner(2.0 * b), inner(b)])
    check(outer)
    assert difference(outer, to_tf_keras(outer, flat=True)) <= 1e-6


def test_heads_are_taken_off_for_training():
    model = nested()
    twin = _bridge.to_logits(model, {"head": "softmax"})
    x = _bridge.random_inputs(model)
    np.testing.assert_allclose(keras.ops.softmax(twin(x)), model(x), atol=1e-6)
    assert (np.abs(np.asarray(twin(x)).sum(-1) - 1) > 1e-3).any()
    back = to_keras(twin, like=model)
    np.testing.assert_array_equal(back(x), model(x))


def test_what_is_frozen_stays_frozen():
    model = vector(L.Dense(3, name="a"), L.Dense(2, name="b"))
    model.get_layer("a").trainable = False
    twin = to_tf_keras(model)
    assert not twin.get_layer("a").trainable
    assert len(to_keras(twin, like=model).trainable_weights) == 2


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


def with_ops():
    i = keras.Input((4,))
    return keras.Model(i, keras.ops.relu(i) + 1)


def with_division():
    i = keras.Input((4,))
    return keras.Model(i, 1.0 / i)


def with_a_constant():
    i = keras.Input((2,))
    return keras.Model(i, i + np.float32([1, 2]))


def with_attention():
    i = keras.Input((4, 3))
    return keras.Model(i, L.MultiHeadAttention(2, 2, name="mha")(i, i))


def shared_across():
    dense, i, k = L.Dense(4, name="dense"), keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(k, dense(k), name="inner")
    return keras.Model(i, inner(dense(i)))


def called_in_training():
    i = keras.Input((4,))
    return keras.Model(i, L.Dropout(0.5, name="always")(i, training=True))


def half():
    return vector(L.Dense(2, dtype="mixed_float16", name="half"))


REFUSED = {
    "custom layer": (lambda: vector(Doubled(name="mine")), "'mine'.*Doubled.*keras.layers"),
    "subclassed": (Subclassed, "subclassed model .Subclassed..*export STUDENT.keras --quant"),
    "lambda": (lambda: vector(L.Lambda(lambda x: x, name="code")), "'code'.*Lambda"),
    "ops": (with_ops, "keras.ops.Relu"),
    "division by a tensor": (with_division, "keras.ops.TrueDivide"),
    "sum with an array": (with_a_constant, "keras.ops.Add"),
    "attention": (
        with_attention,
        "'mha'.*attention.*Quantization after training.*--quantization int8",
    ),
    "unknown class": (lambda: image(L.Resizing(4, 4, name="resize")), "'resize'.*Resizing"),
    "not built": (lambda: keras.Sequential([L.Dense(2)]), "no known input shape"),
    "half precision": (half, "'half'.*dtype.*mixed_float16"),
    "shared across models": (shared_across, "'inner/dense'.*shared|'dense'.*shared"),
    "training=True": (called_in_training, "'always'.*training=True"),
    "value of a key": (
        lambda: vector(L.LayerNormalization(rms_scaling=True, name="rms")),
        "'rms'.*rms_scaling=True",
    ),
    "activation": (
        lambda: vector(L.Dense(2, activation=lambda x: x, name="odd")),
        "'odd'.*activation",
    ),
    "activity regularizer": (
        lambda: vector(L.Dense(2, activity_regularizer="l2", name="act")),
        "'act'.*activity_regularizer",
    ),
    "regularizer": (
        lambda: vector(
            L.Dense(2, kernel_regularizer=keras.regularizers.OrthogonalRegularizer(), name="o")
        ),
        "'o'.*kernel_regularizer",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name):
    build, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        to_tf_keras(build())


def test_an_unknown_config_key_names_layer_and_key(monkeypatch):
    config = L.Dense.get_config
    monkeypatch.setattr(L.Dense, "get_config", lambda self: {**config(self), "novelty": 7})
    with pytest.raises(InputError, match=r"'new'.*'novelty' .7."):
        to_tf_keras(vector(L.Dense(2, name="new")))


def test_a_model_of_something_else_is_refused():
    with pytest.raises(InputError, match="must be a Keras 3 model"):
        to_tf_keras("model.keras")


def test_a_twin_that_computes_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(_bridge, "largest_difference", lambda a, b: 0.5)
    with pytest.raises(VerificationError, match="gives other outputs"):
        to_tf_keras(vector(L.Dense(2)))


def test_weights_of_another_model_are_refused():
    twin = to_tf_keras(vector(L.Dense(2, name="d")))
    with pytest.raises(InputError, match=r"'d'.*do not fit"):
        to_keras(twin, like=vector(L.Dense(3, name="d")))
    with pytest.raises(InputError, match="no layer 'e'"):
        to_keras(twin, like=vector(L.Dense(2, name="e")))


def test_every_supported_class_exists_in_both():
    import tf_keras

    for name in SUPPORTED:
        assert issubclass(getattr(keras.layers, name), keras.Layer)
        assert issubclass(getattr(tf_keras.layers, name), tf_keras.layers.Layer)


# Every family, as `families()` writes it, and every option of each.
SPECS = [
    ("mlp:300x300", (28, 28, 1)),
    ("mlp:32x16?input_dropout=0.2&dropout=0.5&max_norm=3&weight_decay=0.001", (8, 8)),
    ("resnet:20", (16, 16, 3)),
    ("resnet:8x4?width=0.5&weight_decay=0.001", (16, 16)),
    ("wrn:16-2", (16, 16, 3)),
    ("wrn:10-1?dropout=0.3&weight_decay=0.001", (16, 16)),
    ("dscnn", (49, 10, 1)),
    ("dscnn?width=0.125&blocks=2&stride=1&dropout=0.2&weight_decay=0.001", (28, 28)),
    ("applications:MobileNetV3Small", (32, 32, 3)),
    ("applications:MobileNetV3Large?minimalistic=1&dropout=0.1", (28, 28)),
    ("applications:MobileNet?alpha=0.25", (32, 32, 3)),
]


def test_every_family_of_specs_is_tried():
    assert set(models.families()) <= {spec for spec, _ in SPECS}


@pytest.mark.parametrize(("spec", "shape"), SPECS)
def test_every_model_spec_crosses_over(spec, shape):
    rescale = ([0.1, 0.2, 0.3], [0.0, -1.0, 1.0]) if shape[-1] == 3 else (0.1, -1.0)
    check(models.build(spec, input_shape=shape, num_classes=5, rescale=rescale, seed=0))


APPLICATIONS = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Large": {},
    "VGG16": {},
    "VGG19": {},
    "ResNet50": {},
    "ResNet50V2": {},
    "DenseNet121": {},
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "Xception": {"input_shape": (71, 71, 3)},
    "NASNetMobile": {},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
}
REFUSED_APPLICATIONS = {
    "ConvNeXtTiny": {},
    "InceptionResNetV2": {"input_shape": (75, 75, 3)},
}


def test_every_module_of_keras_applications_is_tried():
    def module(name):
        return getattr(keras.applications, name).__module__

    functions = [n for n in dir(keras.applications) if n[0].isupper()]
    tried = {module(name) for name in (*APPLICATIONS, *REFUSED_APPLICATIONS)}
    assert {module(name) for name in functions} == tried


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n == "MobileNet" else pytest.mark.slow) for n in APPLICATIONS],
)
def test_keras_applications_cross_over(name):
    options = {"input_shape": (32, 32, 3), **APPLICATIONS[name]}
    check(getattr(keras.applications, name)(weights=None, classes=5, **options))


@pytest.mark.parametrize("name", REFUSED_APPLICATIONS)
@pytest.mark.slow
def test_keras_applications_of_other_layers_are_refused(name):
    options = {"input_shape": (32, 32, 3), **REFUSED_APPLICATIONS[name]}
    model = getattr(keras.applications, name)(weights=None, classes=5, **options)
    with pytest.raises(InputError, match="cannot be compressed"):
        to_tf_keras(model)
