import logging
import shutil

import numpy as np
import pytest

from keras_distill import data
from keras_distill._internal import InputError
from keras_distill.data import _tfds


def refused(spec, folder):
    with pytest.raises(InputError) as caught:
        data.load(spec, data_dir=folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def speech(tfds_dir):
    return data.load("tfds:spoken_digit?length=4000", data_dir=tfds_dir)


class TestSpokenDigit:
    def test_splits(self, speech):
        assert speech.sizes == {"train": 2025, "validation": 225, "test": 250}
        assert (speech.input_shape, speech.num_classes) == ((4000,), 10)
        assert np.bincount(data.labels_of(speech.test)).tolist() == [25] * 10
        assert any("audio/filename" in note for note in speech.notes)

    def test_is_cut_and_filled_with_zeros(self, speech, tfds_dir):
        import tensorflow_datasets

        raw = tensorflow_datasets.load("spoken_digit", split="train", data_dir=tfds_dir)
        ends = tuple(f"_{i}.wav".encode() for i in range(5))
        test = [e for e in raw.as_numpy_iterator() if e["audio/filename"].endswith(ends)]
        for (x, y), example in zip(speech.test.as_numpy_iterator(), test, strict=True):
            audio = example["audio"][:4000]
            np.testing.assert_array_equal(x[: len(audio)], audio)
            assert not x[len(audio) :].any() and y == example["label"]
        assert {len(e["audio"]) > 4000 for e in test} == {True, False}

    def test_varying_length_is_refused(self, tfds_dir):
        assert "?length=8000" in refused("tfds:spoken_digit", tfds_dir)

    def test_size_is_for_images(self, tfds_dir):
        assert "images" in refused("tfds:spoken_digit?size=8x8", tfds_dir)

    def test_streamed_is_the_same(self, speech, tfds_dir, monkeypatch):
        monkeypatch.setattr(_tfds, "MEMORY_LIMIT", 0)
        streamed = data.load("tfds:spoken_digit?length=4000", data_dir=tfds_dir)
        assert streamed.sizes == speech.sizes and streamed.notes == speech.notes
        for split in ("validation", "test"):
            pairs = zip(
                getattr(streamed, split).as_numpy_iterator(),
                getattr(speech, split).as_numpy_iterator(),
                strict=True,
            )
            assert all(np.array_equal(a, b) and i == j for (a, i), (b, j) in pairs)


@pytest.fixture(scope="module")
def mnist(tfds_dir):
    return data.load("tfds:mnist", data_dir=tfds_dir)


class TestMnist:
    def test_splits(self, mnist):
        assert mnist.sizes == {"train": 54_000, "validation": 6_000, "test": 10_000}
        assert (mnist.input_shape, mnist.num_classes, mnist.name) == ((28, 28, 1), 10, "mnist")
        assert mnist.train.element_spec[0].dtype.name == "uint8"

    def test_known_facts(self, mnist):
        # Mean and deviation of the 60,000 training images are .1307 and .3081 of 255.
        scale, offset = data.statistics(mnist.train)
        assert 1 / scale / 255 == pytest.approx(0.3081, abs=5e-4)
        assert -offset / scale / 255 == pytest.approx(0.1307, abs=5e-4)
        counts = np.bincount(data.labels_of(mnist.test))
        assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_environment_names_the_folder(tfds_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    assert data.load("tfds:spoken_digit:1.0.9?length=10").sizes["test"] == 250


def test_another_label(tfds_dir):
    splits = data.load("tfds:cifar100?label=coarse_label&size=8x6", data_dir=tfds_dir, seed=1)
    assert splits.num_classes == 20 and splits.class_names[0] == "aquatic_mammals"
    assert splits.input_shape == (8, 6, 3) and splits.train.element_spec[0].dtype.name == "uint8"
    assert splits.sizes == {"train": 45_000, "validation": 5_000, "test": 10_000}


def test_refusals(tfds_dir, tmp_path):
    assert "--data-dir" in refused("tfds:mnist", tmp_path / "nosuch")
    assert "cifar100, mnist, spoken_digit" in refused("tfds:nosuch", tfds_dir)
    assert "label, coarse_label" in refused("tfds:cifar100?label=fine", tfds_dir)
    assert "sequences" in refused("tfds:mnist?length=3", tfds_dir)
    assert "HEIGHTxWIDTH" in refused("tfds:mnist?size=3", tfds_dir)
    assert "known options" in refused("tfds:mnist?split=train", tfds_dir)
    assert "9.9.9" in refused("tfds:mnist:9.9.9", tfds_dir)
    assert "'..'" in refused("tfds:../mnist", tfds_dir)
    assert "Prepared there: none" in refused("tfds:mnist", tmp_path)


def test_half_prepared(tfds_dir, tmp_path):
    logging.getLogger("absl").setLevel(logging.ERROR)
    (tmp_path / "mnist").mkdir()
    assert "not there" in refused("tfds:mnist", tmp_path)
    shutil.copytree(tfds_dir / "mnist", tmp_path / "mnist", dirs_exist_ok=True)
    info = tmp_path / "mnist/3.0.1/dataset_info.json"
    info.chmod(0o644)
    info.write_text("{")
    assert "TFDS cannot read it" in refused("tfds:mnist", tmp_path)


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["train"], {"train": "train"}),
        (["train", "test"], {"train": "train", "test": "test"}),
        (["train", "validation"], {"train": "train", "test": "validation"}),
        (["train", "dev", "test"], {"train": "train", "validation": "dev", "test": "test"}),
    ],
)
def test_split_names(there, found):
    class Info:
        splits = there

    assert _tfds._split_names(None, Info) == found
