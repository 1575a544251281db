"""What holds for every record: unknown keys are refused, and the nearest known key is named."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from keras_distill import InputError
from keras_distill.records import Curve, Record, SealedRecord, TomlRecord
from keras_distill.records._base import Measured


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


class Logs(Record):
    accuracy: float = 0.5
    loss: tuple[Measured, ...] = ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf, np.float32("nan")])
def test_a_record_with_a_loss_that_is_not_finite_can_be_loaded(tmp_path, value):
    path = Logs(loss=(1.0, value)).save(tmp_path / "logs.json")
    assert Logs.load(path).loss == (1.0, None)


def test_the_curve_of_a_training_that_diverged_can_be_loaded(tmp_path):
    logs = {"loss": [2.0, float("nan")], "val_accuracy": [0.5, 0.1]}
    curve = Curve.of(logs, epochs_per_round=2)
    assert Curve.load(curve.save(tmp_path / "curve.json")) == curve
    assert curve.loss == (2.0, None)


def test_other_numbers_must_be_finite():
    with pytest.raises(ValidationError, match="finite number"):
        Logs(accuracy=float("nan"))
    with pytest.raises(InputError, match="finite"):
        Logs.parse('{"accuracy": NaN}', source="x")
    with pytest.raises(InputError, match="numbers must be finite"):
        Logs.parse('{"loss": [NaN]}', source="x")


def _records(base=Record):
    for record in base.__subclasses__():
        if record.__module__.startswith("keras_distill."):
            yield record
        yield from _records(record)


@pytest.mark.parametrize("record", list(_records()), ids=lambda record: record.__name__)
def test_every_record_refuses_or_replaces_what_is_not_finite(record):
    assert record.model_config["allow_inf_nan"] is False
