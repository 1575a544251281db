"""The part of a recipe that sets the budget of a student to be found."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal._quantity import parse_quantity
from keras_distill.records._base import Record
from keras_distill.records._training_settings import Count

_MAX_CANDIDATES = 1000


class BudgetPart(Record):
    """Limits for the student's `.tflite` file; the run finds the student.

    The candidates are narrower copies of the teacher, and the specs given here. A short
    distillation ranks them by validation accuracy. The best candidate is distilled in full.

    Attributes:
        max_bytes: Maximum size of the file in bytes: a number, or text such as "100k". With several
            precisions, candidates are measured in the precision with the smallest files.
        max_drop: Maximum loss of accuracy against the teacher on validation data, in points. It is
            not checked if the teacher is a store, which does not show the teacher's accuracy.
        max_latency_ratio: Maximum latency relative to the teacher, both as `.tflite` files. By
            default, there is no limit.
        max_arena: Maximum memory in bytes in TensorFlow Lite for Microcontrollers, measured by
            running the file there: a number, or text such as "64k". By default, there is no limit.
        candidates: Additional candidates: model specs and `.keras` files.
        epochs: Number of epochs of the first round of the ranking. By default, as many as keep the
            whole ranking within a tenth of the epochs of training all candidates in full, but at
            least 1. If that is too little for several rounds, there is one round.

    Example:
        >>> BudgetPart(max_bytes="4k").max_bytes
        4000
    """

    max_bytes: int = Field(ge=1, examples=["100k"])
    max_drop: float | None = Field(default=1.0, ge=0)
    max_latency_ratio: float | None = Field(default=None, gt=0, examples=[0.25])
    max_arena: int | None = Field(default=None, ge=1, examples=["64k"])
    candidates: tuple[str, ...] = Field(default=(), max_length=_MAX_CANDIDATES)
    epochs: Count | None = Field(default=None, examples=[2])

    @field_validator("max_bytes", "max_arena", mode="before")
    @classmethod
    def _bytes(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        return int(parse_quantity(name, value)) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("must have different candidates")
        return self
