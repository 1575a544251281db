"""What compile and fit promise for any Keras model holds for the Distiller."""

import inspect
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller, InputError, Targets
from keras_distill.losses import (
    DecoupledLoss,
    LogitMatchingLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    SoftTargetLoss,
)

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 8)).astype("float32")
    return x, rng.integers(0, 3, 40)


def _fit(distiller, x, y, **settings):
    compiled = dict(optimizer=keras.optimizers.SGD(0.1), loss=CE)
    fitted = dict(batch_size=8, epochs=2, verbose=0, shuffle=False)
    for name, value in settings.items():
        (fitted if name in ("epochs", "batch_size") else compiled)[name] = value
    distiller.compile(**compiled)
    history = distiller.fit(x, y, **fitted).history
    return history, distiller.student.get_weights()


@pytest.mark.parametrize(
    "settings",
    [{"run_eagerly": True}, {"steps_per_execution": 3}, {"jit_compile": True}],
    ids=lambda s: next(iter(s)),
)
def test_ways_to_run_agree(mlp, data, settings):
    plain = _fit(Distiller(mlp(16, seed=1), mlp(4)), *data)
    other = _fit(Distiller(mlp(16, seed=1), mlp(4)), *data, **settings)
    for name, values in plain[0].items():
        np.testing.assert_allclose(values, other[0][name], rtol=1e-4)
    for a, b in zip(plain[1], other[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_gradient_accumulation_is_a_larger_batch(mlp, data):
    small = keras.optimizers.SGD(0.1, gradient_accumulation_steps=4)
    one = _fit(Distiller(mlp(16, seed=1), mlp(4)), *data, optimizer=small, batch_size=10)
    two = _fit(Distiller(mlp(16, seed=1), mlp(4)), *data, batch_size=40)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_metrics_watch_the_student_against_the_labels(mlp, data):
    x, y = data
    student = mlp(4)
    distiller = Distiller(mlp(16, seed=1), student)
    distiller.compile(keras.optimizers.SGD(0.0), CE, metrics=["accuracy"])
    history = distiller.fit(x, y, verbose=0, sample_weight=np.ones(40)).history
    accuracy = (student(x).numpy().argmax(-1) == y).mean()
    assert history["accuracy"][0] == pytest.approx(accuracy)
    assert distiller.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] == pytest.approx(
        accuracy
    )


def test_unlabeled_rows_count_nothing_in_metrics(mlp, data):
    x, y = data
    labeled = np.arange(40) % 4 > 0
    student = mlp(4)
    s = student(x).numpy()
    w = np.linspace(0.5, 2, 40).astype("float32")
    distiller = Distiller(None, student)
    distiller.compile(
        keras.optimizers.SGD(0.0), CE, metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
    )  # fmt: skip
    for targets in (
        Targets(y, np.zeros((40, 3), "float32"), labeled),
        Targets(np.where(labeled, y, -1), np.zeros((40, 3), "float32")),
    ):
        logs = distiller.fit(x, targets, sample_weight=w, verbose=0).history
        right = s.argmax(-1) == y
        assert logs["accuracy"][0] == pytest.approx(right[labeled].mean())
        expected = (right * w)[labeled].sum() / w[labeled].sum()
        assert logs["weighted"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("call", ["fit", "evaluate", "validation"])
def test_sample_weight_beside_arrays_of_targets(mlp, data, call):
    x, y = data
    teacher = mlp(16, seed=1)
    distiller = Distiller(None, mlp(4))
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    targets = Targets(y, teacher(x).numpy(), np.ones(40, bool))
    w = np.linspace(0.5, 2, 40).astype("float32")
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(distiller.student(x)))
    each = -np.log(probabilities[np.arange(40), y])
    if call == "fit":
        logs = distiller.fit(x, targets, sample_weight=w, verbose=0).history
    elif call == "evaluate":
        logs = distiller.evaluate(x, targets, sample_weight=w, verbose=0, return_dict=True)
    else:
        logs = distiller.fit(x, targets, validation_data=(x, targets, w), verbose=0).history
    found = logs["val_hard_loss" if call == "validation" else "hard_loss"]
    assert np.squeeze(found) == pytest.approx((w * each).mean(), rel=1e-5)


def test_sample_weight_of_positions_beside_arrays_of_targets():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 5, 4)).astype("float32"), rng.integers(0, 3, (6, 5))
    w = rng.uniform(size=(6, 5)).astype("float32")
    student = keras.Sequential([keras.Input((5, 4)), layers.Dense(3)])
    distiller = Distiller(None, student)
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    targets = Targets(y, np.zeros((6, 5, 3), "float32"))
    logs = distiller.fit(
        x, targets, sample_weight=w, validation_data=(x, targets, w), verbose=0
    ).history
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(student(x)))
    each = -np.log(np.take_along_axis(probabilities, y[..., None], -1)[..., 0])
    assert logs["hard_loss"][0] == pytest.approx((w * each).mean(), rel=1e-5)
    assert logs["val_hard_loss"][0] == pytest.approx((w * each).mean(), rel=1e-5)


