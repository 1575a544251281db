"""The head of a run's page: from the teacher to the student to the file."""

from dataclasses import dataclass, field

from keras_distill.records import RunRecord, setting_text
from keras_distill.report import _words
from keras_distill.report._cells import VERDICTS, Cell
from keras_distill.report._summary import Row, files, percent, rows, student_of
from keras_distill.report._verdict import faster, headline_row, smaller, student_accuracy


@dataclass(frozen=True)
class Step:
    """One of the three models.

    Attributes:
        kind: `teacher`, `student`, or `file`; determines the color.
        name: Its spec or file.
        accuracy: Test accuracy; empty if unknown.
        facts: More facts about the model.
        arrow: How it was made from the previous model; empty for the first.
        badge: The verdict of the verification, for a file.
    """

    kind: str
    name: str
    accuracy: str
    facts: list[str] = field(default_factory=list)
    arrow: str = ""
    badge: Cell | None = None


def hero(record: RunRecord) -> list[Step]:
    """Returns the steps from the teacher to the student and the file."""
    teacher, headline = rows(record)[0], headline_row(record)
    accuracy = "" if teacher.accuracy is None else _words.percent(teacher.accuracy)
    found = [Step("teacher", record.teacher.model, accuracy, _facts(teacher))]
    found.append(_student(record))
    if headline is not None:
        found.append(_file(record, headline, teacher))
    return found


def _facts(line: Row) -> list[str]:
    found = [] if line.parameters is None else [f"{line.parameters:,} parameters"]
    if line.entry is None:
        return found
    latency = _words.duration(line.entry.latency[0].median_ms)
    return [_words.size(line.bytes or 0), f"{latency} a call", *found]


def _student(record: RunRecord) -> Step:
    result, data = record.variant("distilled"), record.data
    mean, facts = result.test_accuracy, ["one seed"]
    if mean.n > 1:
        interval = percent(mean).partition(" ")[2].strip("()")
        exported = _words.percent(student_accuracy(record))
        facts = [
            f"{interval} %, mean of {mean.n} seeds",
            f"seed {record.chosen_seed} is exported: {exported}",
        ]
    labels = "all labels" if data.labels_kept == data.train else f"{data.labels_kept:,} labels"
    return Step(
        "student",
        student_of(record),
        _words.percent(mean.value),
        [*facts, f"{result.parameters:,} parameters"],
        f"distilled, {labels}, T = {setting_text(record.recipe.distillation.temperature)}",
    )


def _file(record: RunRecord, line: Row, teacher: Row) -> Step:
    entry = line.entry
    assert entry is not None
    ratios = [smaller(line, teacher), *faster(entry)] if teacher.entry is not None else []
    facts = [
        ", ".join([fact, *ratios[number : number + 1]])
        for number, fact in enumerate(_facts(line)[:2])
    ]
    quality = entry.quality
    if quality is not None and quality.agreement is not None:
        facts.append(f"agrees with the teacher on {100 * quality.agreement:.0f} %")
    export = dict(files(record)).get(entry.name)
    return Step(
        "file",
        entry.name,
        "" if line.accuracy is None else _words.percent(line.accuracy),
        facts,
        line.title.removeprefix("file "),
        None if export is None else VERDICTS[export.verification.verdict],
    )
