import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.targets import SoftTargetStore, _logits
from keras_distill.teachers import CallableTeacher, TeacherEnsemble


def stored(store, dataset):
    """Per output all stored logits."""
    return [y.teacher for _, y in store.attach(dataset)]


def model(seed=0, units=7):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(units)])


def test_a_keras_teacher_is_stored_with_its_fingerprint(build, data):
    teacher = model()
    store = build(teacher)
    logits = teacher.predict(data.x, verbose=0)
    np.testing.assert_allclose(stored(store, data.dataset), logits, rtol=1e-3, atol=1e-4)
    same, other = (build(model(seed), path=store.path / f"../{seed}") for seed in (0, 1))
    prints = [s.manifest.teacher.fingerprint for s in (store, same, other)]
    assert len(prints[0]) == 64
    assert prints[0] == prints[1] != prints[2]


def test_a_softmax_head_is_stored_as_logits(build, data):
    plain = model()
    soft = keras.Sequential([plain, keras.layers.Softmax()])
    store = build(soft)
    np.testing.assert_allclose(
        stored(store, data.dataset), plain.predict(data.x, verbose=0), rtol=1e-3, atol=1e-4
    )


def test_an_array_of_logits_is_a_teacher(build, data):
    store = build(data.logits().astype(np.float64))
    np.testing.assert_allclose(stored(store, data.dataset), data.logits(), rtol=1e-3, atol=1e-3)
    assert store.manifest.teacher.name == "array"
    other = build(data.logits() + 1, path=store.path / "../b")
    assert store.manifest.teacher.fingerprint != other.manifest.teacher.fingerprint


@pytest.mark.parametrize("rows", [69, 71])
@pytest.mark.parametrize("known", [True, False])
def test_an_array_of_another_length_is_refused(build, data, rows, known):
    array = np.resize(data.logits(), (rows, 7))
    dataset = data.dataset if known else data.of_unknown_size
    with pytest.raises(InputError, match=r"rows|examples"):
        build(array, dataset)


def test_an_array_knows_no_views(build, data):
    from keras_distill.data import Augmentation

    with pytest.raises(InputError, match="`augment` must be left out for an array"):
        build(data.logits(), views=2, augment=Augmentation(flip=True))


@pytest.mark.parametrize("array", [np.zeros(70), np.zeros((70, 7), int)])
def test_an_array_of_class_ids_is_no_teacher(build, array):
    with pytest.raises(InputError, match="float array"):
        build(array)


def test_probabilities_become_logits_good_at_any_temperature(build, data):
    logits = data.logits()
    p = tf.nn.softmax(logits).numpy()
    store = build(p, from_probabilities=True, dtype="float32")
    back = np.array(stored(store, data.dataset))
    for temperature in (1.0, 4.0, 20.0):
        np.testing.assert_allclose(
            tf.nn.softmax(back / temperature), tf.nn.softmax(logits / temperature), atol=1e-5
        )
    assert store.manifest.teacher.from_probabilities


def test_a_probability_of_zero_counts_as_two_to_the_minus_126():
    z = _logits.log_probabilities(np.array([[0.0, 0.25, 0.75]]))
    np.testing.assert_allclose(z, [[-126 * np.log(2), np.log(0.25), np.log(0.75)]], rtol=1e-6)


@pytest.mark.parametrize("row", [[0.5, 0.2], [1.5, -0.5], [3.0, -2.0], [np.nan, 1.0]])
def test_what_is_no_probability_is_refused_as_one(row):
    values = np.array([[0.5, 0.5], row])
    with pytest.raises(InputError, match="at example 11"):
        _logits.log_probabilities(values, first=10)
    with pytest.raises(InputError, match="at example 11"):
        _logits.log_probabilities(values[:, None, :], first=10)


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def _part(logits):
    """Some of the classes of a softmax over many."""
    return tf.nn.softmax(np.tile(logits, 5)).numpy()[:, :7]


@pytest.mark.parametrize("to_p", [lambda z: tf.nn.softmax(z).numpy(), _sigmoid, _part])
@pytest.mark.parametrize("kind", ["array", "dict", "function", "function of known shape"])
def test_probabilities_taken_for_logits_are_refused(build, data, tmp_path, kind, to_p):
    teacher = {
        "array": to_p(data.logits()),
        "dict": {"a": to_p(data.logits())},
        "function": lambda x: to_p(data.logits(x)),
        "function of known shape": CallableTeacher(
            lambda x: to_p(data.logits(x)), output_shape=(7,)
        ),
    }[kind]
    with pytest.raises(InputError, match=r"look like probabilities.*from_probabilities=True"):
        build(teacher)
    assert list(tmp_path.iterdir()) == []
    store = build(teacher, from_probabilities=False)  # if they are logits after all
    assert not store.manifest.teacher.from_probabilities


