import numpy as np
import pytest
import tensorflow as tf

from keras_distill import Targets, data
from keras_distill._internal import InputError
from keras_distill.export import InputInfo, take

ONE = (InputInfo("image", (None, 3), "float32"),)
TWO = (InputInfo("left", (None, 3), "float32"), InputInfo("right", (None, 2), "float32"))
X = np.arange(30, dtype=np.float32).reshape(10, 3)
Y = np.arange(10)


class _Frame:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.asarray(X, dtype)


def _take(given, inputs=ONE, count=100):
    return take("data", given, inputs, count, split="train")


@pytest.mark.parametrize(
    "given",
    [
        X,
        X.tolist(),
        _Frame(),
        (_Frame(), Y.tolist()),
        {"image": X},
        (X, Y),
        (X, Y, np.ones(10)),
        tf.data.Dataset.from_tensor_slices(X),
        tf.data.Dataset.from_tensor_slices((X, Y)),
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(4),
        tf.data.Dataset.from_tensor_slices(({"image": X}, Y)).batch(4),
        tf.data.Dataset.from_tensor_slices((X, Y, np.ones(10))),
        tf.data.Dataset.from_tensor_slices((X, Targets(Y, np.ones((10, 2)), Y > 0))).batch(3),
    ],
    ids=range(13),
)
def test_every_form_gives_the_same_rows(given):
    rows = _take(given)
    np.testing.assert_array_equal(rows.x["image"], X)
    if rows.y is not None:
        np.testing.assert_array_equal(rows.y, Y)
    assert rows.rows == 10 and rows.source == "data given"


def _representative():
    """As TFLite's documentation writes it: a list of inputs, one row at a time."""
    for row in X:
        yield [row[None]]


@pytest.mark.parametrize(
    ("given", "labeled"),
    [
        (_representative, False),
        (_representative(), False),
        (lambda: X, False),
        (lambda: (X, Y), True),
        (lambda: {"image": X}, False),
        (lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(4), True),
        (lambda: ({"image": row} for row in X), False),
        (lambda: (("serving_default", {"image": row[None]}) for row in X), False),
        (lambda: ((row, y) for row, y in zip(X, Y, strict=True)), True),
        (lambda: ((X[i : i + 4], Y[i : i + 4]) for i in (0, 4, 8)), True),
        (lambda: iter(tf.data.Dataset.from_tensor_slices(X).batch(3)), False),
    ],
    ids=range(11),
)
def test_functions_and_iterators(given, labeled):
    rows = _take(given)
    np.testing.assert_array_equal(rows.x["image"], X)
    assert (rows.y is not None) == labeled
    if labeled:
        np.testing.assert_array_equal(rows.y, Y)


def test_an_iterator_without_end_is_read_as_far_as_needed():
    def forever():
        while True:
            yield [X[:3]]

    assert _take(forever, count=7).rows == 7


def test_a_representative_data_set_of_two_inputs():
    for item in (list, tuple, lambda pair: dict(zip(("left", "right"), pair, strict=True))):
        rows = _take(lambda item=item: (item((row, row[:2])) for row in X), TWO)
        np.testing.assert_array_equal(rows.x["right"], X[:, :2])


def test_a_function_by_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rows_of_mine.py").write_text(
        "import numpy as np\n"
        "def some():\n    yield from ([np.full((1, 3), i, 'float32')] for i in range(5))\n"
        "def splits():\n    x = np.arange(60.0).reshape(20, 3)\n"
        "    return {'train': (x, np.arange(20) % 2)}\n"
        "def fails():\n    yield [np.zeros((1, 3))]\n    raise KeyError('no camera')\n"
    )
    rows = _take("py:rows_of_mine:some")
    assert rows.x["image"][:, 0].tolist() == [0, 1, 2, 3, 4]
    assert rows.source == "py:rows_of_mine:some"
    assert _take("py:rows_of_mine:splits").source == "py:rows_of_mine:splits, train"
    with pytest.raises(InputError, match=r"failed after 1 rows: KeyError: 'no camera'"):
        _take("py:rows_of_mine:fails")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: 1 / 0, "calling it without arguments failed: ZeroDivisionError"),
        (lambda x: X, "failed: TypeError: .*missing 1 required positional argument"),
        (lambda: iter(()), "has no rows"),
        (lambda: iter([{"other": X}]), r"for the inputs \['image'\]. Received: \['other'\]"),
        (lambda: iter([[X, X]]), "a list with one array for each input.*Received: list"),
        (lambda: iter([X[:, :2]]), r"rows of shape \(3,\) for input 'image'"),
        (lambda: iter([X, X[:, :2]]), "must yield rows of one shape"),
        (lambda: 3, "must be a data spec"),
    ],
)
def test_functions_of_something_else(given, words):
    with pytest.raises(InputError, match=words):
        _take(given)


