import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.specialists._build import (
    BinnedTeacher,
    add_to_dustbin,
    build_specialist,
    dustbin_correction,
)
from keras_distill.teachers import KerasTeacher

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def functional(classes=5, **head):
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(8, "relu", name="body")(inputs)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits", **head)(x))


def randomized(model):
    rng = np.random.default_rng(1)
    model.set_weights([np.abs(rng.normal(size=w.shape)) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(
    "make",
    [
        functional,
        lambda: functional(activation="softmax"),
        lambda: functional(use_bias=False),
        lambda: keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(7, "relu"), keras.layers.Dense(5)]
        ),
        lambda: keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Softmax()]
        ),
        lambda: keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Activation("softmax")]
        ),
        lambda: keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Activation("linear")]
        ),
    ],
)
def test_class_logits_are_the_generalists(make):
    generalist = randomized(make())
    before = [w.copy() for w in generalist.get_weights()]
    specialist = build_specialist(generalist, [3, 1])
    wanted = KerasTeacher(generalist).predict(X)
    got = specialist(X, training=False).numpy()
    assert got.shape == (6, 3)
    np.testing.assert_allclose(got[:, :2], wanted[:, [3, 1]], rtol=1e-5)
    rest = wanted[:, [0, 2, 4]].mean(axis=1) + np.log(3)
    np.testing.assert_allclose(got[:, 2], rest, rtol=1e-5)
    specialist.set_weights([w + 1 for w in specialist.get_weights()])
    for old, now in zip(before, generalist.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_correction_is_taken_off_and_added_again():
    generalist = randomized(functional())
    plain = build_specialist(generalist, [0, 1])(X).numpy()
    specialist = build_specialist(generalist, [0, 1], correction=1.5)
    lowered = specialist(X).numpy()
    np.testing.assert_allclose(lowered - plain, [[0, 0, -1.5]] * 6, atol=1e-5)
    add_to_dustbin(specialist, 1.5)
    np.testing.assert_allclose(specialist(X).numpy(), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: functional(activation="relu"), "without activation or with softmax"),
        (
            lambda: keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dropout(0.1)]
            ),
            "end in one Dense",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Activation("sigmoid")]
            ),
            "end in one Dense",
        ),
        (
            lambda: keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(5, "softmax"), keras.layers.Softmax()]
            ),
            "end in one Dense",
        ),
        (lambda: keras.Sequential([keras.layers.Dense(5)]), "built"),
    ],
)
def test_generalists_without_such_a_head_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        build_specialist(make(), [0, 1])


def test_bad_sets_are_refused():
    for ids in ([], [0, 0], [5], [0, 1, 2, 3, 4]):
        with pytest.raises(InputError, match="class_sets"):
            build_specialist(functional(), ids)


def test_correction_is_the_log_of_the_odds_ratio():
    labels = np.repeat(np.arange(10), [100, 50, 10, 40, 100, 100, 200, 100, 200, 100])
    # S = {1, 2}: 60 of 1,000. Stream at 0.5: odds 1 in place of 60/940.
    assert dustbin_correction(labels, [1, 2]) == pytest.approx(np.log(940 / 60))
    assert dustbin_correction(labels, [1, 2], 0.06) == pytest.approx(0.0)
    assert dustbin_correction(labels, [1, 2], 0.8) == pytest.approx(np.log(4 * 940 / 60))
    with pytest.raises(InputError, match="other classes"):
        dustbin_correction([1, 1], [1])
    with pytest.raises(InputError, match="`share`"):
        dustbin_correction(labels, [1], 1.0)


def test_correction_makes_biased_training_right():
    """Bayes' rule on a case that can be computed: x says nothing, so q must be the proportions."""
    labels = np.repeat([0, 1, 2], [5, 15, 80])
    share = 0.5
    stream = np.array([share * 5 / 20, share * 15 / 20, 1 - share])
    logits = np.log(stream)
    logits[2] += dustbin_correction(labels, [0, 1], share)
    np.testing.assert_allclose(tf.nn.softmax(logits), [0.05, 0.15, 0.8], atol=1e-7)


def test_binned_teacher_is_the_generalist_seen_through_the_bins():
    generalist = randomized(functional())
    probs = tf.nn.softmax(generalist(X)).numpy()
    binned = tf.nn.softmax(BinnedTeacher(generalist, [4, 0], num_classes=5).logits(X)).numpy()
    np.testing.assert_allclose(binned[:, :2], probs[:, [4, 0]], rtol=1e-4)
    np.testing.assert_allclose(binned[:, 2], probs[:, [1, 2, 3]].sum(axis=1), rtol=1e-4)
    lowered = BinnedTeacher(generalist, [4, 0], num_classes=5, correction=2.0)
    odds = tf.nn.softmax(lowered.logits(X)).numpy()
    np.testing.assert_allclose(
        odds[:, 2] / odds[:, 0], binned[:, 2] / binned[:, 0] * np.exp(-2), rtol=1e-4
    )
    with pytest.raises(InputError, match="no layers"):
        lowered.features(X, ["body"])


def test_an_adapted_normalization_stays_adapted():
    layer = keras.layers.Normalization()
    layer.adapt(np.array([[50.0, 10.0], [70.0, 30.0]]))
    generalist = keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(4)])
    x = np.array([[55.0, 12.0]], "float32")
    logits = build_specialist(generalist, [0, 2])(x)
    np.testing.assert_allclose(logits[0, :2], generalist(x).numpy()[0, [0, 2]], rtol=1e-5)
