import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError, VerificationError
from keras_distill.data import labels_of
from keras_distill.records import SpecialistsRecipe, SpecialistTraining
from keras_distill.specialists import (
    ClassSets,
    SpecialistEnsemble,
    _evaluation,
    build_specialist,
    dustbin_correction,
)
from keras_distill.specialists import _training as module
from keras_distill.specialists._training import train, train_specialist
from keras_distill.work import Job

QUICK = SpecialistTraining(epochs=6, batch_size=32, learning_rate=3e-3)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_a_specialist_gets_better_at_its_own_classes(digits, generalist_file, test_arrays, alpha):
    generalist = models.load(generalist_file)
    ids = [1, 8, 9]
    settings = QUICK.model_copy(update={"alpha": alpha})
    specialist, result = train_specialist(
        generalist, digits.train, ids, settings, num_classes=10, seed=1
    )
    x, y = test_arrays
    rows = np.isin(y, ids)
    place = np.array([ids.index(label) for label in y[rows]])

    def right(model):
        return (model.predict(x[rows], verbose=0)[:, :3].argmax(axis=1) == place).mean()

    assert right(specialist) > right(build_specialist(generalist, ids)) + 0.02
    assert result.class_ids == (1, 8, 9) and result.seed == 1 and len(result.loss) == 6
    labels = labels_of(digits.train)
    assert result.correction == pytest.approx(dustbin_correction(labels, ids))
    assert result.steps == 6 * -(-2 * np.isin(labels, ids).sum() // 32)
    assert not specialist.compiled


@pytest.mark.parametrize(("alpha", "precision"), [(0.0, "mixed_bfloat16"), (0.5, "mixed_float16")])
def test_a_specialist_trained_in_16_bits_is_nearly_that_of_32(
    digits, generalist_file, test_arrays, alpha, precision
):
    generalist = models.load(generalist_file)
    found = []
    for name in ("float32", precision):
        settings = QUICK.model_copy(update={"alpha": alpha, "precision": name})
        found.append(train_specialist(generalist, digits.train, [1, 8], settings, num_classes=10))
    (exact, one), (half, other) = found
    assert half.dtype_policy.name == "float32" and not half.compiled
    assert {layer.compute_dtype for layer in half.layers} == {"float32"}
    np.testing.assert_allclose(other.loss, one.loss, rtol=0.1)
    assert one.loss != other.loss
    x, _ = test_arrays
    pair = (_evaluation.probabilities(model.predict(x, verbose=0)) for model in (exact, half))
    assert np.abs(next(pair) - next(pair)).mean() < 0.02


def test_it_takes_as_many_steps_as_the_record_says(monkeypatch):
    """19 is prime: Keras runs 16 and 16 of 19 steps if `steps_per_execution` is 16."""
    taken = []

    def compiled(trainer, optimizer, *args, **settings):
        taken.append(optimizer)
        return compile_(trainer, optimizer, *args, **settings)

    compile_ = keras.Model.compile
    monkeypatch.setattr(keras.Model, "compile", compiled)
    x = np.random.default_rng(0).normal(size=(304, 2)).astype(np.float32)
    train = tf.data.Dataset.from_tensor_slices((x, np.arange(304) % 4))
    generalist = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    training = SpecialistTraining(epochs=2, batch_size=16)
    _, result = train_specialist(generalist, train, [0, 3], training, num_classes=4)
    assert result.steps == 38 == int(taken[-1].iterations.numpy())


def test_the_corrected_dustbin_is_calibrated(digits, generalist_file, test_arrays):
    """Its mean probability is near the share of other classes, and nearer than uncorrected."""
    generalist = models.load(generalist_file)
    specialist, result = train_specialist(
        generalist, digits.train, [1, 8, 9], QUICK, num_classes=10
    )
    x, y = test_arrays
    logits = specialist.predict(x, verbose=0)
    wanted = (~np.isin(y, [1, 8, 9])).mean()
    corrected = _evaluation.probabilities(logits)[:, -1].mean()
    logits[:, -1] -= result.correction
    uncorrected = _evaluation.probabilities(logits)[:, -1].mean()
    assert abs(corrected - wanted) < min(0.05, abs(uncorrected - wanted))


def recipe(generalist_file, **changes):
    settings = {
        "generalist": str(generalist_file),
        "source": "digits",
        "clusters": 3,
        "training": QUICK.model_copy(update={"epochs": 1, "alpha": 0.0}),
    }
    return SpecialistsRecipe(**{**settings, **changes})


def test_train_makes_an_ensemble_that_beats_its_generalist(
    digits, generalist_file, test_arrays, tmp_path
):
    seen = []
    ensemble = train(
        recipe(generalist_file, training=QUICK),
        tmp_path / "out",
        report=lambda record, kept: seen.append((record.name, kept)),
    )
    assert sorted(seen) == [(f"specialist-0{m}", False) for m in range(len(ensemble.specialists))]
    assert not (tmp_path / "out.unfinished").exists()
    assert SpecialistsRecipe.load(tmp_path / "out" / "recipe.toml").clusters == 3
    x, y = test_arrays
    before = (models.load(generalist_file).predict(x, verbose=0).argmax(axis=1) == y).mean()
    after = (ensemble.predict(x).argmax(axis=1) == y).mean()
    assert after > before + 0.02
    with pytest.raises(InputError, match="exists"):
        train(recipe(generalist_file), tmp_path / "out")


def test_a_failed_specialist_does_not_lose_the_others(generalist_file, tmp_path, monkeypatch):
    real = module.train_specialist

    def fails_once(generalist, train, class_ids, *args, **kwargs):
        if kwargs["seed"] == 1:
            raise RuntimeError("out of luck")
        return real(generalist, train, class_ids, *args, **kwargs)

    monkeypatch.setattr(module, "train_specialist", fails_once)
    with pytest.raises(VerificationError, match=r"1 of \d specialists failed.*out of luck"):
        train(recipe(generalist_file), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(module, "train_specialist", real)
    kept = []
    train(recipe(generalist_file), tmp_path / "out", report=lambda r, k: kept.append((r.name, k)))
    assert [name for name, was_kept in kept if not was_kept] == ["specialist-01"]
    assert SpecialistEnsemble.load(tmp_path / "out").class_sets.num_classes == 10


def test_in_processes_the_same_specialists_come_out(generalist_file, tmp_path):
    asked, sets = recipe(generalist_file), ClassSets(([0, 1], [8, 9]), 10)
    keras.utils.set_random_seed(7)  # must not reach the order of the data
    one = train(asked, tmp_path / "turn", class_sets=sets)
    two = train(asked, tmp_path / "processes", class_sets=sets, backend="processes", workers=2)
    for a, b in zip(one.specialists, two.specialists, strict=True):
        for x, y in zip(a.model.get_weights(), b.model.get_weights(), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-4)


def test_another_generalist_makes_other_jobs(generalist_file, tmp_path):
    sets = ClassSets(([0, 1],), 10)
    other = tmp_path / "other.keras"
    model = models.load(generalist_file)
    model.set_weights([w + 1 for w in model.get_weights()])
    model.save(other)
    asked = recipe(generalist_file)
    one, two, three = (
        module._jobs(settings, sets, tmp_path, ())[0].fingerprint
        for settings in [asked, recipe(other), asked.model_copy(update={"seed": 1})]
    )
    assert len({one, two, three}) == 3
    assert isinstance(module._jobs(asked, sets, tmp_path, ())[0], Job)


def test_the_seed_makes_the_dropout_masks_too():
    inputs = keras.Input((2,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(8, "relu")(inputs))
    generalist = keras.Model(inputs, keras.layers.Dense(4)(x))
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, np.arange(64) % 4))
    settings = SpecialistTraining(epochs=2, batch_size=16)
    one, again = (
        train_specialist(generalist, data, [0, 3], settings, num_classes=4, seed=1)[0]
        for _ in range(2)
    )
    for a, b in zip(one.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_recipe_in_which_all_have_a_say_is_kept_as_such(generalist_file, tmp_path):
    """TOML has no None, and a `top` that is left out means 1."""
    sets = ClassSets(([0, 1],), 10)
    ensemble = train(recipe(generalist_file, top=None), tmp_path / "out", class_sets=sets)
    kept = SpecialistsRecipe.load(tmp_path / "out" / "recipe.toml")
    assert ensemble.top is None and kept.top == 10
