"""The losses and metrics follow the task: heads, labels, and compiled losses show it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import (
    CallableTeacher,
    Distiller,
    InputError,
    KerasDistillWarning,
    SoftTargetStore,
    Targets,
    load,
)
from keras_distill.losses import (
    LogitMatchingLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    SoftTargetLoss,
)
from keras_distill.metrics import Task
from keras_distill.training._views import match_units

layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(640, 8)).astype("float32")
V = RNG.normal(size=(8, 3))
IDS = (X @ V).argmax(1)
BITS = (X @ V > 0).astype("float32")
VALUES = (X @ V + 5).astype("float32")
ONE = BITS[:, 0].astype(int)
CLASSES, BINARY, MULTI, REGRESSION = Task


def fitted(teacher, student, y, losses=None, epochs=1, **options):
    distiller = Distiller(teacher, student, losses, **options)
    history = distiller.fit(X, y, epochs=epochs, batch_size=64, verbose=0)
    return distiller, history.history


def kinds(distiller):
    return [type(loss) for loss in distiller.soft_terms.losses]


@pytest.mark.parametrize(
    ("classes", "end", "y", "soft", "hard", "task"),
    [
        (3, None, IDS, SoftTargetLoss, "sparse_categorical_crossentropy", CLASSES),
        (3, "softmax", np.eye(3)[IDS], SoftTargetLoss, "categorical_crossentropy", CLASSES),
        (3, None, BITS, MultiLabelSoftLoss, "binary_crossentropy", MULTI),
        (3, "sigmoid", BITS, MultiLabelSoftLoss, "binary_crossentropy", MULTI),
        (3, "sigmoid", np.eye(3)[IDS], MultiLabelSoftLoss, "binary_crossentropy", MULTI),
        (1, "sigmoid", ONE, MultiLabelSoftLoss, "binary_crossentropy", BINARY),
        (1, None, ONE[:, None], MultiLabelSoftLoss, "binary_crossentropy", BINARY),
        (1, None, ONE > 0, MultiLabelSoftLoss, "binary_crossentropy", BINARY),
        (3, None, VALUES, RegressionLoss, "mean_squared_error", REGRESSION),
        (1, None, VALUES[:, 0], RegressionLoss, "mean_squared_error", REGRESSION),
    ],
)
@pytest.mark.parametrize("compiled", [False, True], ids=["uncompiled", "compile('adam')"])
def test_the_default_losses(mlp, classes, end, y, soft, hard, task, compiled):
    distiller = Distiller(mlp(16, classes=classes, end=end, seed=1), mlp(classes=classes, end=end))
    if compiled:
        distiller.compile("adam")
    logs = distiller.fit(X, y, batch_size=64, verbose=0).history
    assert kinds(distiller) == [soft] and distiller.loss.name == hard
    assert list(distiller._pair.tasks.values()) == [task]
    assert ("accuracy" in logs) == (task is not REGRESSION)
    assert np.isfinite(logs["soft_loss"][0])


@pytest.mark.parametrize(
    ("classes", "loss", "soft"),
    [
        (3, "binary", MultiLabelSoftLoss),
        (1, "binary", MultiLabelSoftLoss),
        (3, "mse", RegressionLoss),
        (1, "huber", RegressionLoss),
        (3, "sparse", SoftTargetLoss),
    ],
)
@pytest.mark.parametrize("where", ["distiller", "teacher", "data set"])
def test_a_compiled_loss_shows_the_task(mlp, classes, loss, soft, where):
    loss = {
        "binary": keras.losses.BinaryCrossentropy(from_logits=True),
        "sparse": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }.get(loss, loss)
    y = {RegressionLoss: VALUES, SoftTargetLoss: IDS}.get(soft, np.eye(3)[IDS])
    y = y if y.ndim == 1 else y[:, :classes]
    teacher, data = mlp(16, classes=classes, seed=1), (X, y)
    distiller = Distiller(teacher, mlp(classes=classes), alpha=1.0)
    if where == "teacher":  # and no labels
        teacher.compile("adam", loss)
        distiller, data = Distiller(teacher, mlp(classes=classes), alpha=1.0), (X,)
    else:
        distiller.compile("adam", loss)
    if where == "data set":
        data = (tf.data.Dataset.from_tensor_slices((X, y)).batch(64),)
    distiller.fit(*data, verbose=0)
    assert kinds(distiller) == [soft]


def test_multi_label_as_with_its_own_loss(mlp):
    teacher = mlp(64, classes=3, end="sigmoid", seed=1)
    teacher.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    teacher.fit(X, BITS, epochs=15, batch_size=64, verbose=0)
    found = []
    for losses in (None, MultiLabelSoftLoss(4.0)):
        student = mlp(16, classes=3, end="sigmoid")
        distiller = Distiller(teacher, student, losses)
        distiller.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
        keras.utils.set_random_seed(3)
        distiller.fit(X, BITS, epochs=15, batch_size=64, verbose=0)
        found.append(((student.predict(X, verbose=0) > 0.5) == BITS).mean())
    assert found[0] == pytest.approx(found[1], abs=0.002) and found[0] > 0.94


def test_a_regression_learns_the_teacher_s_values(mlp):
    teacher = mlp(64, classes=3, seed=1)
    teacher.compile(keras.optimizers.Adam(0.01), "mse")
    teacher.fit(X, VALUES, epochs=20, batch_size=64, verbose=0)
    student = mlp(32, classes=3)
    distiller = Distiller(teacher, student, alpha=1.0)
    distiller.compile(keras.optimizers.Adam(0.01), "mse")
    distiller.fit(X, VALUES, epochs=20, batch_size=64, verbose=0)
    errors = [((m.predict(X, verbose=0) - VALUES) ** 2).mean() for m in (teacher, student)]
    assert errors[1] < errors[0] + 0.5


@pytest.mark.parametrize(
    ("classes", "end", "y", "losses", "message"),
    [
        (1, None, VALUES[:, 0], MultiLabelSoftLoss(), "For regression, use RegressionLoss with"),
        (3, None, VALUES, MultiLabelSoftLoss(), "but the soft loss is MultiLabelSoftLoss"),
        (3, None, VALUES, SoftTargetLoss(), "For regression, use RegressionLoss with Mean"),
        (3, None, BITS, SoftTargetLoss(), "For several labels, use MultiLabelSoftLoss with"),
        (3, "sigmoid", BITS, SoftTargetLoss(), "For several labels, use MultiLabelSoftLoss"),
        (3, None, IDS, MultiLabelSoftLoss(), "For classes, use SoftTargetLoss with Sparse"),
        (3, "softmax", BITS, None, "but the student's layer .* ends in softmax"),
        (3, "sigmoid", IDS, None, "the labels are class ids .classes., but the student's"),
        (1, "sigmoid", IDS, None, r"values from 0 to 2 \(regression\), but the student's layer"),
        (1, None, np.where(IDS == 0, -1, ONE), None, "nothing shows whether it"),
    ],
)
def test_contradictions_are_refused_before_the_first_step(mlp, classes, end, y, losses, message):
    student = mlp(classes=classes, end=end)
    before = student.get_weights()[0].copy()
    with pytest.raises(InputError, match=message) as caught:
        fitted(mlp(16, classes=classes, end=end, seed=1), student, y, losses)
    assert len(str(caught.value)) <= 500
    np.testing.assert_array_equal(student.get_weights()[0], before)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        (
            keras.losses.BinaryCrossentropy(from_logits=True),
            IDS,
            "hard loss is binary_crossentropy",
        ),
        ("mse", IDS, "the hard loss is mean_squared_error .regression."),
        (
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            BITS,
            "the hard loss is sparse_categorical_crossentropy .classes.",
        ),
    ],
)
def test_a_compiled_loss_that_contradicts_the_labels(mlp, loss, y, message):
    distiller = Distiller(mlp(16, seed=1), mlp())
    distiller.compile("adam", loss)
    with pytest.raises(InputError, match=message):
        distiller.fit(X, y, verbose=0)


def test_heads_that_contradict_each_other_are_refused_at_once(mlp):
    with pytest.raises(InputError, match=r"the teacher's layer .* ends in sigmoid"):
        Distiller(mlp(end="sigmoid"), mlp(end="softmax"))


def test_one_unit_without_labels_and_losses(mlp):
    distiller = Distiller(mlp(8, classes=1, seed=1), mlp(classes=1), alpha=1.0)
    with pytest.raises(InputError, match="one unit, and nothing shows whether it is the class 1"):
        distiller.fit(X, verbose=0)
    distiller.compile("adam", "mse")
    distiller.fit(X, verbose=0)
    assert kinds(distiller) == [RegressionLoss]


def test_values_beyond_0_to_1_in_a_later_batch(mlp):
    y = np.where(np.arange(640) < 64, ONE, VALUES[:, 0]).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((X, y)).batch(64)
    with pytest.raises(InputError, match=r"labels must be in 0\.\.1 .* use RegressionLoss"):
        Distiller(mlp(8, classes=1, seed=1), mlp(classes=1)).fit(data, verbose=0)
    # Of arrays, more rows than the first batch are read.
    distiller, _ = fitted(mlp(8, classes=1, seed=1), mlp(classes=1), y)
    assert kinds(distiller) == [RegressionLoss]


def test_labels_that_do_not_count_may_be_anything(mlp):
    y, weight = np.where(ONE, 1, 255), np.where(ONE, 1.0, 0.0)
    distiller = Distiller(mlp(8, classes=1, seed=1), mlp(classes=1), alpha=0.5)
    distiller.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((X, y, weight)).batch(64)
    assert np.isfinite(distiller.fit(data, verbose=0).history["loss"][0])


def test_logit_matching_and_regression_loss_serve_classes(mlp):
    for loss in (LogitMatchingLoss(), RegressionLoss()):
        distiller, _ = fitted(mlp(16, seed=1), mlp(), IDS, loss)
        assert distiller.loss.name == "sparse_categorical_crossentropy"


def test_outputs_of_several_tasks(mlp):
    def net(width, seed):
        keras.utils.set_random_seed(seed)
        x = keras.Input((8,))
        h = layers.Dense(width, "relu")(x)
        outputs = {"c": layers.Dense(3, name="c")(h), "v": layers.Dense(2, name="v")(h)}
        return keras.Model(x, outputs)

    y = {"c": IDS, "v": VALUES[:, :2]}
    distiller, logs = fitted(net(16, 1), net(4, 0), y)
    assert kinds(distiller) == [SoftTargetLoss, RegressionLoss]
    assert distiller.soft_terms.outputs == ["c", "v"]
    assert distiller.loss["c"].name == "sparse_categorical_crossentropy"
    assert distiller.loss["v"].name == "mean_squared_error"
    assert "c_accuracy" in logs and "v_accuracy" not in logs


@pytest.mark.parametrize("end", [None, "sigmoid"])
@pytest.mark.parametrize(("classes", "y"), [(1, ONE[:, None]), (3, BITS)])
def test_accuracy_by_its_name_is_that_of_the_task(mlp, classes, y, end):
    student = mlp(4, classes=classes, end=end)
    distiller = Distiller(mlp(16, classes=classes, end=end, seed=1), student)
    loss = keras.losses.BinaryCrossentropy(from_logits=end is None)
    distiller.compile(keras.optimizers.SGD(0.0), loss, metrics=["accuracy"])
    logs = distiller.fit(X, y, verbose=0).history
    decided = student.predict(X, verbose=0) > (0 if end is None else 0.5)
    assert logs["accuracy"][0] == pytest.approx((decided == y).mean(), abs=1e-5)


def test_metrics_that_were_given_are_kept(mlp):
    distiller = Distiller(mlp(16, seed=1), mlp())
    distiller.compile("adam", metrics=["mse"], steps_per_execution=2)
    logs = distiller.fit(X, np.eye(3)[IDS], batch_size=64, verbose=0).history
    assert "accuracy" not in logs and {"mse", "loss"} <= {name.replace("mean_squared_error", "mse")
                                                          for name in logs}  # fmt: skip
    assert distiller.steps_per_execution == 2
    assert distiller.optimizer.iterations.numpy() == 10


def test_the_optimizer_keeps_its_state(mlp):
    distiller = Distiller(mlp(16, seed=1), mlp())
    distiller.compile(keras.optimizers.Adam(0.02))
    for _ in range(2):
        distiller.fit(X, IDS, batch_size=64, verbose=0)
    assert distiller.optimizer.iterations.numpy() == 20
    assert float(distiller.optimizer.learning_rate) == pytest.approx(0.02)


def test_agreement(mlp):
    teacher, student = mlp(16, classes=3, seed=1), mlp(classes=3)
    distiller = Distiller(teacher, student, agreement=True)
    distiller.compile(keras.optimizers.SGD(0.0), keras.losses.BinaryCrossentropy(from_logits=True))
    logs = distiller.fit(X, BITS, verbose=0).history
    same = (teacher(X).numpy() > 0) == (student(X).numpy() > 0)
    assert logs["agreement"][0] == pytest.approx(same.mean(), abs=1e-5)
    regression = Distiller(teacher, student, agreement=True)
    with pytest.raises(InputError, match="`agreement` compares predicted classes"):
        regression.fit(X, VALUES, verbose=0)


def test_a_temperature_has_no_effect_on_a_regression(mlp):
    with pytest.warns(KerasDistillWarning, match="`temperature` has no effect on a regression"):
        fitted(mlp(16, seed=1), mlp(), VALUES, temperature=2.0)


def test_another_task_in_another_fit(mlp):
    distiller, _ = fitted(mlp(16, seed=1), mlp(), IDS)
    distiller.compile("adam")
    logs = distiller.fit(X, VALUES, verbose=0).history
    assert kinds(distiller) == [RegressionLoss] and distiller.loss.name == "mean_squared_error"
    assert "accuracy" not in logs


def test_saving_keeps_that_the_task_chooses(mlp, tmp_path):
    distiller, _ = fitted(mlp(16, seed=1), mlp(), BITS, temperature=3.0)
    distiller.save(tmp_path / "d.keras")
    again = load(tmp_path / "d.keras", distiller.teacher)
    assert again.soft_terms.default is not None
    again.fit(X, BITS, verbose=0)
    assert kinds(again) == [MultiLabelSoftLoss] and again.soft_terms.losses[0].temperature == 3.0
    unfitted = Distiller(None, mlp(), temperature=2.0)
    unfitted.save(tmp_path / "u.keras")
    assert load(tmp_path / "u.keras").soft_terms.default.temperature == 2.0


class TestOneUnitAndTwo:
    """Two classes have one unit in one model and two in the other: z = z1 - z0, exactly."""

    def test_values(self):
        two = tf.constant(RNG.normal(size=(6, 2)), tf.float32)
        one = match_units({"": two}, {"": tf.zeros((6, 1))})[""]
        back = match_units({"": one}, {"": two})[""]
        for temperature in (1.0, 4.0, 20.0):
            p = tf.nn.softmax(two / temperature)
            np.testing.assert_allclose(tf.sigmoid(one / temperature)[:, 0], p[:, 1], rtol=1e-5)
            np.testing.assert_allclose(tf.nn.softmax(back / temperature), p, rtol=1e-5)

    @pytest.mark.parametrize("stored", [False, True])
    @pytest.mark.parametrize("ends", [("softmax", "sigmoid"), (None, None)])
    @pytest.mark.parametrize("units", [(2, 1), (1, 2)])
    def test_in_training(self, mlp, units, ends, stored):
        ends = ends if units == (2, 1) else ends[::-1]
        teacher = mlp(16, classes=units[0], end=ends[0], seed=1)
        student = mlp(classes=units[1], end=ends[1])
        y = Targets(ONE, Distiller(teacher, student).teacher.predict(X)) if stored else ONE
        distiller = Distiller(None if stored else teacher, student, agreement=True)
        distiller.compile(keras.optimizers.SGD(0.0))
        logs = distiller.fit(X, y, batch_size=640, verbose=0).history
        t, s = (_two(model, X) for model in (teacher, student))
        expected = float(tf.reduce_mean(SoftTargetLoss(4.0).per_example(t, s)))
        assert logs["soft_loss"][0] == pytest.approx(expected, rel=1e-4)
        assert logs["agreement"][0] == pytest.approx((t.argmax(1) == s.argmax(1)).mean(), abs=1e-5)

    def test_other_counts_and_tasks_are_refused(self, mlp):
        with pytest.raises(InputError, match="3 of the teacher, 1 of the student"):
            Distiller(mlp(classes=3), mlp(classes=1))
        with pytest.raises(InputError, match=r"ends in sigmoid \(several labels\)"):
            Distiller(mlp(classes=2, end="sigmoid"), mlp(classes=1))


def _two(model, x):
    """The logits of a model of two classes, `(n, 2)`."""
    z = Distiller(model, model).teacher.predict(x)
    return z if z.shape[1] == 2 else np.concatenate([0 * z, z], axis=1)


def test_minus_one_is_unlabeled_in_one_unit(mlp):
    y = np.where(np.arange(640) < 320, ONE, -1)
    student = mlp(classes=1, end="sigmoid")
    distiller = Distiller(mlp(16, classes=1, end="sigmoid", seed=1), student)
    distiller.compile(keras.optimizers.SGD(0.0))
    logs = distiller.fit(X, y, batch_size=640, verbose=0).history
    p = student.predict(X[:320], verbose=0)[:, 0]
    likelihood = -np.where(ONE[:320], np.log(p), np.log(1 - p)).mean()
    assert logs["hard_loss"][0] == pytest.approx(likelihood / 2, rel=1e-3)
    assert logs["accuracy"][0] == pytest.approx(((p > 0.5) == ONE[:320]).mean(), abs=1e-5)


class Hidden(keras.Model):
    """A model without a graph."""

    def __init__(self, end=None, units=3):
        super().__init__(name="hidden")
        self.dense, self.end = layers.Dense(units), end

    def call(self, x):
        z = self.dense(x)
        return z if self.end is None else self.end(z)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("sparse_categorical_crossentropy", IDS),
        (keras.losses.CategoricalCrossentropy(), np.eye(3)[IDS]),
        ("binary_crossentropy", BITS),
    ],
)
def test_logits_of_a_subclassed_student_meet_a_loss_on_probabilities(mlp, loss, y):
    distiller = Distiller(mlp(16, seed=1), Hidden())
    distiller.compile("adam", loss)
    with pytest.raises(InputError, match="from_logits=True: the student's last layer 'hidden'"):
        distiller.fit(X, y, verbose=0)


def test_logits_behind_a_reshape_meet_a_loss_on_probabilities(mlp):
    student = keras.Sequential([keras.Input((8,)), layers.Dense(3), layers.Reshape((3,))])
    distiller = Distiller(mlp(16, seed=1), student)
    distiller.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(InputError, match="must be made with from_logits=True"):
        distiller.fit(X, IDS, verbose=0)


@pytest.mark.parametrize("end", [keras.ops.softmax, keras.ops.sigmoid])
def test_a_subclassed_student_of_probabilities(mlp, end):
    softmax = end is keras.ops.softmax
    y = IDS if softmax else BITS
    teacher = mlp(16, end="softmax" if softmax else "sigmoid", seed=1)
    distiller, _ = fitted(teacher, Hidden(end), y)
    assert kinds(distiller) == [SoftTargetLoss if softmax else MultiLabelSoftLoss]
    assert distiller.loss.get_config()["from_logits"] is False
    distiller = Distiller(teacher, Hidden(end))
    loss = "SparseCategoricalCrossentropy" if softmax else "BinaryCrossentropy"
    distiller.compile("adam", getattr(keras.losses, loss)(from_logits=True))
    with pytest.raises(InputError, match="must be made with from_logits=False"):
        distiller.fit(X, y, verbose=0)


@pytest.mark.parametrize("units", [1, 3])
def test_hidden_sigmoids_of_a_student_are_refused_and_small_logits_are_not(mlp, units):
    y = ONE if units == 1 else BITS
    teacher = mlp(16, classes=units, end="sigmoid", seed=1)
    with pytest.raises(InputError, match="The student's outputs, of 'hidden', look like prob"):
        fitted(teacher, Hidden(tf.nn.sigmoid, units), y)
    small = Hidden(lambda z: 0.5 + 1e-3 * z, units)  # all in 0..1 before it is trained
    fitted(teacher, small, y)


class TestProbabilitiesTakenForLogits:
    def test_a_live_teacher(self, mlp):
        for shape in (None, (3,)):
            teacher = CallableTeacher(_softmax, name="p", output_shape=shape)
            with pytest.raises(InputError, match="teacher 'p' look like probabilities"):
                fitted(teacher, mlp(), IDS)
        for declared in (True, "softmax"):
            _, logs = fitted(_softmax, mlp(), IDS, from_probabilities=declared)
            _, same = fitted(lambda x: x @ V, mlp(), IDS)
            assert logs["soft_loss"][0] == pytest.approx(same["soft_loss"][0], rel=1e-3)

    @pytest.mark.parametrize("batch", [1, 4, 64])
    @pytest.mark.parametrize("form", ["arrays", "data set"])
    def test_batches_of_any_size(self, mlp, batch, form):
        def sigmoid(x):
            return 1 / (1 + np.exp(-(x @ V)))

        data = (X, BITS)
        if form == "data set":
            data = (tf.data.Dataset.from_tensor_slices(data).batch(batch),)
        with pytest.raises(InputError, match="look like probabilities"):
            Distiller(sigmoid, mlp()).fit(*data, verbose=0, **(
                {"batch_size": batch} if form == "arrays" else {}
            ))  # fmt: skip

    @pytest.mark.parametrize("form", ["arrays", "data set"])
    def test_targets_in_the_data(self, mlp, form):
        y = Targets(IDS, _softmax(X).astype("float32"), np.ones(640, bool))
        data = (X, y)
        if form == "data set":
            data = (tf.data.Dataset.from_tensor_slices(data).batch(64),)
        with pytest.raises(InputError, match="The stored soft targets look like probabilities"):
            Distiller(None, mlp()).fit(*data, verbose=0)
        logs = [
            Distiller(None, mlp(), from_probabilities=declared).fit(
                X, Targets(IDS, part), batch_size=64, verbose=0, shuffle=False
            ).history["soft_loss"][0]
            for declared, part in ((True, y.teacher), (None, (X @ V).astype("float32")))
        ]  # fmt: skip
        assert logs[0] == pytest.approx(logs[1], rel=1e-3)

    def test_values_of_a_regression_may_be_in_0_to_1(self, mlp):
        y = (1 / (1 + np.exp(-VALUES))).astype("float32")
        distiller, _ = fitted(lambda x: 1 / (1 + np.exp(-(x @ V))), mlp(), y)
        assert kinds(distiller) == [RegressionLoss]

    def test_a_store_is_not_looked_at_again(self, mlp, tmp_path):
        data = tf.data.Dataset.from_tensor_slices((X, IDS))
        store = SoftTargetStore.build(
            lambda x: np.abs(np.sin(x @ V)), data, tmp_path / "s", from_probabilities=False
        )
        Distiller(None, mlp()).fit(store.batches(data, 64), verbose=0)


def _softmax(x):
    z = np.exp(x @ V)
    return z / z.sum(1, keepdims=True)


def test_masks_are_two_classes_at_each_position():
    def net(width, seed):
        keras.utils.set_random_seed(seed)
        conv = layers.Conv2D(width, 3, padding="same", activation="relu")
        return keras.Sequential([keras.Input((6, 6, 1)), conv, layers.Conv2D(1, 1)])

    x = RNG.normal(size=(32, 6, 6, 1)).astype("float32")
    for y in ((x > 0).astype("float32"), (x[..., 0] > 0).astype(int)):
        student = net(4, 0)
        distiller = Distiller(net(8, 1), student, agreement=True)
        distiller.compile(keras.optimizers.SGD(0.0))
        logs = distiller.fit(x, y, verbose=0).history
        assert kinds(distiller) == [MultiLabelSoftLoss]
        right = (student.predict(x, verbose=0) > 0) == (x > 0)
        assert logs["accuracy"][0] == pytest.approx(right.mean(), abs=1e-5)
        assert 0 < logs["agreement"][0] < 1
