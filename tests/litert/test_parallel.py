from pathlib import Path

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.litert import LiteRTModel, ParallelModel, usable_threads

FILES = Path(__file__).parents[1] / "golden/tflite"
X = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)


class Counting:
    """Loads a file; counts the copies, and the rows that each is asked for."""

    def __init__(self, monkeypatch, name):
        self.path, self.copies, self.rows = FILES / name, 0, []
        predict = LiteRTModel.predict
        monkeypatch.setattr(
            LiteRTModel,
            "predict",
            lambda model, x: (self.rows.append(_length(x)), predict(model, x))[1],
        )

    def __call__(self):
        self.copies += 1
        return LiteRTModel(self.path)


def _length(x):
    return len(next(iter(x.values())) if isinstance(x, dict) else x)


@pytest.mark.parametrize(
    ("name", "rows", "shares"),
    [
        ("float.tflite", 150, [38, 38, 38, 36]),
        ("int8.tflite", 3, [1, 1, 1]),
        ("float.tflite", 1, [1]),
        ("open_batch.tflite", 150, [64, 64, 22]),  # its batches have 64 rows
        ("open_batch.tflite", 64, [64]),
    ],
)
def test_rows_are_shared_and_the_result_is_the_same(monkeypatch, name, rows, shares):
    load = Counting(monkeypatch, name)
    model = ParallelModel(load, threads=4)
    assert load.copies == 1
    y = model.predict(X[:rows])
    assert sorted(load.rows, reverse=True) == shares and load.copies == len(shares)
    np.testing.assert_array_equal(y, LiteRTModel(FILES / name).predict(X[:rows]))
    model.predict(X[:rows])
    assert load.copies == len(shares)  # copies are kept


def test_several_inputs_and_outputs():
    x = {"left": X, "right": -2 * X}
    model = ParallelModel(lambda: LiteRTModel(FILES / "two.tflite"), threads=3)
    expected = LiteRTModel(FILES / "two.tflite").predict(x)
    found = model.predict(x)
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name])


def test_errors_come_through():
    model = ParallelModel(lambda: LiteRTModel(FILES / "float.tflite"), threads=2)
    with pytest.raises(InputError, match="`image` must be an array of numbers of shape"):
        model.predict(X[:, :3])
    with pytest.raises(InputError):
        model.predict(X[:0])
    np.testing.assert_array_equal(model.predict(X), LiteRTModel(FILES / "float.tflite").predict(X))


def test_number_of_threads():
    assert 1 <= usable_threads(None) <= 8
    with pytest.raises(InputError, match="`threads` must be a whole number >= 1"):
        usable_threads(0)
