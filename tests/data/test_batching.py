import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import InputError

NUMBERS = tf.data.Dataset.range(10)


def order(ds):
    return np.concatenate(list(ds.as_numpy_iterator())).tolist()


def shuffled(epoch, seed=1, **kwargs):
    return data.batches(NUMBERS, 4, shuffle_seed=seed, epoch=epoch, **kwargs)


def test_without_a_seed_the_order_stays():
    ds = data.batches(NUMBERS, 4, epochs=2)
    assert [len(b) for b in ds] == [4, 4, 2, 4, 4, 2] and int(ds.cardinality()) == 6
    assert order(ds) == list(range(10)) * 2


def test_each_epoch_is_a_permutation_of_its_own():
    orders = [order(shuffled(epoch, seed)) for seed in range(3) for epoch in range(3)]
    assert all(sorted(o) == list(range(10)) for o in orders)
    assert len({tuple(o) for o in orders}) == 9


def test_order_stays_the_same_for_ever():
    # A run that is resumed by a later version must go on in the same order.
    assert order(shuffled(3, seed=0)) == [4, 5, 0, 9, 8, 3, 7, 1, 6, 2]


def test_order_is_a_function_of_seed_and_epoch_only():
    orders = []
    for process_seed in (None, 1, 2):
        if process_seed is not None:
            tf.random.set_seed(process_seed)
        orders.append(order(shuffled(2)))
        order(shuffled(0))
    assert orders[0] == orders[1] == orders[2]
    ds = shuffled(2)
    assert order(ds) == order(ds) == orders[0]


def test_many_epochs_are_the_single_ones_in_a_row():
    single = order(shuffled(3)) + order(shuffled(4)) + order(shuffled(5))
    ds = shuffled(3, epochs=3)
    assert order(ds) == single and int(ds.cardinality()) == 9
    endless = shuffled(3, epochs=None)
    assert int(endless.cardinality()) == tf.data.INFINITE_CARDINALITY
    assert order(endless.take(9)) == single


def test_drop_remainder():
    for ds in (
        shuffled(0, epochs=2, drop_remainder=True),
        data.batches(NUMBERS, 4, epochs=2, drop_remainder=True),
    ):
        assert [len(b) for b in ds] == [4] * 4 and int(ds.cardinality()) == 4


def test_small_buffer_shuffles_nearby():
    near = order(shuffled(0, buffer=2))
    assert sorted(near) == list(range(10)) != near
    # An element can leave a buffer of 2 at most one place early.
    assert all(value <= place + 1 for place, value in enumerate(near))


def test_any_structure_goes_through():
    ds = tf.data.Dataset.from_tensor_slices({"x": np.arange(4), "y": (np.arange(4), np.arange(4))})
    batch = next(iter(data.batches(ds, 4, shuffle_seed=0)))
    np.testing.assert_array_equal(batch["x"], batch["y"][1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"shuffle_seed": -1}, "shuffle_seed"),
        ({"epoch": -1}, "epoch"),
        ({"epochs": 0}, "epochs"),
        ({"buffer": 0}, "buffer"),
        ({"ds": NUMBERS.repeat()}, "finite"),
        ({"ds": NUMBERS.filter(lambda x: x > 2)}, "cardinality"),
    ],
)
def test_bad_arguments(change, says):
    arguments = {"ds": NUMBERS, "batch_size": 4, "shuffle_seed": 0} | change
    with pytest.raises(InputError, match=says):
        data.batches(**arguments)
