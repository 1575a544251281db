import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill.records import ShrinkRecord
from keras_distill.shrink import Role, _handlers, register_handler

L = keras.layers


def _mlp(units=32):
    return keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(units, "relu", name="a"),
            L.Dense(units, "relu", name="b"),
            L.Dense(3, name="logits"),
        ]
    )


def _cnn():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            L.Conv2D(8, 3, use_bias=False, name="conv"),
            L.BatchNormalization(name="bn"),
            L.ReLU(),
            L.GlobalAveragePooling2D(),
            L.Dense(3, name="logits"),
        ]
    )


X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.arange(40) % 3


def _units(model):
    return [layer.units for layer in model.layers if isinstance(layer, L.Dense)]


def test_the_package_can_be_called():
    assert callable(kd.shrink) and kd.shrink.register_handler is register_handler


@pytest.mark.parametrize(
    ("width", "multiple", "units"),
    [
        (0.5, 8, [16, 16, 3]),
        (0.4, 8, [16, 16, 3]),
        (0.4, 1, [13, 13, 3]),
        (0.1, 8, [3, 3, 3]),
        (1.0, 8, [32, 32, 3]),
        ({"b": 0.25}, 8, [32, 8, 3]),
    ],
)
def test_width(width, multiple, units):
    assert _units(kd.shrink(_mlp(), width=width, multiple=multiple)) == units


@pytest.mark.parametrize("budget", ["params=500", "params=0.5k", "macs=450"])
def test_budget_is_met_and_used(budget):
    records = []
    kd.shrink(_mlp(), budget=budget, multiple=1, report=records.append)
    limit = {"params": 500, "macs": 450}[budget.partition("=")[0]]
    cost = records[0].parameters_after if "params" in budget else records[0].macs_after
    assert 0.9 * limit <= cost <= limit


def test_budget_removes_the_least_important_units_first():
    model = _mlp()
    kernel = model.get_layer("b").kernel
    kernel.assign(kernel * np.where(np.arange(32) < 20, 1e-3, 1.0))
    rows = model.get_layer("logits").kernel
    rows.assign(rows * np.where(np.arange(32) < 20, 1e-3, 1.0)[:, None])
    student = kd.shrink(model, budget="params=700", multiple=1)
    assert student.get_layer("a").units == 32
    assert (student.get_layer("logits").kernel.numpy()[-12:] == rows.numpy()[20:]).all()


@pytest.mark.parametrize("kind", ["l1", "l2", "bn", "taylor", "activation"])
def test_dead_units_go_first(kind):
    model, dead = _cnn(), [0, 2, 3, 7]
    for variable in [model.get_layer("conv").kernel, *model.get_layer("bn").weights[:2]]:
        value = variable.numpy()
        value[..., dead] = 0
        variable.assign(value)
    value = model.get_layer("logits").kernel.numpy()
    value[dead] = 0
    model.get_layer("logits").kernel.assign(value)
    x = np.random.default_rng(0).normal(size=(16, 6, 6, 1)).astype("float32")
    data = (x, np.arange(16) % 3) if kind in ("taylor", "activation") else None
    student = kd.shrink(model, width=0.5, importance=kind, data=data, multiple=4)
    kept = model.get_layer("conv").kernel.numpy()[..., [1, 4, 5, 6]]
    assert (student.get_layer("conv").kernel.numpy() == kept).all()
    if data is None:
        np.testing.assert_allclose(student(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        X,
        (X, Y),
        tf.data.Dataset.from_tensor_slices((X, Y)),
        tf.data.Dataset.from_tensor_slices((X, np.eye(3)[Y])).batch(7),
    ],
    ids=["array", "pair", "unbatched", "batched"],
)
def test_forms_of_data(data):
    kind = "activation" if data is X else "taylor"
    assert _units(kd.shrink(_mlp(), width=0.25, data=data, importance=kind)) == [8, 8, 3]


def test_taylor_is_the_squared_product_of_gradient_and_weight():
    model = keras.Sequential([keras.Input((4,)), L.Dense(8, "relu"), L.Dense(3)])
    analysis = kd.shrink.analyze(model)
    from keras_distill.shrink._data import batches, loss_of
    from keras_distill.shrink._importance import importance_of

    (batch,) = batches(model, (X, Y))
    score = importance_of(analysis, "taylor", [batch], loss_of(model, batch))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        value = loss(Y, model(X))
    kernel, bias, after, _ = [
        np.asarray(g) * w.numpy()
        for g, w in zip(tape.gradient(value, model.trainable_variables), model.weights, strict=True)
    ]
    expected = kernel.sum(0) ** 2 + bias**2 + after.sum(1) ** 2
    np.testing.assert_allclose(score[analysis.groups[0].units], expected, rtol=1e-4)


