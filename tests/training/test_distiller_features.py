"""Losses on inner layers: one pass of the student, nested layers, projectors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller, InputError, Targets
from keras_distill.losses import (
    AttentionTransferLoss,
    HintLoss,
    RelationalLoss,
    SimilarityLoss,
    SoftTargetLoss,
)

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Counter(layers.Layer):
    """Counts its calls in training, and hands on what it gets."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.calls.assign_add(1)
        return x


def _student(units=6):
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(units, name="hidden"), layers.BatchNormalization()],
        name="inner",
    )
    x = keras.Input((8,))
    y = layers.Dropout(0.5, name="drop")(Counter(name="counter")(inner(x)))
    return keras.Model(x, layers.Dense(3, name="end")(y))


def _teacher(units=6):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(units, "relu", name="wide"), layers.Dense(3, name="out")]
    )


@pytest.mark.parametrize("eager", [True, False])
def test_the_student_runs_once_per_step(batch, eager):
    x, y, _ = batch
    student = _student()
    losses = [SoftTargetLoss(), HintLoss("wide", "hidden"), HintLoss("wide", "drop")]
    distiller = Distiller(_teacher(), student, losses)
    distiller.compile("sgd", CE, run_eagerly=eager)
    for _ in range(3):
        distiller.train_on_batch(x, y)
    assert float(student.get_layer("counter").calls) == 3


def test_features_and_outputs_have_one_dropout_mask(batch):
    x, _, _ = batch
    student = _student()
    distiller = Distiller(_teacher(), student, HintLoss("wide", "drop"))
    outputs, features = distiller(x, training=True, with_features=True)
    assert (features["drop"].numpy() == 0).mean() > 0.2
    again = student.get_layer("end")(features["drop"])
    np.testing.assert_allclose(outputs, again, atol=1e-6)


def test_value_of_a_hint_on_a_nested_layer(batch, one_step):
    x, y, _ = batch
    teacher, student = _teacher(), _student()
    distiller = Distiller(teacher, student, HintLoss("wide", "inner/hidden"), alpha=1.0)
    t = teacher.get_layer("wide")(x).numpy()
    s = student.get_layer("inner").get_layer("hidden")(x).numpy()
    logs, gradient = one_step(distiller, x, y)
    assert logs["soft_loss"] == pytest.approx(((s - t) ** 2).mean(), rel=1e-5)
    np.testing.assert_allclose(gradient[0], x.T @ (2 * (s - t)) / s.size, atol=1e-5)


def test_evaluate_runs_in_inference_mode_and_changes_no_variable(batch):
    x, y, _ = batch
    distiller = Distiller(_teacher(), _student(), HintLoss("wide", "hidden"), evaluate_teacher=True)
    distiller.compile("sgd", CE)
    before = [w.numpy().copy() for w in distiller.student.variables]
    first = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert first == distiller.evaluate(x, y, verbose=0, return_dict=True)  # no dropout
    assert first["soft_loss"] > 0
    distiller.predict(x, verbose=0)
    for a, b in zip(before, distiller.student.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_projector_is_trained_and_no_part_of_the_student(batch):
    x, y, _ = batch
    student = _student(units=5)
    distiller = Distiller(
        _teacher(units=9), student, [SoftTargetLoss(), HintLoss("wide", "hidden")]
    )
    (projector,) = distiller.projectors
    assert [w.shape for w in projector.weights] == [(5, 9), (9,)]
    assert not {id(w) for w in projector.weights} & {id(w) for w in student.weights}
    assert len(distiller.trainable_weights) == len(student.trainable_weights) + 2
    before = projector.get_weights()
    distiller.compile(keras.optimizers.SGD(0.1), CE)
    values = [distiller.train_on_batch(x, y, return_dict=True)["soft_loss"] for _ in range(30)]
    assert values[-1] < values[0]
    assert np.abs(projector.get_weights()[0] - before[0]).max() > 0
    assert not distiller.get_config()["student"]["config"]["name"].startswith("projector")


def test_maps_of_another_size(batch, one_step):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 8, 8, 2)).astype("float32"), rng.integers(0, 3, 4)

    def net(filters, strides):
        return keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                layers.Conv2D(filters, 3, strides, padding="same", name=f"map{filters}"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3),
            ]
        )

    losses = [
        HintLoss("map6", "map4"),
        SimilarityLoss("map6", "map4"),
        RelationalLoss("map6", "map4"),
    ]
    distiller = Distiller(net(6, 1), net(4, 2), losses)
    logs, gradient = one_step(distiller, x, y)
    assert np.isfinite(logs["loss"]) and all(np.isfinite(g).all() for g in gradient)
    assert len(distiller.projectors) == 1  # the others compare shapes as they are
    same = Distiller(net(6, 2), net(4, 2), AttentionTransferLoss("map6", "map4"))
    assert not same.projectors and one_step(same, x, y)[0]["soft_loss"] > 0


