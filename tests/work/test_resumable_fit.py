import keras
import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError
from keras_distill.work import Rounds, fit_resumable


def _trainer(seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(1e-2, 40)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


ROUNDS = Rounds(epochs=6, steps=98)  # 1,167 examples in batches of 12


@pytest.fixture(scope="module")
def splits():
    return data.load("digits")


def _fit(model, splits, path, rounds=ROUNDS, report=lambda done: None):
    return fit_resumable(
        model,
        lambda epoch: data.batches(splits.train, 12, shuffle_seed=3, epoch=epoch, epochs=None),
        rounds,
        path,
        validation_data=data.batches(splits.validation, 130),
        report=report,
    )


def _stop_after(rounds):
    def report(done):
        if done == rounds:
            raise KeyboardInterrupt

    return report


def test_an_interrupted_training_ends_like_an_uninterrupted_one(splits, tmp_path):
    whole = _trainer()
    expected = _fit(whole, splits, tmp_path / "whole.npz")
    with pytest.raises(KeyboardInterrupt):
        _fit(_trainer(), splits, tmp_path / "cut.npz", report=_stop_after(1))
    resumed = _trainer(seed=99)
    progress = _fit(resumed, splits, tmp_path / "cut.npz")
    assert progress.logs == expected.logs
    assert progress.rounds == 3
    for mine, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_finished_training_is_not_done_again(splits, tmp_path):
    path = tmp_path / "x.npz"
    model = _trainer()
    _fit(model, splits, path, Rounds(1, 5))
    again = _trainer(seed=5)
    progress = _fit(again, splits, path, Rounds(1, 5), report=_stop_after(1))
    assert progress.rounds == 1
    for mine, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_the_state_of_another_model_is_refused(splits, tmp_path):
    _fit(_trainer(), splits, tmp_path / "x.npz", Rounds(1, 2))
    other = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    other.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(InputError, match="of another model"):
        _fit(other, splits, tmp_path / "x.npz", Rounds(1, 2))


def test_a_damaged_state_is_refused(splits, tmp_path):
    path = tmp_path / "x.npz"
    _fit(_trainer(), splits, path, Rounds(1, 2))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="is damaged"):
        _fit(_trainer(), splits, path, Rounds(1, 2))


@pytest.mark.parametrize(
    ("epochs", "steps", "per_round"), [(60, 19, 6), (30, 469, 1), (1, 2, 1), (7, 5, 7)]
)
def test_rounds_divide_the_epochs(epochs, steps, per_round):
    rounds = Rounds(epochs, steps)
    assert rounds.epochs_per_round == per_round
    assert rounds.count * rounds.epochs_per_round == epochs
    assert rounds.steps_per_round % rounds.steps_per_execution() == 0
    assert rounds.steps_per_execution(1) == 1
