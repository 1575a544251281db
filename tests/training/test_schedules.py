"""Schedules: values, ends, serialization."""

import keras
import numpy as np
import pytest

from keras_distill import CosineSchedule, InputError, LinearSchedule


@pytest.mark.parametrize("kind", [LinearSchedule, CosineSchedule])
def test_ends_and_delay(kind):
    schedule = kind(8.0, 2.0, 100, delay=20)
    assert [float(schedule(s)) for s in (0, 20)] == [8, 8]
    assert [float(schedule(s)) for s in (120, 10_000)] == [2, 2]
    assert float(schedule(70)) == pytest.approx(5)  # both are half way there


def test_cosine_formula():
    schedule = CosineSchedule(1.0, 0.0, 50)
    steps = np.arange(51)
    expected = 0.5 * (1 + np.cos(np.pi * steps / 50))
    np.testing.assert_allclose([float(schedule(s)) for s in steps], expected, atol=1e-6)


@pytest.mark.parametrize("kind", [LinearSchedule, CosineSchedule])
def test_round_trip(kind):
    schedule = kind(0.9, 0.1, 30, delay=3)
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is kind and again.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "a"}, "`start` must be a finite number"),
        ({"steps": 0}, "`steps` must be a whole number >= 1"),
        ({"delay": -1}, "`delay` must be a whole number >= 0"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        LinearSchedule(**{"start": 0.0, "end": 1.0, "steps": 10, **arguments})
