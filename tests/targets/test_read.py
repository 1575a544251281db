import gc

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data as kd_data
from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import Targets
from keras_distill.data import Augmentation
from keras_distill.targets import PeekableDataset, SoftTargetStore, _read


def orders(batches, epochs=1):
    """Per epoch, the first pixels of all examples: they tell who came when."""
    return [np.concatenate([x.numpy()[:, 0, 0, 0] for x, *_ in batches]) for _ in range(epochs)]


def assert_fits(store, data, batches):
    """Every batch has the logits of its own examples; returns how many examples there were."""
    seen = 0
    for x, y, *_ in batches:
        assert isinstance(y, Targets)
        np.testing.assert_allclose(y.teacher, data.logits(x.numpy()), rtol=1e-3, atol=1e-3)
        seen += len(x)
    return seen


@pytest.mark.parametrize("shuffle", [True, False, 10])
def test_batches_join_each_example_with_its_own_logits(build, data, shuffle):
    store = build()
    batches = store.batches(data.dataset, 16, shuffle=shuffle)
    assert int(batches.cardinality()) == 5
    for _ in range(3):
        assert assert_fits(store, data, batches) == 70
    dropped = store.batches(data.dataset, 16, shuffle=shuffle, drop_remainder=True)
    assert assert_fits(store, data, dropped) == 64 and int(dropped.cardinality()) == 4


def test_attach_gives_elements_in_order(build, data):
    store = build()
    attached = store.attach(data.dataset)
    assert int(attached.cardinality()) == 70
    for _ in range(2):
        for i, (x, y) in enumerate(attached):
            np.testing.assert_array_equal(x, data.x[i])
            assert int(y.labels) == data.y[i]
            assert bool(y.labeled)
            np.testing.assert_allclose(y.teacher, data.logits()[i], rtol=1e-3, atol=1e-3)
    assert assert_fits(store, data, attached.shuffle(70).batch(9)) == 70


def test_the_order_is_a_function_of_seed_and_epoch_alone(build, data):
    store = build()
    first = orders(store.batches(data.dataset, 16, seed=5), epochs=4)
    tf.random.set_seed(77)
    again = orders(SoftTargetStore.open(store.path).batches(data.dataset, 16, seed=5), epochs=4)
    np.testing.assert_array_equal(first, again)
    late = orders(store.batches(data.dataset, 16, seed=5, first_epoch=2), epochs=2)
    np.testing.assert_array_equal(first[2:], late)
    assert len({order.tobytes() for order in first}) == 4
    assert not np.array_equal(first[0], orders(store.batches(data.dataset, 16, seed=6))[0])
    repeated = [
        x.numpy()[:, 0, 0, 0] for x, *_ in store.batches(data.dataset, 16, seed=5).repeat(4)
    ]
    np.testing.assert_array_equal(np.concatenate(repeated), np.concatenate(first))


def test_the_order_is_that_of_plain_batches_with_the_same_seed(build, data):
    plain = kd_data.batches(data.dataset, 16, shuffle_seed=3, epoch=1)
    mine = build().batches(data.dataset, 16, seed=3, first_epoch=1)
    np.testing.assert_array_equal(orders(plain), orders(mine))


def test_an_iteration_that_was_begun_counts_as_an_epoch(build, data):
    store = build()
    batches = store.batches(data.dataset, 16, seed=5)
    next(iter(batches))
    later = store.batches(data.dataset, 16, seed=5, first_epoch=1)
    np.testing.assert_array_equal(orders(batches), orders(later))


@pytest.mark.parametrize("augment", [None, Augmentation(crop=1)])
def test_peek_begins_no_epoch(build, data, augment):
    store = build(augment=augment)
    batches = store.batches(data.dataset, 16, seed=5)
    x, y = batches.peek()
    seen = data.x[:16] if augment is None else augment.apply(data.x[:16], np.arange(16), 0)
    np.testing.assert_array_equal(x, seen)
    np.testing.assert_allclose(y.teacher, data.logits(x.numpy()), rtol=1e-3, atol=1e-3)
    assert tf.nest.map_structure(lambda t: t.dtype, (x, y)) == tf.nest.map_structure(
        lambda t: t.dtype, batches.element_spec
    )
    untouched = store.batches(data.dataset, 16, seed=5)
    np.testing.assert_array_equal(orders(batches), orders(untouched))