def test_labels_are_found():
    assert _take(X).y is None
    np.testing.assert_array_equal(_take((X, Y)).y, Y)
    named = _take((X, {"a": Y, "b": -Y}))
    np.testing.assert_array_equal(named.y["b"], -Y)


@pytest.mark.parametrize("given", [(X, Y), tf.data.Dataset.from_tensor_slices((X, Y))])
def test_a_part_is_spread_over_the_whole(given):
    rows = _take(given, count=4)
    assert rows.rows == 4
    assert rows.y.max() >= 6 and rows.y.min() == 0


def test_two_inputs():
    right = X[:, :2]
    for given in ({"left": X, "right": right}, (X, right), ({"left": X, "right": right}, Y)):
        rows = _take(given, TWO)
        np.testing.assert_array_equal(rows.x["left"], X)
        np.testing.assert_array_equal(rows.x["right"], right)
    pairs = tf.data.Dataset.from_tensor_slices(({"left": X, "right": right}, Y)).batch(5)
    np.testing.assert_array_equal(_take(pairs, TWO).x["right"], right)


def test_a_data_spec_brings_its_class_names():
    inputs = (InputInfo("image", (None, 8, 8, 1), "float32"),)
    rows = _take("digits", inputs, count=20)
    assert rows.rows == 20 and rows.x["image"].shape == (20, 8, 8, 1)
    assert rows.source == "digits, train"
    assert rows.class_names == tuple("0123456789")
    splits = data.load("digits")
    np.testing.assert_array_equal(_take(splits, inputs, count=20).x["image"], rows.x["image"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (X[:, :2], r"rows of shape \(3,\) for input 'image'. Received: rows of shape \(2,\)"),
        (X[0], "rows of shape"),
        (X[:0], "has no rows"),
        (np.full((4, 3), np.nan), "must be finite. Input 'image' has NaN"),
        ({"other": X}, r"must hold the model's inputs \['image'\]. Received: \['other'\]"),
        (3, "must be a data spec, a tf.data.Dataset, or arrays of numbers. Received: int"),
        (None, "must be a data spec"),
        (np.array([["a", "b", "c"]]), "must be a data spec"),
        (tf.data.Dataset.from_tensor_slices(X[:0]), "has no rows"),
        (tf.data.Dataset.from_tensor_slices(X[:, :2]), "rows of shape"),
        ("no-such-data", "no-such-data"),
    ],
)
def test_what_does_not_fit(given, words):
    with pytest.raises(InputError, match=words):
        _take(given)


def test_text_fits_inputs_of_text_alone():
    inputs, texts = (InputInfo("text", (None,), "string"),), np.array(["one", "two", "one"])
    for given in (texts, tf.data.Dataset.from_tensor_slices(texts)):
        assert [str(t).strip("b'") for t in _take(given, inputs).x["text"]] == ["one", "two", "one"]
    with pytest.raises(InputError, match=r"arrays of text. Received: ndarray"):
        _take(np.arange(3), inputs)
    with pytest.raises(InputError, match=r"must have text for input 'text' \(string\)"):
        _take(tf.data.Dataset.from_tensor_slices([1, 2]), inputs)
    with pytest.raises(InputError, match="must have numbers for input 'image'"):
        _take(tf.data.Dataset.from_tensor_slices([["a", "b", "c"]]), ONE)


def test_tokens_must_be_whole():
    inputs = (InputInfo("tokens", (None, 3), "int32"),)
    with pytest.raises(InputError, match=r"whole numbers for input 'tokens' \(int32\)"):
        _take(X, inputs)
    assert _take(X.astype(int), inputs).rows == 10
