"""The steps of a run, with an estimate of its time and sizes."""

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._recipe import Recipe


class PlanStage(Record):
    """One stage of a run.

    Attributes:
        name: Its name, as the run shows it.
        what: What it does.
        steps: Training steps, or batches of the teacher; 0 for a stage without.
        seconds: Estimate of its time, measured on a few steps; None if it was not measured.
        bytes: Bytes that it leaves in the run's folder until the run ends; None if unknown.
    """

    name: str
    what: str
    steps: int = 0
    seconds: Measured = None
    bytes: int | None = None


class PlanRecord(Record):
    """The planned steps of a run of a recipe; see `runs.plan`.

    Attributes:
        recipe: The recipe.
        scale: `full` or `smoke`.
        machine: Processor and core count.
        stages: The stages in order.
        notes: What is decided by what the recipe asks, a sentence each.
        peak_memory_bytes: The most memory that this process needed, with the data loaded and the
            models in training; None if the system does not say.
    """

    recipe: Recipe
    scale: str
    machine: str
    stages: tuple[PlanStage, ...] = Field(max_length=10_000)
    notes: tuple[str, ...]
    peak_memory_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """Estimate of the time of all stages that were measured."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def bytes(self) -> int:
        """Bytes that all stages leave in the run's folder until it ends."""
        return sum(stage.bytes or 0 for stage in self.stages)