def test_batches_are_a_data_set_like_any_other(build, data):
    batches = build().batches(data.dataset, 16, shuffle=False)
    assert isinstance(batches, tf.data.Dataset) and isinstance(batches, PeekableDataset)
    assert int(batches.cardinality()) == len(batches) == 5
    plain = batches.take(2).prefetch(1)
    assert not isinstance(plain, PeekableDataset) and len(list(plain)) == 2
    policy = batches.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.DATA
    assert plain.options().experimental_distribute.auto_shard_policy == policy


def test_the_dataset_outlives_the_store_object(build, data):
    batches = build().batches(data.dataset, 16)
    gc.collect()
    first, second = orders(batches, 2)
    assert not np.array_equal(first, second)


def test_labels_tell_who_is_labeled(build, data):
    data.y[::3] = -1
    store = build()
    for _, y in store.batches(data.dataset, 16):
        np.testing.assert_array_equal(y.labeled, y.labels.numpy() != -1)
    columns = data.dataset.map(lambda x, y: (x, y[None]))
    for _, y in store.batches(columns, 16):
        np.testing.assert_array_equal(y.labeled, y.labels.numpy()[:, 0] != -1)
    for labels in (tf.one_hot([1, 2], 3), tf.zeros((2,)), {"a": tf.zeros((2, 3))}):
        assert _read.labeled(labels).numpy().tolist() == [True, True]
    assert _read.labeled(tf.constant([1, 255], tf.uint8)).numpy().tolist() == [True, True]


def test_sample_weights_and_other_labels_pass_through(build, data):
    store = build()
    weights = np.linspace(0, 1, 70).astype(np.float32)
    weighted = tf.data.Dataset.from_tensor_slices((data.x, data.y * 10, weights))
    rows = {w: (x, y) for x, y, w in zip(data.x, data.y, weights, strict=True)}
    for x, y, w in store.batches(weighted, 16):
        for i in range(len(w)):
            image, label = rows[w.numpy()[i]]
            np.testing.assert_array_equal(x[i], image)
            assert y.labels[i] == 10 * label
    for x, _, w in store.attach(weighted).take(3):
        np.testing.assert_array_equal(x, rows[w.numpy()][0])


def test_x_may_be_a_structure(data, tmp_path):
    x0 = {"image": data.x, "text": np.array([f"no. {i}" for i in range(70)])}
    dataset = tf.data.Dataset.from_tensor_slices((x0, data.y))
    store = SoftTargetStore.build(
        lambda x: data.logits(x["image"]), dataset, tmp_path / "s", batch_size=8
    )
    for x, y in store.batches(dataset, 16):
        np.testing.assert_allclose(y.teacher, data.logits(x["image"].numpy()), rtol=1e-3, atol=1e-3)
    other = tf.data.Dataset.from_tensor_slices(({**x0, "text": x0["text"][::-1]}, data.y))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[example\] \[0\]"):
        list(store.batches(other, 16))


@pytest.mark.parametrize("how", ["batches", "attach"])
@pytest.mark.parametrize("unknown", [False, True])
def test_wrong_data_are_an_error_before_or_in_the_first_epoch(build, data, how, unknown):
    store = build()

    def read(dataset):
        if unknown:
            dataset = dataset.filter(lambda x, y: y >= 0)
        read = store.batches(dataset, 16) if how == "batches" else store.attach(dataset)
        return list(read)

    changed = data.x.copy()
    changed[33, 1, 1, 0] ^= 1
    wrong = [
        (tf.data.Dataset.from_tensor_slices((changed, data.y)), r"example\] \[33"),
        (data.dataset.shuffle(70, seed=1), "is not the one stored"),
        (data.dataset.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)), "uint8.*float32"),
        (data.dataset.skip(1), "70 examples.*69|is not the one stored"),
        (data.dataset.take(50), r"70 examples.*50|ends after\] \[50"),
        (data.dataset.concatenate(data.dataset.take(1)), r"70 examples.*71|more examples than"),
    ]
    for dataset, message in wrong:
        with pytest.raises((InputError, tf.errors.InvalidArgumentError), match=message):
            read(dataset)
    assert len(read(data.dataset)) in (5, 70)


