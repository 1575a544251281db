"""Measures how much the outputs change if only a few operators are quantized.

Operators are measured in at most `GROUPS` groups of neighbors, and then the operators of the most
sensitive groups one by one, at most `SINGLES`. The number of quantizations is therefore bounded for
networks of any depth. Each result is compared with the float32 file on the calibration rows.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from keras_distill._internal import InputError
from keras_distill.litert import Effect, Operator, Quantizer, Rule
from keras_distill.precision._recipes import Group
from keras_distill.records import Sensitivity

GROUPS, SINGLES = 32, 16
_UNUSABLE = 1e9  # noise of a file that cannot be made or run


class Measured(NamedTuple):
    """A group and the effect of quantizing only this group."""

    group: Group
    kind: str
    effect: Effect

    def record(self, bytes_before: int) -> Sensitivity:
        """Returns the measurement in the form of the record."""
        return Sensitivity(
            layers=self.group.layers,
            operations=self.group.operations,
            kind=self.kind,
            noise=self.effect.noise,
            agreement=self.effect.agreement,
            bytes=max(0, bytes_before - self.effect.bytes),
        )


def measure_sensitivity(
    quantizer: Quantizer, kind: str, *, report: Callable[[str], None] | None = None
) -> list[Measured]:
    """Measures the operators of a file, most sensitive first. Those without effect are left out.

    Args:
        quantizer: The quantizer of the float32 file, with calibration rows.
        kind: How operators are quantized: "int8" or "weight-only-int4".
        report: Receives a line of text at the start.
    """
    groups = neighbors(quantizer.operators, GROUPS)
    if report is not None:
        count = len(quantizer.operators)
        report(f"sensitivity to {kind}: {len(groups)} groups of {count} operators")
    ranked = _ranked(quantizer, kind, groups)
    several = [one for one in ranked if len(one.group.operators) > 1]
    singles: list[Group] = []
    for one in several:
        if len(singles) + len(one.group.operators) > SINGLES:
            break
        singles += [Group((op,)) for op in one.group.operators]
    if not singles:
        return ranked
    refined = {op.operators[0].scope for op in singles}
    left = [one for one in ranked if not refined & set(one.group.scopes)]
    return _sorted([*left, *_ranked(quantizer, kind, singles)])


def neighbors(operators: Sequence[Operator], most: int) -> list[Group]:
    """Splits operators into at most `most` groups of neighbors of about equal size.

    Example:
        >>> found = neighbors([Operator(f"{n};", "ADD", f"{n}") for n in range(5)], 2)
        >>> [group.layers for group in found]
        [('0', '1', '2'), ('3', '4')]
    """
    size = max(1, math.ceil(len(operators) / most))
    return [
        Group(tuple(operators[start : start + size])) for start in range(0, len(operators), size)
    ]


def _ranked(quantizer: Quantizer, kind: str, groups: Sequence[Group]) -> list[Measured]:
    found = []
    for group in groups:
        try:
            effect = quantizer.measure([Rule(kind, group.scopes)])
        except InputError:  # the file cannot be made, so the group must not be quantized
            effect = Effect(_UNUSABLE, 0.0, 0)
        if effect.noise > 0:
            found.append(Measured(group, kind, effect))
    return _sorted(found)


def _sorted(found: Sequence[Measured]) -> list[Measured]:
    return sorted(found, key=lambda one: (-one.effect.noise, one.effect.agreement))