def test_skip_keeps_a_layer():
    student = kd.shrink(_mlp(), width=0.5, skip=["a"])
    assert _units(student) == [32, 16, 3]


def test_nested_layers_are_skipped_by_path():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(16, name="a"), L.Dense(16)], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, L.Dense(16), L.Dense(3)])
    student = kd.shrink(model, width=0.5, skip=["inner/a"])
    assert student.layers[0].layers[0].units == 16
    assert student.layers[0].layers[1].units == 8


def test_statistics_are_measured_again_on_data():
    model, records = _cnn(), []
    model.get_layer("bn").moving_mean.assign(np.full(8, 5.0))
    x = np.random.default_rng(0).normal(size=(96, 6, 6, 1)).astype("float32")
    student = kd.shrink(model, width=0.5, multiple=4, data=x, report=records.append)
    between = student.get_layer("conv")(x).numpy()
    bn = student.get_layer("bn")
    mean = np.mean([between[:64].mean((0, 1, 2)), between[64:].mean((0, 1, 2))], axis=0)
    np.testing.assert_allclose(bn.moving_mean, mean, atol=1e-5)
    assert records[0].recalibrated == 1 and bn.momentum == model.get_layer("bn").momentum
    assert (model.get_layer("bn").moving_mean.numpy() == 5.0).all()


def test_frozen_layers_stay_frozen_and_their_statistics_as_they_are():
    model = _cnn()
    model.get_layer("bn").trainable = False
    student = kd.shrink(model, width=0.5, data=np.ones((8, 6, 6, 1), "float32"))
    assert not student.get_layer("bn").trainable and student.get_layer("conv").trainable
    assert (student.get_layer("bn").moving_mean.numpy() == 0).all()


def test_the_record(tmp_path):
    model = _cnn()
    student = kd.shrink(model, width=0.5, multiple=4, report=tmp_path / "shrink.json")
    record = ShrinkRecord.load(tmp_path / "shrink.json")
    layers = {layer.layer: layer for layer in record.layers}
    conv = layers["conv"]
    assert (conv.width_before, conv.width_after) == (8, 4)
    assert (conv.macs_before, conv.macs_after) == (8 * 9 * 16, 4 * 9 * 16)
    assert record.parameters_after == student.count_params()
    assert sum(layer.parameters_after for layer in record.layers) == student.count_params()
    assert record.bytes_before == 4 * model.count_params()
    assert record.groups[0].layers == ("conv",) and record.groups[0].kept == 4
    with pytest.raises(kd.InputError, match="exists"):
        kd.shrink(model, width=0.5, report=tmp_path / "shrink.json")


def test_the_result_is_saved_and_trained_like_any_model(tmp_path):
    student = kd.shrink(_cnn(), width=0.5)
    student.save(tmp_path / "student.keras")
    again = kd.models.load(tmp_path / "student.keras")
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype("float32")
    assert (again.predict(x, verbose=0) == student.predict(x, verbose=0)).all()
    student.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    student.fit(x, np.array([0, 1, 2, 0]), verbose=0)


def test_mixed_precision_and_fixed_batch():
    policy = {"dtype": "mixed_float16"}
    model = keras.Sequential(
        [keras.Input(batch_shape=(3, 4)), L.Dense(16, "relu", **policy), L.Dense(3, **policy)]
    )
    student = kd.shrink(model, width=0.5, data=X)
    assert student.layers[0].compute_dtype == "float16" and student.input_shape == (3, 4)