def test_data_are_compared_until_one_epoch_was_whole(build, data, tmp_path):
    """An epoch that was broken off does not count as compared."""
    store = build()
    source = tf.Variable(data.x)
    dataset = tf.data.Dataset.range(70).map(lambda i: (source[i], tf.constant(0)))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(70))
    batches = store.batches(dataset, 10, shuffle=False)
    for _ in batches.take(2):
        pass
    source.assign(data.x ^ 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"example\] \[0\]"):
        list(batches)
    source.assign(data.x)
    assert len(list(batches)) == 7
    source.assign(data.x ^ 1)
    assert len(list(batches)) == 7


def test_data_that_carry_targets_are_refused(build, data):
    store = build()
    with pytest.raises(InputError, match="carries soft targets already"):
        store.batches(store.attach(data.dataset), 8)


@pytest.mark.parametrize(
    "arguments", [{"batch_size": 0}, {"seed": -1}, {"shuffle": -2}, {"first_epoch": -1}]
)
def test_bad_arguments_of_batches_are_named(build, data, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        build().batches(data.dataset, **{"batch_size": 8, **arguments})


def test_the_shuffle_buffer_is_bounded_by_memory():
    small = (tf.TensorSpec((4, 4, 1), tf.uint8), tf.TensorSpec((), tf.int64))
    large = (tf.TensorSpec((1000, 1000, 3), tf.float32), tf.TensorSpec((), tf.int64))
    assert _read.buffer_size(small, 50_000) == 50_000
    assert _read.buffer_size(large, 50_000) == (1 << 29) // (12_000_000 + 8 + 64)


def test_views_go_epoch_by_epoch_in_batches_and_one_after_another_in_attach(build, data):
    augment = Augmentation(crop=1, flip=True, seed=4)
    store = build(views=3, augment=augment)
    views = [augment.apply(data.x, np.arange(70), v).numpy() for v in range(3)]
    assert not np.array_equal(views[0], views[1])
    attached = list(store.attach(data.dataset).as_numpy_iterator())
    np.testing.assert_array_equal([x for x, _ in attached], np.concatenate(views))
    for i, (x, y) in enumerate(attached):
        np.testing.assert_allclose(y.teacher, data.logits(x[None])[0], rtol=1e-3, atol=1e-3)
        assert y.labels == data.y[i % 70]
    for first in (0, 2):
        batches = store.batches(data.dataset, 16, shuffle=False, first_epoch=first)
        for epoch in range(first, first + 4):
            seen = np.concatenate([x for x, _ in batches])
            np.testing.assert_array_equal(seen, views[epoch % 3])
    assert assert_fits(store, data, store.batches(data.dataset, 16)) == 70


def test_an_augmentation_needs_a_store_with_views(build, data):
    augment = Augmentation(flip=True)
    with pytest.raises(InputError, match=r"needs a store with views.*views=V"):
        build().batches(data.dataset, 8, augment=augment)


def test_another_augmentation_than_the_stored_is_refused(build, data):
    store = build(augment=Augmentation(flip=True), views=2)
    assert store.batches(data.dataset, 8, augment=Augmentation(flip=True)) is not None
    with pytest.raises(InputError, match="must be the augmentation of the store's views"):
        store.batches(data.dataset, 8, augment=Augmentation(flip=True, seed=1))
    with pytest.raises(InputError, match="must be the augmentation of the store's views"):
        store.attach(data.dataset, augment=Augmentation(crop=1))
