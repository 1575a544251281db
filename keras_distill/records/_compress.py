"""The records of a compression: the fake-quantized model, and the pipeline."""

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from keras_distill.records._base import Measured, Record
from keras_distill.records._export import ExportRecord, Verdict


class FakeQuantRecord(Record):
    """`fake_quant.json` in the folder of a fake-quantized model.

    Attributes:
        format: Identifies the kind of folder.
        version: Version of the layout of the folder.
        preserve: Whether zeros and clusters of the student are kept.
        scheme: "QAT", or "PQAT", "CQAT", "PCQAT" if zeros, clusters, or both are kept.
    """

    format: Literal["keras-distill fake-quantized model"] = "keras-distill fake-quantized model"
    version: Literal[1] = 1
    preserve: bool
    scheme: Literal["QAT", "PQAT", "CQAT", "PCQAT"]


class KernelCount(Record):
    """The weights of one operator of a `.tflite` file, counted in the file itself.

    Attributes:
        name: The name of the weight tensor in the file.
        op: The operator that reads the tensor.
        shape: The shape of the tensor.
        dtype: The dtype in the file.
        zeros: Number of weights that are 0.
        values: Number of distinct weights in the tensor.
        values_per_channel: Largest number of distinct weights in one output channel. If the
            converter folds a BatchNormalization, it scales each channel by its own factor, so the
            number of clusters shows only per channel.
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
        """The number of weights."""
        product = 1
        for n in self.shape:
            product *= n
        return product

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are 0."""
        return self.zeros / self.size


class KernelState(Record):
    """The kernel of one layer of a Keras model.

    Attributes:
        layer: The path of the layer, such as `encoder/conv_1`.
        size: Number of weights.
        zeros: Number of weights that are 0.
        values: Number of distinct weights.
    """

    layer: str
    size: int
    zeros: int
    values: int

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are 0."""
        return self.zeros / self.size


class AttemptRecord(Record):
    """One attempt at a step with recovery.

    Attributes:
        step: The step as it was attempted, such as "prune:0.7".
        epochs: Number of epochs trained.
        learning_rate: Learning rate at the first step of the training.
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

    Accuracies are measured on the rows of `CompressRecord.source`, as the mean over the labeled
    outputs.

    Attributes:
        step: The step as it was trained, such as "prune:0.8", "cluster:16", or "quantize".
        asked: The step as given, if recovery made it milder.
        scheme: The scheme of a quantize step: "QAT", "PQAT", "CQAT", or "PCQAT".
        epochs: Number of epochs trained.
        learning_rate: Learning rate at the first step of the training.
        seconds: Duration of the training; if it was resumed, of the last session.
        logs: Loss, its terms, and accuracies of every epoch, by name.
        kernels: The kernels after the step; for a quantize step, the kernels before it.
        accuracy_before: Accuracy before the step, 0..1.
        accuracy: Accuracy after the step, 0..1.
        drop: Loss of accuracy against the given student, in points, for the output that loses most.
        attempts: With recovery, every attempt, including the one that was kept.
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
        student: Name of the given model.
        accuracy: Accuracy of the given model, 0..1; None without labeled rows.
        samples: Number of rows on which accuracies are measured.
        source: Origin of these rows; None if there are none.
        max_drop: Maximum loss of accuracy against the given student, in points; None without
            labeled rows.
        recover: Whether a step that lost more was tried again.
        steps: The steps, in order; if a step failed, the steps before it.
        alpha: Weight of the soft losses; None for a schedule.
        temperature: Temperature of the soft loss; None for a schedule or other losses.
        export: The record of the final `.tflite` file; None if a step failed, or the file could
            not be run.
        kernels: The weights in the file; empty if there is no file.
        failed: The reason why there is no verified file; None if there is one.
        warnings: Reasons why the rows or the given student may be wrong.
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
