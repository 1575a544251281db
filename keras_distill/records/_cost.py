"""The record of the cost of distillation: timings of interleaved training variants."""

from typing import Annotated

from pydantic import Field

from keras_distill.records._base import Measured, Record

_Seconds = Annotated[float, Field(ge=0)]


class CostSteps(Record):
    """The timed steps of one variant in one process.

    Attributes:
        setting: `onednn` (enabled by keras_distill) or `tf-default` (TensorFlow's default).
        variant: `plain` (fit of the student), `store`, `online`, `keras` (keras.distillation),
            or `bfloat16` (plain, in `mixed_bfloat16`).
        rounds: The round of each step; steps of the same round are compared.
        ms: Milliseconds of each step, including reading its batch.
    """

    setting: str
    variant: str
    rounds: tuple[int, ...]
    ms: tuple[_Seconds, ...]


class CostFit(Record):
    """The timing of a complete `fit` of one variant.

    Attributes:
        setting: See `CostSteps`.
        variant: See `CostSteps`.
        epochs: Seconds per epoch; the first includes tracing.
        build: Seconds to build the store, including tracing; 0 for other variants.
    """

    setting: str
    variant: str
    epochs: tuple[_Seconds, ...]
    build: _Seconds = 0.0


class CostBuild(Record):
    """Interleaved timings of building the store and of `teacher.predict` on the same data.

    Attributes:
        setting: See `CostSteps`.
        build: Seconds per build.
        predict: Seconds per `predict`.
    """

    setting: str
    build: tuple[_Seconds, ...]
    predict: tuple[_Seconds, ...]


class CostRatio(Record):
    """The ratio of two costs.

    Attributes:
        name: Description of the two costs.
        value: The ratio.
        low: Lower end of the 95 % interval.
        high: Upper end of the interval.
        n: Number of pairs.
    """

    name: str
    value: float
    low: Measured
    high: Measured
    n: int


class CostRecord(Record):
    """The result of `keras-distill cost`.

    Attributes:
        teacher: The teacher as passed.
        student: The student as passed.
        data: The data as passed.
        examples: Examples per epoch.
        batch_size: Examples per step.
        steps: Timings of single steps, interleaved over the variants.
        fits: Timings of complete fits, interleaved epoch by epoch.
        builds: Timings of builds and predictions.
        ratios: Ratios computed from the timings.
        notes: Variants that were not measured, with the reason.
        machine: Processor and cores.
        versions: Versions of the packages.
        created: Time in UTC, ISO 8601.
    """

    teacher: str
    student: str
    data: str
    examples: int
    batch_size: int
    steps: tuple[CostSteps, ...]
    fits: tuple[CostFit, ...]
    builds: tuple[CostBuild, ...] = ()
    ratios: tuple[CostRatio, ...]
    notes: tuple[str, ...] = ()
    machine: str
    versions: dict[str, str]
    created: str
