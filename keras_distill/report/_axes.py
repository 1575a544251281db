"""The axes of a chart: their limits, their ticks, and the pixel positions of values."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

_PER_TICK = 55  # pixels
# The round numbers of a decade. The first sets are for axes shorter than a decade.
_STEPS = (
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    range(1, 10),
    (1, 2, 4, 6, 8),
    (1, 2, 3, 5),
    (1, 2, 5),
    (1, 3),
    (1,),
)


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        title: Its title, with the unit.
        low: Its first value.
        high: Its last value.
        log: Whether it is logarithmic.
        ticks: The values to label. If None, round values chosen by the library.
        labels: Labels by tick. If None, the numbers.
    """

    title: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None

    @classmethod
    def around(
        cls,
        title: str,
        values: Iterable[float],
        *,
        log: bool = False,
        tight: bool = False,
        margin: float = 0.08,
    ) -> "Axis":
        """Creates an axis for these values, with a margin (a fraction) unless `tight`."""
        found = list(values)
        if tight and min(found) < max(found):
            return cls(title, min(found), max(found), log)
        if tight and not log:
            return cls(title, min(found) - 1, max(found) + 1)
        return cls(title, *(log_domain(found, margin) if log else domain(found, margin)), log)

    def share(self, value: float) -> float:
        """Returns the relative position of a value: 0 at the start of the axis, 1 at its end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def horizontal(self, pixels: int, *, whole: bool = False) -> dict[str, Any]:
        """Returns the channel `x` of a plot with this width, for the field "x".

        Args:
            pixels: Width of the plot.
            whole: Whether ticks are whole numbers only.
        """
        ticks = self.ticks
        if ticks is None and self.log:
            ticks = tuple(log_ticks(self.low, self.high, pixels // _PER_TICK))
        if ticks is None and whole:
            ticks = tuple(whole_ticks(self.low, self.high, pixels // _PER_TICK))
        axis = {"grid": False, "tickCount": max(3, pixels // 80)}
        return self._channel("x", axis, ticks)

    def vertical(self, padding: int) -> dict[str, Any]:
        """Returns the channel `y` for the field "y"; the title begins at the left edge."""
        return self._channel("y", {"titleX": 6 - padding, "tickCount": 5}, self.ticks)

    def _channel(
        self, field: str, axis: dict[str, Any], ticks: Sequence[float] | None
    ) -> dict[str, Any]:
        axis = {"title": self.title, **axis}
        if ticks is not None:
            # On logarithmic scales, few ticks would be labeled; with a count, some are lost.
            axis = {k: v for k, v in axis.items() if k != "tickCount"}
            number = "format(datum.value, '~r')"
            axis |= {"values": list(ticks), "labelExpr": number, "labelOverlap": False}
        if self.labels is not None and ticks is not None:
            named = zip(map("{:g}".format, ticks), self.labels, strict=True)
            axis["labelExpr"] = f"({json.dumps(dict(named))})[format(datum.value, '~g')]"
        scale: dict[str, Any] = {"domain": [self.low, self.high], "nice": False, "zero": False}
        if self.log:
            scale = {"domain": [self.low, self.high], "nice": False, "type": "log"}
        return {"field": field, "type": "quantitative", "scale": scale, "axis": axis}


def domain(values: Sequence[float], margin: float = 0.08) -> tuple[float, float]:
    """Returns the ends of a linear axis: the values with a margin.

    Example:
        >>> domain([90.0, 100.0])
        (89.2, 100.8)
    """
    low, high = min(values), max(values)
    room = margin * (high - low) or 0.02 * abs(high) or 1.0
    return low - room, high + room


def log_domain(values: Sequence[float], margin: float = 0.08) -> tuple[float, float]:
    """Returns the ends of a logarithmic axis: the values plus a margin."""
    low, high = (math.log10(value) for value in (min(values), max(values)))
    room = max(margin * (high - low), 0.1)
    return 10 ** (low - room), 10 ** (high + room)


def whole_ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round whole numbers inside an axis, at most `most`.

    Example:
        >>> whole_ticks(0.5, 4.5, 9), whole_ticks(1, 60, 9)
        ([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    """
    steps = (step * 10**power for power in count() for step in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step < max(2, most))
    return [float(step * n) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round numbers inside a logarithmic axis, at most `most`.

    Example:
        >>> log_ticks(3, 400, 9)
        [3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 200.0, 300.0]
        >>> log_ticks(3, 400, 6)
        [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
        >>> log_ticks(3, 400, 3)
        [10.0, 100.0]
        >>> log_ticks(0.83, 1.6, 4)
        [0.9, 1.0, 1.2, 1.5]
        >>> log_ticks(0.0034, 0.011, 4)
        [0.004, 0.006, 0.008, 0.01]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    ticks: list[float] = []
    for steps in _STEPS:
        ticks = [float(f"{step}e{power}") for power in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(best) < len(ticks) <= most:
            best = ticks
    return best or ticks[:: math.ceil(len(ticks) / max(1, most))]
