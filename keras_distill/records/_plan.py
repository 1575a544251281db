"""The record of a plan: the stages of a run, with estimates of time and size."""

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._recipe import Recipe


class PlanStage(Record):
    """One stage of a run.

    Attributes:
        name: The name of the stage, as the run shows it.
        what: Description of the stage.
        steps: Number of training steps, or of batches of the teacher; 0 for other stages.
        seconds: Estimated time, from timing a few steps; None if it was not measured.
        bytes: Bytes that the stage keeps in the run's folder until the run ends; None if unknown.
    """

    name: str
    what: str
    steps: int = 0
    seconds: Measured = None
    bytes: int | None = None


class PlanRecord(Record):
    """The planned stages of a run of a recipe; see `runs.plan`.

    Attributes:
        recipe: The recipe.
        scale: `full` or `smoke`.
        machine: Processor and core count.
        stages: The stages in order.
        notes: Consequences of the recipe's settings, one sentence each.
        peak_memory_bytes: Peak memory of this process, with the data loaded and the models in
            training; None if the system does not report it.
    """

    recipe: Recipe
    scale: str
    machine: str
    stages: tuple[PlanStage, ...] = Field(max_length=10_000)
    notes: tuple[str, ...]
    peak_memory_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """The estimated time of all stages that were measured."""
        return sum(stage.seconds or 0.0 for stage in self.stages)

    @property
    def bytes(self) -> int:
        """The bytes that all stages keep in the run's folder until the run ends."""
        return sum(stage.bytes or 0 for stage in self.stages)
