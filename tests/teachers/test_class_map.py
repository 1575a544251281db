import json

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError
from keras_distill.teachers import AdaptedTeacher, CallableTeacher, ClassMap, TeacherEnsemble

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 5)).astype("float32") * 3
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
FINE = ["cat", "dog", "oak", "elm", "car"]


def softmax(z, temperature=1.0):
    return tf.nn.softmax(z / temperature).numpy()


def test_a_selection_renormalizes_what_is_kept():
    z = ClassMap(((4,), (1,)), 5).logits(LOGITS)
    kept = P[:, [4, 1]]
    np.testing.assert_allclose(softmax(z), kept / kept.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(z, LOGITS[:, [4, 1]])


def test_sums_of_different_sizes_renormalize_what_is_kept():
    z = ClassMap(((0, 1), (3,)), 5).logits(LOGITS)
    sums = np.stack([P[:, 0] + P[:, 1], P[:, 3]], axis=1)
    expected = sums / sums.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(z), expected, rtol=1e-5)
    # Softened, it is the summed distribution to the power of 1/T.
    soft = expected**0.25 / (expected**0.25).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(z, 4.0), soft, rtol=1e-5)


def test_logits_of_one_temperature_are_summed_at_that_temperature():
    z = ClassMap(((0, 1), (2, 3, 4)), 5).logits(LOGITS, temperature=3.0)
    soft = softmax(LOGITS, 3.0)
    expected = np.stack([soft[:, :2].sum(axis=1), soft[:, 2:].sum(axis=1)], axis=1)
    np.testing.assert_allclose(softmax(z, 3.0), expected, rtol=1e-5)


def test_extreme_logits_stay_finite():
    z = ClassMap(((0, 1), (2,)), 3).logits(np.array([[1e4, 1e4, -1e4]], "float32")).numpy()
    np.testing.assert_allclose(z, [[1e4 + np.log(2), -1e4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ([2, 0, 4], ((2,), (0,), (4,))),
        (["oak", "cat", "car"], ((2,), (0,), (4,))),
        ([["oak", 3], ["cat", "Dog"], "car"], ((2, 3), (0, 1), (4,))),
        ({"animal": ["cat", "dog"], "thing": "car", "tree": [2, 3]}, ((2, 3), (0, 1), (4,))),
    ],
)
def test_a_map_is_written_by_id_name_list_or_table(written, groups, tmp_path):
    student = ["tree", "animal", "thing"]
    assert ClassMap.of(written, student=student, teacher=FINE, count=5).groups == groups
    file = tmp_path / "classes.json"
    file.write_text(json.dumps(written))
    assert ClassMap.of(str(file), student=student, teacher=FINE, count=5).groups == groups


def test_a_map_in_a_text_file_and_by_name(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("oak\telm\n0\t1\n\ncar\n")
    made = ClassMap.of(str(file), student=["a", "b", "c"], teacher=FINE, count=5)
    assert made.groups == ((2, 3), (0, 1), (4,))
    named = ClassMap.of("names", student=["Elm", "car"], teacher=FINE, count=5)
    assert named.groups == ((3,), (4,))


@pytest.mark.parametrize(
    ("written", "teacher", "message"),
    [
        ([0, 1], FINE, "an entry for each of the student's 3 classes"),
        ([0, 1, 1], FINE, "use each class of the teacher once"),
        ([0, 1, 5], FINE, r"ids in 0\.\.4"),
        ([0, 1, []], FINE, "a class of the teacher for each of the student"),
        ([0, 1, "cow"], FINE, r"name classes of the teacher \(cat, dog"),
        ([0, 1, "cat"], None, "the names of the teacher's classes are not known"),
        ([0, 1, 2.5], FINE, "ids or names"),
        ({"a": 0, "b": 1}, FINE, "a key for each of the student's classes.*Missing: c"),
        ("names", FINE, "name classes of the teacher"),
        ("/nowhere.txt", FINE, "Cannot read /nowhere.txt"),
        ([0, 1, 2], FINE[:3], "name the teacher's 5 classes"),
    ],
)
def test_a_map_that_does_not_fit_is_refused(written, teacher, message):
    with pytest.raises(InputError, match=message):
        ClassMap.of(written, student=["a", "b", "c"], teacher=teacher, count=5)


def test_an_adapted_teacher_converts_its_input_and_maps_its_classes():
    inner = CallableTeacher(lambda x: x @ np.eye(5, dtype="float32"), name="eye", output_shape=(5,))
    classes = ClassMap(((0, 1), (4,)), 5)
    teacher = AdaptedTeacher(inner, classes, preprocess=lambda x: x * 2, name="twice")
    assert teacher.output_shapes == {"": (None, 2)}
    np.testing.assert_allclose(teacher.predict(LOGITS), classes.logits(2 * LOGITS), rtol=1e-6)
    prints = {
        AdaptedTeacher(inner, classes).fingerprint(),
        AdaptedTeacher(inner, ClassMap(((1,), (4,)), 5)).fingerprint(),
        teacher.fingerprint(),
        inner.fingerprint(),
    }
    assert len(prints) == 4
    assert AdaptedTeacher(inner, preprocess=lambda x: x).fingerprint() is None


def test_an_adapted_arithmetic_ensemble_is_valid_at_its_temperature():
    parts = [CallableTeacher(lambda x, s=s: x * s, name=str(s), output_shape=(5,)) for s in (1, 2)]
    mean = TeacherEnsemble(parts, mean="arithmetic", temperature=3.0)
    teacher = AdaptedTeacher(mean, ClassMap(((0, 1), (2, 3, 4)), 5))
    assert teacher.temperature == 3.0
    soft = (softmax(LOGITS, 3.0) + softmax(2 * LOGITS, 3.0)) / 2
    expected = np.stack([soft[:, :2].sum(axis=1), soft[:, 2:].sum(axis=1)], axis=1)
    np.testing.assert_allclose(softmax(teacher.predict(LOGITS), 3.0), expected, rtol=1e-5)


def test_a_map_for_another_number_of_classes_is_refused():
    inner = CallableTeacher(lambda x: x, output_shape=(5,))
    with pytest.raises(InputError, match="made for the teacher's 5 classes"):
        AdaptedTeacher(inner, ClassMap(((0,), (1,)), 4))