def test_stored_logits_and_live_features_go_together(batch, one_step):
    x, y, _ = batch
    teacher, student = _teacher(), _student()
    stored = np.random.default_rng(1).normal(size=(12, 3)).astype("float32")
    hidden = student.get_layer("inner").get_layer("hidden")(x).numpy()
    hint = ((hidden - teacher.get_layer("wide")(x).numpy()) ** 2).mean()
    losses = [SoftTargetLoss(1.0), HintLoss("wide", "hidden")]
    both, _ = one_step(Distiller(teacher, student, losses), x, Targets(y, stored))
    only, _ = one_step(Distiller(None, _student(), SoftTargetLoss(1.0)), x, Targets(y, stored))
    assert both["soft_loss"] == pytest.approx(only["soft_loss"] + hint, rel=1e-5)


@pytest.mark.parametrize("kind", [SimilarityLoss, RelationalLoss, AttentionTransferLoss])
def test_padding_is_empty_in_losses_that_pool_over_positions(one_step, kind):
    tokens = np.array([[3, 1, 2, 0], [4, 1, 0, 0], [1, 2, 3, 4], [2, 0, 0, 0]])
    y = np.array([0, 1, 2, 1])

    def net(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input((4,)),
                layers.Embedding(5, 6, mask_zero=True, name="words"),
                layers.GlobalAveragePooling1D(),
                layers.Dense(3),
            ]
        )

    teacher, student = net(1), net(0)
    valid = (tokens > 0)[..., None]
    t, s = (model.get_layer("words")(tokens).numpy() * valid for model in (teacher, student))
    loss = kind("words", "words")
    expected = float(loss.compute_loss(t, s))
    logs, gradient = one_step(Distiller(teacher, student, loss), tokens, y)
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-5) and expected > 0
    assert all(np.isfinite(g).all() for g in gradient)


def test_a_mask_of_positions_is_not_laid_over_pooled_features(one_step):
    tokens = np.array([[3, 1, 2, 0], [4, 1, 0, 0], [1, 2, 3, 4], [2, 0, 0, 0]])

    def net(seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input((4,)),
                layers.Embedding(5, 4, mask_zero=True, name="words"),
                layers.GlobalAveragePooling1D(name="pool"),
                layers.Dense(3),
            ]
        )

    teacher, student = net(1), net(0)
    t = teacher.get_layer("pool")(teacher.get_layer("words")(tokens)).numpy()
    s = student.get_layer("words")(tokens).numpy() * (tokens > 0)[..., None]
    loss = SimilarityLoss("pool", "words")
    logs, _ = one_step(Distiller(teacher, student, loss), tokens, np.array([0, 1, 2, 1]))
    assert logs["soft_loss"] == pytest.approx(float(loss.compute_loss(t, s)), rel=1e-5)


@pytest.mark.parametrize("first", [6, 8])
def test_another_teacher_of_other_features(batch, first):
    x, y, _ = batch
    distiller = Distiller(_teacher(first), _student(6), HintLoss("wide", "hidden"))
    distiller.fit(x, y, verbose=0)
    with pytest.raises(InputError, match="need another projector than HintLoss has trained with"):
        distiller.set_teacher(_teacher(16))
    distiller.fit(x, y, verbose=0)  # as before
    distiller.set_teacher(_teacher(first))
    distiller.fit(x, y, verbose=0)


