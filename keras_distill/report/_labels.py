"""Places the labels of a chart so that they do not overlap or leave the plot. Units: pixels."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from keras_distill.report._charts import FONT_SIZE

LINE_HEIGHT = FONT_SIZE + 3
_LETTER = 0.56 * FONT_SIZE  # mean width of a letter in a sans-serif font
_DISTANCES = (9, 22, 38)  # of a label from its point
BOLD = 1.1  # width of a bold label relative to the estimate for a normal label
_OF_BAR = 6  # cost of covering the thin bar of another point, compared with a label


class Box(NamedTuple):
    """A rectangle; y grows downward."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "Box") -> float:
        """Returns the area of the intersection."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


class Place(NamedTuple):
    """The position of a label: its anchor, and the alignment of the text."""

    x: float
    y: float
    align: str  # left, center, or right


def text_width(text: str) -> float:
    """Estimates the width of a text in pixels; of the longest line if it has several."""
    return _LETTER * max(len(line) for line in text.split("\n"))


def wrap(text: str, width: float) -> str:
    """Breaks a bold text into lines of at most `width` pixels, at spaces.

    Example:
        >>> wrap("class sets that distribute the classes evenly: +1.8", 310)
        'class sets that distribute the classes\\nevenly: +1.8'
    """
    letters = max(10, int(width / (BOLD * _LETTER)))
    return "\n".join(textwrap.wrap(text, letters, break_long_words=False)) or text


def spread(positions: Sequence[float], distance: float = LINE_HEIGHT) -> list[float]:
    """Moves positions as little as possible until neighbors are at least `distance` apart.

    Groups of positions that are too close are spread around their mean.

    Example:
        >>> spread([10.0, 50.0, 12.0], 16)
        [3.0, 50.0, 19.0]
    """
    groups: list[list[int]] = []
    middles: list[float] = []
    for number in sorted(range(len(positions)), key=lambda n: positions[n]):
        groups.append([number])
        middles.append(positions[number])
        while len(groups) > 1:
            room = distance * (len(groups[-1]) + len(groups[-2])) / 2
            if middles[-1] - middles[-2] >= room - 1e-9:
                break
            last = groups.pop()
            groups[-1] += last
            middles.pop()
            middles[-1] = sum(positions[n] for n in groups[-1]) / len(groups[-1])
    found = [0.0] * len(positions)
    for group, middle in zip(groups, middles, strict=True):
        for place, number in enumerate(group):
            found[number] = middle + distance * (place - (len(group) - 1) / 2)
    return found


def place(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    width: float,
    height: float,
    bars: Sequence[Box] = (),
    unnamed: Sequence[tuple[float, float]] = (),
) -> list[Place]:
    """Places a label of one line beside each point of a plot.

    One label after another is placed. Near positions around its point are tried first; the label
    takes the position where it covers least of other points, labels, bars, and the outside.

    Args:
        points: x and y of each point.
        texts: The label of each point.
        width: Width of the plot.
        height: Height of the plot.
        bars: The interval of each point. A label may cross the interval of its own point.
        unnamed: x and y of points without a label.
    """
    taken = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in (*points, *unnamed)]
    found: list[Place] = []
    for number, ((x, y), text) in enumerate(zip(points, texts, strict=True)):
        others = [bar for place, bar in enumerate(bars) if place != number]
        options = [(_box(spot, text), spot) for spot in _around(x, y)]
        box, spot = min(options, key=lambda o, b=others: _cost(o[0], taken, b, width, height))
        taken.append(box)
        found.append(spot)
    return found


def _around(x: float, y: float) -> list[Place]:
    spots = []
    for d in _DISTANCES:
        spots += [
            Place(x + d, y, "left"),
            Place(x - d, y, "right"),
            Place(x, y - d - 4, "center"),
            Place(x, y + d + 4, "center"),
            Place(x + d - 3, y - d, "left"),
            Place(x + d - 3, y + d, "left"),
            Place(x - d + 3, y - d, "right"),
            Place(x - d + 3, y + d, "right"),
        ]
    return spots


def _box(spot: Place, text: str) -> Box:
    width = text_width(text)
    left = spot.x - {"left": 0.0, "center": width / 2, "right": width}[spot.align]
    return Box(left, spot.y - LINE_HEIGHT / 2, left + width, spot.y + LINE_HEIGHT / 2)


def _cost(
    box: Box, taken: Sequence[Box], bars: Sequence[Box], width: float, height: float
) -> float:
    area = (box.right - box.left) * (box.bottom - box.top)
    inside = box.overlap(Box(0, -10, width + 10, height))
    covered = sum(map(box.overlap, taken)) + _OF_BAR * sum(map(box.overlap, bars))
    return covered + 4 * (area - inside)
