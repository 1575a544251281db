"""The parts of a recipe on what is made of the student: files, compression, benchmark."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal._checks import MAX_COUNT
from keras_distill._internal._compression_steps import parse_steps
from keras_distill._internal._device_targets import parse_targets
from keras_distill.records._base import Record
from keras_distill.records._export import Precision
from keras_distill.records._training_settings import Count, TrainingChanges


class ExportPart(Record):
    """The files that are made of the best distilled student.

    Attributes:
        quantizations: The precisions; `auto` is the smallest file that loses at most `max_drop`,
            chosen on validation data and verified on test data. None: float32 and int8; with
            `budget`, auto.
        calibration_samples: Number of training images for int8 calibration.
        max_drop: The most accuracy on validation data that a file may lose against the model it
            is converted from, in points; None: 1 point, or one example where that is more.
        strip: Whether the files leave out metadata, labels, and the names of inner tensors.
    """

    quantizations: tuple[Literal[Precision, "auto"], ...] | None = Field(
        default=None, examples=[["float32", "int8"]]
    )
    calibration_samples: Count = 200
    max_drop: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, examples=[1.0])
    strip: bool = False

    @field_validator("quantizations")
    @classmethod
    def _some_and_different(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value)):
            raise ValueError("must be one or more different precisions")
        return value


class CompressPart(TrainingChanges):
    """How the best distilled student is pruned, clustered and quantized, on the same soft targets.

    Weight and temperature of the soft loss are those of the distillation. Every step and the file
    are judged against the distilled student on validation data. Each step trains with the settings
    here. The batch size defaults to the student's, the others to
    those of `TrainingSettings`.

    Attributes:
        steps: `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, `quantize`: one or
            more, in this order.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether to store a float32 file without its zeros.
        max_drop: Maximum loss of accuracy against the distilled student, in points; None: that of
            the export.
        recover: Whether a step that loses more is tried again: see `compress`.

    Example:
        >>> CompressPart.parse({"steps": ["quantize", "prune:0.8"]}, source="mine.toml")
        Traceback (most recent call last):
        keras_distill.InputError: mine.toml: `steps` must come in the order prune, \
cluster, quantize, each at most once. Received: steps=['quantize', 'prune:0.8']. In \
another order, a later step would undo an earlier one.
    """

    steps: tuple[str, ...] = Field(examples=[["prune:0.5", "quantize"]])
    epochs: Count = 10  # pyright: ignore[reportIncompatibleVariableOverride]
    skip: tuple[str, ...] = ()
    sparse: bool = False
    max_drop: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False, examples=[2.0])
    recover: bool = False

    @field_validator("steps", mode="before")
    @classmethod
    def _known_and_in_order(cls, value: Any) -> tuple[str, ...]:
        return tuple(step.text for step in parse_steps(value))

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        parse_steps(self.steps, sparse=self.sparse)
        return self


class BenchmarkPart(Record):
    """How latency is measured: interleaved timed calls per file, after warm-up; and on what else.

    Attributes:
        runs: Timed calls of each file.
        targets: Devices that each file is tried for: tflm, xnnpack, ethos-u55-128, …, arm.
    """

    runs: int = Field(default=50, ge=2, le=MAX_COUNT)
    targets: tuple[str, ...] = Field(default=(), examples=[["tflm", "ethos-u55-128"]])

    @field_validator("targets")
    @classmethod
    def _known_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return parse_targets(value) if value else ()
