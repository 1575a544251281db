"""Records of a compression: the fake-quantized model, and the pipeline."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from keras_distill.records._base import Measured, Record
from keras_distill.records._export import ExportRecord, Verdict


class FakeQuantRecord(Record):
    """`fake_quant.json` in the folder of a fake-quantized model.

    Attributes:
        format: Says what the folder is.
        version: Of its layout.
        preserve: Whether zeros and clusters of the student are kept.
        scheme: "QAT", or "PQAT", "CQAT", "PCQAT" where zeros, clusters or both are kept.
    """

    format: Literal["keras-distill fake-quantized model"] = "keras-distill fake-quantized model"
    version: Literal[1] = 1
    preserve: bool
    scheme: Literal["QAT", "PQAT", "CQAT", "PCQAT"]


class KernelCount(Record):
    """The weights of one operator of a `.tflite` file, counted in the file itself.

    Attributes:
        name: The tensor's name in the file.
        op: The operator that reads it.
        shape: Sizes.
        dtype: As stored.
        zeros: Weights whose value is 0.
        values: Different weights in all.
        values_per_channel: The most different weights that one output channel has. A converter
            that folds a BatchNormalization scales each channel by its own factor, so this is what
            clustering leaves.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    zeros: int
    values: int
    values_per_channel: int

    @property
    def size(self) -> int:
        """Number of weights."""
        product = 1
        for n in self.shape:
            product *= n
        return product

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.size


class KernelState(Record):
    """The kernel of one layer of a Keras model.

    Attributes:
        layer: Its path: `encoder/conv_1`.
        size: Number of weights.
        zeros: How many are 0.
        values: How many different ones there are.
    """

    layer: str
    size: int
    zeros: int
    values: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.size


class AttemptRecord(Record):
    """One attempt at a step that was to be recovered.

    Attributes:
        step: The step as it was attempted: "prune:0.7".
        epochs: Epochs trained.
        learning_rate: At the first step of the training.
        accuracy: Accuracy of the result, 0..1; None if the step itself failed.
        drop: Loss of accuracy against the given student, in points.
        seconds: Duration of the training.
    """

    step: str
    epochs: int
    learning_rate: float
    accuracy: Measured
    drop: Measured
    seconds: float


class StepRecord(Record):
    """One step of a pipeline.

    Accuracies are those on the rows of `CompressRecord.source`, the mean over labeled outputs.

    Attributes:
        step: As it was trained: "prune:0.8", "cluster:16", "quantize".
        asked: As given, if recovery made it milder.
        scheme: Of a quantize step: "QAT", "PQAT", "CQAT" or "PCQAT".
        epochs: Epochs trained.
        learning_rate: At the first step of the training.
        seconds: What they took; of the last session where it was resumed.
        logs: Loss, its terms and accuracies of every epoch by name.
        kernels: The kernels after the step; of a quantize step, those it started from.
        accuracy_before: Accuracy of the model that the step started from, 0..1.
        accuracy: Accuracy after the step, 0..1.
        drop: Loss of accuracy against the given student, in points, of the output that loses most.
        attempts: With recovery: every attempt, the one that was kept included.
    """

    step: str
    asked: str | None = None
    scheme: str | None = None
    epochs: int
    learning_rate: float
    seconds: float
    logs: dict[str, tuple[Measured, ...]]
    kernels: tuple[KernelState, ...]
    accuracy_before: Measured = None
    accuracy: Measured = None
    drop: Measured = None
    attempts: tuple[AttemptRecord, ...] = Field(default=(), max_length=100)


class CompressRecord(Record):
    """`compress.json`: the steps of a compression, and the weights of the final file.

    Attributes:
        student: Name of the model that was given.
        accuracy: Its accuracy, 0..1; None without labeled rows.
        samples: Number of rows that accuracies are measured on.
        source: Origin of these rows; None if there are none.
        max_drop: Maximum loss of accuracy against the given student, in points; None without
            labeled rows.
        recover: Whether a step that lost more was tried again.
        steps: The steps, in order; those before the failure if a step failed.
        alpha: Weight of the soft terms; None: a schedule.
        temperature: Temperature of the soft loss; None: a schedule, or losses of the user's own.
        export: The record of the final `.tflite` file; None if a step failed, or the file could
            not be run.
        kernels: Its weights, counted in the file; empty if there is no file.
        failed: Why the verification failed and there is no file; None if there is one.
        warnings: Why the rows or the given student may be wrong.
    """

    student: str
    accuracy: Measured = None
    samples: int = Field(default=0, ge=0)
    source: str | None = None
    max_drop: float | None = None
    recover: bool = False
    steps: tuple[StepRecord, ...]
    alpha: float | None = Field(default=None, ge=0, le=1)
    temperature: float | None = Field(default=None, gt=0)
    export: ExportRecord | None
    kernels: tuple[KernelCount, ...]
    failed: str | None = None
    warnings: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        good = self.export is not None and self.export.verification.verdict != "failed"
        if good == (self.failed is not None):
            raise ValueError("must have `failed` if and only if there is no verified `export`")
        return self

    @property
    def verdict(self) -> Verdict:
        """The verdict on the file; "failed" if there is none."""
        return "failed" if self.export is None else self.export.verification.verdict
