"""Every loss in `Distiller.fit`: it learns, stored logits serve it, masks and weights apply."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller, InputError, SoftTargetStore, losses

layers = keras.layers
RNG = np.random.default_rng(3)
X = RNG.normal(size=(64, 8, 8, 1)).astype("float32")
Y = RNG.integers(0, 5, 64)


def net(width, seed, stages=3):
    """A network of maps (8, 8), (4, 4), (2, 2) and a vector, each `width` channels wide."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 1))
    for i in range(stages):
        x = layers.Conv2D(width, 3, 1 if i == 0 else 2, "same", name=f"conv{i}")(x)
        x = layers.ReLU(name=f"map{i}")(x)
    x = layers.GlobalAveragePooling2D(name="vector")(x)
    return keras.Model(inputs, layers.Dense(5, name="logits")(x))


ON_LOGITS = [
    losses.SoftTargetLoss(),
    losses.LogitMatchingLoss(),
    losses.DecoupledLoss(),
    losses.DISTLoss(),
    losses.StandardizedSoftTargetLoss(),
    losses.MultiLabelSoftLoss(),
    losses.RegressionLoss(),
    losses.ReverseKLLoss(),
    losses.JensenShannonLoss(),
    losses.MultiLevelLoss(),
    losses.MultiLevelLoss([1.0, 4.0], standardize=True),
]
ON_FEATURES = [
    losses.HintLoss("map1", "map1"),
    losses.AttentionTransferLoss("map1", "map1"),
    losses.SimilarityLoss("map1", "vector"),
    losses.RelationalLoss("vector", "vector"),
]
EVERY = ON_LOGITS + ON_FEATURES


def named(loss):
    return type(loss).__name__


def distiller(loss, **compiled):
    """A Distiller of soft terms only."""
    model = Distiller(net(8, 1), net(4, 2), loss, alpha=1.0)
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), hard, **compiled)
    return model


def test_every_public_loss_is_here():
    public = {name for name in losses.__all__ if name.endswith("Loss")} - {"DistillationLoss"}
    assert public == {named(loss) for loss in EVERY}


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_fit_lowers_it(loss):
    model = distiller(loss)
    history = model.fit(X, Y, batch_size=64, epochs=6, verbose=0).history["soft_loss"]
    assert np.isfinite(history).all()
    assert min(history[1:]) < history[0] - 0.02 * abs(history[0])


@pytest.mark.parametrize("loss", EVERY, ids=named)
def test_mixed_precision(loss):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = distiller(loss, run_eagerly=True)
        assert model.student.dtype_policy.name == "mixed_float16"
        logs = model.train_on_batch(X, Y, return_dict=True)
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(logs["soft_loss"])
    assert all(np.isfinite(w.numpy()).all() for w in model.trainable_variables)


@pytest.mark.parametrize("loss", ON_LOGITS, ids=named)
def test_stored_logits_give_the_value_of_a_live_teacher(loss, tmp_path):
    """No teacher is in the step: the logits come from the data."""
    teacher = net(8, 1)
    data = tf.data.Dataset.from_tensor_slices((X, Y))
    store = SoftTargetStore.build(teacher, data, tmp_path / "store", dtype="float32")
    stored = distiller(loss)
    stored.set_teacher(None)
    labels = tf.constant(Y)
    expected = loss.compute_loss(teacher(X), stored.student(X), labels)
    batches = store.batches(data, 64, shuffle=False)
    history = stored.fit(batches, epochs=4, verbose=0).history["soft_loss"]
    np.testing.assert_allclose(history[0], expected, rtol=1e-4)
    assert history[-1] < history[0]


@pytest.mark.parametrize("loss", [loss for loss in ON_LOGITS if loss.accepts_topk], ids=named)
def test_stored_topk(loss, tmp_path):
    teacher, data = net(8, 1), tf.data.Dataset.from_tensor_slices((X, Y))
    store = SoftTargetStore.build(teacher, data, tmp_path / "store", top_k=2)
    model = distiller(loss)
    model.set_teacher(None)
    history = model.fit(store.batches(data, 64), epochs=4, verbose=0).history["soft_loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("loss", [loss for loss in ON_LOGITS if not loss.accepts_topk], ids=named)
def test_stored_topk_is_refused(loss, tmp_path):
    teacher, data = net(8, 1), tf.data.Dataset.from_tensor_slices((X, Y))
    store = SoftTargetStore.build(teacher, data, tmp_path / "store", top_k=2)
    with pytest.raises(InputError, match="needs every logit of the teacher"):
        Distiller(None, net(4, 2), loss).fit(store.batches(data, 32), verbose=0)