def test_without_a_soft_term_it_is_the_student_s_own_fit(mlp, data):
    x, y = data
    teacher = mlp(16, seed=1)

    def trained(wrapped):
        keras.utils.set_random_seed(0)
        student = keras.Sequential(
            [
                keras.Input((8,)),
                layers.Dense(6, "relu", kernel_regularizer="l2"),
                layers.BatchNormalization(),
                layers.Dropout(0.3, seed=3),
                layers.Dense(3),
            ]
        )
        model = Distiller(teacher, student, alpha=0.0) if wrapped else student
        model.compile(keras.optimizers.Adam(0.01), CE, metrics=["accuracy"])
        arguments = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
        history = model.fit(
            x, y, sample_weight=np.linspace(0.5, 2, 40), validation_data=(x, y), **arguments
        ).history
        return history, student.get_weights()

    own, own_weights = trained(wrapped=False)
    ours, our_weights = trained(wrapped=True)
    assert set(ours) - set(own) == {"hard_loss", "soft_loss", "val_hard_loss"}
    for name, values in own.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-5, err_msg=name)
    for a, b in zip(own_weights, our_weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def _two_headed(seed):
    keras.utils.set_random_seed(seed)
    x = keras.Input((8,))
    return keras.Model(x, {"b": layers.Dense(3, name="b")(x), "a": layers.Dense(2, name="a")(x)})


@pytest.mark.parametrize("labeled", [None, "some"])
def test_metrics_by_output_name(data, labeled):
    x, y = data
    student = _two_headed(0)
    s = student(x)
    present = np.arange(40) % 4 > 0 if labeled else np.ones(40, bool)
    labels = {"a": y % 2, "b": y}
    teacher = {k: np.zeros(s[k].shape, "float32") for k in "ab"}
    top_two = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_two")
    distiller = Distiller(None, student)
    distiller.compile(
        keras.optimizers.SGD(0.0), {"a": CE, "b": CE}, metrics={"a": ["accuracy"], "b": [top_two]}
    )
    targets = Targets(labels, teacher, present if labeled else None)
    logs = distiller.fit(x, targets, verbose=0).history
    right = s["a"].numpy().argmax(-1) == labels["a"]
    assert logs["a_accuracy"][0] == pytest.approx(right[present].mean())
    assert {"a_loss", "b_loss", "b_top_two", "hard_loss", "soft_loss", "loss"} <= set(logs)


def test_logs(mlp, data):
    x, y = data
    teacher = mlp(16, seed=1)
    distiller = Distiller(teacher, mlp(4), agreement=True)
    history = distiller.fit(x, y, validation_data=(x, y), verbose=0).history
    assert sorted(history) == [
        "accuracy", "agreement", "hard_loss", "loss", "soft_loss",
        "val_accuracy", "val_hard_loss", "val_loss",
    ]  # fmt: skip
    same = teacher(x).numpy().argmax(-1) == distiller(x).numpy().argmax(-1)
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    again = distiller.fit(x, y, verbose=0).history
    assert again["agreement"][0] == pytest.approx(same.mean())


def test_validation_loss_is_the_hard_one_whatever_alpha(mlp, data):
    x, y = data
    student = mlp(4, kernel_regularizer="l2")
    extra = 0.01 * (student.layers[-1].get_weights()[0] ** 2).sum()
    for alpha in (0.0, 0.9, 1.0):
        distiller = Distiller(mlp(16, seed=1), student, alpha=alpha)
        distiller.compile(keras.optimizers.SGD(0.0), CE)
        logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
        assert sorted(logs) == ["hard_loss", "loss"]
        assert logs["loss"] == pytest.approx(logs["hard_loss"] + extra, rel=1e-5)
        assert logs["hard_loss"] == pytest.approx(float(CE(y, student(x))), rel=1e-5)


def test_evaluate_equals_the_student_s_own(mlp, data):
    x, y = data
    student = mlp(4)
    distiller = Distiller(mlp(16, seed=1), student)
    distiller.compile("sgd", CE, metrics=["accuracy"])
    ours = distiller.evaluate(x, y, verbose=0, return_dict=True)
    student.compile("sgd", CE, metrics=["accuracy"])
    theirs = student.evaluate(x, y, verbose=0, return_dict=True)
    assert ours["loss"] == pytest.approx(theirs["loss"]) and ours["accuracy"] == theirs["accuracy"]


def test_evaluate_with_the_teacher_is_the_training_loss(mlp, data):
    x, y = data
    distiller = Distiller(mlp(16, seed=1), mlp(4), evaluate_teacher=True, agreement=True)
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    trained = distiller.fit(x, y, batch_size=8, verbose=0, shuffle=False).history
    logs = distiller.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    assert {k: v[0] for k, v in trained.items()} == pytest.approx(logs, rel=1e-5)
    stored = Targets(y, distiller.teacher.predict(x))
    again = Distiller(None, distiller.student, agreement=True)
    again.compile("sgd", CE)
    assert again.evaluate(x, stored, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-5)


def test_predict_is_the_student_s(mlp, data):
    x, _ = data
    student = mlp(4)
    ours = Distiller(mlp(16, seed=1), student).predict(x, verbose=0)
    np.testing.assert_array_equal(ours, student.predict(x, verbose=0))


def test_uneven_last_batch_weighs_as_in_keras(mlp, data):
    x, y = data
    distiller = Distiller(mlp(16, seed=1), mlp(4))
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    whole = distiller.fit(x, y, batch_size=40, verbose=0).history
    parts = distiller.fit(x, y, batch_size=16, verbose=0).history
    for name, values in whole.items():
        assert parts[name][0] == pytest.approx(values[0], rel=1e-5)


@pytest.mark.parametrize(
    ("end", "classes", "labels", "soft", "expected"),
    [
        (None, 3, "ids", None, "sparse_categorical_crossentropy"),
        ("softmax", 3, "ids", None, "sparse_categorical_crossentropy"),
        (None, 3, "column", None, "sparse_categorical_crossentropy"),
        (None, 3, "one-hot", None, "categorical_crossentropy"),
        ("softmax", 3, "one-hot", None, "categorical_crossentropy"),
        (None, 3, "bits", None, "binary_crossentropy"),
        ("sigmoid", 3, "one-hot", None, "binary_crossentropy"),
        (None, 3, "one-hot", MultiLabelSoftLoss(), "binary_crossentropy"),
        (None, 3, "values", LogitMatchingLoss(), "mean_squared_error"),
        (None, 1, "binary", MultiLabelSoftLoss(), "binary_crossentropy"),
        (None, 1, "binary", RegressionLoss(), "mean_squared_error"),
        (None, 1, "value", RegressionLoss(), "mean_squared_error"),
    ],
)
def test_uncompiled_fit_reads_the_loss_off_the_labels(
    mlp, data, end, classes, labels, soft, expected
):
    x, ids = data
    y = {
        "ids": ids,
        "column": ids[:, None],
        "one-hot": np.eye(3)[ids],
        "bits": np.random.default_rng(0).integers(0, 2, (40, 3)),
        "values": np.random.default_rng(0).normal(size=(40, 3)),
        "binary": ids % 2,
        "value": np.random.default_rng(0).normal(size=(40, 1)),
    }[labels]
    distiller = Distiller(mlp(16, classes=classes, seed=1), mlp(classes=classes, end=end), soft)
    history = distiller.fit(x, y, verbose=0).history
    assert np.isfinite(history["loss"][0])
    assert distiller.loss.name == expected
    assert isinstance(distiller.optimizer, keras.optimizers.Adam)
    if "crossentropy" in expected:
        assert distiller.loss.get_config()["from_logits"] == (end is None)


def test_uncompiled_fit_of_several_outputs(data):
    x, y = data
    labels = {"a": np.eye(2)[y % 2], "b": y}
    distiller = Distiller(_two_headed(1), _two_headed(0))
    history = distiller.fit(x, labels, verbose=0).history
    assert distiller.loss["a"].name == "categorical_crossentropy"
    assert distiller.loss["b"].name == "sparse_categorical_crossentropy"
    assert {"a_loss", "b_loss"} <= set(history)


@pytest.mark.parametrize("kind", ["data set", "PyDataset", "generator", "iterator"])
def test_uncompiled_fit_of_an_unbuilt_student(data, kind):
    x, y = data

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return x[i * 20 : i * 20 + 20], y[i * 20 : i * 20 + 20]

    def generator():
        yield x[:20], y[:20]
        yield x[20:], y[20:]

    keras.utils.set_random_seed(0)
    teacher = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    student = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)])
    distiller = Distiller(teacher, student)
    if kind == "data set":
        distiller.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(20), verbose=0)
    elif kind == "PyDataset":
        distiller.fit(Sequence(), verbose=0)
    elif kind == "generator":
        distiller.fit(generator(), verbose=0)
    else:
        with pytest.raises(InputError, match="`x` must be arrays, a data set, a PyDataset or a"):
            distiller.fit(iter([(x, y)]), verbose=0)
        return
    # Keras counts the step that finds a generator empty.
    steps = 3 if kind == "generator" else 2
    assert student.built and distiller.optimizer.iterations.numpy() == steps


