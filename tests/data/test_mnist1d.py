import importlib.util
import random

import numpy as np
import pytest
import scipy.stats

from keras_distill import data
from keras_distill._internal import InputError, MissingExtraError
from keras_distill.data import _mnist1d

installed = pytest.mark.skipif(
    importlib.util.find_spec("mnist1d") is None, reason="the extra mnist1d is not installed"
)


@installed
def test_published_set():
    splits = data.load("mnist1d")
    assert splits.sizes == {"train": 3600, "validation": 400, "test": 1000}
    assert (splits.input_shape, splits.num_classes) == ((40,), 10)
    x = np.stack([x for p in (splits.train, splits.validation, splits.test) for x, _ in p])
    assert x.dtype == np.float32
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-4)
    assert data.load("mnist1d?examples=100").sizes == {"train": 72, "validation": 8, "test": 20}


@installed
def test_unlabeled():
    def make(count, seed):
        pairs = list(_mnist1d.unlabeled(count, seed=seed).as_numpy_iterator())
        assert {int(y) for _, y in pairs} == {data.UNLABELED}
        return np.stack([x for x, _ in pairs])

    few, more, other = make(20, 1), make(1020, 1), make(20, 2)
    np.testing.assert_array_equal(few, more[:20])
    assert more.shape == (1020, 40) and not np.array_equal(few, other)
    assert len(np.unique(more, axis=0)) == 1020


@installed
def test_a_spec_of_unlabeled_examples_that_the_published_set_lacks():
    splits = data.load("mnist1d?unlabeled=1000")
    assert splits.sizes == {"train": 1000, "validation": 100, "test": 100}
    assert not splits.labeled
    published = data.load("mnist1d")
    known = [x for s in splits.sizes for x, _ in getattr(published, s).as_numpy_iterator()]
    new = [x for s in splits.sizes for x in getattr(splits, s).as_numpy_iterator()]
    # Each set is scaled by its own mean and deviation, so that rows are compared by correlation.
    a, b = (scipy.stats.zscore(np.stack(rows), axis=1) / 40**0.5 for rows in (known, new))
    assert len(np.unique(b, axis=0)) == 1200
    assert 0.9 < (a @ b.T).max() < 0.9999 < (a @ a.T).max()


@installed
def test_global_generators_are_left_alone():
    random.seed(3), np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3), np.random.seed(3)
    _mnist1d.unlabeled(1)
    assert (random.random(), np.random.rand()) == expected


@installed
@pytest.mark.parametrize(
    "spec", ["mnist1d:3", "mnist1d?examples=3", "mnist1d?size=3", "mnist1d?unlabeled=3"]
)
def test_bad_spec(spec):
    with pytest.raises(InputError):
        data.load(spec)


@installed
def test_examples_and_unlabeled_exclude_each_other():
    with pytest.raises(InputError, match="one of the options examples and unlabeled"):
        data.load("mnist1d?examples=100&unlabeled=100")


@installed
@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, -1), (1.5, 0)])
def test_bad_numbers(count, seed):
    with pytest.raises(InputError):
        _mnist1d.unlabeled(count, seed=seed)


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'keras-distill\[mnist1d\]'"):
        data.load("mnist1d")
