"""Labels of charts: apart from each other, and inside the plot."""

import itertools

import numpy as np
import pytest

from keras_distill.report._axes import log_ticks
from keras_distill.report._labels import LINE_HEIGHT, _box, place, spread


@pytest.mark.parametrize("positions", [[5.0] * 4, [1, 2, 3, 40, 41], [0, 100, 50], [7.0]])
def test_spread_keeps_the_order_the_mean_and_the_distance(positions):
    found = np.array(spread(positions, 16))
    assert (
        np.argsort(found, kind="stable").tolist() == np.argsort(positions, kind="stable").tolist()
    )
    assert np.isclose(found.mean(), np.mean(positions))
    assert (np.diff(np.sort(found)) >= 16 - 1e-6).all()


def test_positions_that_are_apart_stay():
    assert spread([0, 20, 60], 16) == [0, 20, 60]


@pytest.mark.parametrize("count", [2, 5, 9])
def test_labels_of_close_points_do_not_collide_or_leave_the_plot(count):
    draw = np.random.default_rng(count)
    points = [(200 + x, 120 + y) for x, y in draw.normal(0, 18, (count, 2))]
    texts = [f"file int8 {number}" for number in range(count)]
    boxes = [
        _box(spot, text) for spot, text in zip(place(points, texts, 400, 250), texts, strict=True)
    ]
    covered = sum(a.overlap(b) for a, b in itertools.combinations(boxes, 2))
    assert covered < 0.1 * sum(LINE_HEIGHT * (box.right - box.left) for box in boxes)
    assert all(box.left >= 0 and box.right <= 410 and box.bottom <= 250 for box in boxes)


def test_a_label_at_the_edge_turns_inward():
    (right,) = place([(395, 100)], ["teacher"], 400, 250)
    (left,) = place([(5, 100)], ["teacher"], 400, 250)
    assert (right.align, left.align) == ("right", "left")


@pytest.mark.parametrize("low, high", [(0.0051, 0.009), (3, 400), (1e-3, 1e5)])
def test_ticks_of_a_logarithmic_axis_are_few_and_inside(low, high):
    ticks = log_ticks(low, high, 5)
    assert 1 <= len(ticks) <= 5 and all(low <= tick <= high for tick in ticks)
