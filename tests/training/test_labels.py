"""Labels, arrays, and class weights in the forms that people pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Distiller, InputError, Targets
from keras_distill.training._labels import class_weights, reads_ids

CE = keras.losses.SparseCategoricalCrossentropy


class Foreign:
    """An array of another library, known by its protocol alone."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


@pytest.fixture
def distiller(mlp):
    return Distiller(mlp(16, seed=1), mlp())


def fitted(distiller, x, y, **arguments):
    """Loss and weights after an epoch from the initial weights."""
    student = keras.models.clone_model(distiller.student)
    student.set_weights(distiller.student.get_weights())
    made = Distiller(distiller.teacher, student)
    if distiller.compiled:
        made.compile("adam", distiller.loss)
    history = made.fit(x, y, shuffle=False, verbose=0, **arguments).history
    return history["loss"][0], student.get_weights()


FORMS = {
    "lists": lambda v: v.tolist(),
    "another library": Foreign,
    "tensors": tf.constant,
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_library_train_alike(distiller, batch, form):
    x, y, w = batch
    make = FORMS[form]
    expected = fitted(distiller, x, y, sample_weight=w, validation_data=(x, y))
    found = fitted(
        distiller, make(x), make(y), sample_weight=make(w), validation_data=(make(x), make(y))
    )
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    for a, b in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    one = distiller.evaluate(x, y, verbose=0, return_dict=True)
    other = distiller.evaluate(make(x), make(y), verbose=0, return_dict=True)
    assert one == pytest.approx(other)
    logs = distiller.train_on_batch(make(x), make(y), make(w), return_dict=True)
    assert np.isfinite(logs["loss"])


def test_data_frames(distiller, batch):
    pandas = pytest.importorskip("pandas")
    x, y, w = batch
    expected = fitted(distiller, x, y, sample_weight=w)
    frame = pandas.DataFrame(x)
    found = fitted(distiller, frame, pandas.Series(y), sample_weight=pandas.Series(w))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    targets = Targets(pandas.Series(y), pandas.DataFrame(4 * np.eye(3, dtype="float32")[y]))
    assert np.isfinite(fitted(distiller, frame, targets)[0])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["cat", "dog", "cow"] * 4),
        ["cat", "dog", "cow"] * 4,
        np.array(["cat", "dog", "cow"] * 4, object),
        Targets(np.array(["cat"] * 12), np.zeros((12, 3), "float32")),
    ],
    ids=range(4),
)
def test_text_as_labels_is_refused(distiller, batch, labels):
    with pytest.raises(InputError) as caught:
        distiller.fit(batch[0], labels, verbose=0)
    message = str(caught.value)
    assert message.startswith("`y` must hold class ids, not text. Received: 'cat'")
    assert "names, y = numpy.unique(y, return_inverse=True)" in message and "\n" not in message


def test_text_in_a_data_set_is_refused(distiller, batch):
    data = tf.data.Dataset.from_tensor_slices((batch[0], ["cat"] * 12)).batch(4)
    with pytest.raises(InputError, match="Received: tensors of text"):
        distiller.fit(data, verbose=0)


@pytest.mark.parametrize("compiled", [None, "sparse_categorical_crossentropy", CE])
@pytest.mark.parametrize("stream", [False, True])
def test_labels_from_one_are_refused(mlp, batch, compiled, stream):
    x, y, _ = batch
    end = "softmax" if isinstance(compiled, str) else None
    distiller = Distiller(mlp(16, seed=1), mlp(end=end))
    if compiled is not None:
        loss = compiled if isinstance(compiled, str) else compiled(from_logits=True)
        distiller.compile("adam", loss)
    before = distiller.student.get_weights()
    words = (
        r"`y` must hold class ids in 0\.\.2, one for each of the 3 outputs of the student \(-1:"
        r" unlabeled\)\. Received: ids from 1 to 3 \(if the first class is 1, subtract 1\)"
    )
    with pytest.raises(InputError, match=words):
        if stream:
            data = tf.data.Dataset.from_tensor_slices((x, y + 1)).batch(12)
            distiller.fit(data, verbose=0)
        else:
            distiller.fit(x, y + 1, batch_size=4, verbose=0)
    for a, b in zip(before, distiller.student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ids_without_an_output_may_be_unlabeled_or_ignored(mlp, batch):
    x, y, _ = batch
    teacher = np.zeros((12, 3), "float32")
    odd = np.where(y == 0, 255, y)
    distiller = Distiller(None, mlp())
    assert np.isfinite(fitted(distiller, x, Targets(odd, teacher, y != 0))[0])
    assert np.isfinite(fitted(distiller, x, Targets(np.where(y == 0, -1, y), teacher))[0])
    distiller.compile("adam", CE(from_logits=True, ignore_class=255))
    assert np.isfinite(fitted(distiller, x, Targets(odd, teacher))[0])
    assert not reads_ids(CE(ignore_class=255)) and not reads_ids(["mse", "mse"])
    assert reads_ids({"a": CE(), "b": keras.losses.sparse_categorical_crossentropy})


def test_class_weights_in_any_form(distiller, batch):
    x, y, _ = batch
    expected = fitted(distiller, x, y, class_weight={0: 1.0, 1: 2.0, 2: 3.0})[0]
    for given in ({"0": 1, "1": 2, "2": 3}, [1, 2, 3], np.array([1.0, 2, 3]), Foreign([1, 2, 3])):
        assert fitted(distiller, x, y, class_weight=given)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cat": 1.0}, "must have class ids as keys. Received: class_weight='cat'. Number the cla"),
        ("balanced", r"sklearn\.utils\.class_weight\.compute_class_weight"),
        (3.0, "be a dict from class ids to weights, or a list with a weight for each class"),
        ([[1.0, 2.0]], "be a dict from class ids to weights"),
        ([1.0, -2.0], r"`class_weight\[1\]` must be >= 0"),
    ],
)
def test_bad_class_weights(given, words):
    with pytest.raises(InputError, match=words):
        class_weights(given)


class TestWithoutLabels:
    def test_arrays_and_data_sets_train_on_soft_targets_alone(self, distiller, batch):
        x = batch[0]
        sources = [x, tf.data.Dataset.from_tensor_slices(x).batch(32)]
        for data in sources:
            history = distiller.fit(data, verbose=0).history
            assert sorted(history) == ["loss", "soft_loss"]
            assert history["loss"] == history["soft_loss"]  # alpha counts as 1
        assert distiller.alpha == 0.9

    def test_stored_targets(self, mlp, batch):
        x, logits = batch[0], 4 * np.eye(3, dtype="float32")[batch[1]]
        for none in (None, ()):
            distiller = Distiller(None, mlp())
            history = distiller.fit(x, Targets(none, logits), verbose=0).history
            assert history["loss"] == history["soft_loss"]

    @pytest.mark.parametrize("alpha", [0.5, 0, 0.9])
    def test_an_alpha_that_contradicts_is_refused(self, mlp, batch, alpha):
        distiller = Distiller(mlp(16, seed=1), mlp(), alpha=alpha)
        with pytest.raises(InputError, match=r"`alpha` must be 1, or be left out, where there ar"):
            distiller.fit(batch[0], verbose=0)

    def test_saved_and_loaded(self, distiller, tmp_path, batch):
        import keras_distill as kd

        distiller.fit(batch[0], verbose=0)
        distiller.save(tmp_path / "d.keras")
        again = kd.load(tmp_path / "d.keras", distiller.teacher)
        assert again.alpha == 0.9 and again._pair.alpha is None
