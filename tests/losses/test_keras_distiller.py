"""Our losses in `keras.distillation.Distiller`: all that need neither labels nor a projector."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, losses

X = np.random.default_rng(0).normal(size=(32, 6, 6, 1)).astype("float32")
Y = np.arange(32) % 3


def net(width, seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(width, 3, activation="relu", name="maps"),
            keras.layers.GlobalAveragePooling2D(name="vector"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def distiller(loss, student_width=2):
    distiller = keras.distillation.Distiller(
        net(4, 1), net(student_width, 2), loss, student_loss_weight=0.0
    )
    distiller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return distiller


ON_LOGITS = [
    losses.SoftTargetLoss(),
    losses.LogitMatchingLoss(),
    losses.DISTLoss(),
    losses.StandardizedSoftTargetLoss(),
    losses.MultiLabelSoftLoss(),
    losses.RegressionLoss(),
    losses.ReverseKLLoss(),
    losses.JensenShannonLoss(),
    losses.MultiLevelLoss(),
    losses.MultiLevelLoss(standardize=True),
]
ON_FEATURES = [
    losses.AttentionTransferLoss("maps", "maps"),
    losses.SimilarityLoss("maps", "vector"),
    losses.RelationalLoss("vector", "vector"),
]


@pytest.mark.parametrize("loss", ON_LOGITS, ids=lambda loss: type(loss).__name__)
def test_logits(loss):
    model = distiller(loss)
    expected = loss.compute_loss(model.teacher(X), model.student(X))
    logs = model.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["distillation_loss"], expected, rtol=1e-5)
    before = model.student.get_weights()
    history = model.fit(X, Y, batch_size=32, epochs=3, verbose=0).history["distillation_loss"]
    assert history[-1] < history[0]
    assert any((a != b).any() for a, b in zip(before, model.student.get_weights(), strict=True))


@pytest.mark.parametrize("loss", ON_FEATURES, ids=lambda loss: type(loss).__name__)
def test_features(loss):
    model = distiller(loss)
    history = model.fit(X, Y, batch_size=32, epochs=3, verbose=0).history["distillation_loss"]
    assert history[-1] < history[0]


def test_hints_of_one_shape():
    history = distiller(losses.HintLoss("vector", "vector"), student_width=4).fit(
        X, Y, batch_size=32, epochs=3, verbose=0
    )
    assert history.history["distillation_loss"][-1] < history.history["distillation_loss"][0]


def test_hints_of_two_shapes_say_what_to_do():
    with pytest.raises(InputError, match="Use keras_distill's Distiller, which trains a projector"):
        distiller(losses.HintLoss("vector", "vector")).fit(X, Y, verbose=0)


def test_labels_are_missing_in_words():
    with pytest.raises(InputError, match="DecoupledLoss needs labels"):
        distiller(losses.DecoupledLoss()).fit(X, Y, verbose=0)


def test_saved_with_the_distiller(tmp_path):
    model = distiller([losses.SoftTargetLoss(2.0), losses.DISTLoss(inter_weight=3.0)])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert [type(loss) for loss in again.distillation_losses] == [
        losses.SoftTargetLoss,
        losses.DISTLoss,
    ]
    assert again.distillation_losses[1].get_config()["inter_weight"] == 3.0
