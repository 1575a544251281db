"""Records read back: strictly, within bounds, against themselves, and with their checksum."""

import json
import os

import pytest

from keras_distill._internal import InputError
from keras_distill.records import Record, SealedRecord, TomlRecord, TrainingSettings


class Note(Record):
    text: str = ""
    count: int = 1
    share: float = 0.5
    parts: tuple[int, ...] = ()


class Sealed(SealedRecord):
    text: str = ""


class Recipe(TomlRecord):
    count: int = 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"count": True}, "`count` must be a valid integer. Received: True"),
        ({"count": "1"}, "`count` must be a valid integer. Received: '1'"),
        ({"count": 1.0}, "`count` must be a valid integer. Received: 1.0"),
        ({"share": float("nan")}, "`share` must be a finite number. Received: nan"),
        ({"share": float("-inf")}, "`share` must be a finite number. Received: -inf"),
        ({"share": True}, "`share` must be a valid number. Received: True"),
        ({"parts": [1, None]}, "`parts.1` must be a valid integer. Received: None"),
        ({"x" * 1000: 1}, "`x{60}` must be a known key$"),
        ({f"k{i}": 1 for i in range(5000)}, "; and 4997 more$"),
    ],
)
def test_values_of_other_types_are_refused(value, message):
    with pytest.raises(InputError, match=message) as caught:
        Note.parse(value, source="note")
    assert len(str(caught.value)) < 500
    if "share" not in value:
        with pytest.raises(InputError, match=message):
            Note.parse(json.dumps(value), source="note")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{" + '"a":{' * 5000, "9" * 5000, "[]", "\0"])
def test_text_that_is_no_record_is_one_line(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json") as caught:
        Note.load(path)
    assert "\n" not in str(caught.value)


def test_a_list_is_a_tuple_and_a_whole_number_a_number():
    assert Note.parse({"parts": [1, 2], "share": 1}, source="x") == Note(parts=(1, 2), share=1.0)


def test_large_and_special_files_are_not_read(tmp_path):
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(33 << 20)
    with pytest.raises(InputError, match="has 34603008 bytes; at most 33554432 are read"):
        Note.load(large)
    os.mkfifo(tmp_path / "fifo.toml")
    with pytest.raises(InputError, match="is a FIFO, not a file"):
        Recipe.load(tmp_path / "fifo.toml")
    (tmp_path / "digits.toml").write_text("count = " + "9" * 5000)
    with pytest.raises(InputError, match="is not TOML"):
        Recipe.load(tmp_path / "digits.toml")


def test_an_edited_record_is_refused(tmp_path):
    path = Sealed(text="a").save(tmp_path / "x.json")
    assert Sealed.load(path).text == "a"
    path.write_text(path.read_text().replace('"a"', '"b"'))
    with pytest.raises(InputError, match="was changed after it was written"):
        Sealed.load(path)
    path.write_text('{"text": "a"}')
    with pytest.raises(InputError, match=r"has no checksum \(`seal`\)"):
        Sealed.load(path)


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 10**30}, {"batch_size": 10**9}, {"learning_rate": 1e300}, {"epochs": True}],
)
def test_training_settings_without_sense(settings):
    with pytest.raises(InputError, match=f"`{next(iter(settings))}` must be"):
        TrainingSettings.parse(settings, source="mine.toml")