def test_what_is_not_understood_is_kept_and_listed():
    inputs, records = keras.Input((4,)), []
    a = L.Dense(16, "relu", name="a")(inputs)
    b = L.Dense(16, name="b")(L.Lambda(lambda t: t * 2, name="twice")(a))
    c = L.Dense(16, lambda t: t / keras.ops.max(t), name="c")(b)
    d = keras.ops.matmul(L.Reshape((4, 4))(c), L.Reshape((4, 4))(L.Dense(16, name="d")(inputs)))
    model = keras.Model(inputs, L.Dense(3)(L.Dense(16, "relu", name="e")(L.Flatten()(d))))
    student = kd.shrink(model, width=0.5, report=records.append)
    widths = [student.get_layer(name).units for name in "abcde"]
    assert widths == [16, 8, 16, 16, 8]
    reasons = {fixed.layer: fixed.reason for fixed in records[0].fixed}
    assert reasons["twice"].startswith("no handler") and "may mix channels" in reasons["c"]
    assert len(reasons) == 3


def test_a_softmax_at_the_end_is_no_finding():
    records = []
    layers = [keras.Input((4,)), L.Dense(16), L.Dense(3, "softmax")]
    kd.shrink(keras.Sequential(layers), width=0.5, report=records.append)
    assert records[0].fixed == ()


@keras.saving.register_keras_serializable("tests")
class Gate(L.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.gate = self.add_weight(shape=(self.units,), initializer="uniform", name="gate")

    def call(self, x):
        return x * self.gate

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_a_layer_of_the_user_is_kept_or_taught(monkeypatch):
    monkeypatch.setattr(_handlers, "REGISTERED", {})
    model = keras.Sequential([keras.Input((4,)), L.Dense(16), Gate(16), L.Dense(3)])
    with pytest.raises(kd.InputError, match=r"no channels that can be removed.*gate \(Gate\)"):
        kd.shrink(model, width=0.5)

    def handler(trace, call, inputs):
        ids = trace.along(inputs[0])
        trace.slot(call.operation, call.operation.gate, 0, ids, Role.ALONG)
        trace.setting(call.operation, "units", ids)
        return inputs

    register_handler(Gate, handler)
    assert kd.shrink(model, width=0.5).layers[1].units == 8


class _Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give `width`, `depth`, or `budget`"),
        ({"width": 0.5, "budget": "params=1k"}, "`width` or `budget`, not both"),
        ({"width": 0}, "`width` must be > 0 and <= 1"),
        ({"width": 2}, "`width` must be > 0 and <= 1"),
        ({"width": 0.01}, "`width` must be >= 0.03125, which leaves one unit of the 32"),
        ({"width": {"c": 0.5}}, "name layers whose channels can be removed, such as a, b"),
        ({"width": {"a": 1.5}}, r"`width\['a'\]` must be > 0"),
        ({"budget": "params=10"}, r"be >= params=\d+, the smallest that"),
        ({"budget": "macs=1"}, r"be >= macs=\d+, the smallest that"),
        ({"budget": "size=10"}, "`budget` must be params=NUMBER"),
        ({"budget": "params=ten"}, "`budget` must be params=NUMBER"),
        ({"budget": "params=1k:int8"}, "`budget` must be params=NUMBER"),
        ({"budget": "bytes=1k:int3"}, "`budget precision` must be one of"),
        ({"width": 0.5, "importance": "random"}, "`importance` must be one of l1, l2, bn"),
        ({"width": 0.5, "importance": "taylor"}, "`data` must be given"),
        ({"width": 0.5, "importance": "taylor", "data": X}, "`data` must have labels"),
        ({"width": 0.5, "data": X[:, :2]}, "`data` must have rows of shape"),
        ({"width": 0.5, "multiple": 0}, "`multiple` must be a whole number >= 1"),
        ({"width": 0.5, "skip": ["c"]}, "no layer 'c'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(kd.InputError, match=message) as caught:
        kd.shrink(_mlp(), **arguments)
    assert len(str(caught.value)) <= 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_Subclassed, "subclassed model"),
        (lambda: keras.Sequential([L.Dense(3)]), "no known input shape"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(3)]), "has no channels that can"),
        (lambda: L.Dense(3), "must be a Keras model"),
    ],
)
def test_models_that_cannot_be_made_narrower(model, message):
    with pytest.raises(kd.InputError, match=message):
        kd.shrink(model(), width=0.5)


def test_the_same_result_again_and_the_random_state_stays():
    import random

    model = _cnn()
    random.seed(3)
    first, after = kd.shrink(model, width=0.5), random.random()
    random.seed(3)
    assert random.random() == after
    second = kd.shrink(model, width=0.5)
    assert kd.models.fingerprint(first) == kd.models.fingerprint(second)
    assert json.dumps(first.get_config(), default=str)
