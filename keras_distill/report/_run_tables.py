"""The tables of a run's page: its models and files, and the verification of each file."""

from keras_distill.records import ExportRecord, PrecisionRecord, RatioRecord, RunRecord
from keras_distill.report import _words
from keras_distill.report._cells import EMPTY, VERDICTS, Cell, Table
from keras_distill.report._precision_rows import CANDIDATE_COLUMNS, candidate_rows
from keras_distill.report._summary import Row, files, percent, rows
from keras_distill.report._verdict import headline_row

_MODELS = {
    "model or file": "",
    "test accuracy, %": "Share of the test split that is predicted right. Of a variant: the mean"
    " over the seeds, with its 95 % Student t interval.",
    "points to the teacher": "Difference to the teacher's test accuracy, in percentage points.",
    "parameters": "Number of weights.",
    "size, KiB": "Size of the .tflite file; 1 KiB is 1,024 bytes.",
    "gzipped, KiB": "Size of the file after gzip -9, as an app store would ship it.",
    "latency, ms": "Median time of one call at batch size 1 on one thread. The files take turns"
    " call by call.",
    "memory, MiB": "Peak memory that opening the file and one call add to a new process.",
    "agrees, %": "Share of the test split on which file and teacher predict the same class.",
}
_FILES = {
    "file": "",
    "verdict": "The file is run on rows of data and compared with the model it came from. A file"
    " that fails is not written. Random rows do not verify accuracy.",
    "accuracy, %": "Accuracy of the file on the rows of the verification.",
    "of its model, %": "Accuracy of the model it came from on the same rows.",
    "same class, %": "Share of the rows on which the file and its model predict the same class.",
    "largest difference": "Largest difference of an output to that of the model, in its own unit.",
    "of the range, %": "That difference divided by the range of the model's outputs.",
    "most, points": "The largest loss of accuracy that passes.",
    "rows": "Number of rows compared.",
}
_CANDIDATES = {
    "lost, points": "Loss against the student on the rows that choose.",
    "worst class": "Loss of the class that loses most there.",
    "agreement": "Share of these rows on which file and student predict the same class.",
    "latency ratio": "Latency of one row over that of the float32 file.",
    "front": "No other file is as good in bytes and loss, and better in one of them.",
    "result": "A failed one loses too much, or exceeds a limit of size or latency.",
}


def models(record: RunRecord) -> Table:
    """Creates the table of the teacher, the variants of the student, and the files."""
    lines = rows(record)
    headline = headline_row(record)
    return Table(
        "Every model and file",
        tuple(_MODELS),
        [_model(line, lines[0]) for line in lines],
        {name: text for name, text in _MODELS.items() if text},
        tuple(number for number, line in enumerate(lines) if line == headline),
    )


def _model(line: Row, teacher: Row) -> tuple[Cell | str, ...]:
    accuracy = EMPTY if line.accuracy is None else Cell(f"{100 * line.accuracy:.1f}")
    if line.interval is not None:
        accuracy = Cell(percent(line.interval), 100 * line.interval.value)
    change = EMPTY
    if line.accuracy is not None and teacher.accuracy is not None and not line.is_teacher:
        difference = line.accuracy - teacher.accuracy
        change = Cell(_words.points(difference).replace("points ", ""), difference)
    entry = line.entry
    parameters = "" if line.parameters is None else f"{line.parameters:,}"
    if entry is None:
        return (line.title, accuracy, change, parameters, *[EMPTY] * 5)
    latency, quality = entry.latency[0], entry.quality
    agreement = None if quality is None else quality.agreement
    hint = f"90 % of the calls take at most {_words.duration(latency.p90_ms)}"
    hint += "" if latency.ratio is None else f"; {_ratio(latency.ratio)}"
    return (
        line.title,
        accuracy,
        change,
        parameters,
        _kibibytes(entry.size.bytes),
        _kibibytes(entry.size.gzip_bytes),
        Cell(_significant(latency.median_ms), latency.median_ms, hint),
        _mebibytes(entry.size.peak_memory_bytes),
        EMPTY if agreement is None else Cell(f"{100 * agreement:.1f}"),
    )


def _ratio(ratio: RatioRecord) -> str:
    interval = f"95 % interval {ratio.low:.3g} to {ratio.high:.3g}"
    return f"{ratio.value:.3g} times the teacher's latency ({interval})"


def _kibibytes(count: int | None) -> Cell:
    if count is None:
        return EMPTY
    kibibytes = count / 1024
    return Cell(f"{kibibytes:,.{0 if kibibytes >= 100 else 1}f}", count, f"{count:,} bytes")


def _mebibytes(count: int | None) -> Cell:
    return EMPTY if count is None else Cell(f"{count / 2**20:.1f}", count, f"{count:,} bytes")


def _significant(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def verification(record: RunRecord) -> Table:
    """Creates the table of the verification of each file, with its accuracy."""
    return Table(
        "Verification of each file",
        tuple(_FILES),
        [_verification(name, export) for name, export in files(record)],
        {name: text for name, text in _FILES.items() if text},
    )


def _verification(name: str, export: ExportRecord) -> tuple[Cell | str, ...]:
    found = export.verification
    output = found.worst or found.outputs[0]
    return (
        name,
        VERDICTS[found.verdict],
        _percent(output.judged.file),
        _percent(output.judged.reference),
        _percent(output.agreement, 2),
        "–" if output.max_difference is None else f"{output.max_difference:.2g}",
        _percent(output.relative_difference, 2),
        "–" if found.max_drop is None else f"{found.max_drop:g}",
        f"{found.samples:,}",
    )


def precisions(record: RunRecord) -> Table | None:
    """Creates the table of the files that `auto` tried; None if `auto` was not used."""
    found = _choice(record)
    if found is None:
        return None
    return Table(
        "Files tried",
        CANDIDATE_COLUMNS,
        [
            (*texts[:-1], Cell(texts[-1], hint="; ".join(one.reasons)))
            for texts, one in zip(candidate_rows(found), found.candidates, strict=True)
        ],
        _CANDIDATES,
        tuple(n for n, one in enumerate(found.candidates) if one.name == found.chosen),
    )


def precisions_note(record: RunRecord) -> str:
    """Explains how the precision of a file was chosen; empty if it was given."""
    found = _choice(record)
    if found is None:
        return ""
    budget = "" if record.budget is None else " and keeps the budget"
    return (
        f"student-auto.tflite is {found.chosen}: the smallest of {len(found.candidates)} files"
        f" that loses at most {found.max_drop:g} points on {found.chosen_on_rows:,} rows"
        f" ({found.chosen_on}){budget}. It was verified on {found.judged_on_rows:,} other rows"
        f" ({found.judged_on})."
    )


def _choice(record: RunRecord) -> PrecisionRecord | None:
    tables = (export.precision for export in record.exports.exports.values())
    return next((found for found in tables if found is not None), None)


def operators(record: RunRecord) -> dict[str, str]:
    """Lists the operators of each file with their counts."""
    return {
        name: ", ".join(f"{count} {op}" for op, count in export.ops.items())
        for name, export in files(record)
    }


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}"
