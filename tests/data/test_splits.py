import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._spec import Spec
from keras_distill.data import _streams
from keras_distill.data._splits import Source, from_arrays
from keras_distill.data._stratified import stratified


def arrays(counts=(10, 20, 30), seed=0, dtype=np.uint8):
    """x whose first value is its own position, and shuffled labels with these counts."""
    y = np.repeat(np.arange(len(counts)), counts)
    np.random.RandomState(seed).shuffle(y)
    x = np.zeros((len(y), 2), dtype)
    x[:, 0] = np.arange(len(y))
    return x, y


def positions(ds):
    return [int(x[0]) for x, _ in ds.as_numpy_iterator()]


def labels(ds):
    return [int(y) for _, y in ds.as_numpy_iterator()]


def as_stream(part):
    return tf.data.Dataset.from_tensor_slices(part)


def source(text, **options):
    return Source(Spec.parse("data", text), **options)


class TestStratified:
    def test_shares_are_kept(self):
        _, y = arrays()
        for count in (0, 6, 12, 60):
            picked = np.bincount(y[stratified(y, count, seed=0)], minlength=3)
            assert picked.tolist() == [count // 6, count // 3, count // 2]

    def test_remainders_go_to_the_largest(self):
        y = np.array([0] * 5 + [1] * 3)
        assert np.bincount(y[stratified(y, 4, seed=0)]).tolist() == [3, 1]

    def test_is_a_function_of_the_seed(self):
        _, y = arrays()
        first, again, other = (stratified(y, 30, seed=s).tolist() for s in (1, 1, 2))
        assert first == again == sorted(first) and first != other

    def test_stays_the_same_for_ever(self):
        # Published results depend on it.
        assert stratified(np.arange(40) % 4, 8, seed=0).tolist() == [7, 8, 10, 13, 14, 21, 27, 32]


@pytest.mark.parametrize("kind", ["arrays", "streams"])
class TestSplits:
    def make(self, kind, parts, class_names=None, **kwargs):
        given = {"name": "n", "class_names": class_names}
        if kind == "arrays":
            return from_arrays(parts, source("s", **kwargs), **given)
        parts = {split: as_stream(part) for split, part in parts.items()}
        return _streams.from_streams(parts, source("s", **kwargs), **given)

    def test_unlabeled(self, kind):
        x, _ = arrays((20, 20))
        parts = {"train": (x, None)}
        if kind == "streams":
            parts = {"train": tf.data.Dataset.from_tensor_slices(x)}
            splits = _streams.from_streams(parts, source("s"), name="n")
        else:
            splits = from_arrays(parts, source("s"), name="n")
        assert splits.sizes == {"train": 29, "validation": 3, "test": 8}
        assert (splits.class_names, splits.labeled, splits.input_shape) == ((), False, (2,))
        found = [row.tobytes() for ds in (splits.train, splits.validation, splits.test)
                 for row in ds.as_numpy_iterator()]  # fmt: skip
        assert sorted(found) == sorted(row.tobytes() for row in x)

    def test_only_some_splits_labeled(self, kind):
        x, y = arrays((20, 20))
        with pytest.raises(InputError, match=r"labels, or none.*in test|test must look like train"):
            if kind == "arrays":
                from_arrays({"train": (x, y), "test": (x, None)}, source("s"), name="n")
            else:
                both = {"train": as_stream((x, y)), "test": as_stream((x, y)).map(lambda x, y: x)}
                _streams.from_streams(both, source("s"), name="n")

    def test_what_is_missing_is_held_out(self, kind):
        splits = self.make(kind, {"train": arrays((20, 20))})
        assert splits.sizes == {"train": 29, "validation": 3, "test": 8}
        parts = [positions(ds) for ds in (splits.train, splits.validation, splits.test)]
        assert sorted(itertools.chain(*parts)) == list(range(40))
        assert all(part == sorted(part) for part in parts)
        assert np.bincount(labels(splits.test)).tolist() == [4, 4]
        assert len(splits.notes) == 2 and "8 of 40" in splits.notes[0]

    def test_order_and_pairs_are_kept(self, kind):
        x, y = arrays()
        splits = self.make(kind, {"train": (x, y)})
        for ds in (splits.train, splits.validation, splits.test):
            assert labels(ds) == y[positions(ds)].tolist()
            assert positions(ds) == positions(ds)

    def test_seed_moves_validation_but_never_test(self, kind):
        first, other = (self.make(kind, {"train": arrays()}, seed=seed) for seed in (0, 1))
        assert positions(first.test) == positions(other.test)
        assert positions(first.validation) != positions(other.validation)

    def test_own_splits_are_kept(self, kind):
        parts = {"train": arrays(), "validation": arrays((1, 1)), "test": arrays((2, 2))}
        splits = self.make(kind, parts)
        assert splits.sizes == {"train": 60, "validation": 2, "test": 4} and not splits.notes
        with pytest.raises(InputError, match="validation split of its own"):
            self.make(kind, parts, validation=0.2)

    def test_share_of_validation(self, kind):
        parts = {"train": arrays(), "test": arrays((1, 1))}
        assert self.make(kind, parts, validation=0.5).sizes["validation"] == 30

    def test_element(self, kind):
        splits = self.make(kind, {"train": arrays(dtype=np.int16)}, class_names=("a", "b", "c"))
        x, y = splits.train.element_spec
        assert (x.dtype, y.dtype, tuple(x.shape)) == (tf.int32, tf.int64, (2,))
        assert (splits.input_shape, splits.num_classes) == ((2,), 3)
        assert splits.class_names == ("a", "b", "c")

    @pytest.mark.parametrize(
        ("counts", "says"),
        [((5, 0, 5), "class 1 (1) has no training examples"), ((9,), "2 classes")],
    )
    def test_classes(self, kind, counts, says):
        with pytest.raises(InputError) as caught:
            self.make(kind, {"train": arrays(counts)})
        assert says in str(caught.value)

    def test_label_out_of_range(self, kind):
        parts = {"train": arrays((9, 9)), "test": arrays((1, 1, 1))}
        with pytest.raises(InputError, match=r"labels of test must be in 0\.\.1.*Received: 2"):
            self.make(kind, parts)

    def test_too_few_to_hold_out(self, kind):
        with pytest.raises(InputError, match="every class needs at least 2"):
            self.make(kind, {"train": arrays((1, 1))})

    def test_splits_of_other_shapes(self, kind):
        x, y = arrays()
        with pytest.raises(InputError, match="test must look like"):
            self.make(kind, {"train": (x, y), "test": (x[:, :1], y)})


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([[1], [2]], [0], "2 examples, but 1 labels"),
        (np.zeros((0, 2)), np.zeros(0, int), "no examples"),
        ([[1], [2]], [0.0, 1.0], "whole numbers"),
        ([[1], [2]], [[1, 0], [0, 1]], "argmax"),
        ([[1], [2]], [0, -1], ">= 0"),
        ([[1j], [2j]], [0, 1], "x must be numbers"),
        ([1, 2], [0, 1], "x must be numbers of shape"),
        ([[1.0], [np.nan]], [0, 1], "finite"),
    ],
)
def test_bad_arrays(x, y, says):
    with pytest.raises(InputError) as caught:
        from_arrays({"train": (x, y)}, source("some.npz"), name="n")
    assert says in str(caught.value) and "some.npz: train" in str(caught.value)