def test_arguments_by_position_as_in_keras(mlp, data):
    x, y = data
    distiller = Distiller(mlp(16, seed=1), mlp(4))
    history = distiller.fit(x, y, 10, 2, 0, None, 0.5, None, False, {0: 2.0}, np.ones(40))
    assert len(history.history["val_loss"]) == 2 and distiller.optimizer.iterations == 4
    assert len(distiller.evaluate(x, y, 10, 0, np.ones(40))) == 3  # loss, accuracy, hard_loss


def test_the_first_four_arguments_are_keras_s(mlp):
    ours, theirs = (
        list(inspect.signature(kind.__init__).parameters)[1:5]
        for kind in (Distiller, keras.distillation.Distiller)
    )
    assert ours == theirs == ["teacher", "student", "distillation_losses", *ours[3:]]
    losses = [LogitMatchingLoss(), LogitMatchingLoss()]
    distiller = Distiller(mlp(16, seed=1), mlp(4), losses, [1.0, 0.5])
    assert distiller.soft_terms.losses == losses and distiller.soft_terms.weights == [1.0, 0.5]
    with pytest.raises(TypeError, match="positional"):
        Distiller(mlp(16, seed=1), mlp(4), losses, [1.0, 0.5], 0.5)


def test_xla_is_chosen_by_keras_only_where_it_can_compile_the_teacher(mlp, data, monkeypatch):
    gpu = types.SimpleNamespace(device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *kind: [gpu])
    on_host = Distiller(lambda x: np.zeros((len(x), 3), "float32"), mlp(4))
    on_host.fit(*data, verbose=0)
    assert not on_host.jit_compile
    in_graph = Distiller(mlp(16, seed=1), mlp(4))
    in_graph.fit(*data, verbose=0)
    assert in_graph.jit_compile
    in_graph.set_teacher(lambda x: np.zeros((len(x), 3), "float32"))
    with pytest.raises(InputError, match="or set jit_compile = False"):
        in_graph.fit(*data, verbose=0)
    in_graph.jit_compile = False
    in_graph.fit(*data, verbose=0)


