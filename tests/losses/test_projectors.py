"""The layers trained with a loss: shapes, the queue, fusion of stages, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import ContrastiveLoss, InputError, ReviewLoss, VariationalLoss

RNG = np.random.default_rng(2)
VARIATIONAL = VariationalLoss("a", "b")
CONTRASTIVE = ContrastiveLoss("a", "b", dimension=3, queue_size=5)
REVIEW = ReviewLoss(["a", "b", "c"], ["d", "e", "f"])
STUDENT_MAPS = [(None, 8, 8, 2), (None, 4, 4, 3), (None, 2, 2, 4)]
TEACHER_MAPS = [(None, 8, 8, 5), (None, 8, 8, 6), (None, 2, 2, 7)]


def rand(shape, batch=2):
    return tf.constant(RNG.normal(size=(batch, *shape[1:])), tf.float32)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((None, 8), (None, 3)),
        ((None, 6, 8), (None, 6, 3)),
        ((None, 4, 4, 8), (None, 4, 4, 8)),
        ((None, 4, 4, 8), (None, 8, 8, 3)),
    ],
)
def test_variational_mean_has_the_teachers_shape(teacher, student):
    layer = VARIATIONAL.projector(teacher, student)
    layer.build(student)
    with tf.GradientTape() as tape:
        mean, variance = layer(rand(student))
        value = tf.reduce_mean(VARIATIONAL.per_example(rand(teacher), (mean, variance)))
    assert mean.shape == (2, *teacher[1:]) and variance.shape == (8,)
    np.testing.assert_allclose(variance, 5.0, rtol=1e-6)
    gradients = tape.gradient(value, layer.trainable_variables)
    assert len(gradients) == 7 and all(g is not None for g in gradients)


@pytest.mark.parametrize("loss", [VARIATIONAL, ContrastiveLoss("a", "b")], ids=["VID", "CRD"])
def test_shapes_that_no_layer_can_bring_together(loss):
    with pytest.raises(InputError, match=f"{type(loss).__name__} needs features"):
        loss.projector((None, 8), (None, 4, 4, 8))


class TestQueue:
    def layer(self, queue_size=5):
        layer = ContrastiveLoss("a", "b", 3, queue_size).projector((None, 4), (None, 2))
        layer.build((None, 2))
        return layer

    def test_holds_earlier_batches_in_order_and_wraps(self):
        layer, seen = self.layer(), []
        for size in (2, 2, 2):
            t, s = layer(rand((None, 2), size), rand((None, 4), size), training=True)
            seen.append((t[0].numpy(), s[0].numpy()))
        t, s = layer(rand((None, 2)), rand((None, 4)))
        for (_, queue, there), batches in zip((t, s), zip(*seen, strict=True), strict=True):
            last = np.concatenate(batches)
            np.testing.assert_allclose(queue, np.concatenate([last[5:], last[1:5]]))
            np.testing.assert_array_equal(there, np.ones(5))

    def test_a_batch_never_meets_itself(self):
        layer = self.layer()
        t, _ = layer(rand((None, 2)), rand((None, 4)), training=True)
        np.testing.assert_array_equal(t[2], np.zeros(5))

    def test_evaluation_does_not_write(self):
        layer = self.layer()
        layer(rand((None, 2)), rand((None, 4)), training=False)
        t, _ = layer(rand((None, 2)), rand((None, 4)))
        np.testing.assert_array_equal(t[2], np.zeros(5))

    def test_dropped_rows_are_appended_as_empty(self):
        layer = self.layer()
        features = rand((None, 2), 3), rand((None, 4), 3)
        layer(*features, training=True, keep=tf.constant([True, False, True]))
        t, _ = layer(rand((None, 2)), rand((None, 4)))
        np.testing.assert_array_equal(t[2], [1, 0, 1, 0, 0])

    def test_a_batch_larger_than_the_queue(self):
        layer = self.layer(queue_size=2)
        layer(rand((None, 2), 6), rand((None, 4), 6), training=True)
        t, _ = layer(rand((None, 2)), rand((None, 4)))
        np.testing.assert_array_equal(t[2], [1, 1])

    def test_no_gradient_reaches_the_queue(self):
        layer = self.layer()
        assert len(layer.trainable_variables) == 4 and len(layer.non_trainable_variables) == 4

    def test_works_in_a_graph_and_under_xla(self):
        layer = self.layer()
        step = tf.function(lambda s, t: layer(s, t, training=True)[0][2], jit_compile=True)
        for full in (0, 2, 4, 5):
            there = step(rand((None, 2)), rand((None, 4)))
            assert there.numpy().sum() == full


class TestReview:
    def layer(self):
        layer = REVIEW.projector(TEACHER_MAPS, STUDENT_MAPS)
        layer.build(STUDENT_MAPS)
        return layer

    def test_shapes_are_the_teachers(self):
        fused = self.layer()([rand(shape) for shape in STUDENT_MAPS])
        assert [tuple(maps.shape[1:]) for maps in fused] == [shape[1:] for shape in TEACHER_MAPS]

    def test_each_stage_sees_itself_and_the_deeper_ones(self):
        layer, maps = self.layer(), [rand(shape) for shape in STUDENT_MAPS]
        for stage in range(3):
            with tf.GradientTape() as tape:
                tape.watch(maps)
                value = tf.reduce_sum(layer(maps)[stage] ** 2)
            reached = [g is not None and np.abs(g).max() > 0 for g in tape.gradient(value, maps)]
            assert reached == [i >= stage for i in range(3)]

    def test_training_moves_the_statistics_of_batch_normalization(self):
        layer, maps = self.layer(), [rand(shape) for shape in STUDENT_MAPS]
        before = [w.numpy() for w in layer.non_trainable_variables]

        def moved():
            pairs = zip(before, layer.non_trainable_variables, strict=True)
            return [bool((old != new.numpy()).any()) for old, new in pairs]

        layer(maps)
        assert not any(moved())
        layer(maps, training=True)
        assert any(moved())

    @pytest.mark.parametrize("teacher", [(None, 8), (None, None, 8, 5), (None, 8, 8, None)])
    def test_maps_of_known_size(self, teacher):
        with pytest.raises(InputError, match="ReviewLoss needs maps"):
            ReviewLoss(["a"], ["b"]).projector([teacher], STUDENT_MAPS[:1])


@pytest.mark.parametrize(
    ("loss", "teacher", "student"),
    [
        (VARIATIONAL, (None, 4, 4, 3), (None, 8, 8, 2)),
        (CONTRASTIVE, (None, 4), (None, 2)),
        (REVIEW, TEACHER_MAPS, STUDENT_MAPS),
    ],
    ids=lambda x: type(x).__name__,
)
def test_saved_and_loaded(loss, teacher, student):
    layer = loss.projector(teacher, student)
    layer.build(student)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.built and [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    again.set_weights(layer.get_weights())
    x = [rand(s) for s in student] if isinstance(student, list) else rand(student)
    extra = () if loss is not CONTRASTIVE else (rand(teacher),)
    for a, b in zip(
        keras.tree.flatten(layer(x, *extra)), keras.tree.flatten(again(x, *extra)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert loss.projector_fits(again, teacher, student)
    assert not loss.projector_fits(again, (None, 9), student)
