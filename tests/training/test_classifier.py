import keras
import numpy as np
import pytest

from keras_distill.records import ClassifierSettings, TrainingSettings
from keras_distill.training import (
    SmoothedCrossentropy,
    compile_classifier,
    ending_of,
    make_optimizer,
    rounds_of,
)

LOGITS = np.array([[2.0, 0.0, -1.0], [0.5, 0.1, 0.3]], "float32")


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_label_smoothing_is_cross_entropy_to_the_smoothed_row(shape):
    loss = SmoothedCrossentropy(0.3, reduction=None)
    rows = 0.7 * np.eye(3)[[1, 2]] + 0.1
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    expected = -(rows * log_p).sum(axis=1)
    np.testing.assert_allclose(loss(np.array([1, 2]).reshape(shape), LOGITS), expected, rtol=1e-5)
    softmax = SmoothedCrossentropy(0.3, from_logits=False, reduction=None)
    np.testing.assert_allclose(softmax([1, 2], np.exp(log_p)), expected, rtol=1e-5)


def test_a_smoothed_loss_is_saved_with_its_settings():
    loss = SmoothedCrossentropy(0.3, from_logits=False)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.label_smoothing, again.from_logits) == (0.3, False)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_warmup_rises_to_the_learning_rate_before_the_schedule(schedule):
    settings = TrainingSettings(learning_rate=0.8, schedule=schedule, warmup=2, epochs=10)
    optimizer = make_optimizer(settings, steps=40)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 4, 8, 24, 40)]
    end = [0.4, 0.0] if schedule == "cosine" else [0.8, 0.8]
    assert rates == pytest.approx([0.0, 0.4, 0.8, *end], abs=1e-6)


def test_gradients_are_clipped_by_their_norm_together():
    for name in ("adam", "adamw", "sgd"):
        settings = TrainingSettings(optimizer=name, clip_norm=0.5)
        assert make_optimizer(settings, steps=4).global_clipnorm == 0.5


def test_a_budget_replaces_the_epochs_and_the_schedule_of_steps():
    settings = ClassifierSettings(budget="90s", epochs=7, batch_size=32, warmup=1, patience=5)
    rounds = rounds_of(settings, 320)
    assert (rounds.epochs, rounds.steps, rounds.epochs_per_round) == (None, 10, 10)
    ending = ending_of(settings, rounds)
    assert (ending.patience, ending.seconds) == (1, 90.0)
    rates = [ending.rate(share, step) for share, step in ((0, 4), (0.5, 100), (1, 200))]
    assert rates == pytest.approx([0.5e-3, 0.5e-3, 0.0], abs=1e-9)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    compile_classifier(model, settings, rounds)
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    assert model.steps_per_execution == 5  # of 100 steps, at most 8 at once
