"""What holds for every record: unknown keys are refused, and the nearest known key is named."""

import json

import pytest

from keras_distill import InputError
from keras_distill.records import Record, SealedRecord, TomlRecord


class Part(Record):
    epochs: int = 1
    batch_size: int = 8


class Whole(TomlRecord):
    name: str
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = {}  # noqa: RUF012


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"nam": "x"}, r"`name` must be given; `nam` must be a known key\. Did you mean `name`\?"),
        ({"part": {"epoch": 1}}, r"`part\.epoch` must be a known key\. Did you mean `epochs`\?"),
        ({"parts": [{"batchsize": 1}]}, r"`parts\.0\.batchsize` .* Did you mean `batch_size`\?"),
        ({"by_name": {"a": {"epoch": 1}}}, r"`by_name\.a\.epoch` .* Did you mean `epochs`\?"),
        ({"xyz": 1}, "`xyz` must be a known key$"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(value, message):
    with pytest.raises(InputError, match=message):
        Whole.parse({"name": "a", **value} if "nam" not in value else value, source="x")


def test_toml_round_trip(tmp_path):
    whole = Whole(name="a", part=Part(epochs=3))
    path = whole.save(tmp_path / "whole.toml")
    assert Whole.load(path) == whole
    with pytest.raises(InputError, match="exists"):
        whole.save(path)


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    (tmp_path / "x.toml").write_text("name = ")
    with pytest.raises(InputError, match="is not TOML"):
        Whole.load(tmp_path / "x.toml")


class Sealed(SealedRecord):
    name: str
    share: float = 0.5
    parts: tuple[Part, ...] = ()


class SealedLater(Sealed):
    """The same record in a later version of the package."""

    size: int = 3


def test_a_sealed_record_is_read_by_a_later_version_with_more_fields(tmp_path):
    path = Sealed(name="a", share=1, parts=(Part(epochs=3),)).save(tmp_path / "x.json")
    assert SealedLater.load(path).size == 3
    assert SealedLater.load(path).parts == (Part(epochs=3),)
    assert Sealed.parse(json.loads(path.read_text()), source="x") == Sealed.load(path)
