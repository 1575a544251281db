"""States the conclusions of a run that its intervals support, and its warnings."""

from typing import NamedTuple

from keras_distill.records import EntryRecord, RunRecord, Verdict
from keras_distill.report import _words
from keras_distill.report._summary import (
    Row,
    compressed_of,
    files,
    missing,
    percent,
    precision_of,
    rows,
)

_MAX_DROP = 1.0  # points; with fewer than 100 examples, one example
_STATES: dict[Verdict, str] = {
    "passed": "passed verification",
    "failed": "failed verification",
    "not verified on data": "was not verified on data",
}


class Banner(NamedTuple):
    """A statement at the top of the page, of kind "bad" (red) or "warn"."""

    kind: str
    title: str
    text: str


def file_rows(record: RunRecord) -> list[Row]:
    """Returns the rows of the files of the student."""
    return [row for row in rows(record) if row.entry is not None and not row.is_teacher]


def headline_row(record: RunRecord) -> Row | None:
    """Returns the smallest file that keeps the student's accuracy; otherwise, the smallest."""
    found = file_rows(record)
    kept = [row for row in found if drop(record, row) is None]
    return min(kept or found, key=lambda row: row.bytes or 0, default=None)


def headline_file(record: RunRecord) -> str | None:
    """Returns the path in the run's folder of the file that the page presents, or None."""
    row = headline_row(record)
    return None if row is None or row.entry is None else row.entry.name


def student_accuracy(record: RunRecord) -> float:
    """Returns the test accuracy of the student from which the files were exported."""
    seeds = record.variant("distilled").seeds
    return next(result.test_accuracy for result in seeds if result.seed == record.chosen_seed)


def drop(record: RunRecord, row: Row) -> float | None:
    """Returns the loss of a file compared with the student, as a fraction, if it is too large.

    A loss is too large if it is more than 1 point and more than one example.
    """
    lost = student_accuracy(record) - (row.accuracy or 0.0)
    most = max(_MAX_DROP / 100, 1 / max(1, record.data.test))
    return lost if lost > most + 1e-9 else None


def verdict(record: RunRecord) -> str:
    """Summarizes the result of the run in one sentence."""
    row = headline_row(record)
    if row is None or row.entry is None or row.accuracy is None:
        return "No file was made."
    teacher = rows(record)[0]
    export = dict(files(record)).get(row.entry.name)
    state = _STATES["not verified on data" if export is None else export.verification.verdict]
    if export is not None and export.verification.too_few:
        state = "has too few examples for a verdict"
    name = row.entry.name
    if teacher.accuracy is None:
        return f"{name}: {_words.percent(row.accuracy)} test accuracy; it {state}."
    accuracy = _words.points(row.accuracy - teacher.accuracy)
    if teacher.entry is None:
        return f"{name} {state}; its accuracy is {accuracy} than the teacher's."
    ratios = " and ".join([smaller(row, teacher), *faster(row.entry)])
    than = " as the teacher's" if accuracy == "the same" else ""
    return f"{name} is {ratios} than the teacher and {state}; its accuracy is {accuracy}{than}."


def budget(record: RunRecord) -> list[str]:
    """States whether the final file is within the budget; empty without a budget."""
    kept, asked = record.budget, record.recipe.budget
    if kept is None or asked is None:
        return []
    if not kept.file:
        return [f"The budget is not met: {'; '.join(kept.failures)}."]
    text = f"{kept.file} has {kept.bytes:,} of at most {asked.max_bytes:,} bytes"
    if kept.drop is not None:
        points = _words.points(-kept.drop / 100)
        than = " as the teacher's" if points == "the same" else " than the teacher's"
        text += f"; its validation accuracy is {points}{than}"
    if kept.failures:
        return [f"The budget is not met: {'; '.join(kept.failures)}. The best file: {text}."]
    return [f"The budget is met: {text}."]


def smaller(row: Row, teacher: Row) -> str:
    """Compares the bytes of a file with those of the teacher's: `67x smaller`."""
    return _words.times((teacher.bytes or 0) / (row.bytes or 1), "smaller", "larger")