def test_labels_that_are_names():
    x, y = arrays((4, 4, 4))
    names = np.array(["dog", "ant", "cat"])
    for given in (names[y], names[y].tolist(), names[y].astype(object)[:, None]):
        splits = from_arrays({"train": (x, given)}, source("s"), name="n")
        assert splits.class_names == ("ant", "cat", "dog")
        ids = {0: 2, 1: 0, 2: 1}
        assert labels(splits.test) == [ids[int(y[i])] for i in positions(splits.test)]
    own = ("dog", "ant", "cat")
    splits = from_arrays({"train": (x, names[y])}, source("s"), name="n", class_names=own)
    assert splits.class_names == own
    assert labels(splits.test) == [int(y[i]) for i in positions(splits.test)]
    with pytest.raises(InputError, match=r"labels of test must be names of the .*'cow'"):
        parts = {"train": (x, names[y]), "test": (x[:1], ["cow"])}
        from_arrays(parts, source("s"), name="n")


def test_labels_from_one_are_named():
    x, y = arrays((4, 4))
    with pytest.raises(InputError, match=r"class 0 \(0\) has no .*Subtract 1 from all labels"):
        from_arrays({"train": (x, y + 1)}, source("s"), name="n")


def test_a_data_frame():
    pandas = pytest.importorskip("pandas")
    x, y = arrays((4, 4))
    frame = pandas.DataFrame(x, columns=["a", "b"])
    splits = from_arrays({"train": (frame, pandas.Series(y))}, source("s"), name="n")
    assert splits.input_shape == (2,) and sum(splits.sizes.values()) == 8


def test_column_of_labels():
    x, y = arrays()
    column = from_arrays({"train": (x, y[:, None])}, source("s"), name="n")
    flat = from_arrays({"train": (x, y)}, source("s"), name="n")
    assert labels(column.train) == labels(flat.train)
    assert len(labels(column.train)) == column.sizes["train"]


@pytest.mark.parametrize(
    ("ds", "says"),
    [
        (tf.data.Dataset.from_tensors({"x": [1.0]}), "two tensors, or x alone"),
        (tf.data.Dataset.range(3), "fixed shape"),
        (as_stream(arrays()).batch(2), "unbatched"),
        (as_stream(arrays()).map(lambda x, y: (x, tf.cast(y, tf.float32))), "class id"),
        (as_stream(arrays()).map(lambda x, y: (tf.cast(x, tf.complex64), y)), "numbers"),
        (as_stream(arrays()).repeat(), "-1 infinite"),
        (as_stream(arrays()).filter(lambda x, y: y > 0), "assert_cardinality"),
        (as_stream(arrays()).take(0), "> 0"),
        (as_stream(arrays()).map(lambda x, y: (tf.boolean_mask(x, x > 0), y)), "fixed"),
    ],
)
def test_bad_streams(ds, says):
    with pytest.raises(InputError) as caught:
        _streams.from_streams({"train": ds}, source("py:a:b"), name="n")
    assert says in str(caught.value) and "py:a:b: train" in str(caught.value)


def test_stream_that_is_shorter_than_it_says():
    ds = as_stream(arrays()).filter(lambda x, y: y > 0)
    ds = ds.apply(tf.data.experimental.assert_cardinality(60))
    with pytest.raises(InputError, match=r"s: train: reading it failed.*60 elements.*50 elements"):
        _streams.from_streams({"train": ds}, source("s"), name="n")


def test_a_label_decides_no_memory():
    x, y = np.zeros((4, 2), np.float32), np.array([0, 1, 2, 10**12])
    with pytest.raises(InputError, match=r"without a gap.*label 1000000000000 among 4 training"):
        from_arrays({"train": (x, y)}, source("npz:x"), name="x")
