"""save, load, fit: the optimizer's state, projectors and schedules come back; callbacks work."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import Distiller, InputError, LinearSchedule, StudentCheckpoint, Targets
from keras_distill.losses import DecoupledLoss, HintLoss, SoftTargetLoss

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 8)).astype("float32"), rng.integers(0, 3, 32)


def _net(units, seed, name="hidden"):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(units, "relu", name=name), layers.Dense(3)]
    )


def _rich(teacher, student):
    return Distiller(
        teacher,
        student,
        [SoftTargetLoss(LinearSchedule(4.0, 2.0, 10)), HintLoss("hidden", "hidden")],
        [1.0, keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)],
        alpha=LinearSchedule(0.9, 0.5, 10),
        agreement=True,
    )


def _settings(**more):
    return {"batch_size": 8, "verbose": 0, "shuffle": False, **more}


def test_training_goes_on_as_if_never_stopped(data, tmp_path):
    x, y = data
    teacher = _net(12, 1)
    whole = _rich(teacher, _net(5, 0))
    whole.compile("adam", CE, metrics=["accuracy"])
    whole.fit(x, y, epochs=4, **_settings())

    half = _rich(teacher, _net(5, 0))
    half.projectors[0].set_weights(_rich(teacher, _net(5, 0)).projectors[0].get_weights())
    half.compile("adam", CE, metrics=["accuracy"])
    keras.utils.set_random_seed(3)
    half.fit(x, y, epochs=2, **_settings())
    half.save(tmp_path / "half.keras")

    again = kd.load(tmp_path / "half.keras", teacher)
    assert again.optimizer.iterations.numpy() == 8
    for a, b in zip(half.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(half.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    last = [m.fit(x, y, epochs=2, **_settings()).history for m in (half, again)]
    for name, values in last[0].items():
        np.testing.assert_allclose(values, last[1][name], rtol=1e-5)
    assert {"accuracy", "agreement"} <= set(last[1])
    assert len(whole.trainable_weights) == len(again.trainable_weights) == 6


def test_losses_and_weights_can_be_read_back():
    rate = LinearSchedule(1.0, 0.0, 10)
    soft, hint = SoftTargetLoss(2.0), HintLoss("hidden", "hidden")
    several = Distiller(_net(5, 1), _net(5, 0), [soft, hint], [rate, 0.5])
    assert several.distillation_losses == [soft, hint]
    assert several.distillation_loss_weights == [rate, 0.5]
    default = Distiller(_net(5, 1), _net(5, 0))
    assert [type(loss) for loss in default.distillation_losses] == [SoftTargetLoss]
    assert default.distillation_loss_weights == [1.0]

    x = keras.Input((8,))
    two = keras.Model(x, {name: layers.Dense(3, name=name)(x) for name in ("a", "b")})
    named = Distiller(two, two, {"b": soft, "a": [soft, soft]}, {"b": 2.0, "a": [1.0, rate]})
    assert named.distillation_losses == {"b": [soft], "a": [soft, soft]}
    assert named.distillation_loss_weights == {"b": [2.0], "a": [1.0, rate]}
    again = Distiller(two, two, named.distillation_losses, named.distillation_loss_weights)
    assert again.distillation_losses == named.distillation_losses


def test_config_round_trip(tmp_path):
    student = _net(5, 0)
    distiller = Distiller(
        None,
        student,
        {"a": [SoftTargetLoss(2.0), DecoupledLoss()], "b": SoftTargetLoss(3.0)},
        {"a": [1.0, 0.5], "b": LinearSchedule(0.0, 1.0, 5)},
        alpha=0.3,
        evaluate_teacher=True,
        name="mine",
    )
    again = Distiller.from_config(distiller.get_config())
    assert again.get_config() == distiller.get_config()
    assert again.name == "mine" and again.alpha == 0.3 and again.evaluate_teacher
    assert again.soft_terms.outputs == ["a", "a", "b"]


def test_a_lambda_cannot_be_saved(tmp_path):
    distiller = Distiller(None, _net(5, 0), alpha=lambda step: 0.5)
    with pytest.raises(InputError, match="`alpha` must be a number, a Keras schedule or a regis"):
        distiller.save(tmp_path / "d.keras")


def test_without_teacher_it_fits_stored_targets(data, tmp_path):
    x, y = data
    distiller = Distiller(_net(12, 1), _net(5, 0))
    distiller.fit(x, y, **_settings())
    distiller.save(tmp_path / "d.keras")
    again = kd.load(tmp_path / "d.keras")
    assert again.teacher is None
    again.fit(x, Targets(y, np.zeros((32, 3), "float32")), **_settings())
    with pytest.raises(InputError, match="`teacher` must be given where the data carry no"):
        again.fit(x, y, **_settings())
    again.set_teacher(_net(12, 1))
    again.fit(x, y, **_settings())


def test_the_student_saves_and_exports_by_itself(data, tmp_path):
    x, y = data
    distiller = _rich(_net(12, 1), _net(5, 0))
    distiller.fit(x, y, **_settings())
    distiller.student.save(tmp_path / "student.keras")
    student = keras.saving.load_model(tmp_path / "student.keras")
    assert type(student) is keras.Sequential and len(student.weights) == 4
    np.testing.assert_allclose(student(x), distiller(x), atol=1e-6)
    distiller.student.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(served.serve(x), distiller(x), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.h5", b"\x89HDF\r\n\x1a\n", "d.h5: not a readable HDF5 file"),
        ("absent.keras", None, "no such file: .*absent.keras"),
        ("d.keras", b"not a zip archive", "d.keras: not a readable zip archive"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        kd.load(tmp_path / name)


def test_a_plain_model_is_no_distiller(tmp_path):
    _net(5, 0).save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"holds a Sequential, not a Distiller. Load a model with"):
        kd.load(tmp_path / "net.keras")


def test_model_checkpoint(data, tmp_path):
    x, y = data
    teacher = _net(12, 1)
    distiller = _rich(teacher, _net(5, 0))
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "whole-{epoch}.keras"),
        keras.callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True),
        StudentCheckpoint(tmp_path / "student.keras", monitor="val_loss", save_best_only=True),
    ]
    history = distiller.fit(
        x, y, epochs=2, validation_data=(x, y), callbacks=callbacks, **_settings()
    )
    again = kd.load(tmp_path / "whole-2.keras", teacher)
    np.testing.assert_allclose(again(x), distiller(x), atol=1e-6)
    fresh = _rich(teacher, _net(5, 7))
    fresh.compile("adam", CE)
    fresh.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_allclose(fresh(x), distiller(x), atol=1e-6)
    best = keras.saving.load_model(tmp_path / "student.keras")
    assert type(best) is keras.Sequential
    hard = float(CE(y, best(x)))
    assert hard == pytest.approx(min(history.history["val_hard_loss"]), rel=1e-4)


class _Unregistered(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3)

    def call(self, x):
        return self.dense(x)


def test_a_checkpoint_that_could_not_be_loaded_is_refused_before_training(data, tmp_path):
    x, y = data
    distiller = Distiller(_net(12, 1), _Unregistered())
    for callback in (keras.callbacks.ModelCheckpoint, StudentCheckpoint):
        with pytest.raises(InputError, match=r"_Unregistered, which is not registered.*Decorate"):
            distiller.fit(x, y, callbacks=[callback(tmp_path / "a.keras")], **_settings())
    assert int(distiller.optimizer.iterations if distiller.compiled else 0) == 0
    assert list(tmp_path.iterdir()) == []
    kept = [
        keras.callbacks.ModelCheckpoint(tmp_path / "w.weights.h5", save_weights_only=True),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    distiller.fit(x, y, callbacks=kept, **_settings())
    assert (tmp_path / "w.weights.h5").is_file()


def test_early_stopping_restores_the_student(data):
    x, y = data
    distiller = Distiller(_net(12, 1), _net(5, 0))
    distiller.compile(keras.optimizers.SGD(30.0), CE)
    seen = []
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(distiller.student.get_weights())
    )
    history = distiller.fit(
        x, y, epochs=12, validation_data=(x, y), callbacks=[keep, stop], **_settings()
    ).history
    assert len(seen) < 12  # a learning rate of 30 does not go down for long
    best = int(np.argmin(history["val_loss"]))
    assert best < len(seen) - 1
    for a, b in zip(seen[best], distiller.student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(Exception):
    pass


def test_backup_and_restore(data, tmp_path):
    x, y = data
    teacher = _net(12, 1)

    def fails(epoch, logs):
        if epoch == 2:
            raise Stop

    def distiller():
        model = Distiller(teacher, _net(5, 0))
        model.compile("adam", CE)
        return model

    whole = distiller()
    whole.fit(x, y, epochs=4, **_settings())
    backup = tmp_path / "backup"
    broken = keras.callbacks.LambdaCallback(on_epoch_begin=fails)
    with pytest.raises(Stop):
        distiller().fit(
            x, y, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(backup), broken],
            **_settings(),
        )  # fmt: skip
    resumed = distiller()
    history = resumed.fit(
        x, y, epochs=4, callbacks=[keras.callbacks.BackupAndRestore(backup)], **_settings()
    )
    assert history.epoch == [2, 3]
    for a, b in zip(whole.student.get_weights(), resumed.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_learning_rate_scheduler(data):
    x, y = data
    distiller = Distiller(_net(12, 1), _net(5, 0))
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))
    history = distiller.fit(x, y, epochs=2, callbacks=[rates], **_settings()).history
    np.testing.assert_allclose(history["learning_rate"], [0.1, 0.05], rtol=1e-6)
    assert float(distiller.optimizer.learning_rate) == pytest.approx(0.05)


def test_tensorboard(data, tmp_path):
    pytest.importorskip("tensorboard")
    x, y = data
    distiller = Distiller(_net(12, 1), _net(5, 0))
    distiller.compile("adam", CE, metrics=["accuracy"])
    board = keras.callbacks.TensorBoard(tmp_path / "logs", histogram_freq=1)
    distiller.fit(x, y, epochs=2, validation_data=(x, y), callbacks=[board], **_settings())
    files = [*(tmp_path / "logs").rglob("events.out*")]
    tags = set()
    for file in files:
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    assert {"epoch_soft_loss", "epoch_hard_loss", "epoch_accuracy"} <= tags
