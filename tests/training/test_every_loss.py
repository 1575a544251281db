"""Every loss in `Distiller.fit`: it learns, stored logits serve it, masks and weights apply."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import CallableTeacher, Distiller, InputError, SoftTargetStore, load, losses

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
    losses.VariationalLoss("map1", "map1"),
    losses.ContrastiveLoss("vector", "vector", dimension=16, queue_size=96),
    losses.ReviewLoss(["map0", "map1", "map2"], ["map0", "map1", "map2"]),
    losses.SoftmaxRegressionLoss("vector", "vector", "logits"),
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
    assert min(history[1:]) < history[0] - 0.005 * abs(history[0])


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
    stored = distiller(loss, run_eagerly=True)
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
    model = distiller(loss, run_eagerly=True)
    model.set_teacher(None)
    history = model.fit(store.batches(data, 64), epochs=4, verbose=0).history["soft_loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize("loss", [loss for loss in ON_LOGITS if not loss.accepts_topk], ids=named)
def test_stored_topk_is_refused(loss, tmp_path):
    teacher, data = net(8, 1), tf.data.Dataset.from_tensor_slices((X, Y))
    store = SoftTargetStore.build(teacher, data, tmp_path / "store", top_k=2)
    with pytest.raises(InputError, match="needs every logit of the teacher"):
        Distiller(None, net(4, 2), loss).fit(store.batches(data, 32), verbose=0)


TRAINED = ON_FEATURES[4:]


@pytest.mark.parametrize("loss", TRAINED, ids=named)
class TestTrainedLayers:
    def test_saved_loaded_and_trained_further(self, loss, tmp_path):
        """Variables of the loss, such as a queue, come back; the student has none of them."""
        teacher = net(8, 1)
        model = distiller(loss, run_eagerly=True)
        model.set_teacher(teacher)
        model.train_on_batch(X, Y)
        model.save(tmp_path / "distiller.keras")
        again = load(tmp_path / "distiller.keras", teacher)
        assert len(again.projectors) == 1
        assert len(again.trainable_variables) > len(again.student.trainable_variables)
        for old, new in zip(model.projectors[0].weights, again.projectors[0].weights, strict=True):
            np.testing.assert_array_equal(old.numpy(), new.numpy())
        again.run_eagerly = True
        values = [m.train_on_batch(X, Y, return_dict=True)["soft_loss"] for m in (model, again)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-5)

    def test_every_variable_gets_a_gradient(self, loss):
        model = distiller(loss, run_eagerly=True)
        (projector,) = model.projectors
        before = [w.numpy() for w in projector.trainable_variables]
        model.train_on_batch(X, Y)
        after = [w.numpy() for w in projector.trainable_variables]
        assert all((a != b).any() for a, b in zip(before, after, strict=True))

    def test_a_row_of_weight_zero_leaves_nothing_behind(self, loss):
        """Not in the value, and for losses over the batch not among the negatives."""
        weight = np.r_[np.zeros(16), np.ones(48)].astype("float32")
        values = []
        for noise in (0.0, 1.0):
            model = distiller(loss, run_eagerly=True)
            for projector in model.projectors:
                for layer in projector._flatten_layers():
                    if isinstance(layer, layers.BatchNormalization):
                        layer.trainable = False
            x = X.copy()
            x[:16] += noise
            logs = [
                model.train_on_batch(x, Y, sample_weight=weight, return_dict=True) for _ in range(2)
            ]
            values.append([log["soft_loss"] for log in logs])
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5)

    def test_another_teacher_of_other_shape_is_refused(self, loss):
        model = distiller(loss, run_eagerly=True)
        model.train_on_batch(X, Y)
        model.set_teacher(net(8, 5))
        with pytest.raises(InputError, match="need another projector than"):
            model.set_teacher(net(6, 5))

    def test_keras_distiller_says_what_to_do(self, loss):
        model = keras.distillation.Distiller(net(8, 1), net(4, 2), loss)
        model.compile("sgd", "mse")
        with pytest.raises(InputError, match="Use keras_distill's Distiller"):
            model.fit(X, np.zeros((64, 5)), verbose=0)


def test_a_classifier_that_the_teacher_does_not_have():
    with pytest.raises(InputError, match="The teacher has no layer 'head'"):
        distiller(losses.SoftmaxRegressionLoss("vector", "vector", "head"))


def test_a_teacher_without_layers():
    with pytest.raises(InputError, match="CallableTeacher has no layers to read"):
        Distiller(
            CallableTeacher(lambda x: np.zeros((len(x), 5), "float32")),
            net(4, 2),
            losses.SoftmaxRegressionLoss("vector", "vector", "logits"),
        )


def test_masks_of_sequences():
    """Padding leaves no trace in the value of a loss per position."""

    def recurrent(width):
        tokens = keras.Input((6,), dtype="int32")
        x = layers.Embedding(9, width, mask_zero=True, name="tokens")(tokens)
        x = layers.Dense(width, name="hidden")(x)
        return keras.Model(tokens, layers.Dense(5)(layers.LSTM(width)(x)))

    keras.utils.set_random_seed(0)
    loss = losses.VariationalLoss("hidden", "hidden")
    model = Distiller(recurrent(8), recurrent(4), loss, alpha=1.0)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tokens = RNG.integers(1, 9, (4, 6)) * (np.arange(6) < 4)
    logs = model.test_on_batch(tokens, Y[:4], return_dict=True)
    assert "soft_loss" not in logs
    teacher = model.teacher.features(tf.constant(tokens), ["hidden"])["hidden"]
    student = model.student.get_layer("hidden").output
    inner = keras.Model(model.student.inputs, student)(tokens)
    mean, variance = model.projectors[0](inner)
    kept = losses.functional.variational(teacher[:, :4], mean[:, :4], variance)
    value = model.train_on_batch(tokens, Y[:4], return_dict=True)["soft_loss"]
    np.testing.assert_allclose(value, tf.reduce_mean(kept), rtol=1e-5)
