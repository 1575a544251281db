"""The record of a run."""

from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._stats import Interval
from keras_distill.records._base import Measured, Record
from keras_distill.records._benchmark import BenchmarkRecord
from keras_distill.records._compress import CompressRecord
from keras_distill.records._export import ExportSet
from keras_distill.records._recipe import VARIANTS, Recipe
from keras_distill.records._search import BudgetResult, SearchRecord
from keras_distill.records._shrink import ShrinkRecord

_MAX_ROUNDS = 100_000
_MAX_VARIANTS = 200


class IntervalRecord(Record):
    """A value with its 95 % interval; the ends are None for a single observation.

    Attributes:
        value: The value.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of observations.
    """

    value: float
    low: Measured
    high: Measured
    n: int

    @classmethod
    def of(cls, interval: Interval) -> "IntervalRecord":
        """Creates the record of an `Interval`."""
        return cls(value=interval.value, low=interval.low, high=interval.high, n=interval.n)


class Curve(Record):
    """The logs of a training, one entry per round (a round is one or more epochs).

    Attributes:
        epochs: Number of epochs completed at the end of each round.
        loss: Training loss. The losses of different variants are not comparable.
        validation_accuracy: Accuracy on the validation split, 0..1.
    """

    epochs: tuple[int, ...] = Field(max_length=_MAX_ROUNDS)
    loss: tuple[Measured, ...]
    validation_accuracy: tuple[float, ...]

    @classmethod
    def of(cls, logs: Mapping[str, Sequence[float]], epochs_per_round: int) -> "Curve":
        """Creates the record from the logs of all rounds."""
        loss = tuple(logs["loss"])
        return cls(
            epochs=tuple(epochs_per_round * (i + 1) for i in range(len(loss))),
            loss=loss,
            validation_accuracy=tuple(logs["val_accuracy"]),
        )


class SeedResult(Record):
    """One training of one variant.

    Attributes:
        seed: Seed of the initial weights, the order of the data, and the labels that are kept.
        validation_accuracy: Accuracy of the trained model on the validation split, 0..1.
        test_accuracy: Accuracy on the test split, 0..1. The test split is used once.
        seconds: Wall time of the training.
        curve: The logs of the training.
    """

    seed: int
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    curve: Curve


class VariantResult(Record):
    """One variant of the student's training, over all seeds.

    Attributes:
        name: One of `VARIANTS`, or `generation_1`, `generation_2`, … for the distilled generations
            before the last.
        title: The name in reports.
        labels: Number of labels that the student saw.
        parameters: Number of parameters of the student.
        steps: Number of training steps, the maximum over the seeds.
        seeds: The result of each seed.
        test_accuracy: Mean over the seeds with its 95 % t interval.
    """

    name: str
    title: str
    labels: int
    parameters: int
    steps: int
    seeds: tuple[SeedResult, ...]
    test_accuracy: IntervalRecord


class DataFacts(Record):
    """The sizes and classes of the data set.

    Attributes:
        source: The data spec.
        train: Number of training examples.
        validation: Number of validation examples.
        test: Number of test examples.
        labels_kept: Number of labels that the student sees.
        class_names: Names of the classes, by class id.
        input_shape: Shape of one example.
        notes: Sentences on how the splits were made and which examples the student sees.
    """

    source: str
    train: int
    validation: int
    test: int
    labels_kept: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    notes: tuple[str, ...] = ()


class TeacherFacts(Record):
    """The teacher: its source and its accuracy.

    Attributes:
        model: Spec or file, as in the recipe.
        parameters: Number of parameters; None if unknown, as for a `.tflite` file.
        validation_accuracy: Accuracy on the validation split, 0..1; None for stored logits.
        test_accuracy: Accuracy on the test split, 0..1; None for stored logits.
        curve: The logs of its training; None for an ensemble, or if the run did not train it.
        fingerprint: SHA-256 of what determines its logits; None if unknown.
    """

    model: str
    parameters: int | None
    validation_accuracy: float | None
    test_accuracy: float | None
    curve: Curve | None
    fingerprint: str | None


class CompressResult(Record):
    """The result of compressing the chosen student.

    Attributes:
        record: The steps and the file. If the compression failed, the steps that were trained, or
            None if there are none.
        failed: The reason why there is no file; None if there is one.
    """

    record: CompressRecord | None = None
    failed: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        made = self.record is not None and self.record.failed is None
        if made == (self.failed is not None):
            raise ValueError("must have `failed` if and only if `record` has no verified file")
        return self

    @property
    def file(self) -> str | None:
        """Name of the verified `.tflite` file; None if the compression failed."""
        made = self.record
        if self.failed is not None or made is None or made.export is None:
            return None
        return made.export.file


