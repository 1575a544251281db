import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import InputError


def of(x):
    return data.statistics(tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x), np.int64))))


def test_per_channel():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (2000, 4, 5, 3)).astype(np.uint8)
    x[..., 1] //= 4
    scale, offset = of(x)
    assert all(isinstance(v, float) for v in (*scale, *offset))
    normal = x * np.array(scale) + np.array(offset)
    np.testing.assert_allclose(normal.mean((0, 1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose(normal.std((0, 1, 2)), 1, atol=1e-9)


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 5, 1), (6, 5, 12), (2, 2, 2, 3)])
def test_one_pair_for_everything_else(shape):
    x = np.random.default_rng(0).normal(3, 7, (50, *shape)).astype(np.float32)
    scale, offset = of(x)
    assert isinstance(scale, float) and isinstance(offset, float)
    normal = x.astype(np.float64) * scale + offset
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=1e-6)


def test_constant_channel_is_only_shifted():
    x = np.random.default_rng(0).integers(0, 255, (9, 4, 4, 3)).astype(np.float32)
    x[..., 2] = 0.1
    scale, offset = of(x)
    assert scale[2] == 1.0 and offset[2] == pytest.approx(-0.1)


def test_no_examples():
    with pytest.raises(InputError, match="no examples"):
        data.statistics(tf.data.Dataset.from_tensor_slices(([[0.0]], [0])).take(0))


def test_labels_of_any_length():
    signature = (tf.TensorSpec((1,), tf.float64), tf.TensorSpec((None,), tf.int64))
    examples = [([0.0], [1]), ([10.0], [2, 3])]
    train = tf.data.Dataset.from_generator(lambda: examples, output_signature=signature)
    assert data.statistics(train) == (0.2, -1.0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_every_type_has_the_statistics_of_its_values(dtype):
    x = np.random.default_rng(0).integers(0, 256, (3000, 4, 4, 3)).astype(dtype)
    found = data.statistics(tf.data.Dataset.from_tensor_slices(x))
    wide = x.astype("float64").reshape(-1, 3)
    np.testing.assert_allclose(found.scale, 1 / wide.std(0), rtol=1e-12)
    np.testing.assert_allclose(found.offset, -wide.mean(0) / wide.std(0), rtol=1e-12)
