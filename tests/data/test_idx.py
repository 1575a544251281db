import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError
from keras_distill.data import _idx

FASHION = Path("/usr/share/datasets/fashion-mnist")
CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def encode(values):
    code = CODES[values.dtype.str[1:]]
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def folder(tmp_path):
    """A folder of 40 training and 10 test images, all files plain."""
    generator = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 10)):
        x = generator.integers(0, 256, (count, 5, 4)).astype(np.uint8)
        y = (np.arange(count) % 3).astype(np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(encode(x))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(encode(y))
    return tmp_path


def refused(folder):
    with pytest.raises(InputError) as caught:
        data.load(f"idx:{folder}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zip_up(folder):
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def test_loads_plain_and_gzipped(folder):
    plain = data.load(f"idx:{folder}")
    assert plain.sizes == {"train": 36, "validation": 4, "test": 10}
    assert plain.input_shape == (5, 4, 1) and plain.class_names == ("0", "1", "2")
    zip_up(folder)
    zipped = data.load(f"idx:{folder}")
    for split in ("train", "validation", "test"):
        for (a, i), (b, j) in zip(getattr(plain, split), getattr(zipped, split), strict=True):
            assert np.array_equal(a, b) and i == j


def test_other_names(folder):
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("s-idx", "s.idx").replace("t10k", "test"))
    for part in ("images", "labels"):
        source = next(folder.glob(f"test-{part}*"))
        (folder / source.name.replace("test", "validation")).write_bytes(source.read_bytes())
    assert data.load(f"idx:{folder}").sizes == {"train": 40, "validation": 10, "test": 10}


@pytest.mark.parametrize("dtype", CODES)
def test_every_type_is_read(tmp_path, dtype):
    values = (np.arange(24).reshape(2, 3, 4) * 3 - 5).astype(dtype)
    (tmp_path / "values").write_bytes(encode(values))
    read = _idx.read(tmp_path / "values")
    assert read.dtype == values.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, values)


class TestDamage:
    IMAGES = "train-images-idx3-ubyte"

    def damage(self, folder, change, name=IMAGES):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))
        return refused(folder)

    def test_wrong_magic(self, folder):
        message = self.damage(folder, lambda b: b"\x89PNG" + b[4:])
        assert "not an IDX file: it begins with 89 50 4e 47" in message

    def test_empty(self, folder):
        assert "nothing" in self.damage(folder, lambda b: b"")

    def test_cut_header(self, folder):
        assert "header" in self.damage(folder, lambda b: b[:9])

    def test_cut_body(self, folder):
        assert "must have 800 bytes" in self.damage(folder, lambda b: b[:-1])

    def test_too_long(self, folder):
        assert "but has more" in self.damage(folder, lambda b: b + b"\0")

    def test_absurd_size(self, folder):
        assert "more than" in self.damage(folder, lambda b: b[:4] + b"\xff" * 12 + b[16:])

    def test_unequal_lengths(self, folder):
        def one_less(content):
            return encode(np.frombuffer(content[8:-1], np.uint8))

        message = self.damage(folder, one_less, "train-labels-idx1-ubyte")
        assert "40 examples, but 39 labels" in message

    def test_images_and_labels_exchanged(self, folder):
        images, labels = folder / self.IMAGES, folder / "train-labels-idx1-ubyte"
        content = images.read_bytes()
        images.write_bytes(labels.read_bytes())
        labels.write_bytes(content)
        assert "must contain examples" in refused(folder)

    def test_cut_and_damaged_gzip(self, folder):
        zip_up(folder)
        path = folder / (self.IMAGES + ".gz")
        whole = path.read_bytes()
        for content in (whole[:30], whole[:-9], whole[:40] + b"\xff" * 20 + whole[60:]):
            path.write_bytes(content)
            assert self.IMAGES in refused(folder)

    def test_missing(self, folder):
        assert "no folder" in refused(folder / "nosuch")
        (folder / "t10k-labels-idx1-ubyte").unlink()
        assert "t10k-labels" in refused(folder)
        (folder / self.IMAGES).unlink()
        assert "train-images" in refused(folder)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist():
    splits = data.load(f"idx:{FASHION}")
    assert splits.sizes == {"train": 54_000, "validation": 6_000, "test": 10_000}
    assert (splits.input_shape, splits.num_classes, splits.name) == (
        (28, 28, 1),
        10,
        "fashion-mnist",
    )
    # Mean and deviation of the training images are .2860 and .3530 of 255.
    scale, offset = data.statistics(splits.train)
    assert 1 / scale / 255 == pytest.approx(0.3530, abs=5e-4)
    assert -offset / scale / 255 == pytest.approx(0.2860, abs=5e-4)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10**4, 10**3, 200), "must have 2000000000 bytes of values .* but has only 5"),
        ((2**32 - 1, 2**32 - 1), "declares 18446744065119617025 bytes, more than"),
        ((1,) * 9, "must have at most 8 dimensions. It has 9"),
    ],
)
def test_a_header_that_lies_allocates_nothing(tmp_path, shape, message):
    path = tmp_path / "x"
    header = b"".join(struct.pack(">I", size) for size in shape)
    path.write_bytes(bytes([0, 0, 8, len(shape)]) + header + bytes(5))
    with pytest.raises(InputError, match=message):
        _idx.read(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1]) + struct.pack(">I", 10**9) + bytes(10**6)))
    with pytest.raises(InputError, match=r"unpacks to 1000000000 bytes from .* more than"):
        _idx.read(path)