def faster(entry: EntryRecord) -> list[str]:
    """Compares the latency of a file with the teacher's: `1.8x faster`; empty if not measured."""
    ratio = entry.latency[0].ratio
    if ratio is None:
        return []
    return [_words.times(1 / ratio.value, "faster", "slower")]


def sentences(record: RunRecord) -> list[str]:
    """Returns the conclusions of the run: on the file, distillation, compression, and failures."""
    lines = [verdict(record), *details(record)]
    return lines + [f"{_lost(what)}: {why}" for what, why in missing(record).items()]


def _lost(what: str) -> str:
    return "Compression failed" if what == "compressed" else f"{what} is missing"


def details(record: RunRecord) -> list[str]:
    """Returns the sentences after the verdict: on the budget, distillation, and compression."""
    return [*budget(record), gain(record), *_compression_gain(record)]


def gain(record: RunRecord) -> str:
    """States what distillation gains over training alone."""
    found = record.gain
    if found is None:
        accuracy = percent(record.variant("distilled").test_accuracy)
        return f"Distilled: {accuracy} % test accuracy; not trained alone to compare with."
    value = _words.points(found.value)
    than = "as" if value == "the same" else "than"
    if found.low is None or found.high is None:
        return f"Distilled, the student's accuracy is {value} {than} alone: one seed, no interval."
    text = f"95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f} points"
    text += f", paired over {found.n} seeds"
    if found.low > 0:
        return f"Distilling helps: the student's accuracy is {value} than alone ({text})."
    if found.high < 0:
        return f"Distilling hurts here: the student's accuracy is {value} than alone ({text})."
    as_alone = f"the student's accuracy is {value} {than} alone"
    return f"No effect of distilling is shown: {as_alone} ({text})."


def _compression_gain(record: RunRecord) -> list[str]:
    """Compares the compressed file with the plain file in its precision, or else in float32."""
    compressed = compressed_of(record)
    if compressed is None:
        return []
    steps, export = compressed[0].steps, compressed[1]
    precision = precision_of(export.file)
    by_title = {row.title: row for row in rows(record)}
    mine = by_title[f"file compressed {precision}"]
    plain = by_title.get(f"file {precision}") or by_title.get("file float32")
    text = f"Compressed by {', '.join(step.step for step in steps)}:"
    if plain is None or mine.entry is None or plain.entry is None:
        return [f"{text} {_words.size(export.gzip_bytes)} after gzip."]
    own, other = mine.entry.size.gzip_bytes, plain.entry.size.gzip_bytes
    assert own and other  # both are files
    accuracy = _words.points((mine.accuracy or 0) - (plain.accuracy or 0))
    ratio = _words.times(other / own, "smaller", "larger")
    return [
        f"{text} after gzip, its {precision} file is {ratio}"
        f" than the plain {plain.title.removeprefix('file ')} file; its accuracy is {accuracy}."
    ]


def banners(record: RunRecord) -> list[Banner]:
    """Returns the warnings that a reader has to know before any number."""
    found: list[Banner] = []
    if record.scale == "smoke":
        text = "Two steps of everything. The numbers show only that every stage runs."
        found.append(Banner("bad", "A smoke run.", text))
    for row in file_rows(record):
        lost = drop(record, row)
        if lost is not None and row.entry is not None and row.accuracy is not None:
            text = (
                f"Its test accuracy, {_words.percent(row.accuracy)}, is {_words.points(-lost)} than"
                f" that of the student, {_words.percent(student_accuracy(record))}."
            )
            title = f"{row.entry.name} falls below the model it came from."
            found.append(Banner("bad", title, text))
    for name, export in files(record):
        if export.verification.verdict == "not verified on data":
            text = "Nothing shows that it keeps the accuracy of its model on real rows."
            if export.verification.too_few:
                text = f"{export.verification.statement}.".capitalize()
            found.append(Banner("bad", f"{name} is not verified on data.", text))
    if record.budget is not None and record.budget.failures:
        text = f"{'; '.join(record.budget.failures)}.".capitalize()
        found.append(Banner("bad", "The student does not keep to the budget.", text))
    for name, why in missing(record).items():
        kind = "warn" if name in record.exports.impossible else "bad"
        found.append(Banner(kind, f"{_lost(name)}.", why))
    return found
