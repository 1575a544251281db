"""Training from a store: the Distiller, other seeds, several devices."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import data as kd_data
from keras_distill.data import Augmentation, MemoryDataset

BATCH = 8


def net(seed, units):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(7),
        ]
    )


def distilled(teacher, dataset, epochs=2):
    """Losses and weights of one student trained on `dataset`."""
    distiller = kd.Distiller(teacher, net(1, 8))
    distiller.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = distiller.fit(dataset, epochs=epochs, verbose=0).history["loss"]
    return losses, distiller.student.get_weights()


@pytest.mark.parametrize("augment", [None, Augmentation(crop=1, flip=True)])
def test_a_student_from_the_store_is_the_student_trained_online(build, data, augment):
    teacher = net(0, 32)
    views = 1 if augment is None else 2
    store = build(teacher, dtype="float32", augment=augment, views=views)
    plain = store.batches(data.dataset, 16, seed=3).map(lambda x, y: (x, y.labels))
    online, online_weights = distilled(teacher, plain)
    stored, stored_weights = distilled(None, store.batches(data.dataset, 16, seed=3))
    np.testing.assert_allclose(stored, online, rtol=1e-4)
    for a, b in zip(stored_weights, online_weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("kind", [tf.data.Dataset.from_tensor_slices, kd_data.MemoryDataset])
def test_data_of_x_alone_are_stored_and_train_on_soft_targets_alone(build, data, kind):
    store = build(dataset=kind(data.x))
    assert store.manifest.examples == len(data.x)
    assert store.verify(kind(data.x))["data"].startswith("70 examples")
    losses = {}
    for name, y in {"none": (), "all -1": (np.full(len(data.x), -1),)}.items():
        batches = store.batches(kind((data.x, *y)) if y else kind(data.x), 16, seed=3)
        distiller = kd.Distiller(None, net(1, 8), alpha=1.0)
        distiller.compile(keras.optimizers.Adam(0.01))
        losses[name] = distiller.fit(batches, epochs=2, verbose=0).history["loss"]
    assert losses["none"] == pytest.approx(losses["all -1"])
    assert losses["none"][1] < losses["none"][0]


def test_epochs_of_fit_are_those_of_the_data(build, data):
    """What `fit` looks at before its first step is no epoch."""
    seen = []

    class Watched(kd.Distiller):
        def train_step(self, batch):
            tf.py_function(lambda x: seen.append(x.numpy()), [batch[0][:, 0, 0, 0]], [])
            return super().train_step(batch)

    store = build()
    Watched(None, net(1, 8)).fit(store.batches(data.dataset, 16, seed=3), epochs=2, verbose=0)
    plain = kd_data.batches(data.dataset, 16, shuffle_seed=3, epochs=2)
    np.testing.assert_array_equal(
        np.concatenate(seen), np.concatenate([x[:, 0, 0, 0] for x, _ in plain])
    )


@pytest.mark.parametrize("repeated", [False, True])
def test_backup_and_restore_resumes_at_the_view_of_the_epoch(build, data, tmp_path, repeated):
    augment = Augmentation(crop=2, seed=1)
    store = build(augment=augment, views=3)

    class Stop(Exception):
        pass

    def fit(stop_at=None):
        seen = []

        class Watched(kd.Distiller):
            def train_step(self, batch):
                tf.py_function(lambda x: seen.append(x.numpy()), [batch[0]], [])
                return super().train_step(batch)

        def fails(epoch, logs):
            if epoch == stop_at:
                raise Stop

        batches = store.batches(data.dataset, 16, seed=3)
        steps = None
        if repeated:  # one epoch of `fit` is two of the data
            batches, steps = batches.repeat(), 10
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=fails)]
        if stop_at is not None or (tmp_path / "backup").exists():
            callbacks.insert(0, keras.callbacks.BackupAndRestore(tmp_path / "backup"))
        distiller = Watched(None, net(1, 8))
        with contextlib.suppress(Stop):
            distiller.fit(batches, epochs=4, steps_per_epoch=steps, callbacks=callbacks, verbose=0)
        return np.concatenate(seen)

    whole = fit()
    started = fit(stop_at=2)
    np.testing.assert_array_equal(np.concatenate([started, fit()]), whole)


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}])
def test_an_uncompiled_distiller_fits_on_both_doors(build, data, settings):
    data.y[::4] = -1
    store = build(**settings)
    for dataset in (
        store.batches(data.dataset, 16),
        store.attach(data.dataset).shuffle(70).batch(16),
    ):
        losses = kd.Distiller(None, net(1, 8)).fit(dataset, epochs=8, verbose=0).history["loss"]
        assert losses[-1] < losses[0]


def test_wrong_data_stop_a_training_in_its_first_epoch(build, data):
    store = build()
    wrong = tf.data.Dataset.from_tensor_slices((data.x[::-1], data.y))
    with pytest.raises(kd.InputError, match=r"store .*: example 0 is not the one stored at"):
        kd.Distiller(None, net(1, 8)).fit(store.batches(wrong, 16), epochs=1, verbose=0)


def test_a_loss_on_features_is_refused(build, data):
    student = net(1, 8)
    loss = kd.HintLoss("dense", student.layers[-2].name)
    with pytest.raises(kd.InputError, match="teacher"):
        kd.Distiller(None, student, [loss]).fit(
            build().batches(data.dataset, 16), epochs=1, verbose=0
        )


def test_batches_go_through_mirrored_strategy(build, data):
    """One replica takes the same way as several; those need a process of their own."""
    store = build(augment=Augmentation(flip=True), views=2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        batches = store.batches(data.dataset, 16)
    seen = 0
    for x, y in strategy.experimental_distribute_dataset(batches):
        np.testing.assert_allclose(y.teacher, data.logits(x.numpy()), rtol=1e-3, atol=1e-3)
        seen += len(x)
    assert seen == 70


@pytest.mark.parametrize("form", ["stream", "memory", "one", "dict"])
def test_data_without_labels_train_on_the_soft_targets_alone(build, data, form):
    x = {"x": data.x} if form == "dict" else data.x
    sliced = tf.data.Dataset.from_tensor_slices((x,) if form == "one" else x)
    alone = MemoryDataset(data.x) if form == "memory" else sliced
    teacher = (lambda x: data.teacher(x["x"])) if form == "dict" else data.teacher
    store = build(teacher, alone, views=1)
    assert len(store) == len(data.x) and store.built.labeled == 0
    assert "the same" in store.verify(alone)["data"]
    x, y = next(iter(store.batches(alone, BATCH, shuffle=False)))
    assert y.labels == () and y.labeled == ()
    np.testing.assert_allclose(y.teacher, data.logits()[:BATCH], rtol=1e-3, atol=1e-3)
    last = next(iter(store.attach(alone).batch(BATCH)))[1]
    np.testing.assert_array_equal(last.teacher, y.teacher)
    if form == "dict":
        return
    # The store is that of the same examples with labels.
    assert "the same" in store.verify(data.dataset)["data"]
    distiller = kd.Distiller(None, net(0, 8))
    logs = distiller.fit(store.batches(alone, BATCH), epochs=3, verbose=0).history
    assert set(logs) == {"loss", "soft_loss"} and logs["loss"][2] < logs["loss"][0]


def test_augmented_views_without_labels(build, data):
    augment = Augmentation(crop=1, flip=True, seed=3)
    alone = tf.data.Dataset.from_tensor_slices(data.x)
    store = build(dataset=alone, views=2, augment=augment)
    assert store.manifest.views == 2
    x, y = next(iter(store.batches(alone, BATCH, shuffle=False)))
    np.testing.assert_allclose(y.teacher, data.logits(x.numpy()), rtol=2e-3, atol=2e-3)