def test_fit_goes_on_after_fit(mlp, data):
    x, y = data
    distiller = Distiller(mlp(16, seed=1), mlp(4))
    distiller.fit(x, y, batch_size=10, verbose=0)
    distiller.fit(x, y, batch_size=10, verbose=0)
    assert distiller.optimizer.iterations.numpy() == 8


class Own(keras.Model):
    def __init__(self, head=None):
        super().__init__(name="own")
        self.dense, self.head = layers.Dense(3), head

    def call(self, x):  # no training argument
        y = self.dense(x)
        return y if self.head is None else self.head(y)


@pytest.mark.parametrize("head", [None, keras.activations.softmax])
def test_a_subclassed_student(mlp, data, head):
    x, y = data
    keras.utils.set_random_seed(0)
    student = Own(head)
    distiller = Distiller(mlp(16, seed=1), student, LogitMatchingLoss())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=head is None)
    distiller.compile(keras.optimizers.SGD(0.0), loss)
    logs = distiller.fit(x, y, verbose=0).history
    t, s = mlp(16, seed=1)(x).numpy(), student.dense(x).numpy()
    assert logs["soft_loss"][0] == pytest.approx(((t - s) ** 2).mean() / 2, rel=1e-4)
    assert logs["hard_loss"][0] == pytest.approx(float(CE(y, s)), rel=1e-4)


