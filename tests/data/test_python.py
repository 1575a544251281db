import sys

import pytest

from keras_distill import data
from keras_distill._internal import InputError

CODE = """
import numpy as np
import tensorflow as tf
from keras_distill import data

x, y = np.arange(80, dtype=np.float32).reshape(40, 2), np.arange(40) % 4

def arrays():
    return {"train": (x, y), "class_names": list("abcd")}

def streams():
    ds = tf.data.Dataset.from_tensor_slices((x, y))
    return {"train": ds, "test": ds.take(8)}

def splits():
    return data.load("digits")

def fails():
    return 1 / 0

def mixed():
    return {"train": (x, y), "test": streams()["test"]}

def number():
    return 3

def typo():
    return {"train": (x, y), "tests": (x, y)}

def no_pair():
    return {"train": (x,)}

def unlabeled():
    return {"train": x}

def unlabeled_stream():
    return {"train": tf.data.Dataset.from_tensor_slices(x)}

def passed_on():
    return data.Splits(*[streams()["train"].map(lambda x, y: x)] * 3, (), (2,), "n", "s")

def names():
    return {"train": (x, y), "class_names": "abcd"}

def few_names():
    return {"train": (x, y), "class_names": ["a", "b"]}

value = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """my_house.data in the current folder, which is not on sys.path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_house").mkdir()
    (tmp_path / "my_house/data.py").write_text(CODE)
    (tmp_path / "broken_house.py").write_text("import nosuch_library")
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in ("my_house", "my_house.data"):
        sys.modules.pop(name, None)


def load(function, **kwargs):
    return data.load(f"py:my_house.data:{function}", **kwargs)


def test_arrays():
    splits = load("arrays")
    assert splits.sizes == {"train": 29, "validation": 3, "test": 8}
    assert splits.class_names == ("a", "b", "c", "d") and splits.name == "arrays"


def test_streams():
    splits = load("streams", validation=0.2)
    assert splits.sizes == {"train": 32, "validation": 8, "test": 8}
    assert splits.train.element_spec[1].dtype.name == "int64"


@pytest.mark.parametrize("name", ["unlabeled", "unlabeled_stream", "passed_on"])
def test_unlabeled(name):
    splits = load(name)
    assert not splits.labeled and splits.train.element_spec.shape == (2,)
    assert sum(splits.sizes.values()) == (120 if name == "passed_on" else 40)


def test_splits():
    splits = load("splits")
    assert splits.sizes == data.load("digits").sizes and splits.input_shape == (8, 8, 1)
    with pytest.raises(InputError, match="of its own"):
        load("splits", validation=0.2)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("my_house.data", "py:package.module:function"),
        ("my_house.data:", "py:package.module:function"),
        ("my_house.data:f()", "py:package.module:function"),
        ("my-house:f", "dotted name"),
        ("my_house.nosuch:arrays", "my_house.nosuch"),
        ("nosuch_house:arrays", "nosuch_house"),
        ("broken_house:arrays", "nosuch_library"),
        ("my_house.data:nosuch", "no function 'nosuch'"),
        ("my_house.data:value", "no function 'value'"),
        ("my_house.data:fails", "ZeroDivisionError"),
        ("my_house.data:number", "It returned: 3"),
        ("my_house.data:typo", "'tests'"),
        ("my_house.data:mixed", "pair (x, y)"),
        ("my_house.data:no_pair", "pair (x, y)"),
        ("my_house.data:names", "class_names"),
        ("my_house.data:few_names", "0..1"),
    ],
)
def test_bad(spec, says):
    with pytest.raises(InputError) as caught:
        data.load(f"py:{spec}")
    assert says in str(caught.value) and "\n" not in str(caught.value)