class RunRecord(Record):
    """Everything that a run measured; the results that `report.html` shows.

    Attributes:
        recipe: The recipe.
        scale: `full`, or `smoke` (two steps of everything, so that the numbers mean nothing).
        versions: Package versions, and `onednn` on or off.
        machine: Processor and core count.
        started: Time at which the run started, ISO 8601, UTC.
        seconds: Wall time of all sessions of the run.
        data: The data set.
        teacher: The teacher.
        assistants: Teacher assistants between teacher and student, in order.
        variants: The variants of the student's training, each over all seeds.
        gain: Paired difference in test accuracy, distilled minus alone, over the seeds; None if
            the student was not trained alone.
        chosen_seed: The seed of the exported student: the distilled student with the best
            validation accuracy.
        exports: The `.tflite` files, and the precisions that failed or are not supported.
        compress: The result of compressing that student; None without `[compress]` in the recipe.
        shrink: The channels and blocks of the teacher that were removed to make the student; None
            if the student is not a narrower teacher.
        search: The candidates for the student; None without `[budget]` in the recipe.
        budget: Whether the files are within the budget; None without `[budget]` in the recipe.
        benchmark: Benchmark of the student's files and, if the teacher is one model, of the teacher
            as a `.tflite` file.
    """

    recipe: Recipe
    scale: str
    versions: dict[str, str] = Field(max_length=1000)
    machine: str
    started: str
    seconds: float
    data: DataFacts
    teacher: TeacherFacts
    assistants: tuple[TeacherFacts, ...] = Field(default=(), max_length=_MAX_VARIANTS)
    variants: tuple[VariantResult, ...] = Field(max_length=_MAX_VARIANTS)
    gain: IntervalRecord | None
    chosen_seed: int
    exports: ExportSet
    compress: CompressResult | None = None
    shrink: ShrinkRecord | None = None
    search: SearchRecord | None = None
    budget: BudgetResult | None = None
    benchmark: BenchmarkRecord

    def check(self) -> None:
        """Checks that the values are consistent with each other; see `Record.check`."""
        names = [variant.name for variant in self.variants]
        generations = {f"generation_{i}" for i in range(1, self.recipe.generations)}
        known = set(VARIANTS) | generations
        if len(set(names)) < len(names) or not {"distilled"} <= set(names) <= known:
            raise InputError(
                f"`variants` must have distilled, and may have {', '.join(VARIANTS)}, each once."
                f" Received: {', '.join(names)}"
            )
        if ("alone" in names) != (self.gain is not None):
            raise InputError(
                "`gain` must be given if the student was trained alone, and only then."
            )
        for variant in self.variants:
            if tuple(result.seed for result in variant.seeds) != self.recipe.seeds:
                raise InputError(f"`seeds` of {variant.name} must be those of the recipe.")
            for curve in (result.curve for result in variant.seeds):
                if not len(curve.epochs) == len(curve.loss) == len(curve.validation_accuracy):
                    raise InputError(f"`curve` of {variant.name} must have columns of one length.")
        if self.chosen_seed not in self.recipe.seeds:
            raise InputError("`chosen_seed` must be one of the recipe's seeds.")
        entries = self.benchmark.entries
        if len({entry.name for entry in entries}) < len(entries):
            raise InputError("`benchmark.entries` must have different names.")
        files = [entry for entry in entries if entry.runtime == "litert"]
        if not files or not all(entry.latency and entry.size.bytes for entry in files):
            raise InputError("`benchmark.entries` must have .tflite files with size and latency.")

    def summary_rows(self) -> list[tuple[str, str]]:
        """Returns the test accuracy of teacher and variants, and each file with its verdict."""
        teacher = self.teacher.test_accuracy
        found = [] if teacher is None else [(f"teacher {self.teacher.model}", f"{teacher:.1%}")]
        for variant in self.variants:
            mean = variant.test_accuracy
            text = f"{mean.value:.1%}"
            if mean.low is not None and mean.high is not None:
                text += f" ({mean.low:.1%} to {mean.high:.1%}, {mean.n} seeds)"
            found.append((variant.title, text))
        measured = {entry.name: entry.quality for entry in self.benchmark.entries}
        for export in self.exports.exports.values():
            quality = measured.get(export.file)
            accuracy = "" if quality is None else f"{quality.score:.1%}, "
            text = f"{accuracy}{export.bytes / 1024:,.1f} KiB, {export.verification.verdict}"
            found.append((export.file, text))
        return found

    def variant(self, name: str) -> VariantResult:
        """Returns the variant with the given name.

        Raises:
            KeyError: If the run has no such variant.
        """
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)