class Twin(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(3), layers.Dense(2)

    def call(self, x):
        return self.one(x), self.two(x)


def test_outputs_without_names(data):
    x, y = data
    teacher, student = Twin(), Twin()
    teacher(x)
    distiller = Distiller(teacher, student)
    with pytest.raises(InputError, match="must be a list in their order, or compile"):
        distiller.fit(x, {"output_0": y, "output_1": y % 2}, verbose=0)
    history = distiller.fit(x, [y, y % 2], verbose=0).history
    assert history["soft_loss"][0] > 0
    listed = Distiller(None, _two_headed_list())
    history = listed.fit(x, Targets([y, y % 2], {"b": np.zeros((40, 3)), "a": np.zeros((40, 2))}))
    assert {"a_loss", "b_loss"} <= set(history.history)


def _two_headed_list():
    x = keras.Input((8,))
    return keras.Model(x, [layers.Dense(3, name="b")(x), layers.Dense(2, name="a")(x)])


def test_a_subclassed_student_of_hidden_probabilities_is_refused(mlp, data):
    x, y = data
    distiller = Distiller(mlp(16, seed=1), Own(tf.nn.softmax))
    with pytest.raises(
        InputError, match="The student's outputs, of 'own', look like probabilities"
    ):
        distiller.fit(x, y, verbose=0)


def test_a_student_of_several_inputs(data):
    x, y = data

    def net(seed):
        keras.utils.set_random_seed(seed)
        inputs = {"u": keras.Input((8,), name="u"), "v": keras.Input((8,), name="v")}
        return keras.Model(inputs, layers.Dense(3)(layers.Add()(list(inputs.values()))))

    distiller = Distiller(net(1), net(0))
    data_set = tf.data.Dataset.from_tensor_slices(({"u": x, "v": x}, y)).batch(8)
    assert distiller.fit(data_set, verbose=0).history["loss"][0] > 0


def test_a_generator_under_a_teacher_that_must_be_seen(mlp, data):
    x, y = data
    seen = []

    def batches():
        for i in range(4):
            seen.append(i)
            yield x[i * 10 : i * 10 + 10], y[i * 10 : i * 10 + 10]

    distiller = Distiller(lambda x: np.ones((len(x), 3), "float32"), mlp(4))
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    history = distiller.fit(batches(), verbose=0).history
    expected = distiller.evaluate(x, y, batch_size=10, verbose=0, return_dict=True)
    assert seen == [0, 1, 2, 3]  # each batch once, the one that was looked at too
    assert history["hard_loss"][0] == pytest.approx(expected["hard_loss"], rel=1e-5)
    with pytest.raises(InputError, match="a generator that gives no batch"):
        distiller.fit((batch for batch in ()), verbose=0)


@pytest.mark.parametrize("stored", [False, True])
def test_training_without_labels_beside_labeled_validation(mlp, data, stored):
    x, y = data
    teacher = mlp(16, seed=1)
    unlabeled = Targets(None, teacher(x).numpy()) if stored else None
    distiller = Distiller(None if stored else teacher, mlp(4), alpha=1.0)
    distiller.compile("adam", CE, metrics=["accuracy"])
    for _ in range(2):  # the second fit comes after an evaluation that saw labels
        history = distiller.fit(x, unlabeled, validation_data=(x, y), verbose=0).history
        assert set(history) == {"loss", "soft_loss", "val_loss", "val_hard_loss", "val_accuracy"}
    uncompiled = Distiller(None if stored else teacher, mlp(4), alpha=1.0)
    history = uncompiled.fit(x, unlabeled, validation_data=(x, y), verbose=0).history
    assert uncompiled.loss.name == "sparse_categorical_crossentropy"
    assert history["val_loss"] == history["val_hard_loss"]


def test_a_hard_loss_that_ignores_minus_one_does_so_itself(mlp, data):
    x, y = data
    y = np.where(np.arange(40) % 2, y, -1)
    ignoring = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    student = mlp(4)
    student.compile(keras.optimizers.SGD(0.0), ignoring)
    own = student.evaluate(x, y, verbose=0, batch_size=40)
    distiller = Distiller(mlp(16, seed=1), student)
    distiller.compile(keras.optimizers.SGD(0.0), ignoring)
    ours = distiller.evaluate(x, y, verbose=0, batch_size=40, return_dict=True)
    assert ours["hard_loss"] == pytest.approx(own, rel=1e-5)
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    plain = distiller.evaluate(x, y, verbose=0, batch_size=40, return_dict=True)
    assert plain["hard_loss"] == pytest.approx(own / 2, rel=1e-5)


def test_classes_that_the_hard_loss_ignores_have_no_class_weight(mlp, data):
    x, y = data
    y = np.where(np.arange(40) % 2, y, 255)
    ignoring = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    losses = [SoftTargetLoss(), DecoupledLoss()]
    distiller = Distiller(mlp(16, seed=1), mlp(4), losses)
    distiller.compile(keras.optimizers.SGD(0.0), ignoring)
    kwargs = {"batch_size": 40, "verbose": 0}
    once = distiller.fit(x, y, class_weight={0: 1.0}, **kwargs).history
    twice = distiller.fit(x, y, class_weight={i: 2.0 for i in range(3)}, **kwargs).history
    assert twice["hard_loss"][0] == pytest.approx(2 * once["hard_loss"][0], rel=1e-5)


@pytest.mark.parametrize("case", ["truth values", "quantiles"])
def test_labels_that_only_look_unlabeled(mlp, data, case):
    x, _ = data
    if case == "truth values":
        y, loss, soft = x[:, 0] > 0, CE, None
    else:
        y, soft = np.where(x[:, :1] > 0, 1.0, -1.0).astype("float32"), RegressionLoss()

        def loss(target, values):
            share = tf.constant([0.1, 0.5, 0.9])
            return tf.reduce_mean(
                tf.maximum(share * (target - values), (share - 1) * (target - values)), -1
            )

    student = mlp(4)
    student.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
    own = student.evaluate(x, y, verbose=0, return_dict=True)
    distiller = Distiller(mlp(16, seed=1), student, soft)
    distiller.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
    ours = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert ours["hard_loss"] == pytest.approx(own["loss"], rel=1e-5)
    assert ours["accuracy"] == pytest.approx(own["accuracy"])


def test_an_optional_input_may_be_missing(data):
    x, y = data

    def net():
        first, second = keras.Input((8,), optional=True), keras.Input((8,))
        return keras.Model([first, second], layers.Dense(3)(second))

    distiller = Distiller(net(), net())
    history = distiller.fit([None, x], y, verbose=0).history
    assert np.isfinite(history["loss"][0])
