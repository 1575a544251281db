import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill.shrink._depth import find_blocks

L = keras.layers


def _blocks(count=4, units=16, head=None):
    """y = x + f(x), `count` times, the weights of f quartered each time: later ones matter less."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6,))
    x = L.Dense(units, name="stem")(x)
    for place in range(count):
        y = L.Dense(units, "relu", name=f"block{place}_a")(x)
        x = L.Add(name=f"block{place}")([x, L.Dense(units, name=f"block{place}_b")(y)])
    model = keras.Model(inputs, L.Dense(3, head, name="logits")(x))
    for place in range(count):
        kernel = model.get_layer(f"block{place}_b").kernel
        kernel.assign(kernel * 4.0**-place)
    return model


X = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")


@pytest.mark.parametrize("head", [None, "softmax"])
def test_the_blocks_that_matter_least_are_dropped(head):
    model, records = _blocks(head=head), []
    student = kd.shrink(model, depth=0.5, data=X, report=records.append)
    assert records[0].removed_blocks == ("block2", "block3")
    assert {layer.name for layer in student.layers} >= {"block0_a", "block1_b", "logits"}
    assert student.count_params() == model.count_params() - 2 * 2 * (16 * 16 + 16)
    assert student.count_params() == records[0].parameters_after
    gone = {layer.layer for layer in records[0].layers if layer.parameters_after == 0}
    assert gone == {"block2_a", "block2_b", "block3_a", "block3_b"}
    assert "block2" in {layer.name for layer in model.layers}


def test_depth_and_width_together():
    student = kd.shrink(_blocks(), depth=0.75, width=0.5, data=X)
    assert student.get_layer("block2_a").units == 8 == student.get_layer("stem").units
    with pytest.raises(ValueError, match="block3"):
        student.get_layer("block3_a")


def test_depth_1_keeps_all():
    model = _blocks()
    student = kd.shrink(model, depth=1.0, data=X)
    assert (student.predict(X, verbose=0) == model.predict(X, verbose=0)).all()


def test_only_blocks_with_an_identity_shortcut_are_found():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 3, padding="same")(inputs)
    x = L.Add(name="identity")([L.Conv2D(8, 3, padding="same")(x), x])
    y = L.Conv2D(16, 3, strides=2, padding="same")(x)
    x = L.Add(name="projected")([y, L.Conv2D(16, 1, strides=2)(x)])
    seen = L.Conv2D(16, 3, padding="same")(x)
    x = L.Add(name="read_outside")([x, seen])
    a = L.Add(name="inner")([x, L.Conv2D(16, 1)(x)])
    x = L.Add(name="outer")([x, L.Conv2D(16, 1)(a)])
    x = x + L.GlobalAveragePooling2D(keepdims=True)(x)
    model = keras.Model(inputs, [L.Dense(3)(L.Flatten()(x)), L.Flatten()(seen)])
    assert [block.name for block in find_blocks(model)][:2] == ["identity", "inner"]
    assert len(find_blocks(model)) == 3  # and the addition of keras.ops


def test_blocks_of_nested_models_are_dropped():
    inner = _blocks(2)
    inputs = keras.Input((6,))
    outer = keras.Model(inputs, L.Dense(2)(inner(L.Dense(6)(inputs))))
    student = kd.shrink(outer, depth=0.5, data=X)
    dropped = 2 * (16 * 16 + 16)
    assert student.count_params() == outer.count_params() - dropped


def test_a_model_without_blocks_is_refused():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8), L.Dense(2)])
    with pytest.raises(kd.InputError, match="drops residual blocks"):
        kd.shrink(model, depth=0.5, data=X)
    with pytest.raises(kd.InputError, match=r"`data` must be given for depth=0\.5"):
        kd.shrink(model, depth=0.5)
    with pytest.raises(kd.InputError, match="`depth` must be > 0 and <= 1"):
        kd.shrink(model, depth=0, data=X)
