"""The teacher: any source, never changed, never counted, never saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import CallableTeacher, Distiller, InputError, Targets, TeacherEnsemble
from keras_distill.losses import LogitMatchingLoss, RegressionLoss

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _rich_teacher():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3, "softmax"),
        ],
        name="teacher",
    )


def test_the_teacher_is_not_touched(mlp, batch, tmp_path):
    x, y, _ = batch
    teacher = _rich_teacher()
    teacher.layers[0].trainable = False
    teacher.compile("adam", "sparse_categorical_crossentropy")
    before = (teacher.to_json(), [layer.trainable for layer in teacher.layers], teacher.optimizer)
    values = [w.numpy().copy() for w in teacher.variables]
    student = mlp(seed=2)
    distiller = Distiller(teacher, student, evaluate_teacher=True)
    distiller.fit(x, y, validation_data=(x, y), epochs=2, verbose=0)
    assert before == (teacher.to_json(), [la.trainable for la in teacher.layers], teacher.optimizer)
    for a, b in zip(values, teacher.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    teacher.fit(x, y, verbose=0)  # still trainable as it was
    assert distiller.teacher.model is teacher


def test_the_teacher_is_not_counted_and_not_saved(mlp, batch, tmp_path):
    teacher, student = mlp(9000, seed=1), mlp(seed=2)
    distiller = Distiller(teacher, student)
    distiller.fit(batch[0], batch[1], verbose=0)
    assert distiller.count_params() == student.count_params()
    assert len(distiller.layers) == 1 and len(distiller.weights) == 2
    distiller.save(tmp_path / "d.keras")
    student.save(tmp_path / "s.keras")
    sizes = [(tmp_path / name).stat().st_size for name in ("d.keras", "s.keras")]
    assert sizes[0] - sizes[1] < 2 * teacher.count_params()
    assert teacher.name not in distiller.to_json()


def test_the_teacher_runs_in_inference_mode(batch, mlp, one_step):
    x, y, _ = batch
    teacher = _rich_teacher()
    t = teacher(x, training=False).numpy()
    student = mlp(seed=2)
    s = student(x).numpy()
    logs, _ = one_step(Distiller(teacher, student, LogitMatchingLoss()), x, y)
    kernel, bias = teacher.get_weights()[-2:]
    hidden = keras.Model(teacher.inputs, teacher.layers[-2].output)([x], training=False).numpy()
    logits = hidden @ kernel + bias
    np.testing.assert_allclose(keras.ops.softmax(logits), t, atol=1e-6)
    assert logs["soft_loss"] == pytest.approx(((s - logits) ** 2).mean() / 2, rel=1e-5)


def test_stored_targets_run_no_teacher(mlp, batch):
    x, y, _ = batch

    def fails(_):
        raise AssertionError("the teacher ran")

    distiller = Distiller(CallableTeacher(fails, output_shape=(3,)), mlp(), evaluate_teacher=True)
    targets = Targets(y, np.zeros((12, 3), "float32"))
    history = distiller.fit(x, targets, validation_data=(x, targets), verbose=0).history
    assert history["soft_loss"][0] > 0 and history["val_soft_loss"][0] > 0


def test_evaluate_runs_no_teacher_unless_asked(mlp, batch):
    x, y, _ = batch
    calls = []

    def teacher(x):
        calls.append(len(x))
        return np.zeros((len(x), 3))

    for asked in (False, True):
        distiller = Distiller(
            CallableTeacher(teacher, output_shape=(3,)), mlp(), evaluate_teacher=asked
        )
        distiller.compile("sgd", CE)
        calls.clear()
        logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
        assert bool(calls) == asked == ("soft_loss" in logs)


def test_a_list_is_its_geometric_mean(mlp, batch, one_step):
    x, y, _ = batch
    teachers = [mlp(16, seed=seed) for seed in (1, 2, 3)]
    student = mlp()
    mean = np.mean([t(x) for t in teachers], axis=0)
    s = student(x).numpy()
    logs, _ = one_step(Distiller(teachers, student, LogitMatchingLoss()), x, y)
    assert logs["soft_loss"] == pytest.approx(((s - mean) ** 2).mean() / 2, rel=1e-5)


def test_an_arithmetic_mean_is_good_for_its_temperature_only(mlp, batch, one_step):
    x, y, _ = batch
    ensemble = TeacherEnsemble(
        [mlp(16, seed=s) for s in (1, 2)], mean="arithmetic", temperature=2.0
    )
    logs, _ = one_step(Distiller(ensemble, mlp(), temperature=2.0), x, y)
    assert logs["soft_loss"] > 0
    for arguments in (
        {},
        {"temperature": keras.optimizers.schedules.ExponentialDecay(2.0, 10, 0.9)},
        {"distillation_losses": LogitMatchingLoss()},
    ):
        with pytest.raises(InputError, match="valid for SoftTargetLoss at that temperature only"):
            Distiller(ensemble, mlp(), **arguments)


@pytest.mark.parametrize("shape", [None, (3,)])
def test_a_function_teaches(mlp, batch, shape):
    x, y, _ = batch
    net = mlp(16, seed=1)
    function = CallableTeacher(lambda x: net(x).numpy(), output_shape=shape)
    histories = [
        Distiller(teacher, mlp()).fit(x, y, epochs=2, verbose=0, shuffle=False).history
        for teacher in (net, function)
    ]
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], rtol=1e-5)


def test_what_a_function_does_wrong_is_said_in_its_words(mlp, batch):
    x, y, _ = batch
    teacher = CallableTeacher(lambda x: x[:, :4], name="wide", output_shape=(3,))
    with pytest.raises(InputError, match=r"^Teacher 'wide' must give logits of shape \(None, 3\)"):
        Distiller(teacher, mlp()).fit(x, y, verbose=0)


def test_values_to_match_may_look_like_probabilities(mlp, batch):
    x, y, _ = batch
    shares = lambda x: np.full((len(x), 3), 1 / 3, "float32")  # noqa: E731
    Distiller(shares, mlp(), RegressionLoss(), alpha=1.0).fit(x, verbose=0)
    with pytest.raises(InputError, match="look like probabilities, not logits"):
        Distiller(shares, mlp()).fit(x, y, verbose=0)


def test_xla_cannot_compile_a_function(mlp, batch):
    x, y, _ = batch
    function = CallableTeacher(lambda x: x[:, :3], output_shape=(3,))
    for teacher in (function, [function, mlp()]):
        distiller = Distiller(teacher, mlp())
        distiller.compile("sgd", CE, jit_compile=True)
        with pytest.raises(InputError, match="`jit_compile` must be False with"):
            distiller.fit(x, y, verbose=0)


def test_a_student_in_double_precision(batch, one_step, mlp):
    x, y, _ = batch
    student = keras.Sequential(
        [keras.Input((8,), dtype="float64"), layers.Dense(3, dtype="float64")]
    )
    student.set_weights(mlp().get_weights())
    expected = one_step(Distiller(mlp(16, seed=1), mlp()), x, y)[0]
    assert one_step(Distiller(mlp(16, seed=1), student), x, y)[0] == pytest.approx(
        expected, rel=1e-5
    )


def test_a_teacher_with_its_own_input_size_and_preprocessing(batch):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(6, 8, 8, 1)).astype("float32"), rng.integers(0, 3, 6)

    def net(size, channels):
        keras.utils.set_random_seed(size)
        return keras.Sequential(
            [keras.Input((size, size, channels)), layers.Flatten(), layers.Dense(3)]
        )

    teacher, student = net(16, 3), net(8, 1)

    def preprocess(x):
        return tf.image.resize(tf.repeat(x, 3, axis=-1), (16, 16)) * 255.0

    with pytest.raises(
        InputError,
        match=r"must take the same input. Received: teacher \(None, 16, 16, 3\), student"
        r" \(None, 8, 8, 1\). Give teacher_preprocess",
    ):
        Distiller(teacher, student)
    distiller = Distiller(teacher, student, LogitMatchingLoss(), teacher_preprocess=preprocess)
    t, s = teacher(preprocess(x)).numpy(), student(x).numpy()
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    logs = distiller.train_on_batch(x, y, return_dict=True)
    assert logs["soft_loss"] == pytest.approx(((s - t) ** 2).mean() / 2, rel=1e-4)


def test_a_student_in_half_precision(mlp, batch):
    x, y, _ = batch
    teacher = mlp(16, seed=1)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        student = mlp(seed=0)
    finally:
        keras.config.set_dtype_policy(policy)
    twin = mlp(seed=0)
    distiller = Distiller(teacher, student)
    distiller.compile(keras.optimizers.SGD(0.1), CE)
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    assert distiller(x).dtype == tf.float16
    plain = Distiller(teacher, twin)
    plain.compile(keras.optimizers.SGD(0.1), CE)
    for model in (distiller, plain):
        logs = model.fit(x, y, batch_size=12, epochs=5, verbose=0).history
    assert all(np.isfinite(logs["loss"]))
    for a, b in zip(student.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=5e-3)


@pytest.mark.parametrize(
    ("how", "value"),
    [("live", np.nan), ("arrays", np.inf), ("data set", np.nan), ("data set", np.inf)],
)
def test_nan_in_teacher_logits_stops_before_any_update(mlp, batch, value, how):
    x, y, _ = batch
    t = np.zeros((12, 3), "float32")
    t[5, 1] = value
    student = mlp()
    before = student.get_weights()
    distiller = Distiller(
        CallableTeacher(lambda x: t, output_shape=(3,)) if how == "live" else None, student
    )
    targets = Targets(y, t, np.ones(12, bool))
    data = {
        "live": (x, y),
        "arrays": (x, targets),
        "data set": (tf.data.Dataset.from_tensor_slices((x, targets)).batch(12),),
    }[how]
    with pytest.raises(
        InputError, match=r"The logits of the teacher hold NaN or \+infinity. Check the teacher"
    ):
        distiller.fit(*data, verbose=0)
    for a, b in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_minus_infinity_rules_a_class_out(mlp, batch, one_step):
    x, y, _ = batch
    t = np.zeros((12, 3), "float32")
    t[:, 2] = -np.inf
    logs, gradient = one_step(Distiller(None, mlp()), x, Targets(y, t))
    assert np.isfinite(logs["soft_loss"]) and all(np.isfinite(g).all() for g in gradient)


def test_another_teacher_later(mlp, batch, one_step):
    x, y, _ = batch
    first, second, student = mlp(16, seed=1), mlp(16, seed=2), mlp()
    distiller = Distiller(first, student, LogitMatchingLoss())
    distiller.compile(keras.optimizers.SGD(0.0), CE)
    values = []
    for teacher in (first, second):
        distiller.set_teacher(teacher)
        values.append(distiller.train_on_batch(x, y, return_dict=True)["soft_loss"])
        expected = ((teacher(x) - student(x)).numpy() ** 2).mean() / 2
        assert values[-1] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match=r"same classes. Received: 4 of the teacher, 3 of the"):
        distiller.set_teacher(mlp(classes=4))
    # The teacher that was refused is not there.
    logs = distiller.train_on_batch(x, y, return_dict=True)
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["float64", ".keras", ".tflite", "folder"])
def test_a_teacher_of_any_kind_teaches_the_same(mlp, batch, tmp_path, kind):
    x, y, _ = batch
    teacher = mlp(16, seed=1)
    if kind == "float64":
        other = CallableTeacher(lambda x: teacher(x).numpy().astype("float64"), output_shape=(3,))
    elif kind == "folder":
        other = TeacherEnsemble([teacher, teacher]).save(tmp_path / "ensemble")
    else:
        other = tmp_path / f"teacher{kind}"
        if kind == ".keras":
            teacher.save(other)
        else:
            teacher.export(other, format="litert", verbose=False)
    histories = [
        Distiller(one, mlp(), temperature=2.0)
        .fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        .history
        for one in (teacher, other)
    ]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-4, err_msg=name)
