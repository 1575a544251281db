"""The part `[sweep]` of a recipe: the keys that vary, and their values."""

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeGuard, get_args

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill.records._base import Record

Changes = dict[str, Any]
"""Values by dotted key, such as `{"distillation.temperature": 2}`."""

_MAX_POINTS = 10_000
# A point is one student. These parts of a recipe belong to the whole sweep, or affect no student.
_NOT_SWEPT = (
    "name", "summary", "budget", "variants", "seeds", "sweep", "export", "compress", "benchmark",
)  # fmt: skip
Reference = Literal["alone", "alone_all_labels", "label_smoothing", "none"]
_REFERENCES = get_args(Reference)


class SweepRange(Record):
    """An interval from which values are drawn.

    Attributes:
        low: The smallest value.
        high: The largest value.
        log: Whether the logarithm of the value is drawn uniformly instead of the value.
        whole: Whether to round values to integers.

    Example:
        >>> values = SweepRange(low=1, high=16, log=True)
        >>> values.value_at(0.5)
        4.0
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise InputError(
                f"`low` must be < `high`. Received: low={self.low:g}, high={self.high:g}"
            )
        if self.log and self.low <= 0:
            raise InputError(f"`low` must be > 0 with `log`. Received: low={self.low:g}")
        return self

    def value_at(self, share: float) -> float | int:
        """Returns the value at a fraction, 0..1, of the way from low to high.

        The value has four significant digits, so that it is readable and equal on all machines.
        """
        if self.log:
            value = math.exp(
                math.log(self.low) + share * (math.log(self.high) - math.log(self.low))
            )
        else:
            value = self.low + share * (self.high - self.low)
        value = min(max(float(f"{value:.4g}"), self.low), self.high)
        return round(value) if self.whole else value


class RandomPoints(Record):
    """Points drawn at random, each key independently.

    Attributes:
        count: Number of points.
        keys: For each key, a list of values to choose from, or a range `{low, high, log, whole}`.
        seed: Seed of the draws. A larger `count` only adds points at the end.

    Example:
        >>> drawn = RandomPoints(count=2, keys={"distillation.alpha": (0.5, 0.9)}, seed=1)
        >>> list(drawn.points())
        [{'distillation.alpha': 0.5}, {'distillation.alpha': 0.9}]
    """

    count: int = Field(ge=1, le=_MAX_POINTS, examples=[8])
    keys: dict[str, SweepRange | tuple[Any, ...]] = Field(
        min_length=1, examples=[{"distillation.alpha": [0.5, 0.9]}]
    )
    seed: int = Field(default=0, ge=0)

    @field_validator("keys", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return _with_tuples(flattened(value, leaf=_is_range)) if _is_table(value) else value

    @field_validator("keys")
    @classmethod
    def _some_values(
        cls, value: dict[str, SweepRange | tuple[Any, ...]]
    ) -> dict[str, SweepRange | tuple[Any, ...]]:
        return {key: v if isinstance(v, SweepRange) else _some(key, v) for key, v in value.items()}

    def points(self) -> Iterator[Changes]:
        """Yields the points in the order in which they are drawn."""
        draw = random.Random(self.seed)  # its `random()` is the same in all versions of Python
        for _ in range(self.count):
            point: Changes = {}
            for key, values in sorted(self.keys.items()):
                share = draw.random()
                if isinstance(values, SweepRange):
                    point[key] = values.value_at(share)
                else:
                    point[key] = values[int(share * len(values))]
            yield point


def _is_table(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _with_tuples(values: Changes) -> Changes:
    """Returns the table with its lists converted to tuples, as strict validation requires."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _is_range(value: Mapping[str, Any]) -> bool:
    return "low" in value or "high" in value


def _some(key: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError(f"must have one or more values for {key}")
    return values


class SweepPart(Record):
    """The points of a sweep: recipes that differ in some keys, each trained with every seed.

    The points are those of the grid, then those of the list, then the random points. Duplicates are
    removed.

    Attributes:
        grid: Values by key; every combination is a point.
        points: A list of points, each a table of values by key.
        random: Points drawn at random.
        reference: What every point is compared with: a variant of the same student trained without
            a teacher (`alone`, `alone_all_labels`, or `label_smoothing`, as in `variants`), `none`,
            or another point, given as a table of values by key.

    Example:
        >>> part = SweepPart.parse(
        ...     {"grid": {"distillation": {"temperature": [1, 4], "alpha": [0.5]}}}, source="mine")
        >>> [point["distillation.temperature"] for point in part.expanded()]
        [1, 4]
        >>> SweepPart.parse({"grid": {"seeds": [1, 2]}}, source="mine.toml")
        Traceback (most recent call last):
        keras_distill.InputError: mine.toml: `seeds` must not vary over a sweep. Received: ...
    """

    grid: dict[str, tuple[Any, ...]] = Field(default={})
    points: tuple[Changes, ...] = Field(default=(), max_length=_MAX_POINTS)
    random: RandomPoints | None = None
    reference: Reference | Changes = "alone"

    @field_validator("grid", mode="before")
    @classmethod
    def _flat_grid(cls, value: Any) -> Any:
        return _with_tuples(flattened(value)) if _is_table(value) else value

    @field_validator("reference", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if not _is_table(value) and value not in _REFERENCES:
            rule = f"be {', '.join(_REFERENCES)}, or a table of values by key"
            raise ValueError(f"must {rule}")
        return flattened(value) if _is_table(value) else value

    @field_validator("points", mode="before")
    @classmethod
    def _each_flat(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(flattened(point) if _is_table(point) else point for point in value)

    @field_validator("grid")
    @classmethod
    def _some_values(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return {key: _some(key, values) for key, values in value.items()}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        keys = [*self.grid, *(key for point in self.points for key in point)]
        keys += [] if self.random is None else self.random.keys
        for key in keys:
            if key.partition(".")[0] in _NOT_SWEPT:
                raise InputError(
                    f"`{key}` must not vary over a sweep. Received: {', '.join(sorted(set(keys)))}."
                    f" Vary keys of other parts than {', '.join(_NOT_SWEPT)}."
                )
        size = math.prod(len(values) for values in self.grid.values()) if self.grid else 0
        if size > _MAX_POINTS:
            raise InputError(f"`grid` must have <= {_MAX_POINTS} points. Received: {size}")
        return self

    def expanded(self) -> list[Changes]:
        """Returns the points in order, without duplicates."""
        found: list[Changes] = []
        if self.grid:
            combinations = itertools.product(*self.grid.values())
            found += [dict(zip(self.grid, values, strict=True)) for values in combinations]
        found += self.points
        found += [] if self.random is None else self.random.points()
        unique = {json.dumps(point, sort_keys=True): point for point in found}
        return list(unique.values())


def flattened(values: Mapping[str, Any], *, leaf: Any = lambda value: False) -> Changes:
    """Converts nested tables to one table with dotted keys.

    Args:
        values: Tables of TOML or JSON.
        leaf: A function of a table that returns whether the table is a value.

    Example:
        >>> flattened({"distillation": {"alpha": 1}, "training.epochs": 2})
        {'distillation.alpha': 1, 'training.epochs': 2}
    """
    found: Changes = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and not leaf(value):
            inner = flattened(value, leaf=leaf)
            found.update({f"{key}.{name}": part for name, part in inner.items()})
        else:
            found[key] = value
    return found