@pytest.mark.parametrize("declared", [True, "sigmoid"])
def test_sigmoids_become_logits(build, data, declared):
    logits = data.logits() / 4  # within what float32 sigmoids near 1 can tell
    store = build(_sigmoid(logits), from_probabilities=declared, dtype="float32")
    np.testing.assert_allclose(stored(store, data.dataset), logits, atol=1e-2)
    assert store.manifest.teacher.from_probabilities == declared
    with pytest.raises(InputError, match=r"must be 'softmax' .* or 'sigmoid'"):
        build(_part(data.logits()), path=store.path / "../part", from_probabilities=True)


class TestTheScore:
    def test_accuracy_and_speed(self, build, data):
        store = build()
        right = (data.logits().argmax(1) == data.y).mean()
        assert store.built.accuracy == pytest.approx(right)
        assert (store.built.labeled, store.built.rows) == (70, 70)
        assert store.built.rows_per_second > 0 and store.info().build == store.built
        assert SoftTargetStore.open(store.path).built is None

    def test_views_and_top_k(self, build, data):
        from keras_distill.data import Augmentation

        store = build(views=2, augment=Augmentation(flip=True), top_k=3)
        assert (store.built.labeled, store.built.rows) == (70, 140)
        assert store.built.accuracy is not None

    @pytest.mark.parametrize(
        ("labels", "teacher", "expected"),
        [
            (lambda z: np.where(np.arange(70) < 30, z.argmax(1), -1), None, (1.0, 30)),
            (lambda z: np.eye(7)[z.argmax(1)], None, (1.0, 70)),
            (lambda z: (z > 0).astype(int), None, (1.0, 490)),
            (lambda z: (z[:, 0] > 0).astype(int), lambda z: z[:, :1], (1.0, 70)),
            (lambda z: z.astype("float32"), None, (None, 0)),
            (lambda z: z[:, 0], None, (None, 0)),
            (lambda z: z.argmax(1) + 10, None, (None, 0)),
            (lambda z: np.array(["a"] * 70), None, (None, 0)),
            (lambda z: {"a": z.argmax(1)}, None, (None, 0)),
        ],
    )
    def test_labels_of_every_form(self, build, data, labels, teacher, expected):
        y = labels(data.logits())
        dataset = tf.data.Dataset.from_tensor_slices((data.x, y))
        given = (lambda x: teacher(data.logits(x))) if teacher else data.teacher
        built = build(given, dataset).built
        assert (built.accuracy, built.labeled) == expected


def test_several_outputs_are_stored_by_name(build, data):
    def teacher(x):
        logits = data.logits(x)
        return {"class": logits, "words": np.stack([logits, -logits], axis=1)}

    teacher = CallableTeacher(teacher, name="two", output_shape={"class": (7,), "words": (2, 7)})
    store = build(teacher, top_k=3)
    assert not store.manifest.single
    for index, (_, y) in enumerate(store.attach(data.dataset)):
        order = np.argsort(-data.logits()[index])
        assert y.teacher["class"].indices.numpy().tolist() == order[:3].tolist()
        assert y.teacher["words"].indices.numpy()[1].tolist() == order[::-1][:3].tolist()
    batch = next(iter(store.batches(data.dataset, 5)))[1].teacher
    assert batch["words"].logits.shape == (5, 2, 3)


def test_a_dict_of_arrays_is_a_teacher_of_several_outputs(build, data):
    store = build({"a": data.logits(), "b": -data.logits()})
    y = next(iter(store.batches(data.dataset, 4, shuffle=False)))[1]
    np.testing.assert_allclose(y.teacher["a"], -y.teacher["b"].numpy())
    with pytest.raises(InputError, match="one length"):
        build({"a": data.logits(), "b": data.logits()[1:]}, path=store.path / "../b")


def test_an_arithmetic_mean_is_good_for_its_temperature_only(build, data):
    teacher = TeacherEnsemble([model(0), model(1)], mean="arithmetic", temperature=4.0)
    store = build(teacher)
    assert store.manifest.teacher.temperature == 4.0
    for temperature in (None, 2.0):
        with pytest.raises(InputError, match="`temperature` must be 4"):
            store.batches(data.dataset, 8, temperature=temperature)
        with pytest.raises(InputError, match="`temperature` must be 4"):
            store.attach(data.dataset, temperature=temperature)
    again = SoftTargetStore.open(store.path)
    batch = next(iter(again.batches(data.dataset, 8, shuffle=False, temperature=4.0)))
    np.testing.assert_allclose(
        batch[1].teacher, teacher.predict(batch[0].numpy()), rtol=1e-3, atol=1e-3
    )


def test_any_temperature_may_be_named_for_logits(build, data):
    store = build()
    assert store.batches(data.dataset, 8, temperature=3.0) is not None
