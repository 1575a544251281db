import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import HintLoss, InputError, MutualDistiller, load
from keras_distill.losses import functional

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype("float32")
Y = RNG.integers(0, 3, 32)
HARD = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(seed, units=5, end=None):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(units, "relu", kernel_regularizer="l2", name="hidden"),
    ]
    return keras.Sequential([*layers, keras.layers.Dense(3, end)])


def mutual(alpha=0.3, temperature=2.0, rate=0.1, **options):
    pair = MutualDistiller(net(1), net(2, 7), alpha=alpha, temperature=temperature, **options)
    pair.compile(keras.optimizers.SGD(rate), HARD, metrics=["accuracy"])
    return pair


def test_a_step_is_that_of_two_losses_whose_other_side_is_constant():
    pair, rate = mutual(), 0.1
    models = [net(1), net(2, 7)]
    before = [model(X) for model in models]
    for model, other in zip(models, reversed(before), strict=True):
        with tf.GradientTape() as tape:
            logits = model(X)
            soft = tf.reduce_mean(functional.soft_target(tf.stop_gradient(other), logits, 2.0))
            loss = 0.7 * HARD(Y, logits) + 0.3 * soft + tf.add_n(model.losses)
        for weight, gradient in zip(
            model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
        ):
            weight.assign_sub(rate * gradient)
    pair.train_on_batch(X, Y)
    for found, expected in ((pair.student, models[0]), (pair.peer, models[1])):
        for mine, other in zip(found.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-6)


def test_unlabeled_rows_learn_from_the_peer_alone():
    pair = mutual(alpha=0.5)
    logs = pair.train_on_batch(X, np.full(32, -1), return_dict=True)
    assert logs["hard_loss"] == 0 and logs["soft_loss"] > 0


def test_the_two_agree_more_and_both_learn():
    pair = mutual(alpha=0.5, temperature=1.0, rate=0.3, agreement=True)
    history = pair.fit(X, Y, epochs=60, batch_size=32, verbose=0).history
    assert history["soft_loss"][-1] < history["soft_loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]
    assert np.mean(pair.peer.predict(X, verbose=0).argmax(1) == Y) > 0.5
    assert set(pair.evaluate(X, Y, verbose=0, return_dict=True)) >= {"loss", "accuracy"}


def test_a_saved_pair_goes_on_alike(tmp_path):
    pair = mutual()
    pair.fit(X, Y, epochs=1, verbose=0)
    pair.save(tmp_path / "pair.keras")
    again = load(tmp_path / "pair.keras", teacher=pair.peer)
    assert isinstance(again, MutualDistiller)
    assert again.alpha == 0.3 and again.soft_terms.losses[0].temperature == 2.0
    for distiller in (pair, again):
        distiller.train_on_batch(X, Y)
    for mine, other in zip(again.peer.get_weights(), pair.peer.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)


@pytest.mark.parametrize(
    ("peer", "options", "message"),
    [
        (lambda: None, {}, "`peer` must be a Keras 3 model"),
        (lambda: net(2, end="softmax"), {}, "must both end in logits"),
        (
            lambda: net(2),
            {"distillation_losses": HintLoss("hidden", "hidden")},
            "compares logits only",
        ),
        (
            lambda: keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)]),
            {},
            "the same classes",
        ),
    ],
)
def test_a_pair_that_does_not_fit_is_refused(peer, options, message):
    with pytest.raises(InputError, match=message):
        MutualDistiller(net(1), peer(), **options)
