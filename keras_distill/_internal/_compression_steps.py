"""Parses the steps of a compression: `prune:0.8`, `prune:2:4`, `cluster:16`, `quantize`."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from keras_distill._internal import InputError, _spec, bad, did_you_mean

SCHEDULES = ("polynomial", "constant", "2:4")  # of pruning

_ORDER = ("prune", "cluster", "quantize")
_LEAST = 0.1  # share of zeros; a milder step does not go below it


@dataclass(frozen=True)
class Step:
    """One step of a compression.

    Attributes:
        text: The text of the step.
        kind: "prune", "cluster", or "quantize".
        sparsity: The share of weights that a prune step sets to zero.
        pruning_schedule: How the share of zeros of a prune step rises, one of `SCHEDULES`. "2:4"
            is the pattern of 2 zeros in each group of 4 weights.
        clusters: The number of distinct values that a cluster step leaves.
    """

    text: str
    kind: str
    sparsity: float = 0.8
    pruning_schedule: str = "polynomial"
    clusters: int = 16

    @classmethod
    def parse(cls, text: str) -> "Step":
        """Parses one step.

        Args:
            text: `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, or `quantize`.

        Raises:
            InputError: If the text is none of these, or a value is out of range.

        Example:
            >>> Step.parse("prune:0.9:constant").sparsity, Step.parse("prune:2:4").pruning_schedule
            (0.9, '2:4')
        """
        kind, colon, argument = (
            text.strip().partition(":") if isinstance(text, str) else ("", "", "")
        )
        if kind not in _ORDER or (colon and not argument) or (kind == "quantize" and colon):
            raise bad(
                "steps",
                "be prune:SPARSITY[:SCHEDULE], prune:2:4, cluster:VALUES or quantize",
                text,
                did_you_mean(kind, _ORDER) if kind not in _ORDER else "",
            )
        if kind == "cluster" and argument:
            return cls(text, kind, clusters=_spec.count(2)("steps: cluster", argument))
        if kind != "prune" or not argument:
            return cls(text, kind)
        if argument == "2:4":
            return cls(text, kind, sparsity=0.5, pruning_schedule="2:4")
        number, colon, schedule = argument.partition(":")
        sparsity = _spec.number(above=0, at_most=0.999)("steps: prune", number)
        if colon and schedule not in SCHEDULES[:2]:
            raise bad("steps", f"have a schedule of {', '.join(SCHEDULES[:2])}", text)
        return cls(text, kind, sparsity=sparsity, pruning_schedule=schedule or SCHEDULES[0])

    def milder(self) -> "Step | None":
        """Returns a step with a milder setting, which loses less accuracy, or None.

        A milder prune step keeps 1.5 times as many weights, and a milder cluster step twice as many
        values. There is none for `prune:2:4`, for `quantize`, and below a sparsity of 0.1.

        Example:
            >>> step = Step.parse("prune:0.8:constant")
            >>> step.milder().text, step.milder().milder().text
            ('prune:0.7:constant', 'prune:0.55:constant')
            >>> Step.parse("cluster:16").milder().text, Step.parse("quantize").milder()
            ('cluster:32', None)
        """
        if self.kind == "cluster":
            return Step.parse(f"cluster:{2 * self.clusters}")
        if self.kind != "prune" or self.pruning_schedule == "2:4":
            return None
        sparsity = round(1 - 1.5 * (1 - self.sparsity), 3)
        schedule = "" if self.pruning_schedule == SCHEDULES[0] else f":{self.pruning_schedule}"
        return None if sparsity < _LEAST else Step.parse(f"prune:{sparsity:g}{schedule}")


def parse_steps(steps: Sequence[str], *, sparse: bool = False) -> tuple[Step, ...]:
    """Parses the steps of a compression pipeline.

    Args:
        steps: A list of steps; see `Step.parse`.
        sparse: Whether the exported file stores weights in a sparse format, without zeros.

    Raises:
        InputError: If there are no steps, a step is unknown, the steps are out of order, or a step
            cannot be combined with another step or with `sparse`.

    Example:
        >>> [step.kind for step in parse_steps(["prune:0.8", "quantize"])]
        ['prune', 'quantize']
    """
    if not isinstance(steps, list | tuple) or not steps:
        raise bad("steps", 'be a list such as ["prune:0.8", "cluster:16", "quantize"]', steps)
    parsed = tuple(Step.parse(step) for step in steps)
    order = [_ORDER.index(step.kind) for step in parsed]
    if any(a >= b for a, b in itertools.pairwise(order)):
        raise bad(
            "steps",
            "come in the order prune, cluster, quantize, each at most once",
            list(steps),
            "In another order, a later step would undo an earlier one.",
        )
    kinds = {step.kind: step for step in parsed}
    if "prune" in kinds and "cluster" in kinds and kinds["cluster"].clusters < 3:
        raise bad(
            "steps", "leave 3 values or more after pruning, because 0 is one of them", list(steps)
        )
    if sparse and "quantize" in kinds:
        raise sparse_int8()
    return parsed


def sparse_int8() -> InputError:
    """Returns (does not raise) the error for a sparse int8 file."""
    return InputError(
        "`sparse` cannot be combined with int8: a sparse int8 file does not load under the default"
        " delegate (XNNPACK). Leave `sparse` out (gzip makes use of the zeros), or leave the"
        " quantize step out and export float32 with sparse=True."
    )
