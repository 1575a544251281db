import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.targets import _keys


def slices(x, y=None):
    return tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)) if y is None else y))


def test_a_key_tells_bytes_dtype_shape_and_place_apart():
    x = tf.constant([[1, 2], [3, 4]], tf.int32)
    others = [
        tf.constant([[1, 2], [3, 5]], tf.int32),
        tf.constant([[1, 2], [3, 4]], tf.int64),
        tf.constant([1, 2, 3, 4], tf.int32),
        {"a": tf.constant([1, 2], tf.int32), "b": tf.constant([3, 4], tf.int32)},
        tf.constant(["1", "2"]),
    ]
    keys = {int(_keys.key(value)) for value in [x, *others]}
    assert len(keys) == 6
    assert min(keys) >= 0
    assert int(_keys.key(tf.identity(x))) in keys


def test_describe_names_dtype_and_shape():
    spec = {"image": tf.TensorSpec((4, None), tf.uint8), "text": tf.TensorSpec((), tf.string)}
    assert _keys.describe(spec) == ("uint8[4,?]", "string[]")
    with pytest.raises(InputError, match="Pad what is ragged"):
        _keys.describe(tf.RaggedTensorSpec((None, None), tf.int32))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (np.zeros((3, 2)), "from_tensor_slices"),
        (tf.data.Dataset.from_tensors((1, 2, 3, 4)), r"must give \(x, y\)"),
        (slices(np.zeros((6, 2))).batch(2), "Remove batch"),
        (slices(np.zeros((6, 2))).repeat(), "must be finite"),
    ],
)
def test_data_a_store_cannot_follow_are_refused(dataset, message):
    with pytest.raises(InputError, match=message):
        _keys.x_spec(dataset)


@pytest.fixture
def checked(tmp_path):
    x = np.arange(600, dtype=np.float32).reshape(300, 2)
    path = tmp_path / "keys.bin"
    path.write_bytes(np.array([_keys.key(row) for row in x], "<i8").tobytes())
    done = []

    def call(dataset):
        mark = lambda: tf.py_function(lambda: done.append(1), [], [])  # noqa: E731
        return _keys.checked(dataset, [str(path)], "STORE", mark)

    return x, call, done


def test_the_right_data_pass_unchanged_and_end_well(checked):
    x, call, done = checked
    y = np.arange(300)
    read = list(call(slices(x, y)).as_numpy_iterator())
    np.testing.assert_array_equal([row for row, _ in read], x)
    np.testing.assert_array_equal([label for _, label in read], y)
    assert done == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: np.concatenate([x[:17], x[17:18] + 1, x[18:]]),
            r"example\] \[17\] \[is not the",
        ),
        (lambda x: x[np.r_[:17, 18, 17, 19:300]], r"example\] \[17\] \[is not the one"),
        (lambda x: x[:299], r"ends after\] \[299\]"),
        (lambda x: x[:0], r"ends after\] \[0\]"),
        (lambda x: np.concatenate([x, x[:1]]), r"more examples than the\] \[300\]"),
    ],
)
def test_the_first_wrong_example_is_named(checked, change, message):
    x, call, done = checked
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"STORE.*{message}"):
        list(call(slices(change(x))))
    assert done == []
