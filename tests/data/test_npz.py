import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError


def arrays():
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 6)).astype(np.uint8)
    return {"x_train": x, "y_train": np.arange(40) % 4, "x_test": x[:8], "y_test": np.arange(8) % 4}


@pytest.fixture
def save(tmp_path):
    def write(**changes):
        contents = {k: v for k, v in (arrays() | changes).items() if v is not None}
        np.savez_compressed(tmp_path / "small.npz", **contents)
        return f"npz:{tmp_path / 'small.npz'}"

    return write


def refused(spec):
    with pytest.raises(InputError) as caught:
        data.load(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_loads(save):
    splits = data.load(save())
    assert splits.sizes == {"train": 36, "validation": 4, "test": 8}
    assert (splits.input_shape, splits.num_classes, splits.name) == ((6, 6), 4, "small")
    got = np.stack([x for x, _ in splits.test.as_numpy_iterator()])
    np.testing.assert_array_equal(got, arrays()["x_test"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("uint8", "uint8"), ("int32", "int32"), ("int64", "int64"),
        ("int16", "int32"), ("uint32", "int64"), ("uint64", "int64"),
        ("float64", "float32"), ("float16", "float32"), ("bool", "float32"),
    ],
)  # fmt: skip
def test_whole_numbers_stay_whole(save, given, kept):
    x = np.arange(120).reshape(40, 3) % 2
    splits = data.load(save(x_train=x.astype(given), x_test=None, y_test=None))
    for split in (splits.train, splits.test):
        assert split.element_spec[0].dtype.name == kept
    rows = np.stack([x for x, _ in splits.test.as_numpy_iterator()])
    assert set(map(tuple, rows)) <= set(map(tuple, x.tolist()))


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_text_stays_text(save, shape):
    texts = np.array([f"wörd {i}" for i in range(40)]).reshape(shape)
    splits = data.load(save(x_train=texts, x_test=None, y_test=None))
    assert splits.is_text and splits.input_shape == shape[1:]
    x, y = next(splits.train.as_numpy_iterator())
    assert int(np.ravel(x)[0].decode().removeprefix("wörd ")) % 4 == y
    with pytest.raises(InputError, match=r"text\. Only numbers can be normalized"):
        data.statistics(splits.train)


def test_without_labels(save):
    splits = data.load(save(y_train=None, y_test=None))
    assert not splits.labeled and splits.sizes == {"train": 36, "validation": 4, "test": 8}
    names = np.array(["ant", "bee"])
    assert "class_names need labels" in refused(save(y_train=None, y_test=None, class_names=names))


def test_names_and_validation(save):
    names = np.array(["ant", "bee", "cat", "dog"])
    a = arrays()
    splits = data.load(save(class_names=names, x_val=a["x_test"], y_val=a["y_test"]))
    assert splits.class_names == ("ant", "bee", "cat", "dog")
    assert splits.sizes == {"train": 40, "validation": 8, "test": 8}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_train": None}, "must contain x_train, and may contain y_train"),
        ({"y_train": None}, "contains x_train, but not both of x_train and y_train. Give every"),
        ({"x_valid": np.zeros(3)}, "x_val"),
        ({"x_val": np.zeros((3, 6, 6))}, "x_val"),
        ({"y_train": np.arange(39) % 4}, "40 examples, but 39 labels"),
        ({"y_train": np.arange(40) % 4 + 0.0}, "float64"),
        ({"y_train": np.eye(4)[np.arange(40) % 4].astype(int)}, "argmax"),
        ({"y_train": np.arange(40) % 4 * 2}, "class 1 (1) has no training examples"),
        ({"y_train": np.arange(40) % 4 - 1}, ">= 0"),
        ({"y_test": np.arange(8)}, "labels of test"),
        ({"x_test": np.zeros((8, 5, 6), np.uint8)}, "must look like x of train"),
        ({"x_train": np.full((40, 6, 6), np.inf)}, "finite"),
        ({"x_train": np.full((40, 6, 6), 2**63, np.uint64)}, "must be < 2**63"),
        ({"x_train": np.full((40, 6, 6), 1j)}, "numbers of shape (examples, ...), or text"),
        ({"class_names": np.array(["a", "b"])}, "0..1"),
        ({"class_names": np.arange(4)}, "class_names must be strings"),
    ],
)
def test_bad_contents(save, changes, says):
    assert says in refused(save(**changes))


def test_pickles_are_never_read(save, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    objects = np.empty(40, object)
    objects[:] = [Payload() for _ in range(40)]
    assert "pickles" in refused(save(x_train=objects))
    assert not (tmp_path / "ran").exists()


def test_damaged(save, tmp_path):
    spec = save()
    path = tmp_path / "small.npz"
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:200], whole[:90] + b"\xff\xff" + whole[92:]):
        path.write_bytes(content)
        assert "small.npz" in refused(spec)
    path.unlink()
    assert "no such file" in refused(spec)
    assert "folder" in refused(f"npz:{tmp_path}")
