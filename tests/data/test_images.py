import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_distill import data
from keras_distill._internal import InputError, KerasDistillWarning
from keras_distill.data import _image_files, _images


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


def pillow(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)


@pytest.mark.parametrize("held", [True, False])
def test_every_kind_of_file(tmp_path, monkeypatch, held):
    """Each file has one color, so that lossy formats give it back too."""
    if not held:
        monkeypatch.setattr(_images, "MEMORY_LIMIT", 0)
    flat = [np.full((6, 5, 3), 20 * i, np.uint8) for i in range(12)]
    for i, name in enumerate(["a.png", "b.jpg", "c.gif", "d.bmp", "e.webp", "f.tif"] * 2):
        pillow(tmp_path / f"k{i // 6}" / name, flat[i], lossless=True)
    (tmp_path / "k0/b.jpg").rename(tmp_path / "k0/b.jfif")  # known by its content
    Image.fromarray(flat[1]).quantize(4).save(tmp_path / "k1/g.bmp")
    pillow(tmp_path / "k1/h.webp", np.dstack([flat[2], flat[2][..., :1]]))
    splits = data.load(f"images:{tmp_path}")
    assert splits.input_shape == (6, 5, 3)
    found = {(x.tobytes(), y) for x, y in everything(splits)}
    expected = {(x.tobytes(), i // 6) for i, x in enumerate(flat)}
    assert found == expected | {(flat[1].tobytes(), 1), (flat[2].tobytes(), 1)}


def test_gray_files_that_pillow_decodes(tmp_path):
    gray, wide = picture(0, channels=1)[..., 0], np.full((6, 5), 0x1234, np.uint16)
    for i in range(10):
        for label, suffix in (("a", "bmp"), ("b", "webp" if i else "tif")):
            pillow(tmp_path / label / f"{i}.{suffix}", gray, "L")
    for i in range(5):
        pillow(tmp_path / "a" / f"wide{i}.tiff", wide)
    splits = data.load(f"images:{tmp_path}?channels=1")
    pixels = [x for x, y in everything(splits) if y == 0]
    assert sum(np.array_equal(x[..., 0], gray) for x in pixels) == 10
    assert sum((x == 0x12).all() for x in pixels) == 5


def test_what_is_no_image_is_skipped_and_counted(folder):
    (folder / "cat/Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    (folder / "bird/notes.txt").write_text("BM, as a bitmap starts")
    words = r"skipped, not images \(2 of 42 files\): bird/notes.txt; cat/Thumbs.db"
    with pytest.warns(KerasDistillWarning, match=words):
        splits = data.load(f"images:{folder}")
    assert sum(splits.sizes.values()) == 40 and "Thumbs.db" in splits.warnings[0]
    assert "not images (2 of 42 files)" in refused(f"images:{folder}?strict=1")


def test_only_the_splits_that_are_read_are_decoded_and_each_file_once(folder, monkeypatch):
    decoded = []
    decode = _image_files.decode
    watched = lambda file: (decoded.append(file.path), decode(file))[1]  # noqa: E731
    monkeypatch.setattr(_image_files, "decode", watched)
    splits = data.load(f"images:{folder}", reads=("test",))
    assert len(decoded) == len(set(decoded)) == 8
    whole = data.load(f"images:{folder}")
    assert len(decoded) == 48 and len(set(decoded[8:])) == 40
    for split in ("train", "validation", "test"):
        pairs = zip(getattr(splits, split), getattr(whole, split), strict=True)
        assert all((x == a).numpy().all() and y == b for (x, y), (a, b) in pairs)
    with pytest.raises(InputError, match="`reads` must be one of train, validation, test"):
        data.load(f"images:{folder}", reads=("dev",))


class TestUnlabeled:
    @pytest.fixture
    def photos(self, tmp_path):
        for i in range(20):
            write(tmp_path / "photos" / f"{i:02}.png", picture(i))
        return tmp_path / "photos"

    def test_a_flat_folder(self, photos):
        splits = data.load(f"images:{photos}")
        assert not splits.labeled and splits.class_names == () and splits.num_classes == 0
        assert splits.sizes == {"train": 14, "validation": 2, "test": 4}
        assert splits.train.element_spec.shape == (6, 5, 3)
        parts = (splits.train, splits.validation, splits.test)
        found = {x.tobytes() for part in parts for x in part.as_numpy_iterator()}
        assert found == {picture(i).tobytes() for i in range(20)}
        assert len(data.statistics(splits.train).scale) == 3
        with pytest.raises(InputError, match=r"the examples have no labels. A run needs them"):
            splits.need_labels("A run")

    def test_flat_splits(self, photos):
        (photos / "train").mkdir()
        for path in photos.glob("*.png"):
            path.rename(photos / "train" / path.name)
        write(photos / "test/a.png", picture(99))
        splits = data.load(f"images:{photos}")
        assert splits.sizes == {"train": 18, "validation": 2, "test": 1}
        (photos / "test/cat").mkdir()
        assert "a class that train does not have: cat" in refused(f"images:{photos}")


class TestRefused:
    def test_folders(self, folder, tmp_path):
        assert "no folder" in refused(f"images:{folder / 'nosuch'}")
        (folder / "ant").mkdir()
        assert "class ant has no images" in refused(f"images:{folder}")
        (folder / "ant/deeper").mkdir()
        assert "deeper is not a regular file" in refused(f"images:{folder}")
        (tmp_path / "empty").mkdir()
        assert "a folder of images per class" in refused(f"images:{tmp_path / 'empty'}")

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("00.png", lambda png: b"", "cat/00.png (it is empty)"),
            ("00.png", lambda png: b"text", "cat/00.png (its content is not an image)"),
            ("00.png", lambda png: png[:60], "cat/00.png ("),
            ("00.png", lambda png: png[:-12], "cat/00.png ("),
            ("0.jpg", lambda png: tf.io.encode_jpeg(picture(0)).numpy()[:-20], "cat/0.jpg ("),
            ("0.txt", lambda png: tf.io.encode_jpeg(picture(0)).numpy()[:-20], "cat/0.txt ("),
            ("0.webp", lambda png: b"RIFF\xff\x00\x00\x00WEBPVP8 " + bytes(30), "cat/0.webp ("),
            ("0.gif", lambda png: b"GIF89a", "cat/0.gif ("),
        ],
    )
    def test_damaged_files(self, folder, name, content, says):
        png = (folder / "cat/01.png").read_bytes()
        (folder / "cat" / name).write_bytes(content(png))
        message = refused(f"images:{folder}")
        assert f"images:{folder}: 1 of 41 image files cannot be read: {says}" in message

    def test_all_damaged_files_are_in_one_message(self, folder):
        for i in range(1, 40, 2):
            png = folder / f"cat/{i:02}.png"
            png.write_bytes(png.read_bytes()[:-9])
        message = refused(f"images:{folder}")
        assert "20 of 40 image files cannot be read: cat/01.png (" in message
        assert re.search(r"; cat/03.png \(.*; and \d+ more. Replace or remove", message)
        assert len(message) < 500 + len(str(folder))

    def test_damage_inside_a_file_is_found_when_it_is_decoded(self, folder):
        for label, i in (("bird", 2), ("cat", 5)):
            png = folder / label / f"{i:02}.png"
            content = bytearray(png.read_bytes())
            content[50] ^= 0xFF
            png.write_bytes(content)
        message = refused(f"images:{folder}?size=4x4")
        assert re.search(r"(bird/02.png|cat/05.png) \(", message)

    def test_an_image_of_too_many_pixels_is_not_decoded(self, folder):
        header = struct.pack(">II5B", 100_000, 100_000, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
        (folder / "cat/00.png").write_bytes(png + struct.pack(">I", zlib.crc32(chunk)) + b"IEND")
        assert "cat/00.png (" in refused(f"images:{folder}")

    def test_options(self, folder):
        assert "HEIGHTxWIDTH" in refused(f"images:{folder}?size=32")
        assert "1 or 3" in refused(f"images:{folder}?channels=2")
        assert "channels, size, strict" in refused(f"images:{folder}?color=3")

    def test_one_class(self, folder):
        (folder / "bird").rename(folder / ".bird")
        assert "2 classes" in refused(f"images:{folder}")
