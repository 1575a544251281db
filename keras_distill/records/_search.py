"""The record of a search for a student that keeps to a budget."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record


class CandidateRound(Record):
    """One round of the ranking: a short distillation of a candidate.

    Attributes:
        epochs: Its epochs.
        validation_accuracy: At the end, share of the validation split.
    """

    epochs: int
    validation_accuracy: float


class Candidate(Record):
    """A student that was considered.

    Attributes:
        name: Its name in the run's folder.
        title: What it is.
        parameters: Number of parameters.
        bytes: Of its untrained `.tflite` file; the trained one has the same size.
        latency_ratio: Latency of that file relative to the teacher's; None if the teacher is no
            Keras model.
        arena_bytes: Memory that it needs in TensorFlow Lite for Microcontrollers; None if the
            budget has none, or it does not run there.
        rounds: The rounds of the ranking that it took part in.
        outcome: Whether it was chosen, was ranked behind others, or is over the budget.
        reason: What of the budget it does not keep.
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
        precision: Of the files whose bytes were compared with the budget.
        candidates: In the order in which they were made.
        epochs: Epochs of the whole ranking.
        epochs_in_full: Epochs that all ranked candidates would take in full.
        seconds: Wall time of the search, of the last session where it was resumed.
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
    """Whether the final file keeps to the budget.

    Attributes:
        file: The file: the most accurate on validation data of those that keep to the budget, else
            the smallest.
        bytes: Its size.
        drop: Accuracy of the teacher minus its own, on validation data, in points.
        latency_ratio: Its latency relative to the teacher's; None if it was not measured.
        arena_bytes: Memory that it needs in TensorFlow Lite for Microcontrollers; None likewise.
        failures: What of the budget it does not keep; empty: all is kept.
    """

    file: str
    bytes: int
    drop: Measured
    latency_ratio: Measured = None
    arena_bytes: int | None = None
    failures: tuple[str, ...] = ()
