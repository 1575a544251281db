"""Tables and learning curves of the CIFAR-100 study, from the record of its sweep.

    python examples/studies/cifar100/study.py

Draws `curves.svg`; `python examples/studies/tables.py` writes the tables into README.md.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_distill.benchmarks import paired_difference, paired_tests
from keras_distill.records import IntervalRecord, SweepPoint, SweepRecord

FOLDER = Path(__file__).parent
LABELS, LOSSES = "data.labels", "distillation.losses"
ALONE, KD = "alone", "SoftTargetLoss"
TITLES = {
    ALONE: "alone, on the labels",
    KD: "Hinton's loss (KD)",
    "StandardizedSoftTargetLoss": "standardized logits",
    "DecoupledLoss": "decoupled (DKD)",
    "MultiLevelLoss": "multi-level",
}


def load(records: Path) -> SweepRecord:
    """Returns the record of the sweep."""
    return SweepRecord.load(records / "sweep.json")


def system(point: SweepPoint) -> str:
    """Returns the name of the loss, or of the variant without a teacher."""
    return point.variant if point.is_reference else point.values[LOSSES][0]["loss"]


def parts(record: SweepRecord) -> Iterator[tuple[float, dict[str, SweepPoint]]]:
    """Yields each share of the labels with its systems that have two or more seeds."""
    for share in sorted({point.values[LABELS] for point in record.points}):
        found = {
            system(point): point
            for point in record.points
            if point.values[LABELS] == share and len(point.seeds) > 1
        }
        yield share, {name: found[name] for name in TITLES if name in found}


def accuracies(*points: SweepPoint) -> list[list[float]]:
    """Returns the test accuracies of points, in percent, for the seeds that all of them have."""
    found = [{s.seed: 100 * s.test_accuracy for s in point.seeds} for point in points]
    shared = sorted(set.intersection(*map(set, found)))
    return [[own[seed] for seed in shared] for own in found]


def percent(found: IntervalRecord | None) -> str:
    """Returns a share and its interval in percent."""
    assert found is not None and found.low is not None and found.high is not None
    return f"{100 * found.value:.2f} ({100 * found.low:.2f} to {100 * found.high:.2f})"


def systems_table(systems: dict[str, SweepPoint]) -> str:
    """Returns the accuracy of each system and its difference from the student alone and from KD.

    p is adjusted for the systems of this table.

    Args:
        systems: The systems of one share of the labels.
    """
    lines = [
        "| system | seeds | validation, % | test, % (95 % interval) | gain over alone, points"
        " | p, paired t test, Holm | more than KD, points |",
        "|---|---:|---:|---|---|---:|---|",
    ]
    alone, kd = systems[ALONE], systems[KD]
    others = [name for name in systems if name != ALONE]
    tests = paired_tests(accuracies(systems[name], alone) for name in others)
    tested = dict(zip(others, tests, strict=True))
    for name, point in systems.items():
        gain, p, more = "", "", ""
        if name in tested:
            gap, chance = tested[name]
            gain, p = points(gap), "< 0.01" if chance < 0.005 else f"{chance:.2f}"
        if name not in (ALONE, KD):
            more = points(paired_difference(*accuracies(point, kd)))
        assert point.validation_accuracy is not None
        lines.append(
            f"| {TITLES[name]} | {len(point.seeds)} | {100 * point.validation_accuracy.value:.2f}"
            f" | {percent(point.test_accuracy)} | {gain} | {p} | {more} |"
        )
    return "\n".join(lines)


def points(gap: IntervalRecord) -> str:
    """Returns a difference and its interval."""
    return f"{gap.value:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})"


def teacher_row(record: SweepRecord) -> str:
    """Returns the table of the networks."""
    teacher = record.teachers[0]
    student = next(point for point in record.points if point.parameters)
    rows = [
        (f"teacher, `{teacher.model}`", teacher.parameters, teacher.test_accuracy),
        (f"student, `{record.recipe.student.model}`", student.parameters, None),
    ]
    lines = ["| network | parameters | test, % |", "|---|---:|---:|"]
    for title, parameters, accuracy in rows:
        shown = "" if accuracy is None else f"{100 * accuracy:.2f}"
        lines.append(f"| {title} | {parameters:,} | {shown} |")
    return "\n".join(lines)


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    record = load(records)
    return [teacher_row(record), *(systems_table(found) for _, found in parts(record) if found)]


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of the project's README that quotes this study."""
    share, few = next(parts(load(records)))
    pair = accuracies(few[KD], few[ALONE])
    gap, (kd, alone) = paired_difference(*pair), (np.mean(values) for values in pair)
    answer = (
        f"{gap.value:+.1f} points ({gap.low:+.1f} to {gap.high:+.1f}): {alone:.1f} % alone,"
        f" {kd:.1f} % distilled"
    )
    title = (
        f"What do soft targets give a ResNet-8 on CIFAR-100 with {100 * share:g} % of the labels?"
    )
    return [(title, answer)]


def draw(records: Path, path: Path) -> None:
    """Draws the validation accuracy of each system by epoch, a panel for each share of labels."""
    from matplotlib.figure import Figure

    record = load(records)
    panels = [(share, found) for share, found in parts(record) if found]
    figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
    rows = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    teacher = record.teachers[0].validation_accuracy
    for axes, (share, systems) in zip(rows[0], panels, strict=True):
        for name, point in systems.items():
            curves = [s.curve for s in point.seeds]
            shown = np.array([c.validation_accuracy for c in curves], float)
            style = "--" if name == ALONE else "-"
            axes.plot(curves[0].epochs, 100 * shown.mean(axis=0), style, label=TITLES[name])
        if teacher is not None:
            axes.axhline(100 * teacher, color="gray", lw=0.8, label="teacher")
        axes.set_title(f"{100 * share:g} % of the labels", fontsize=10)
        axes.set_xlabel("epochs")
        axes.grid(alpha=0.3)
    rows[0][0].set_ylabel("validation accuracy, %")
    rows[0][0].legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(FOLDER / "records", FOLDER / "curves.svg")
