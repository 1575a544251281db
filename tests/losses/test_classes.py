"""What holds for every class: mean over the batch, one example, float16, saving, feature layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill
from keras_distill import InputError, TopK, losses

RNG = np.random.default_rng(7)
LOGITS = [tf.constant(3 * RNG.normal(size=(6, 5)), tf.float32) for _ in range(2)]
MAPS = [tf.constant(RNG.normal(size=(6, 4, 3, 2)), tf.float32) for _ in range(2)]
LABELS = tf.constant([0, 1, 2, 3, 4, 0])
A, B = "outer/inner", "layer"

# Each with settings that are not the defaults.
ON_LOGITS = [
    losses.SoftTargetLoss(2.0),
    losses.LogitMatchingLoss(),
    losses.DecoupledLoss(0.5, 2.0, 3.0),
    losses.DISTLoss(2.0, 0.5, 3.0),
    losses.StandardizedSoftTargetLoss(3.0),
    losses.MultiLabelSoftLoss(2.0),
    losses.RegressionLoss("huber", 2.0),
    losses.ReverseKLLoss(2.0),
    losses.JensenShannonLoss(2.0),
    losses.MultiLevelLoss([1.0, 3.0], 0.5, 2.0, 3.0, standardize=True),
]
ON_FEATURES = [
    losses.HintLoss(A, B),
    losses.AttentionTransferLoss(A, B),
    losses.SimilarityLoss(A, B),
    losses.RelationalLoss(A, B, 25.0, 50.0),
]
EVERY = ON_LOGITS + ON_FEATURES
# Their values need a trained layer: tests/losses/test_trained_losses.py.
TRAINED = [
    losses.VariationalLoss(A, B),
    losses.ContrastiveLoss(A, B, 16, 32, 0.1),
    losses.ReviewLoss([A, "b"], [B, "d"], 7),
    losses.SoftmaxRegressionLoss(A, B, "classifier", 0.5, 2.0),
]
PER_EXAMPLE = [loss for loss in EVERY if not loss.over_batch]


def named(loss):
    return type(loss).__name__


def inputs(loss):
    return MAPS if loss in ON_FEATURES else LOGITS


def gradient(loss, teacher, student, labels=LABELS):
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = loss.compute_loss(teacher, student, labels)
    return tape.gradient(value, student).numpy()


def test_every_public_class_is_here():
    public = {name for name in losses.__all__ if name.endswith("Loss")} - {"DistillationLoss"}
    assert public == {named(loss) for loss in EVERY + TRAINED}
    for name in public:
        assert getattr(keras_distill, name) is getattr(losses, name)


@pytest.mark.parametrize("loss", PER_EXAMPLE, ids=named)
def test_mean_of_values_that_do_not_see_each_other(loss):
    teacher, student = inputs(loss)
    values = loss.per_example(teacher, student, LABELS)
    assert values.shape[0] == 6 and values.shape == student.shape[: len(values.shape)]
    np.testing.assert_allclose(
        loss.compute_loss(teacher, student, LABELS), np.mean(values), rtol=1e-6
    )
    alone = loss.per_example(teacher[2:3], student[2:3], LABELS[2:3])
    np.testing.assert_allclose(alone[0], values[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", PER_EXAMPLE, ids=named)
def test_weights_and_masks_take_an_example_out(loss):
    """A weight of 0, whether given or from a mask, leaves no value and no gradient behind."""
    teacher, student = inputs(loss)
    weight = tf.constant([1.0, 0, 2, 1, 0, 1])
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = loss.per_example(teacher, student, LABELS)
        shaped = tf.reshape(weight, (6,) + (1,) * (len(values.shape) - 1))
        total = tf.reduce_mean(values * shaped)
    g = tape.gradient(total, student).numpy()
    plain = gradient(loss, teacher, student)
    shape = (6,) + (1,) * (g.ndim - 1)
    np.testing.assert_allclose(g, plain * weight.numpy().reshape(shape), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_zero_and_flat_where_the_student_is_the_teacher(loss):
    teacher, _ = inputs(loss)
    assert abs(float(loss.compute_loss(teacher, teacher, LABELS))) < 1e-5
    np.testing.assert_allclose(gradient(loss, teacher, teacher), 0, atol=1e-4)


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_a_step_downhill_lowers_it(loss):
    teacher, student = inputs(loss)
    g = gradient(loss, teacher, student)
    before = float(loss.compute_loss(teacher, student, LABELS))
    moved = student - 0.01 * g / np.abs(g).max()
    assert float(loss.compute_loss(teacher, moved, LABELS)) < before


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_batch_of_one(loss):
    teacher, student = (x[:1] for x in inputs(loss))
    value = loss.compute_loss(teacher, student, LABELS[:1])
    assert value.shape == () and np.isfinite(value)
    assert np.isfinite(gradient(loss, teacher, student, LABELS[:1])).all()


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_extreme_inputs(loss):
    """±1e4: finite, and as in float64."""
    teacher, student = (1e4 * tf.sign(x) for x in inputs(loss))
    value, g = loss.compute_loss(teacher, student, LABELS), gradient(loss, teacher, student)
    assert np.isfinite(value) and np.isfinite(g).all()
    wide = tf.cast(teacher, tf.float64), tf.cast(student, tf.float64)
    np.testing.assert_allclose(value, loss.compute_loss(*wide, LABELS), rtol=1e-4)
    exact = gradient(loss, *wide)
    np.testing.assert_allclose(g, exact, atol=1e-4 * max(np.abs(exact).max(), 1e-6))


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_half_precision_student(loss):
    teacher, student = inputs(loss)
    value = loss.compute_loss(teacher, tf.cast(student, tf.float16), LABELS)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, loss.compute_loss(teacher, student, LABELS), rtol=0.01)


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_serialization_round_trip(loss):
    config = keras.saving.serialize_keras_object(loss)
    assert config["registered_name"] == f"keras_distill>{named(loss)}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    teacher, student = inputs(loss)
    np.testing.assert_array_equal(
        again.compute_loss(teacher, student, LABELS), loss.compute_loss(teacher, student, LABELS)
    )


@pytest.mark.parametrize("loss", TRAINED, ids=named)
def test_serialization_round_trip_of_settings(loss):
    config = keras.saving.serialize_keras_object(loss)
    assert config["registered_name"] == f"keras_distill>{named(loss)}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert not loss.accepts_topk


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_topk_where_declared(loss):
    if loss in ON_FEATURES:
        assert not loss.accepts_topk
        return
    teacher, student = LOGITS
    top = tf.math.top_k(teacher, 5)
    topk = TopK(top.indices, top.values, tf.zeros(6), tf.zeros(6))
    if loss.accepts_topk:
        np.testing.assert_allclose(
            loss.compute_loss(topk, student), loss.compute_loss(teacher, student), rtol=1e-4
        )
    else:
        with pytest.raises(InputError, match="hold every logit"):
            loss.compute_loss(topk, student, LABELS)


class TestFeatureLayers:
    @pytest.mark.parametrize("name", [None, "", 3])
    def test_layer_names_are_names(self, name):
        with pytest.raises(InputError, match="`student_layer_name` must be the name of a layer"):
            losses.SimilarityLoss("a", name)

    @pytest.mark.parametrize("loss", ON_FEATURES, ids=named)
    def test_shapes_that_cannot_be_compared(self, loss):
        with pytest.raises(InputError, match=r"needs features|features of the same shape"):
            loss.validate_outputs(tf.zeros((2,)), tf.zeros((2, 3, 3, 1)))

    def test_what_may_differ(self):
        a, b = (None, 4, 4, 8), (None, 4, 4, 2)
        losses.AttentionTransferLoss(A, B).validate_shapes(a, b)
        with pytest.raises(InputError, match="agree in everything but channels"):
            losses.AttentionTransferLoss(A, B).validate_shapes(a, (None, 2, 2, 8))
        losses.SimilarityLoss(A, B).validate_shapes(a, (None, 7))
        losses.RelationalLoss(A, B).validate_shapes(a, (None, 7))
        with pytest.raises(InputError, match="trains a projector"):
            losses.HintLoss(A, B).validate_shapes(a, b)

    @pytest.mark.parametrize("loss", ON_FEATURES[1:], ids=named)
    def test_others_have_no_projector(self, loss):
        assert loss.projector((None, 4, 4, 8), (None, 4, 4, 2)) is None


class TestProjector:
    loss = losses.HintLoss(A, B)

    @pytest.mark.parametrize(
        ("teacher", "student", "parameters"),
        [
            ((None, 8), (None, 3), 3 * 8 + 8),
            ((None, 6, 8), (None, 6, 3), 3 * 8 + 8),
            ((None, None, 8), (None, None, 3), 3 * 8 + 8),
            ((None, 4, 4, 8), (None, 4, 4, 3), 3 * 8 + 8),
            ((None, 4, 4, 8), (None, 8, 8, 3), 3 * 8 + 8),
            ((None, 6, 5, 3), (None, 3, 3, 3), 3 * 3 + 3),
        ],
    )
    def test_brings_the_student_to_the_teachers_shape(self, teacher, student, parameters):
        layer = self.loss.projector(teacher, student)
        x = tf.constant(RNG.normal(size=[2 if n is None else n for n in student]), tf.float32)
        with tf.GradientTape() as tape:
            y = layer(x)
            total = tf.reduce_sum(y**2)
        expected = [2 if n is None else n for n in teacher]
        assert y.shape == tuple(expected)
        assert sum(int(np.prod(w.shape)) for w in layer.trainable_weights) == parameters
        assert all(g is not None for g in tape.gradient(total, layer.trainable_weights))

    @pytest.mark.parametrize("shape", [(None, 8), (None, 4, 4, 8), (None, 6, 8)])
    def test_none_for_equal_shapes(self, shape):
        assert self.loss.projector(shape, shape) is None

    @pytest.mark.parametrize(
        ("teacher", "student", "message"),
        [
            ((None, 8), (None, 4, 4, 8), "one rank"),
            ((None, None), (None, 4), "known channels"),
            ((None, 6, 8), (None, 5, 8), "resize maps"),
        ],
    )
    def test_refused_in_words(self, teacher, student, message):
        with pytest.raises(InputError, match=message):
            self.loss.projector(teacher, student)
