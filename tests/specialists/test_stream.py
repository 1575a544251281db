import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.data import Augmentation
from keras_distill.specialists._stream import specialist_stream

SIZES = [10, 30, 60, 100]
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), SIZES))
X = np.arange(200, dtype=np.float32)[:, None]


def train():
    return tf.data.Dataset.from_tensor_slices((X, LABELS))


def drawn(stream, batches):
    parts = [(x.numpy(), y.numpy()) for x, y in stream.batches.take(batches)]
    return np.concatenate([x for x, _ in parts])[:, 0].astype(int), np.concatenate(
        [y for _, y in parts]
    )


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_half_from_s_and_labels_are_positions_in_s(share):
    stream = specialist_stream(train(), [2, 0], num_classes=4, share=share, batch_size=50)
    index, y = drawn(stream, 200)
    wanted = np.array([1, 2, 0, 2])[LABELS[index]]
    np.testing.assert_array_equal(y, wanted)
    assert (y < 2).mean() == pytest.approx(share, abs=0.02)
    assert stream.correction == pytest.approx(np.log(share / (1 - share) * 130 / 70))


def test_an_epoch_has_as_many_examples_of_s_as_the_data():
    stream = specialist_stream(train(), [2, 0], num_classes=4, batch_size=7)
    assert stream.steps_per_epoch == 20
    index, y = drawn(stream, 100)
    counts = np.bincount(index[y < 2], minlength=200)[np.isin(LABELS, [0, 2])]
    assert counts.max() - counts.min() <= 1  # all are seen before any is seen again


def test_order_is_a_function_of_the_seed():
    def order(seed):
        return drawn(specialist_stream(train(), [1], num_classes=4, batch_size=8, seed=seed), 5)[0]

    np.testing.assert_array_equal(order(3), order(3))
    assert (order(3) != order(4)).any()


def test_augmentation_changes_with_the_batch_and_is_repeatable():
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1)).astype(np.uint8)
    data = tf.data.Dataset.from_tensor_slices((images, np.arange(20) % 2))

    def first(augment):
        stream = specialist_stream(
            data, [0], num_classes=2, batch_size=20, augment=augment, share=0.5
        )
        return [x.numpy() for x, _ in stream.batches.take(2)]

    one, again = (first(Augmentation(crop=2, flip=True, seed=1)) for _ in range(2))
    plain = first(None)
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert one[0].dtype == np.uint8 and (one[0] != plain[0]).any()


def test_data_without_s_are_refused():
    with pytest.raises(InputError, match="must have examples"):
        specialist_stream(train(), [4], num_classes=6)
    with pytest.raises(InputError, match="distinct class ids"):
        specialist_stream(train(), [9], num_classes=4)


def test_unlabeled_examples_are_refused():
    labels = np.where(np.arange(200) % 7 == 0, -1, LABELS)
    data = tf.data.Dataset.from_tensor_slices((X, labels))
    with pytest.raises(InputError, match=r"`labels` must be class ids in 0..3.*\[-1\].*unlabeled"):
        specialist_stream(data, [2], num_classes=4)
