"""The record of a search for a student within a budget."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record


class CandidateRound(Record):
    """One round of the ranking: a short distillation of a candidate.

    Attributes:
        epochs: Number of epochs.
        validation_accuracy: Accuracy on the validation split after the round, 0..1.
    """

    epochs: int
    validation_accuracy: float


class Candidate(Record):
    """A student that was considered.

    Attributes:
        name: The name of its files in the run's folder.
        title: Its spec or description.
        parameters: Number of parameters.
        bytes: Size of its untrained `.tflite` file; the trained file has the same size.
        latency_ratio: Latency of that file relative to the teacher's; None if the teacher is not
            a Keras model.
        arena_bytes: Memory that it needs in TensorFlow Lite for Microcontrollers; None if it was
            not measured (no such limit, or already over the budget) or does not run there.
        rounds: The rounds of the ranking in which it was trained.
        outcome: "chosen", "ranked" (but not chosen), or "over the budget".
        reason: The limits that it exceeds; None if it is within the budget.
    """

    name: str
    title: str
    parameters: int
    bytes: int
    latency_ratio: Measured = None
    arena_bytes: int | None = None
    rounds: tuple[CandidateRound, ...] = ()
    outcome: Literal["chosen", "ranked", "over the budget"]
    reason: str | None = None


class SearchRecord(Record):
    """The search: all candidates, and what the ranking cost.

    Attributes:
        precision: The precision of the files whose sizes were compared with the budget.
        candidates: The candidates, in the order in which they were made.
        epochs: Number of epochs of the whole ranking.
        epochs_in_full: Number of epochs for training all ranked candidates in full.
        seconds: Wall time of the search; if it was resumed, of the last session.
    """

    precision: str
    candidates: tuple[Candidate, ...]
    epochs: int
    epochs_in_full: int
    seconds: float = Field(ge=0)

    @property
    def chosen(self) -> Candidate:
        """The candidate that was distilled in full."""
        return next(one for one in self.candidates if one.outcome == "chosen")


class BudgetResult(Record):
    """Whether the best file is within the budget.

    Attributes:
        file: The file within the budget that is most accurate on validation data. If no file is
            within the budget, the one that exceeds the fewest limits, and of these the smallest.
            Empty if no file passed verification.
        bytes: Size of the file.
        drop: Accuracy of the teacher minus that of the file, on validation data, in points; None
            if the teacher is a store.
        latency_ratio: Latency relative to the teacher; None if it was not measured.
        arena_bytes: Memory that the file needs in TensorFlow Lite for Microcontrollers; None if it
            was not measured, or the file does not run there.
        failures: The limits that the file exceeds; empty if it is within the budget.
    """

    file: str
    bytes: int
    drop: Measured
    latency_ratio: Measured = None
    arena_bytes: int | None = None
    failures: tuple[str, ...] = ()
