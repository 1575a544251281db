"""Records of a compression: the fake-quantized model, and the pipeline."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._export import ExportRecord


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


class StepRecord(Record):
    """One step of a pipeline.

    Attributes:
        step: As given: "prune:0.8", "cluster:16", "quantize".
        scheme: Of a quantize step: "QAT", "PQAT", "CQAT" or "PCQAT".
        epochs: Epochs trained.
        seconds: What they took; of the last session where it was resumed.
        logs: Loss, its terms and accuracies of every epoch by name.
        kernels: The kernels after the step; of a quantize step, those it started from.
    """

    step: str
    scheme: str | None = None
    epochs: int
    seconds: float
    logs: dict[str, tuple[Measured, ...]]
    kernels: tuple[KernelState, ...]


class CompressRecord(Record):
    """`compress.json`: the steps of a compression, and the weights of the final file.

    Attributes:
        student: Name of the model.
        steps: The steps, in order.
        alpha: Weight of the soft terms; None: a schedule.
        temperature: Temperature of the soft loss; None: a schedule, or losses of the user's own.
        export: The record of the final `.tflite` file.
        kernels: Its weights, counted in the file.
    """

    student: str
    steps: tuple[StepRecord, ...]
    alpha: float | None = Field(default=None, ge=0, le=1)
    temperature: float | None = Field(default=None, gt=0)
    export: ExportRecord
    kernels: tuple[KernelCount, ...]
