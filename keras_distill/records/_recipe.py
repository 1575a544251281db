"""The recipe: all settings of a run, as a TOML file."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from keras_distill._internal import InputError, check_identifier
from keras_distill.records._base import TomlRecord
from keras_distill.records._changes import changed
from keras_distill.records._recipe_budget import BudgetPart
from keras_distill.records._recipe_data import DataPart
from keras_distill.records._recipe_distillation import DistillationPart
from keras_distill.records._recipe_models import AssistantPart, StudentPart, TeacherPart
from keras_distill.records._recipe_results import BenchmarkPart, CompressPart, ExportPart
from keras_distill.records._sweep import SweepPart
from keras_distill.records._training_settings import ClassifierSettings, Seed, TrainingSettings

_MAX_SEEDS = 1000

AUTO = "auto"
"""The student of a recipe whose budget decides it."""

VARIANTS = ("alone", "alone_all_labels", "label_smoothing", "mutual", "self", "distilled")
"""How a student is trained, in the order of training."""


def _variant(text: str) -> str:
    """Returns the name of a variant without its setting, after checking it."""
    kind, mark, setting = text.partition(":")
    share = kind == "label_smoothing" and re.fullmatch(r"0?\.\d{1,9}", setting)
    if kind not in VARIANTS or (mark and not share):
        raise ValueError(
            f"must be {', '.join(VARIANTS[:-1])}, or {VARIANTS[-1]}; label_smoothing may have a"
            " share, as in label_smoothing:0.2"
        )
    return kind


class Recipe(TomlRecord):
    """All settings of a run: data, teacher, student, training, seeds, export.

    Without `compress`, the student is not compressed.

    Attributes:
        name: Name of the run, and of its folder.
        summary: One sentence that describes the run.
        data: The source of the examples, and the part of them that the student sees.
        teacher: The teacher, and the settings of its training.
        assistant: Teacher assistants. The first is distilled from the teacher, each other one from
            the assistant before it. The student learns from the last assistant.
        student: The student. With `budget`, its model is `auto`.
        budget: Limits for the student's `.tflite` file, if the run has to find the student.
        distillation: The losses with which the student learns from the teacher.
        training: How the student is trained.
        variants: The variants of the student to train: `alone` (on the labels that it sees),
            `alone_all_labels`, `label_smoothing` (alone, with label smoothing;
            `label_smoothing:0.2` sets the fraction, 0.1 by default), `mutual` (with a peer of the
            same spec, without a teacher), `self` (distilled from the best student trained alone),
            and `distilled`, which is required. By default: alone, alone on all labels if the
            student sees fewer, and distilled; with `budget`, only distilled.
        generations: Number of distilled students that are trained one after another. The first
            learns from the teacher, each other one from the best student of the generation before
            (born-again networks).
        seeds: A number of seeds, or a list of seeds. A seed determines the initial weights, the
            order of the data, and the labels that are kept.
        export: The `.tflite` files of the best distilled student.
        compress: How the best distilled student is pruned, clustered, and quantized. Without this
            table, it is not compressed.
        benchmark: How the files are measured.
        sweep: The points of `keras-distill sweep`. A run ignores this table.

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
    assistant: tuple[AssistantPart, ...] = Field(default=(), max_length=100)
    student: StudentPart
    budget: BudgetPart | None = None
    distillation: DistillationPart = DistillationPart()
    training: ClassifierSettings = ClassifierSettings()
    variants: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=10, examples=[["alone", "distilled"]]
    )
    generations: int = Field(default=1, ge=1, le=100)
    seeds: tuple[Seed, ...] = Field(default=(0, 1, 2), max_length=_MAX_SEEDS)
    export: ExportPart = ExportPart()
    compress: CompressPart | None = None
    benchmark: BenchmarkPart = BenchmarkPart()
    sweep: SweepPart | None = None

    @field_validator("name")
    @classmethod
    def _safe_name(cls, value: str) -> str:
        return check_identifier("name", value)

    @field_validator("variants")
    @classmethod
    def _known_variants(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        kinds = [_variant(text) for text in value]
        if len(set(kinds)) < len(kinds) or "distilled" not in kinds:
            raise ValueError("must be different variants, and distilled one of them")
        if "self" in kinds and "alone" not in kinds:
            raise ValueError("must have alone, whose best student teaches in self")
        return value

    @model_validator(mode="after")
    def _found_or_named(self) -> Self:
        if (self.budget is not None) != (self.student.model == AUTO):
            raise InputError(
                f"`student.model` must be {AUTO!r} with `budget`, and only then. Received:"
                f" student.model={self.student.model!r}"
            )
        return self

    @model_validator(mode="after")
    def _one_teacher_for_layers(self) -> Self:
        if not any(part.reads_layers for part in self.distillation.losses):
            return self
        others = {"self", "mutual"} & set(self.variants or ())
        if self.generations > 1 or self.assistant or others:
            raise InputError(
                "`assistant`, `generations`, and the variants `self` and `mutual` must be left out"
                " with a loss that reads inner layers: it names layers of one teacher."
            )
        return self

    def variants_trained(self, *, few_labels: bool) -> tuple[str, ...]:
        """Returns the variants to train, in order; distilled is the last.

        Args:
            few_labels: Whether the student sees fewer labels than the data has.
        """
        if self.variants is None and self.budget is not None:
            return ("distilled",)
        if self.variants is None:
            return (
                ("alone", "alone_all_labels", "distilled")
                if few_labels
                else (
                    "alone",
                    "distilled",
                )
            )
        return tuple(sorted(self.variants, key=lambda text: VARIANTS.index(_variant(text))))

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
        """Returns a copy of the recipe with some settings replaced, validated again.

        Args:
            changes: New values by dotted key; None resets a key to its default.

        Raises:
            InputError: If a key is unknown or a value is invalid.

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
    def quantizations(self) -> tuple[str, ...]:
        """The precisions of the student's files."""
        if self.export.quantizations is not None:
            return self.export.quantizations
        return ("float32", "int8") if self.budget is None else (AUTO,)

    @property
    def teacher_training(self) -> ClassifierSettings:
        """How the teacher is trained: like the student, except for settings of its own.

        Label smoothing applies to the teacher only if it is set for the teacher, because a teacher
        trained with it teaches worse (Müller, Kornblith, Hinton 2019, arXiv:1906.02629).
        """
        return self.teacher.applied_to(self.training.model_copy(update={"label_smoothing": 0.0}))

    @property
    def compress_training(self) -> TrainingSettings | None:
        """How each compression step is trained; None without compression."""
        if self.compress is None:
            return None
        return self.compress.applied_to(TrainingSettings(batch_size=self.training.batch_size))
