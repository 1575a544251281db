import numpy as np
import pytest

from keras_distill.metrics import better_scaling, constant_accuracy, is_near_chance
from keras_distill.metrics._input_range import ROWS, plausible_scalings

RANDOM = np.random.default_rng(0)
UNIT = RANDOM.uniform(0, 1, (200, 4)).astype(np.float32)
UNIT[0, 0], UNIT[0, 1] = 0, 1
LABELS = UNIT.argmax(1)


def _trained_on(low, high):
    """The accuracy of a model of UNIT · (high - low) + low: right there, constant elsewhere."""

    def accuracy(x, rows):
        unit = (x["x"].astype(float) - low) / (high - low)
        inside = abs(unit.mean() - 0.5) < 0.1 and 0.2 < unit.std() < 0.4
        answers = unit.argmax(1) if inside else np.zeros(len(unit), int)
        return float((answers == LABELS[rows]).mean())

    return accuracy


def _found(accuracy, x, labels=LABELS):
    return better_scaling(accuracy, {"x": x}, constant_accuracy(labels), ("x",))


@pytest.mark.parametrize(
    ("given", "trained", "text"),
    [
        (UNIT * 255, (0, 1), "x / 255"),
        (np.round(UNIT * 255).astype(np.uint8), (-1, 1), "x / 127.5 - 1"),
        (UNIT * 16, (0, 1), "x / 16"),
        (UNIT * 16, (-1, 1), "x / 8 - 1"),
        (UNIT, (0, 255), "x * 255"),
        (UNIT, (-1, 1), "2 * x - 1"),
        (2 * UNIT - 1, (0, 1), "(x + 1) / 2"),
        (2 * UNIT - 1, (0, 255), "(x + 1) * 127.5"),
    ],
)
def test_the_range_of_the_training_is_found(given, trained, text):
    found = _found(_trained_on(*trained), given)
    assert found.scaling.text == text
    assert found.scaled_accuracy > 0.95 and found.accuracy < 0.4
    assert (found.low, found.high) == (given.min(), given.max())
    assert (found.input, found.rows) == ("x", 200)


def test_the_right_range_is_left_alone_after_one_measurement():
    calls = []

    def accuracy(x, rows):
        calls.append(len(rows))
        return _trained_on(0, 1)(x, rows)

    assert _found(accuracy, UNIT) is None
    assert calls == [200]


def test_no_statement_without_a_clear_gain_or_enough_rows():
    mean = UNIT * 255
    assert (
        better_scaling(lambda x, rows: 0.55 + 0.05 * (x["x"].max() < 2), {"x": mean}, 0.3, ("x",))
        is None
    )
    few = {"x": mean[:20]}
    assert better_scaling(_trained_on(0, 1), few, 0.3, ("x",)) is None
    # Another constant answer is no better model.
    assert (
        better_scaling(lambda x, rows: 0.7 if x["x"].max() < 2 else 0.3, {"x": mean}, 0.7, ("x",))
        is None
    )
    assert better_scaling(_trained_on(0, 1), {"x": mean}, 0.3, ()) is None


def test_half_the_errors_and_ten_points_are_a_clear_gain():
    def accuracy(x, rows):
        return 0.97 if x["x"].max() < 2 else 0.85

    assert _found(accuracy, UNIT * 255).scaled_accuracy == 0.97


def test_at_most_some_hundred_rows_are_measured():
    x, seen = np.repeat(UNIT * 255, 10, axis=0), []

    def accuracy(x, rows):
        seen.append(rows)
        return 0.1

    better_scaling(accuracy, {"x": x}, 0.1, ("x",))
    assert all(len(rows) == ROWS and rows[-1] == 1999 for rows in seen)


def test_standardized_rows():
    x = RANDOM.normal(120, 60, (100, 3))
    texts = [s.text for s in plausible_scalings(x)]
    assert texts[-1].startswith("(x - ") and len(texts) == 1  # with negative values, no pixels
    scaled = x * plausible_scalings(x)[0].scale + plausible_scalings(x)[0].offset
    assert scaled.mean() == pytest.approx(0, abs=1e-9) and scaled.std() == pytest.approx(1)
    assert plausible_scalings(RANDOM.normal(0, 1, (100, 3))) == []
    assert plausible_scalings(np.zeros((3, 3)))[0].text == "x * 255"


def test_chance():
    assert constant_accuracy(np.array([[0, 0], [1, -1]])) == pytest.approx(2 / 3)
    assert is_near_chance(0.0, 0.5, 100) and not is_near_chance(0.7, 0.5, 100)
