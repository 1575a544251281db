"""The price of distilling, as measured side by side."""

from typing import Annotated

from pydantic import Field

from keras_distill.records._base import Record

_Seconds = Annotated[float, Field(ge=0)]


class CostSteps(Record):
    """Steps of one way to train, in one process.

    Attributes:
        setting: `onednn` (as keras_distill sets it) or `tf-default` (as TensorFlow does).
        way: `plain` (fit of the student), `store`, `online` or `keras` (keras.distillation).
        rounds: For each step, the round it was taken in; ways of one round stand side by side.
        ms: Milliseconds of each, reading its batch included.
    """

    setting: str
    way: str
    rounds: tuple[int, ...]
    ms: tuple[_Seconds, ...]


class CostFit(Record):
    """A whole `fit` of one way.

    Attributes:
        setting: As in `CostSteps`.
        way: As in `CostSteps`.
        epochs: Seconds of each epoch; the first one includes tracing.
        build: Seconds to build the store, tracing included; 0 for other ways.
    """

    setting: str
    way: str
    epochs: tuple[_Seconds, ...]
    build: _Seconds = 0.0


class CostBuild(Record):
    """Building the store beside `teacher.predict` on the same data, in turn.

    Attributes:
        setting: As in `CostSteps`.
        build: Seconds of each build.
        predict: Seconds of each `predict`.
    """

    setting: str
    build: tuple[_Seconds, ...]
    predict: tuple[_Seconds, ...]


class CostRatio(Record):
    """One price as a multiple of another.

    Attributes:
        name: What is compared, in words.
        value: The ratio.
        low: Lower end of its 95 % interval.
        high: Upper end.
        n: Pairs measured.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int


class CostRecord(Record):
    """What `keras-distill cost` measured.

    Attributes:
        teacher: The teacher, as given.
        student: The student, as given.
        data: The data, as given.
        examples: Examples in an epoch.
        batch_size: Examples in a step.
        steps: Single steps, taken in turn.
        fits: Whole fits, epoch by epoch in turn.
        builds: Builds beside predictions.
        ratios: What follows.
        notes: What was left out, and why.
        machine: Processor and cores.
        versions: Of the packages that matter.
        created: UTC, ISO 8601.
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
