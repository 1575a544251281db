"""The parts of a recipe that describe the results: files, compression, and benchmark."""

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
    """The `.tflite` files of the best distilled student.

    Attributes:
        quantizations: The precisions. With `auto`, the smallest file that loses at most `max_drop`
            is chosen on validation data and verified on test data. By default: float32 and int8;
            with `budget`, auto.
        calibration_samples: Number of training examples for the calibration of integer files.
        max_drop: Maximum loss of accuracy of a file on validation data against the model from which
            it is converted, in points. By default, 1 point, or one example if that is more.
        strip: Whether to remove metadata, labels, and the names of inner tensors from the files.
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
    """How the best distilled student is pruned, clustered, and quantized on the same soft targets.

    Weight and temperature of the soft loss are those of the distillation. Every step and the file
    are judged against the distilled student on validation data. Each step trains with the settings
    here. By default, the batch size is that of the student, and the other settings are those of
    `TrainingSettings`.

    Attributes:
        steps: One or more of `prune[:SPARSITY[:SCHEDULE]]` (or `prune:2:4`), `cluster[:VALUES]`,
            and `quantize`, in this order.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether to store a float32 file without its zeros.
        max_drop: Maximum loss of accuracy against the distilled student, in points. By default,
            that of `export`.
        recover: Whether to try a step again if it loses more than `max_drop`.

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
    """How latency is measured, with interleaved timed calls after a warm-up, and other targets.

    Attributes:
        runs: Number of timed calls of each file.
        targets: Devices for which each file is checked: tflm, xnnpack, ethos-u55-128, …, or arm.
    """

    runs: int = Field(default=50, ge=2, le=MAX_COUNT)
    targets: tuple[str, ...] = Field(default=(), examples=[["tflm", "ethos-u55-128"]])

    @field_validator("targets")
    @classmethod
    def _known_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return parse_targets(value) if value else ()