def test_weights_of_other_positions_than_the_features(one_step):
    def net(seed):
        keras.utils.set_random_seed(seed)
        x = keras.Input((8, 8, 3))
        small = layers.Conv2D(4, 3, strides=2, padding="same", name="small")(x)
        return keras.Model(x, layers.Conv2D(3, 1)(layers.UpSampling2D()(small)))

    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    y = np.random.default_rng(0).integers(0, 3, (2, 8, 8))
    distiller = Distiller(net(1), net(0), HintLoss("small", "small"))
    with pytest.raises(
        InputError, match=r"must fit HintLoss, which has values of shape \(2, 4, 4\)"
    ):
        one_step(distiller, x, y, class_weight={0: 2.0})


def test_sample_weight_reaches_features(batch, one_step):
    x, y, w = batch
    teacher, student = _teacher(), _student()
    t = teacher.get_layer("wide")(x).numpy()
    s = student.get_layer("inner").get_layer("hidden")(x).numpy()
    distiller = Distiller(teacher, student, HintLoss("wide", "hidden"))
    logs, _ = one_step(distiller, x, y, sample_weight=w)
    expected = (w * ((s - t) ** 2).mean(-1)).mean()
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", [None, False])
def test_tapping_changes_nothing_in_the_pass(batch, one_step, mode):
    """The same state and update as without taps, also with a backbone called with a mode."""
    x, y, _ = batch

    def student():
        keras.utils.set_random_seed(0)
        hidden = layers.Dense(6, name="hidden")
        backbone = keras.Sequential([keras.Input((8,)), hidden, layers.BatchNormalization()])
        inputs = keras.Input((8,))
        return keras.Model(inputs, layers.Dense(3)(backbone(inputs, training=mode)))

    plain, tapped = student(), student()
    one_step(Distiller(_teacher(), plain, [SoftTargetLoss()]), x, y)
    losses = [SoftTargetLoss(), HintLoss("wide", "hidden")]
    one_step(Distiller(_teacher(), tapped, losses, [1.0, 0.0]), x, y)
    for a, b in zip(plain.variables, tapped.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_activity_losses_of_a_tapped_layer_count_once(batch, one_step):
    x, y, _ = batch
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(6, activity_regularizer=keras.regularizers.L1(1.0), name="hidden")
    student = keras.Sequential([keras.Input((8,)), hidden, layers.Dense(3)])
    activity = np.abs(hidden(x)).sum() / 12
    distiller = Distiller(_teacher(), student, HintLoss("wide", "hidden"), alpha=1.0)
    logs, _ = one_step(distiller, x, y)
    assert logs["loss"] == pytest.approx(logs["soft_loss"] + activity, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (HintLoss("nope", "hidden"), r"The teacher has no layer 'nope'. Its layers: wide, out\."),
        (HintLoss("wide", "nope"), r"The student has no layer 'nope'. Its layers: .*inner/hidden"),
        (HintLoss("wide", "inner/nope"), "The student has no layer 'inner/nope'"),
    ],
)
def test_unknown_layers(loss, message):
    with pytest.raises(InputError, match=message):
        Distiller(_teacher(), _student(), loss)


def test_features_need_a_live_teacher(batch, one_step):
    x, y, _ = batch
    distiller = Distiller(None, _student(), HintLoss("wide", "hidden"))
    targets = Targets(y, np.zeros((12, 3), "float32"))
    with pytest.raises(InputError, match="reads the teacher's layers wide, so `teacher` must be"):
        one_step(distiller, x, targets)
    with pytest.raises(InputError, match="CallableTeacher has no layers to read"):
        Distiller(lambda x: x, _student(), HintLoss("wide", "hidden"))


def test_features_need_a_graph():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    own = Own()
    own(tf.zeros((1, 8)))
    with pytest.raises(InputError, match="needs a built Functional or Sequential student"):
        Distiller(_teacher(), own, HintLoss("wide", "dense"))


def test_weights_by_output_name_do_not_reach_features(batch, one_step):
    x, y, w = batch
    inputs = keras.Input((8,))
    hidden = layers.Dense(6, name="hidden")(inputs)
    student = keras.Model(inputs, {"a": layers.Dense(3)(hidden), "b": layers.Dense(3)(hidden)})
    distiller = Distiller(_teacher(), student, [HintLoss("wide", "hidden")])
    with pytest.raises(InputError, match="HintLoss reads inner layers, so weights by output name"):
        one_step(
            distiller, x, {"a": y, "b": y}, loss={"a": CE, "b": CE}, sample_weight={"a": w, "b": w}
        )
