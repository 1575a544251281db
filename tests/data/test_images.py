import numpy as np
import pytest
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import InputError
from keras_distill.data import _images


def picture(seed, height=6, width=5, channels=3):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, channels)).astype(np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(pixels).numpy())


@pytest.fixture
def folder(tmp_path):
    """20 PNGs of each of the classes bird, cat, written in no order."""
    for i in reversed(range(40)):
        write(tmp_path / ("cat" if i % 2 else "bird") / f"{i:02}.png", picture(i))
    return tmp_path


def refused(spec):
    with pytest.raises(InputError) as caught:
        data.load(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def everything(splits):
    parts = (splits.train, splits.validation, splits.test)
    return [(x, int(y)) for part in parts for x, y in part.as_numpy_iterator()]


def test_folder_per_class(folder):
    splits = data.load(f"images:{folder}")
    assert splits.sizes == {"train": 29, "validation": 3, "test": 8}
    assert (splits.class_names, splits.input_shape) == (("bird", "cat"), (6, 5, 3))
    expected = {(picture(i).tobytes(), i % 2) for i in range(40)}
    assert {(x.tobytes(), y) for x, y in everything(splits)} == expected


def test_streamed_is_the_same(folder, monkeypatch):
    held = everything(data.load(f"images:{folder}"))
    monkeypatch.setattr(_images, "MEMORY_LIMIT", 0)
    for (a, i), (b, j) in zip(everything(data.load(f"images:{folder}")), held, strict=True):
        assert np.array_equal(a, b) and i == j


def test_folders_of_splits(folder):
    for name in ("train", "val", "test"):
        for label in ("bird", "cat"):
            for i in range({"train": 3, "val": 2, "test": 1}[name]):
                write(folder / "all" / name / label / f"{i}.JPG", picture(i))
    splits = data.load(f"images:{folder / 'all'}")
    assert splits.sizes == {"train": 6, "validation": 4, "test": 2} and splits.name == "all"
    (folder / "all/extra").mkdir()
    assert "extra" in refused(f"images:{folder / 'all'}")
    (folder / "all/extra").rmdir()
    (folder / "all/test/bird").rename(folder / "all/test/dog")
    assert "dog" in refused(f"images:{folder / 'all'}")


def test_hidden_files_are_skipped(folder):
    (folder / ".cache").mkdir()
    (folder / "cat/.DS_Store").write_text("x")
    assert sum(data.load(f"images:{folder}").sizes.values()) == 40


def test_grey_color_and_transparency(tmp_path):
    for i in range(12):
        write(tmp_path / str(i % 2) / f"{i}.png", picture(i, channels=1))
    assert data.load(f"images:{tmp_path}").input_shape == (6, 5, 1)
    rgb = data.load(f"images:{tmp_path}?channels=3")
    assert all((x == x[..., :1]).all() for x, _ in everything(rgb))
    write(tmp_path / "0/a.png", picture(99, channels=4))
    write(tmp_path / "0/b.png", picture(98, channels=2))
    mixed = {x.tobytes() for x, _ in everything(data.load(f"images:{tmp_path}"))}
    assert picture(99, channels=4)[..., :3].tobytes() in mixed
    assert np.repeat(picture(98, channels=2)[..., :1], 3, axis=-1).tobytes() in mixed
    assert data.load(f"images:{tmp_path}?channels=1").input_shape == (6, 5, 1)


def test_sizes_that_differ(folder):
    write(folder / "cat/zz.png", picture(1, 9, 9))
    message = refused(f"images:{folder}")
    assert "6x5" in message and "zz.png is 9x9" in message and "?size=32x32" in message
    splits = data.load(f"images:{folder}?size=6x5")
    kept = {x.tobytes() for x, _ in everything(splits)}
    assert sum(picture(i).tobytes() in kept for i in range(40)) == 40  # their own size: unchanged
    flat = np.full((30, 30, 3), 77, np.uint8)
    write(folder / "cat/zz.png", flat)
    assert any((x == 77).all() for x, _ in everything(data.load(f"images:{folder}?size=6x5")))


class TestRefused:
    def test_folders(self, folder, tmp_path):
        assert "no folder" in refused(f"images:{folder / 'nosuch'}")
        (folder / "ant").mkdir()
        assert "class ant has no images" in refused(f"images:{folder}")
        (tmp_path / "empty").mkdir()
        assert "a folder per class" in refused(f"images:{tmp_path / 'empty'}")

    def test_files(self, folder):
        for name, content, says in [
            ("cat/notes.txt", b"x", "neither PNG nor JPEG"),
            ("cat/00.png", b"", "00.png: not a readable"),
            ("cat/00.png", b"text", "00.png: not a readable PNG or JPEG image (Unknown image file"),
            ("cat/00.png", (folder / "cat/01.png").read_bytes()[:60], "00.png: not a readable"),
        ]:
            (folder / name).write_bytes(content)
            assert says in refused(f"images:{folder}")
            (folder / name).unlink()

    def test_options(self, folder):
        assert "HEIGHTxWIDTH" in refused(f"images:{folder}?size=32")
        assert "1 or 3" in refused(f"images:{folder}?channels=2")
        assert "channels, size" in refused(f"images:{folder}?color=3")

    def test_one_class(self, folder):
        (folder / "bird").rename(folder / ".bird")
        assert "2 classes" in refused(f"images:{folder}")
