import keras
import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError
from keras_distill._internal._progress import silent
from keras_distill.work import Ending, Rounds, fit_resumable


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


WHOLE = Ending()
ROUNDS = Rounds(epochs=6, steps=98)  # 1,167 examples in batches of 12


@pytest.fixture(scope="module")
def splits():
    return data.load("digits")


def _fit(model, splits, path, rounds=ROUNDS, report=silent, ending=WHOLE):
    return fit_resumable(
        model,
        lambda epoch: data.batches(splits.train, 12, shuffle_seed=3, epoch=epoch, epochs=None),
        rounds,
        path,
        validation_data=data.batches(splits.validation, 130),
        report=report,
        ending=ending,
    )


def _stop_after(rounds):
    def report(done, total, note):
        if done == rounds * ROUNDS.steps_per_round:
            raise KeyboardInterrupt

    return report


def _stop_after_a_round(done, total, note):
    """Of a training that ends by time: there is a validation accuracy only after a round."""
    if "validation" in note:
        raise KeyboardInterrupt


def _never(done, total, note):
    raise AssertionError("trains again")


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


def test_progress_is_told_within_a_round_with_the_metrics(splits, tmp_path):
    seen = []
    _fit(
        _trainer(),
        splits,
        tmp_path / "x.npz",
        Rounds(1, 5),
        lambda *told: seen.append(told),
    )
    assert [done for done, _, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert {total for _, total, _ in seen} == {5} and "accuracy " in seen[2][2]
    assert "validation " in seen[-1][2]


def test_a_finished_training_is_not_done_again(splits, tmp_path):
    path = tmp_path / "x.npz"
    model = _trainer()
    _fit(model, splits, path, Rounds(1, 5))
    again = _trainer(seed=5)
    progress = _fit(again, splits, path, Rounds(1, 5), report=_never)
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


def test_patience_keeps_the_weights_of_the_best_round_and_stops(splits, tmp_path):
    """A learning rate that destroys what was learned: validation gets worse after round 1."""
    model = _trainer()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.PiecewiseConstantDecay([98], [0.01, 9.0])),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    ending = Ending(patience=1)
    progress = _fit(model, splits, tmp_path / "x.npz", ending=ending)
    assert (progress.best, progress.rounds, progress.stopped) == (1, 2, True)
    accuracy = model.evaluate(data.batches(splits.validation, 130), verbose=0)[1]
    assert accuracy == pytest.approx(progress.kept("val_accuracy"))
    assert progress.kept("val_accuracy") > progress.logs["val_accuracy"][-1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]
    again = _fit(model, splits, tmp_path / "x.npz", ending=ending, report=_never)
    assert again == progress


def test_an_interrupted_training_with_patience_ends_like_an_uninterrupted_one(splits, tmp_path):
    ending = Ending(patience=5)
    whole, resumed = _trainer(), _trainer(seed=99)
    expected = _fit(whole, splits, tmp_path / "whole.npz", ending=ending)
    with pytest.raises(KeyboardInterrupt):
        _fit(_trainer(), splits, tmp_path / "cut.npz", report=_stop_after(2), ending=ending)
    progress = _fit(resumed, splits, tmp_path / "cut.npz", ending=ending)
    assert (progress.best, progress.logs) == (expected.best, expected.logs)
    for mine, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_a_training_ends_when_its_time_does_and_its_rate_falls_with_it(splits, tmp_path):
    model = _trainer()
    model.compile(keras.optimizers.Adam(1e-2), model.loss, metrics=["accuracy"])
    seen = []

    def rate(share, step):
        seen.append(share)
        return 1e-2 * (1 - share)

    ending = Ending(seconds=1.0, rate=rate)
    progress = _fit(model, splits, tmp_path / "x.npz", Rounds(None, 98), ending=ending)
    assert progress.stopped and 1.0 <= progress.seconds < 30
    assert seen == sorted(seen) and seen[-1] <= 1
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-2 * (1 - seen[-1]), abs=1e-6)
    again = _fit(model, splits, tmp_path / "x.npz", Rounds(None, 98), ending=ending)
    assert again == progress


def test_the_time_of_an_earlier_session_counts(splits, tmp_path):
    model = _trainer()
    model.compile(keras.optimizers.Adam(1e-2), model.loss, metrics=["accuracy"])
    ending = Ending(seconds=30.0, rate=lambda share, step: 1e-3)
    with pytest.raises(KeyboardInterrupt):
        _fit(model, splits, tmp_path / "x.npz", Rounds(None, 2), _stop_after_a_round, ending)
    shares = []
    ending = Ending(seconds=1e-3, rate=lambda share, step: shares.append(share) or 1e-3)
    progress = _fit(model, splits, tmp_path / "x.npz", Rounds(None, 2), ending=ending)
    assert shares == [1.0] and progress.rounds == 2
