"""The part of a recipe that describes the distillation: alpha, temperature, and losses."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal import did_you_mean
from keras_distill.records._base import Record
from keras_distill.records._training_settings import Count, Temperature

# The losses of the package, and their settings. They are listed here, because recipes are read
# without importing TensorFlow.
LOSSES: dict[str, tuple[str, ...]] = {
    "SoftTargetLoss": ("temperature",),
    "StandardizedSoftTargetLoss": ("temperature",),
    "ReverseKLLoss": ("temperature",),
    "JensenShannonLoss": ("temperature",),
    "MultiLabelSoftLoss": ("temperature",),
    "DecoupledLoss": ("target_weight", "nontarget_weight", "temperature"),
    "DISTLoss": ("inter_weight", "intra_weight", "temperature"),
    "MultiLevelLoss": (
        "temperatures", "instance_weight", "batch_weight", "class_weight", "standardize",
    ),
    "LogitMatchingLoss": (),
    "RegressionLoss": ("kind", "delta"),
    "HintLoss": ("teacher_layer_name", "student_layer_name"),
    "AttentionTransferLoss": ("teacher_layer_name", "student_layer_name"),
    "SimilarityLoss": ("teacher_layer_name", "student_layer_name"),
    "RelationalLoss": (
        "teacher_layer_name", "student_layer_name", "distance_weight", "angle_weight",
    ),
    "VariationalLoss": ("teacher_layer_name", "student_layer_name"),
    "ContrastiveLoss": (
        "teacher_layer_name", "student_layer_name", "dimension", "queue_size", "temperature",
    ),
    "ReviewLoss": ("teacher_layer_names", "student_layer_names", "channels"),
    "SoftmaxRegressionLoss": (
        "teacher_layer_name", "student_layer_name", "teacher_classifier_name", "feature_weight",
        "logit_weight",
    ),
}  # fmt: skip
# Losses that are 0 for an example without a label.
NEED_LABELS = ("DecoupledLoss",)


class SchedulePart(Record):
    """A setting that changes from one value to another during training.

    Attributes:
        schedule: `linear`, or `cosine` (half a period of a cosine).
        start: Value up to step `delay`.
        end: Value from step `delay + steps` on.
        steps: Training steps from `start` to `end`; by default, until the last step.
        delay: Steps before the change starts.

    Example:
        >>> str(SchedulePart(schedule="linear", start=8, end=1))
        '8 to 1 (linear)'
    """

    schedule: Literal["linear", "cosine"]
    start: float
    end: float
    steps: Count | None = Field(default=None, examples=[1000])
    delay: int = Field(default=0, ge=0, le=10**9)

    def __str__(self) -> str:
        return f"{self.start:g} to {self.end:g} ({self.schedule})"


def _kind(value: object) -> str:
    return "<schedule>" if isinstance(value, dict | SchedulePart) else "<number>"


# Error messages omit tags in <>.
_Schedule = Annotated[SchedulePart, Tag("<schedule>")]
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(ge=0, le=1e6)]
ShareSetting: TypeAlias = Annotated[
    Annotated[_Share, Tag("<number>")] | _Schedule, Discriminator(_kind)
]
TemperatureSetting: TypeAlias = Annotated[
    Annotated[Temperature, Tag("<number>")] | _Schedule, Discriminator(_kind)
]
WeightSetting: TypeAlias = Annotated[
    Annotated[_Positive, Tag("<number>")] | _Schedule, Discriminator(_kind)
]


def setting_text(setting: float | SchedulePart) -> str:
    """Formats a number or a schedule for a report.

    Example:
        >>> setting_text(0.9), setting_text(SchedulePart(schedule="cosine", start=4, end=1))
        ('0.9', '4 to 1 (cosine)')
    """
    return str(setting) if isinstance(setting, SchedulePart) else f"{setting:g}"


class LossPart(Record):
    """One distillation loss.

    Other keys are the settings of the loss, with the names of its arguments in Python.

    Attributes:
        loss: Name of a class of `keras_distill.losses`, such as `DecoupledLoss`.
        weight: Weight of the loss in the sum of the losses: a number or a schedule.

    Example:
        >>> part = LossPart.parse(
        ...     {"loss": "DecoupledLoss", "weight": 0.5, "nontarget_weight": 2.0}, source="example")
        >>> part.settings
        {'nontarget_weight': 2.0}
    """

    model_config = ConfigDict(extra="allow")

    loss: str = Field(examples=["DecoupledLoss"])
    weight: WeightSetting = 1.0

    @field_validator("loss")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in LOSSES:
            near = did_you_mean(value, LOSSES)
            hint = near and f" ({near.lstrip()})"
            raise ValueError(f"must be one of {', '.join(LOSSES)}{hint}")
        return value

    @model_validator(mode="after")
    def _known_settings(self) -> Self:
        known = ("loss", "weight", *LOSSES[self.loss])
        for name, value in (self.model_extra or {}).items():
            if name not in known:
                rule = f"must have keys of {self.loss} only ({', '.join(known)})"
                raise ValueError(f"{rule}. Received: `{name:.60}`.{did_you_mean(name, known)}")
            if isinstance(value, dict):
                SchedulePart.parse(value, source=f"{self.loss}.{name}")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """The given settings of the loss, with tables converted to `SchedulePart`."""
        return {
            name: SchedulePart(**value) if isinstance(value, dict) else value
            for name, value in (self.model_extra or {}).items()
        }

    @property
    def reads_layers(self) -> bool:
        """Whether the loss compares inner layers of teacher and student."""
        return any("layer_name" in name for name in LOSSES[self.loss])

    @property
    def needs_labels(self) -> bool:
        """Whether the loss is 0 for an example without a label."""
        return self.loss in NEED_LABELS

    @property
    def softens_logits(self) -> bool:
        """Whether the loss divides logits by a temperature."""
        return "temperature" in LOSSES[self.loss] and not self.reads_layers


class DistillationPart(Record):
    """The losses with which the student learns from the teacher (Hinton 2015, section 2).

    The loss is (1 - alpha) · hard + alpha · Σ weight · loss. Alpha, temperature, and weights may be
    schedules, such as `temperature = {schedule = "linear", start = 8, end = 1}`.

    Attributes:
        alpha: Weight of the soft losses, 0..1; the loss on labels has the weight 1 - alpha. A
            number or a schedule.
        temperature: Temperature T > 0 of the losses on logits, unless a loss sets its own. A number
            or a schedule.
        views: Number of augmented views of each example, with `data.augment`. Epoch e uses view
            e mod views.
        top_k: Number of the teacher's largest logits to store for each example, with moments of the
            rest. By default, all logits are stored.
        losses: The soft losses; by default `SoftTargetLoss`. If a loss reads inner layers, the
            teacher runs in every step. Otherwise its logits are stored once.
    """

    alpha: ShareSetting = 0.9
    temperature: TemperatureSetting = 4.0
    views: int = Field(default=4, ge=1, le=100_000)
    top_k: Count | None = Field(default=None, examples=[20])
    losses: tuple[LossPart, ...] = Field(default=(), max_length=100)

    @field_validator("alpha")
    @classmethod
    def _shares(cls, value: float | SchedulePart) -> float | SchedulePart:
        if isinstance(value, SchedulePart) and not (0 <= value.start <= 1 and 0 <= value.end <= 1):
            raise ValueError("must stay in 0..1")
        return value

    @field_validator("temperature")
    @classmethod
    def _above_zero(cls, value: float | SchedulePart) -> float | SchedulePart:
        if isinstance(value, SchedulePart) and min(value.start, value.end) < 1e-3:
            raise ValueError("must stay >= 0.001")
        return value

    def __str__(self) -> str:
        text = f"alpha {setting_text(self.alpha)}, temperature {setting_text(self.temperature)}"
        if not self.losses:
            return text
        terms = (f"{setting_text(part.weight)} · {part.loss}" for part in self.losses)
        return f"{text}, {' + '.join(terms)}"
