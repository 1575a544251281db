"""Summarizes the record of a run: its models and files, as rows of a table."""

from dataclasses import dataclass

from keras_distill.records import (
    CompressRecord,
    EntryRecord,
    ExportRecord,
    IntervalRecord,
    RunRecord,
)

HEADER = ("", "test accuracy, %", "parameters", "bytes", "latency, ms")


@dataclass(frozen=True)
class Row:
    """One line of the table: a variant of the training, or a file.

    Attributes:
        title: Name of the variant or file.
        accuracy: Test accuracy, 0..1: of the file, or the mean over the seeds; None if unknown.
        parameters: Number of parameters; None if unknown.
        interval: The 95 % interval over the seeds, for a variant.
        entry: The entry of the benchmark, for a file.
        is_teacher: Whether it is the teacher.
    """

    title: str
    accuracy: float | None
    parameters: int | None
    interval: IntervalRecord | None = None
    entry: EntryRecord | None = None
    is_teacher: bool = False

    @property
    def bytes(self) -> int | None:
        """Bytes of the file; None for a variant."""
        return None if self.entry is None else self.entry.size.bytes

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the columns of `HEADER`."""
        accuracy = "" if self.accuracy is None else f"{100 * self.accuracy:.1f}"
        entry = self.entry
        return (
            self.title,
            accuracy if self.interval is None else percent(self.interval),
            "" if self.parameters is None else f"{self.parameters:,}",
            "" if entry is None else f"{entry.size.bytes:,}",
            "" if entry is None else f"{entry.latency[0].median_ms:.2g}",
        )


def percent(interval: IntervalRecord | None) -> str:
    """Formats an interval of shares in percent: `95.3 (94.8 to 95.8)`."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.value:.1f}"
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def rows(record: RunRecord) -> list[Row]:
    """Makes the rows: the teacher, each variant of the student, each file of the student."""
    entries = [entry for entry in record.benchmark.entries if entry.runtime == "litert"]
    # Some teachers have no file: an ensemble, a function, a store of soft targets.
    own = next((entry for entry in entries if is_teacher(entry.name)), None)
    teacher = Row(
        f"teacher {record.teacher.model}",
        record.teacher.test_accuracy,
        record.teacher.parameters if own is None else own.size.parameters,
        entry=own,
        is_teacher=True,
    )
    assistants = [
        Row(f"assistant {facts.model}", facts.test_accuracy, facts.parameters)
        for facts in record.assistants
    ]
    student = student_of(record)
    variants = [
        Row(
            f"{student} {variant.title}",
            variant.test_accuracy.value,
            variant.parameters,
            variant.test_accuracy,
        )
        for variant in record.variants
    ]
    exported = [
        Row(f"file {precision_of(e.name)}", e.quality.score, e.size.parameters, entry=e)
        for e in entries
        if e.quality is not None and not is_teacher(e.name)
    ]
    return [teacher, *assistants, *variants, *exported]


def student_of(record: RunRecord) -> str:
    """Returns the spec of the student: that of the recipe, or of the candidate that was found."""
    return record.recipe.student.model if record.search is None else record.search.chosen.title


def is_teacher(entry: str) -> bool:
    """Returns whether a name in the benchmark is that of the teacher, or of its `.tflite` file."""
    return entry.partition(" ")[0] == "teacher"


def precision_of(file: str) -> str:
    """Names a file by its path: `int8`, `compressed int8`."""
    *folder, name = file.split("/")
    return " ".join([*folder, name.removeprefix("student-").removesuffix(".tflite")])


def files(record: RunRecord) -> list[tuple[str, ExportRecord]]:
    """Lists every file of the run, by its path in the run's folder, with its record."""
    found = [(export.file, export) for export in record.exports.exports.values()]
    compressed = compressed_of(record)
    if compressed is not None:
        found.append((f"compressed/{compressed[1].file}", compressed[1]))
    return found


def missing(record: RunRecord) -> dict[str, str]:
    """Lists requested files that are missing, with the reason."""
    failed = {**record.exports.rejected, **record.exports.impossible}
    if record.compress is not None and record.compress.failed is not None:
        failed["compressed"] = record.compress.failed
    return failed


def compressed_of(record: RunRecord) -> tuple[CompressRecord, ExportRecord] | None:
    """Returns the compression and its file; None if compression was not requested or failed."""
    found = record.compress
    if found is None or found.failed is not None or found.record is None:
        return None
    return None if found.record.export is None else (found.record, found.record.export)


def table(record: RunRecord) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns the columns and the rows of the table for a terminal."""
    return HEADER, [row.cells for row in rows(record)]


def note(record: RunRecord) -> str:
    """Explains the numbers of the table."""
    seeds = len(record.recipe.seeds)
    variants = "One seed. Files: the distilled student"
    if seeds > 1:
        variants = (
            f"Variants: mean of {seeds} seeds with the 95 % t interval. Files: seed"
            f" {record.chosen_seed}, the best distilled student on validation data"
        )
    return (
        f"{variants}, run by LiteRT with one thread. Latency: median of"
        f" {record.benchmark.entries[0].latency[0].runs} calls at batch size 1, the files taking"
        f" turns. Test split: {record.data.test} examples, used once."
    )


def method(record: RunRecord) -> str:
    """Describes the method in one paragraph."""
    data, recipe = record.data, record.recipe
    labels = (
        f"{data.labels_kept} of {data.train} training labels, drawn again per seed; the teacher"
        " saw all of them"
        if data.labels_kept < data.train
        else "all training labels"
    )
    online = any(part.reads_layers for part in recipe.distillation.losses)
    lesson = "the teacher run in every step" if online else "the teacher's logits stored once"
    return (
        f"{data.train} training, {data.validation} validation and {data.test} test examples of"
        f" {data.source}. The student saw {labels}. Each variant starts from the same initial"
        f" weights and takes {record.variants[0].steps} steps. Distilled: {recipe.distillation},"
        f" {lesson}. Validation data chose the exported seed; test data chose nothing. Intervals"
        " over seeds are for this one teacher. "
        + " ".join(f"{note[0].upper()}{note[1:]}." for note in data.notes)
    )
