"""Examples in memory: the same batches as read one by one, and keys compared at once."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill.data import Augmentation, MemoryDataset
from keras_distill.targets import SoftTargetStore, _keys


def _assert_same(found, expected):
    tf.nest.assert_same_structure(found, expected, expand_composites=True)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "settings",
    [{}, {"top_k": 3}, {"dtype": "float32"}, {"views": 3, "augment": Augmentation(crop=1, seed=1)}],
    ids=["dense", "top-k", "float32", "views"],
)
@pytest.mark.parametrize("shuffle", [True, False, 9])
def test_batches_are_those_of_the_same_data_read_one_by_one(build, data, settings, shuffle):
    store = build(**settings)
    memory = MemoryDataset((data.x, data.y))
    arguments = {"shuffle": shuffle, "seed": 4, "first_epoch": 1}
    found = store.batches(memory, 16, **arguments)
    expected = store.batches(data.dataset, 16, **arguments)
    assert int(found.cardinality()) == int(expected.cardinality()) == 5
    for _ in range(4):  # epochs, and views
        for mine, other in zip(found, expected, strict=True):
            _assert_same(mine, other)
    _assert_same(found.peek(), expected.peek())
    repeated = zip(found.repeat(2), expected.repeat(2), strict=True)
    for mine, other in repeated:
        _assert_same(mine, other)


def test_outputs_by_name_are_gathered_each(data, tmp_path):
    rows = {"a": data.logits(), "b": data.logits()[:, :3]}
    store = SoftTargetStore.build(rows, data.dataset, tmp_path / "named", batch_size=8)
    memory = MemoryDataset((data.x, data.y))
    for mine, other in zip(
        store.batches(memory, 16, seed=1), store.batches(data.dataset, 16, seed=1), strict=True
    ):
        _assert_same(mine, other)


def test_a_store_may_be_built_from_examples_in_memory(build, data):
    memory = MemoryDataset((data.x, data.y))
    one, other = build(dataset=memory).path, data.dataset
    store = SoftTargetStore.open(one)
    assert store.verify(other)["data"].startswith("70 examples")


def test_another_example_or_order_is_refused_before_the_first_batch(build, data):
    store = build()
    changed = data.x.copy()
    changed[41, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="example 41 is not the one stored"):
        store.batches(MemoryDataset((changed, data.y)), 16)
    with pytest.raises(InputError, match="example 0 is not the one stored"):
        store.batches(MemoryDataset((data.x[::-1].copy(), data.y)), 16)
    store.batches(MemoryDataset((data.x, data.y[::-1].copy())), 16)  # labels may differ


def test_keys_are_compared_once_for_all_labels(build, data, monkeypatch):
    store = build()
    memory = MemoryDataset((data.x, data.y))
    calls = []
    real = _keys.stacked_keys
    monkeypatch.setattr(_keys, "stacked_keys", lambda x: calls.append(1) or real(x))
    store.batches(memory, 16)
    store.batches(MemoryDataset((memory.tensors[0], data.y * 0 - 1)), 16, seed=2)
    assert calls == [1]
    store.batches(MemoryDataset((data.x.copy(), data.y)), 16)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    "x",
    [
        np.arange(24, dtype=np.uint8).reshape(6, 4),
        np.linspace(0, 1, 30, dtype=np.float32).reshape(5, 3, 2),
        np.arange(7, dtype=np.int64),
        np.array([True, False, True]),
        np.array([[b"a", b"bc"], [b"", b"d"]]),
        {"a": np.arange(6, dtype=np.int32).reshape(3, 2), "b": np.ones((3, 1), np.float16)},
        np.zeros((0, 3), np.float32),
        np.zeros((2, 0), np.float32),
    ],
    ids=["uint8", "float32", "scalars", "bool", "strings", "structure", "none", "empty"],
)
def test_keys_of_many_are_the_keys_of_each(x):
    found = _keys.stacked_keys(x)
    rows = tf.data.Dataset.from_tensor_slices((x,))
    expected = [int(_keys.key(row)) for (row,) in rows]
    assert found.tolist() == expected


def test_more_rows_than_are_computed_at_once(monkeypatch):
    monkeypatch.setattr(_keys, "_ROWS", 4)
    x = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    assert _keys.stacked_keys(x).tolist() == [int(_keys.key(tf.constant(row))) for row in x]
