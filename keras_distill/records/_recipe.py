"""The recipe: all settings of a run, as a TOML file."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal import check_identifier
from keras_distill._internal._checks import MAX_COUNT
from keras_distill._internal._compression_steps import parse_steps
from keras_distill.records._base import Record, TomlRecord
from keras_distill.records._changes import changed
from keras_distill.records._export import Precision
from keras_distill.records._training_settings import (
    Count,
    Seed,
    Temperature,
    TrainingChanges,
    TrainingSettings,
)

_MAX_SEEDS = 1000


class DataPart(Record):
    """Where the examples come from, and how many of their labels the student may see.

    Attributes:
        source: A data spec: `digits`, `tfds:mnist`, `images:DIR`, …
        data_dir: Folder of prepared TFDS data sets; None: TFDS's own default.
        labels: Labels the student sees: a count (int), a share (0..1], or None for all. The teacher
            always sees all.
    """

    source: str
    data_dir: str | None = None
    labels: int | float | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a count >= 1, or a share in 0..1 such as 0.1")
        return value

    @field_validator("labels")
    @classmethod
    def _count_or_share(cls, value: int | float | None) -> int | float | None:
        good = value is None or (value >= 1 if isinstance(value, int) else 0 < value <= 1)
        if not good:
            raise ValueError("must be a count >= 1, or a share in 0..1 such as 0.1")
        return value


class TeacherPart(TrainingChanges):
    """The teacher, and how its training differs from the student's.

    Attributes:
        model: A model spec (trained by the run), or a `.keras` or `.tflite` file (used as it is).
    """

    model: str


class StudentPart(Record):
    """The student: a model spec or a `.keras` file."""

    model: str


class DistillationPart(Record):
    """Weight and temperature of the soft loss (Hinton 2015, section 2).

    Attributes:
        alpha: Share of the soft loss, 0..1.
        temperature: T > 0 of the soft targets.
    """

    alpha: float = Field(default=0.9, ge=0, le=1)
    temperature: Temperature = 4.0


class ExportPart(Record):
    """The files that are made of the best distilled student.

    Attributes:
        quantizations: The precisions.
        calibration_samples: Number of training images for int8 calibration.
        max_drop: The most accuracy on validation data that a file may lose against the model it
            is converted from, in points.
    """

    quantizations: tuple[Precision, ...] = ("float32", "int8")
    calibration_samples: Count = 200
    max_drop: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @field_validator("quantizations")
    @classmethod
    def _some_and_different(cls, value: tuple[Precision, ...]) -> tuple[Precision, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must be one or more different precisions")
        return value


class CompressPart(TrainingChanges):
    """How the best distilled student is pruned, clustered and quantized, on the same soft targets.

    Weight and temperature of the soft loss are those of the distillation. The file is verified
    with the settings of the export, against the compressed model that it is converted from. Each
    step trains with the settings here. The batch size defaults to the student's, the others to
    those of `TrainingSettings`.

    Attributes:
        steps: `prune[:SPARSITY[:SCHEDULE]]`, `prune:2:4`, `cluster[:VALUES]`, `quantize`: one or
            more, in this order.
        skip: Names of layers that are neither pruned nor clustered.
        sparse: Whether to store a float32 file without its zeros.

    Example:
        >>> CompressPart.parse({"steps": ["quantize", "prune:0.8"]}, source="mine.toml")
        Traceback (most recent call last):
        keras_distill.InputError: mine.toml: `steps` must come in the order prune, \
cluster, quantize, each at most once. Received: steps=['quantize', 'prune:0.8']. In \
another order, a later step would undo an earlier one.
    """

    steps: tuple[str, ...]
    epochs: Count = 10  # pyright: ignore[reportIncompatibleVariableOverride]
    skip: tuple[str, ...] = ()
    sparse: bool = False

    @field_validator("steps", mode="before")
    @classmethod
    def _known_and_in_order(cls, value: Any) -> tuple[str, ...]:
        return tuple(step.text for step in parse_steps(value))

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        parse_steps(self.steps, sparse=self.sparse)
        return self


class BenchmarkPart(Record):
    """How latency is measured: interleaved timed calls per file, after warm-up."""

    runs: int = Field(default=50, ge=2, le=MAX_COUNT)


class Recipe(TomlRecord):
    """All settings of a run: data, teacher, student, training, seeds, export.

    Without `compress`, the student is not compressed.

    Example:
        >>> recipe = Recipe.parse(
        ...     {"name": "mine", "data": {"source": "digits"}, "teacher": {"model": "mlp:64"},
        ...      "student": {"model": "mlp:8"}, "seeds": 2}, source="example")
        >>> recipe.seeds, recipe.distillation.temperature
        ((0, 1), 4.0)
    """

    name: str
    summary: str = ""
    data: DataPart
    teacher: TeacherPart
    student: StudentPart
    distillation: DistillationPart = DistillationPart()
    training: TrainingSettings = TrainingSettings()
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2), max_length=_MAX_SEEDS)
    export: ExportPart = ExportPart()
    compress: CompressPart | None = None
    benchmark: BenchmarkPart = BenchmarkPart()

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        return check_identifier("name", value)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("must be >= 1 seeds")
            if value > _MAX_SEEDS:
                raise ValueError(f"must be <= {_MAX_SEEDS} seeds")
            return tuple(range(value))
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _some_and_different(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError("must be one or more different seeds")
        return value

    def with_changes(self, changes: Mapping[str, Any]) -> Self:
        """Returns the recipe with some settings replaced, and validated again.

        Args:
            changes: New values by dotted key; None returns a key to its default.

        Raises:
            InputError: If a key is unknown or a value breaks its rule.

        Example:
            >>> recipe = Recipe.parse(
            ...     {"name": "mine", "data": {"source": "digits"}, "teacher": {"model": "mlp:64"},
            ...      "student": {"model": "mlp:8"}}, source="example")
            >>> recipe.with_changes({"distillation.temperature": 2, "seeds": 5}).seeds
            (0, 1, 2, 3, 4)
        """
        source = f"recipe {self.name}"
        given = self.model_dump(mode="json", exclude_unset=True)
        return self.parse(changed(given, changes, source=source), source=source)

    @property
    def teacher_training(self) -> TrainingSettings:
        """How the teacher is trained: as the student, but for its own settings."""
        return self.teacher.applied_to(self.training)

    @property
    def compress_training(self) -> TrainingSettings | None:
        """How each compression step is trained; None without compression."""
        if self.compress is None:
            return None
        return self.compress.applied_to(TrainingSettings(batch_size=self.training.batch_size))
