import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller
from keras_distill._internal import InputError
from keras_distill._internal._signatures import signature_name
from keras_distill.export import InputInfo, KerasSource, resolve
from keras_distill.export._recurrent import unrolled
from keras_distill.export._sources import as_float32

layers = keras.layers


def _dense(name="logits"):
    return keras.Sequential([keras.Input((4,), name="x"), layers.Dense(3, name=name)])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.one, self.two = layers.Dense(4), layers.Dense(3)

    def call(self, x):
        return {"second": self.two(x), "first": self.one(x)}


def test_sequential():
    source = KerasSource(_dense())
    assert source.inputs == (InputInfo("x", (None, 4), "float32"),)
    assert source.outputs == ("logits",)
    assert source.parameters == 15


def test_functional_keeps_the_names_of_inputs_and_output_layers():
    left, right = keras.Input((4,), name="z-left"), keras.Input((2,), name="a_right")
    both = layers.Concatenate()([left, right])
    net = keras.Model(
        [left, right], [layers.Dense(3, name="kind")(both), layers.Dense(1, name="age")(both)]
    )
    source = KerasSource(net)
    assert [i.name for i in source.inputs] == ["z_left", "a_right"]
    assert source.outputs == ("kind", "age")
    x = {"z_left": np.ones((5, 4), np.float32), "a_right": np.ones((5, 2), np.float32)}
    y = source.predict(x)
    kind, age = net.predict([x["z_left"], x["a_right"]], verbose=0)
    np.testing.assert_allclose(y["kind"], kind, rtol=1e-6)
    np.testing.assert_allclose(y["age"], age, rtol=1e-6)


def test_a_dict_of_outputs_keeps_its_keys():
    x = keras.Input((4,), name="x")
    net = keras.Model({"image": x}, {"b": layers.Dense(3)(x), "a": layers.Dense(2)(x)})
    source = KerasSource(net)
    assert [i.name for i in source.inputs] == ["image"]
    assert source.outputs == ("a", "b")
    y = source.predict({"image": np.ones((2, 4), np.float32)})
    assert (y["a"].shape, y["b"].shape) == ((2, 2), (2, 3))


def test_a_subclass_is_known_by_the_shape_it_was_called_on():
    net = Subclassed()
    words = r"'subclassed' has no input shape yet. Before you export it, call it on a batch"
    with pytest.raises(InputError, match=words):
        KerasSource(net)
    net(np.zeros((2, 5), np.float32))
    source = KerasSource(net)
    assert source.inputs == (InputInfo("input", (None, 5), "float32"),)
    assert source.outputs == ("first", "second")
    assert source.predict({"input": np.ones((7, 5), np.float32)})["first"].shape == (7, 4)


def test_inference_mode():
    net = keras.Sequential([keras.Input((4,)), layers.Dropout(0.9), layers.BatchNormalization()])
    x = {net.inputs[0].name: np.ones((8, 4), np.float32)}
    before = [keras.ops.convert_to_numpy(w) for w in net.weights]
    y = KerasSource(net).predict(x)
    np.testing.assert_allclose(next(iter(y.values())), 1 / np.sqrt(1.001), rtol=1e-4)
    for old, new in zip(before, net.weights, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_reference_is_computed_in_full_float32(monkeypatch):
    source, enabled = (
        KerasSource(_dense()),
        tf.config.experimental.tensor_float_32_execution_enabled,
    )
    seen, call = [], source.call

    def watched(*flat):
        seen.append(enabled())
        return call(*flat)

    monkeypatch.setattr(source, "call", watched)
    before = enabled()
    source.predict({"x": np.ones((300, 4), np.float32)})
    assert seen == [False] * 3 and enabled() == before
    monkeypatch.setattr(source, "call", lambda *flat: flat[0] + "text")
    with pytest.raises(InputError, match="fails on the given rows"):
        source.predict({"x": np.ones((1, 4), np.float32)})
    assert enabled() == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    net = _dense()
    kernel, bias = net.get_weights()
    kernel[1, 1] = value
    net.set_weights([kernel, bias])
    with pytest.raises(InputError, match=r"weights that are NaN or infinite: .*logits/kernel"):
        KerasSource(net)


def test_half_precision_is_rebuilt_in_float32():
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        net = keras.Sequential(
            [keras.Input((4,)), layers.Dense(8, activation="relu"), layers.BatchNormalization()]
        )
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    twin = as_float32(net)
    assert twin is not net and all(la.compute_dtype == "float32" for la in twin.layers)
    x = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    np.testing.assert_allclose(twin(x), np.float32(net(x)), atol=0.01)
    assert [la.compute_dtype for la in net.layers] == ["float16"] * 2  # the user's own stays
    plain = _dense()
    assert as_float32(plain) is plain


def _adapted(*layers, shape, dtype="float32"):
    """A model whose first layer is a normalization adapted to data far from 0 and 1."""
    first = keras.layers.Normalization(dtype=dtype)
    first.adapt(np.random.default_rng(0).normal(60.0, 20.0, (64, *shape)).astype("float32"))
    return keras.Sequential([keras.Input(shape), first, *layers])


def test_a_half_precision_model_exports_with_its_adapted_normalization():
    head = keras.layers.Dense(3, dtype="mixed_float16")
    model = _adapted(head, shape=(4,), dtype="mixed_float16")
    x = np.random.default_rng(1).normal(60.0, 20.0, (8, 4)).astype("float32")
    np.testing.assert_allclose(as_float32(model)(x), model(x), atol=0.02)


def test_an_unrolled_network_keeps_its_adapted_normalization():
    model = _adapted(keras.layers.LSTM(3), keras.layers.Dense(2), shape=(5, 2))
    x = np.random.default_rng(1).normal(60.0, 20.0, (4, 5, 2)).astype("float32")
    source = unrolled(KerasSource(model))
    np.testing.assert_allclose(source.model(x), model(x), atol=1e-5)


def test_rows_the_model_cannot_take():
    tokens = keras.Input((3,), dtype="int32", name="tokens")
    net = keras.Model(tokens, layers.Flatten()(layers.Embedding(5, 2)(tokens)))
    with pytest.raises(InputError, match="fails on the given rows"):
        KerasSource(net).predict({"tokens": np.full((2, 3), 99, np.int32)})


def test_fingerprint_is_of_the_weights():
    one, other = _dense(), _dense()
    assert KerasSource(one).fingerprint != KerasSource(other).fingerprint
    other.set_weights(one.get_weights())
    assert KerasSource(one).fingerprint == KerasSource(other).fingerprint


def test_signature_names():
    assert [signature_name(n) for n in ("a-b/c", "0x", "fine_1")] == ["a_b_c", "x0x", "fine_1"]


def test_resolve_what(tmp_path):
    net = _dense()
    path = tmp_path / "net.keras"
    net.save(path)
    assert resolve(Distiller(_dense(), net)).model is net
    assert resolve(path).fingerprint == resolve(str(path)).fingerprint == resolve(net).fingerprint
    source = resolve(net)
    assert resolve(source) is source


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "must be a Keras model, a .keras file, a SavedModel folder, or a Distiller"),
        ("missing.keras", "model: no such file: missing.keras"),
        (lambda x: x, "Received: a function. A function can only be a teacher"),
    ],
)
def test_resolve_refuses(given, words):
    with pytest.raises(InputError, match=words):
        resolve(given)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without a model: it has no saved_model.pb"):
        resolve(tmp_path)
    (tmp_path / "saved_model.pb").write_text("not a protocol buffer")
    with pytest.raises(InputError, match="damaged SavedModel"):
        resolve(tmp_path)
