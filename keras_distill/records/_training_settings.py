"""The settings of a training, shared by all code in the package that trains."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from keras_distill._internal._checks import MAX_BATCH, MAX_COUNT, MAX_SEED
from keras_distill.records._base import Record

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """Converts a duration such as "90s", "40m", or "1.5h" to seconds.

    Example:
        >>> seconds_of("1.5h")
        5400.0
    """
    return float(duration[:-1]) * _UNITS[duration[-1]]


def _checked_duration(value: str) -> str:
    good = re.fullmatch(r"\d+(\.\d+)?[smh]", value, re.ASCII)
    if good is None or not 0 < seconds_of(value) <= 1e8:
        raise ValueError('must be a time > 0 such as "90s", "40m", or "1.5h"')
    return value


Count = Annotated[int, Field(ge=1, le=MAX_COUNT, strict=True)]
BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH, strict=True)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
# Outside these bounds, float32 cannot represent the softened logits of real models.
Temperature = Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)]
OptimizerName = Literal["adam", "adamw", "sgd"]
LearningRate = Annotated[float, Field(gt=0, le=1e3, allow_inf_nan=False)]
ScheduleName = Literal["constant", "cosine"]
WeightDecay = Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Warmup = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
ClipNorm = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Smoothing = Annotated[float, Field(ge=0, lt=1)]
Duration = Annotated[str, Field(max_length=20), AfterValidator(_checked_duration)]
DtypePolicy = Literal["float32", "mixed_float16", "mixed_bfloat16"]

_Settings = TypeVar("_Settings", bound="TrainingSettings")


class TrainingSettings(Record):
    """How a model is trained.

    `training.make_optimizer` creates the optimizer from these settings.

    Attributes:
        epochs: Number of passes over the training data.
        batch_size: Examples per step.
        optimizer: `adam`, `adamw`, or `sgd` with Nesterov momentum.
        learning_rate: Learning rate at the first step, or after the warm-up.
        schedule: `cosine` lowers the learning rate to 0 at the last step; `constant` keeps it.
        weight_decay: Decoupled weight decay, as in Keras: each step subtracts
            learning rate · weight_decay · w from every trainable variable w (Loshchilov and
            Hutter 2019). By default, as in Keras, 0.004 for `adamw` and 0 for the others.
        momentum: Momentum of `sgd`; the other optimizers do not use it.
        warmup: Number of epochs in which the learning rate rises linearly from 0, before the
            schedule.
        clip_norm: Maximum norm of the gradients of a step, over all variables together. Larger
            gradients are scaled down. By default, there is no limit.
        steps_per_execution: Maximum number of steps in one call of the compiled training function.
            It affects only the speed. By default, it is chosen automatically.

    Example:
        >>> TrainingSettings(optimizer="sgd", learning_rate=0.1).schedule
        'cosine'
        >>> TrainingSettings.parse({"epochs": 0}, source="mine.toml")
        Traceback (most recent call last):
        keras_distill.InputError: mine.toml: `epochs` must be >= 1. Received: 0
    """

    epochs: Count = 30
    batch_size: BatchSize = 128
    optimizer: OptimizerName = "adam"
    learning_rate: LearningRate = 1e-3
    schedule: ScheduleName = "cosine"
    weight_decay: WeightDecay | None = Field(default=None, examples=[0.0005])
    momentum: Momentum = 0.9
    warmup: Warmup = 0.0
    clip_norm: ClipNorm | None = Field(default=None, examples=[1.0])
    steps_per_execution: Count | None = Field(default=None, examples=[16])


class KerasTrainingSettings(TrainingSettings):
    """How a Keras 3 model is trained. The steps of `compress` train a Keras 2 model.

    Attributes:
        precision: `float32`, or `mixed_float16` or `mixed_bfloat16`, which compute in 16 bits and
            keep the weights in 32 bits. They are faster on accelerators and on processors with
            bfloat16 arithmetic. The saved model computes in `float32`.

    Example:
        >>> KerasTrainingSettings(precision="mixed_bfloat16").precision
        'mixed_bfloat16'
    """

    precision: DtypePolicy = "float32"


class ClassifierSettings(KerasTrainingSettings):
    """How a classifier is trained by a run.

    Attributes:
        label_smoothing: Fraction of the label's probability that is spread over all classes in the
            loss on labels (Szegedy et al. 2016, arXiv:1512.00567, section 7).
        patience: Number of epochs without a better validation accuracy after which training stops.
            The weights with the best validation accuracy are kept. By default, all epochs are
            trained, and the last weights are kept.
        budget: Wall time after which the training ends, such as "90s", "40m", or "1.5h". A cosine
            schedule reaches 0 at that time, and `epochs` does not apply. By default, there is no
            limit.

    Example:
        >>> ClassifierSettings(label_smoothing=0.1).epochs
        30
    """

    label_smoothing: Smoothing = 0.0
    patience: Count | None = Field(default=None, examples=[10])
    budget: Duration | None = Field(default=None, examples=["40m"])

    @property
    def seconds(self) -> float | None:
        """The time budget in seconds; None without a budget."""
        return None if self.budget is None else seconds_of(self.budget)


class TrainingChanges(Record):
    """Changes to other training settings; None keeps a setting.

    Attributes:
        epochs: Number of passes over the training data.
        batch_size: Examples per step.
        optimizer: `adam`, `adamw`, or `sgd`.
        learning_rate: Learning rate at the first step.
        schedule: `cosine` or `constant`.
        weight_decay: Decoupled weight decay.
        momentum: Momentum of `sgd`.
        warmup: Number of epochs in which the learning rate rises linearly from 0.
        clip_norm: Maximum norm of the gradients of a step.
        steps_per_execution: Maximum number of steps per call of the compiled training function.
    """

    epochs: Count | None = Field(default=None, examples=[30])
    batch_size: BatchSize | None = Field(default=None, examples=[128])
    optimizer: OptimizerName | None = Field(default=None, examples=["adam"])
    learning_rate: LearningRate | None = Field(default=None, examples=[0.001])
    schedule: ScheduleName | None = Field(default=None, examples=["cosine"])
    weight_decay: WeightDecay | None = Field(default=None, examples=[0.0005])
    momentum: Momentum | None = Field(default=None, examples=[0.9])
    warmup: Warmup | None = Field(default=None, examples=[1.0])
    clip_norm: ClipNorm | None = Field(default=None, examples=[1.0])
    steps_per_execution: Count | None = Field(default=None, examples=[16])

    def applied_to(self, settings: _Settings) -> _Settings:
        """Returns `settings` with these changes.

        Example:
            >>> TrainingChanges(epochs=2).applied_to(TrainingSettings(batch_size=8)).batch_size
            8
        """
        shared = set(type(self).model_fields) & set(type(settings).model_fields)
        return settings.model_copy(update=self.model_dump(include=shared, exclude_none=True))


class ClassifierChanges(TrainingChanges):
    """Changes to the training settings of a classifier; None keeps a setting.

    Attributes:
        label_smoothing: Fraction of the label's probability that is spread over all classes.
        patience: Number of epochs without a better validation accuracy after which training stops.
        precision: `float32`, `mixed_float16`, or `mixed_bfloat16`.
        budget: Wall time after which the training ends.
    """

    label_smoothing: Smoothing | None = Field(default=None, examples=[0.1])
    patience: Count | None = Field(default=None, examples=[10])
    precision: DtypePolicy | None = Field(default=None, examples=["mixed_bfloat16"])
    budget: Duration | None = Field(default=None, examples=["40m"])
