"""Steps of a pipeline, as text: `prune:0.8`, `prune:2:4`, `cluster:16`, `quantize`."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from keras_distill import _spec
from keras_distill._checks import bad
from keras_distill.compress.pruning import SCHEDULES

_ORDER = ("prune", "cluster", "quantize")


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        text: As given.
        kind: "prune", "cluster" or "quantize".
        sparsity: Of a prune step.
        schedule: Of a prune step.
        clusters: Of a cluster step.
    """

    text: str
    kind: str
    sparsity: float = 0.8
    schedule: str = "polynomial"
    clusters: int = 16

    @classmethod
    def parse(cls, text: str) -> "Step":
        """Reads one step.

        Args:
            text: `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]` or `quantize`.

        Raises:
            InputError: If it is none of these.

        Example:
            >>> Step.parse("prune:0.9:constant").sparsity, Step.parse("prune:2:4").schedule
            (0.9, '2:4')
        """
        kind, colon, argument = (
            text.strip().partition(":") if isinstance(text, str) else ("", "", "")
        )
        if kind not in _ORDER or (colon and not argument) or (kind == "quantize" and colon):
            raise bad(
                "steps", "be prune:SPARSITY[:SCHEDULE], prune:2:4, cluster:VALUES or quantize", text
            )
        if kind == "cluster" and argument:
            return cls(text, kind, clusters=_spec.count(2)("steps: cluster", argument))
        if kind != "prune" or not argument:
            return cls(text, kind)
        if argument == "2:4":
            return cls(text, kind, sparsity=0.5, schedule="2:4")
        number, colon, schedule = argument.partition(":")
        sparsity = _spec.number(above=0, at_most=0.999)("steps: prune", number)
        if colon and schedule not in SCHEDULES[:2]:
            raise bad("steps", f"have a schedule of {', '.join(SCHEDULES[:2])}", text)
        return cls(text, kind, sparsity=sparsity, schedule=schedule or SCHEDULES[0])


def parse_steps(steps: Sequence[str]) -> tuple[Step, ...]:
    """Reads the steps of a pipeline.

    Raises:
        InputError: If one is unknown, there are none, or their order would undo what was won.

    Example:
        >>> [step.kind for step in parse_steps(["prune:0.8", "quantize"])]
        ['prune', 'quantize']
    """
    if isinstance(steps, str) or not steps:
        raise bad("steps", 'be a list such as ["prune:0.8", "cluster:16", "quantize"]', steps)
    parsed = tuple(Step.parse(step) for step in steps)
    order = [_ORDER.index(step.kind) for step in parsed]
    if any(a >= b for a, b in itertools.pairwise(order)):
        raise bad(
            "steps",
            "come in the order prune, cluster, quantize, each at most once",
            list(steps),
            "An earlier step's win would be undone by one that comes after it.",
        )
    return parsed
