"""How a network is trained: the one description that all training in the package uses."""

from typing import Annotated, Literal

from pydantic import Field

from keras_distill._internal._checks import MAX_BATCH, MAX_COUNT, MAX_SEED
from keras_distill.records._base import Record

Count = Annotated[int, Field(ge=1, le=MAX_COUNT, strict=True)]
BatchSize = Annotated[int, Field(ge=1, le=MAX_BATCH, strict=True)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
# Beyond these bounds, float32 holds softened logits of real models no longer.
Temperature = Annotated[float, Field(ge=1e-3, le=1e6, allow_inf_nan=False)]
OptimizerName = Literal["adam", "adamw", "sgd"]
LearningRate = Annotated[float, Field(gt=0, le=1e3, allow_inf_nan=False)]
ScheduleName = Literal["constant", "cosine"]
WeightDecay = Annotated[float, Field(ge=0, le=1e3, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class TrainingSettings(Record):
    """How a network is trained.

    `training.make_optimizer` makes the optimizer of these settings.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Examples per step.
        optimizer: `adam`, `adamw`, or `sgd` with Nesterov momentum.
        learning_rate: At the first step.
        schedule: `cosine` lowers the learning rate to 0 at the last step; `constant` keeps it.
        weight_decay: Decoupled, as Keras applies it: each step subtracts
            learning rate · weight_decay · w from every trainable variable w (Loshchilov and
            Hutter 2019). None: Keras's default, 0.004 for `adamw` and 0 for the others.
        momentum: Momentum of `sgd`; the other optimizers do not use it.
        steps_per_execution: The most steps that run in one call of the compiled training function,
            which changes the speed only. None: chosen by the code that trains.

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
    weight_decay: WeightDecay | None = None
    momentum: Momentum = 0.9
    steps_per_execution: Count | None = None


class TrainingChanges(Record):
    """Settings that differ from other training settings; None: they do not differ.

    Attributes:
        epochs: See `TrainingSettings`, as for the rest.
        batch_size: Examples per step.
        optimizer: `adam`, `adamw`, or `sgd`.
        learning_rate: At the first step.
        schedule: `cosine` or `constant`.
        weight_decay: Decoupled weight decay.
        momentum: Momentum of `sgd`.
        steps_per_execution: The most steps per call of the compiled training function.
    """

    epochs: Count | None = None
    batch_size: BatchSize | None = None
    optimizer: OptimizerName | None = None
    learning_rate: LearningRate | None = None
    schedule: ScheduleName | None = None
    weight_decay: WeightDecay | None = None
    momentum: Momentum | None = None
    steps_per_execution: Count | None = None

    def applied_to(self, settings: TrainingSettings) -> TrainingSettings:
        """Returns `settings` with these changes.

        Example:
            >>> TrainingChanges(epochs=2).applied_to(TrainingSettings(batch_size=8)).batch_size
            8
        """
        given = self.model_dump(include=set(TrainingChanges.model_fields), exclude_none=True)
        return settings.model_copy(update=given)
