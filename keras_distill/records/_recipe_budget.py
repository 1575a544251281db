"""The part of a recipe that asks for a student by what it may cost."""

from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal._quantity import parse_quantity
from keras_distill.records._base import Record
from keras_distill.records._training_settings import Count

_MAX_CANDIDATES = 1000


class BudgetPart(Record):
    """What the student's file may cost; the run finds the student.

    Candidates are the teacher made narrower, in several ways, and the specs given here. A short
    distillation ranks them by validation accuracy, and the best one is distilled in full.

    Attributes:
        max_bytes: Of the smallest `.tflite` file: a number, or text such as "100k".
        max_drop: The most accuracy on validation data that this file may lose against the teacher,
            in points; None: any.
        max_latency_ratio: Its latency relative to the teacher's, both as `.tflite` files; None:
            any.
        max_arena: Bytes of memory that it may need in TensorFlow Lite for Microcontrollers, which
            runs it to see; a number, or text such as "64k"; None: any.
        candidates: Further students: model specs and `.keras` files.
        epochs: Epochs of the first round of the ranking; None: so many that the whole ranking takes
            at most a tenth of the epochs that all candidates would in full, but at least 1; it
            then has a single round if that is too little for several.

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
