"""Summarizes the record of a run: tables and sentences for the page and for the terminal."""

from dataclasses import dataclass

from keras_distill.records import (
    CompressRecord,
    EntryRecord,
    ExportRecord,
    IntervalRecord,
    RunRecord,
)

HEADER = (
    "",
    "test accuracy, %",
    "parameters",
    "bytes",
    "latency, ms",
    "p90",
    "gzipped",
    "agreement",
)
# Number of columns that fit into a terminal of 80 characters.
_TERMINAL_COLUMNS = 5


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
        accuracy = accuracy if self.interval is None else percent(self.interval)
        parameters = "" if self.parameters is None else f"{self.parameters:,}"
        entry = self.entry
        if entry is None:
            return (self.title, accuracy, parameters, *[""] * (len(HEADER) - 3))
        latency = entry.latency[0]
        agreement = None if entry.quality is None else entry.quality.agreement
        return (
            self.title,
            accuracy,
            parameters,
            f"{entry.size.bytes:,}",
            f"{latency.median_ms:.2g}",
            f"{latency.p90_ms:.2g}",
            f"{entry.size.gzip_bytes:,}",
            "" if agreement is None else f"{100 * agreement:.1f} %",
        )


def percent(interval: IntervalRecord | None) -> str:
    """Formats an interval of shares in percent: `95.3 (94.8 to 95.8)`."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.value:.1f}"
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def wilson(share: float, examples: int) -> tuple[float, float]:
    """Computes the 95 % interval of a share of examples.

    Source: Wilson 1927, Journal of the American Statistical Association 22. It stays in 0..1.

    Args:
        share: Share of the examples, 0..1.
        examples: Number of examples, n >= 1.

    Example:
        >>> low, high = wilson(0.97, 360)
        >>> round(low, 3), round(high, 3)
        (0.947, 0.983)
    """
    z2 = 1.959964**2 / examples
    middle = (share + z2 / 2) / (1 + z2)
    half = (z2 * share * (1 - share) + z2**2 / 4) ** 0.5 / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


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
    student = record.recipe.student.model
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
        Row(f"file {precision_of(e.name)}", e.quality.accuracy, e.size.parameters, entry=e)
        for e in entries
        if e.quality is not None and not is_teacher(e.name)
    ]
    return [teacher, *assistants, *variants, *exported]


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
        found.append((f"compressed/{compressed.export.file}", compressed.export))
    return found


def missing(record: RunRecord) -> dict[str, str]:
    """Lists requested files that are missing, with the reason."""
    failed = {**record.exports.rejected, **record.exports.impossible}
    if record.compress is not None and record.compress.failed is not None:
        failed["compressed"] = record.compress.failed
    return failed


def compressed_of(record: RunRecord) -> CompressRecord | None:
    """Returns the record of the compression; None if it was not requested, or failed."""
    return None if record.compress is None else record.compress.record


def table(record: RunRecord) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns the columns and the rows of the table for a terminal."""
    cells = [row.cells[:_TERMINAL_COLUMNS] for row in rows(record)]
    return HEADER[:_TERMINAL_COLUMNS], cells


def note(record: RunRecord) -> str:
    """Explains the numbers of the table."""
    seeds = len(record.recipe.seeds)
    return (
        f"Variants: mean of {seeds} seed{'s' if seeds > 1 else ''}"
        f"{' with the 95 % t interval' if seeds > 1 else ''}. Files: seed {record.chosen_seed}, the"
        " best distilled student on validation data, run by LiteRT with one thread. Latency: median"
        f" of {record.benchmark.entries[0].latency[0].runs} calls at batch size 1, the files taking"
        f" turns. Test split: {record.data.test} examples, used once."
    )


def sentences(record: RunRecord) -> list[str]:
    """Returns sentences on what the run shows, no more than its intervals support."""
    lines = [_gain(record)]
    made = [row for row in rows(record) if row.entry is not None and not row.is_teacher]
    smallest = min(made, key=lambda r: r.bytes or 0, default=None)
    if smallest is not None and rows(record)[0].entry is not None:
        lines.append(_smallest(record, smallest))
    lines += _compression_gain(record)
    lines += [f"{what} is missing: {why}" for what, why in missing(record).items()]
    return lines


def _gain(record: RunRecord) -> str:
    gain = record.gain
    if gain is None:
        accuracy = record.variant("distilled").test_accuracy
        return f"Distilled: {percent(accuracy)} % test accuracy; not trained alone to compare with."
    text = f"Distilled minus alone: {100 * gain.value:+.1f} points"
    if gain.low is None or gain.high is None:
        return f"{text} on one seed, without an interval."
    text += f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}, paired over {gain.n} seeds)"
    if gain.low > 0:
        return f"{text}: distilling helps."
    if gain.high < 0:
        return f"{text}: distilling hurts here."
    return f"{text}: the interval includes zero, so no effect is shown."


def _smallest(record: RunRecord, row: Row) -> str:
    teacher = rows(record)[0]
    assert row.entry is not None and teacher.entry is not None
    assert row.accuracy is not None and teacher.accuracy is not None  # both are files
    assert row.bytes is not None and teacher.bytes is not None
    points = 100 * (row.accuracy - teacher.accuracy)
    precision = row.title.removeprefix("file ")
    text = (
        f"The {precision} file has 1/{teacher.bytes / row.bytes:.0f} of the teacher's bytes at"
        f" {points:+.1f} points of its accuracy"
    )
    ratio = row.entry.latency[0].ratio
    if ratio is None:
        return f"{text}."
    return (
        f"{text}; latency {ratio.value:.2f} times the teacher's"
        f" ({ratio.low:.2f} to {ratio.high:.2f})."
    )


def _compression_gain(record: RunRecord) -> list[str]:
    """Compares the compressed file with the plain one of its precision, else with float32."""
    compressed = compressed_of(record)
    if compressed is None:
        return []
    precision = precision_of(compressed.export.file)
    by_title = {row.title: row for row in rows(record)}
    mine = by_title[f"file compressed {precision}"]
    plain = by_title.get(f"file {precision}") or by_title.get("file float32")
    text = f"Compressed by {', '.join(step.step for step in compressed.steps)}:"
    if plain is None or mine.entry is None or plain.entry is None:
        return [f"{text} {compressed.export.gzip_bytes:,} bytes after gzip."]
    own, other = mine.entry.size.gzip_bytes, plain.entry.size.gzip_bytes
    assert own is not None and other is not None  # both are files
    ratio = own / other
    assert mine.accuracy is not None and plain.accuracy is not None
    points = 100 * (mine.accuracy - plain.accuracy)
    return [
        f"{text} after gzip, its {precision} file has {ratio:.2f} times the bytes of the plain"
        f" {plain.title.removeprefix('file ')} file, at {points:+.1f} points of its accuracy."
    ]


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
