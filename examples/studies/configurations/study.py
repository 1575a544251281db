"""Table and figure of the study of configurations, from the record of its sweep.

    python examples/studies/configurations/study.py

Draws `accuracy.svg`; `python examples/studies/tables.py` writes the table into README.md.
"""

from pathlib import Path

from keras_distill.benchmarks import paired_difference, paired_tests
from keras_distill.records import SweepPoint, SweepRecord

FOLDER = Path(__file__).parent
NEW = "data.unlabeled"


def title(point: SweepPoint) -> str:
    """Returns what a point is called on the page."""
    values = point.values
    if point.is_reference:
        return "hard labels, three times as many steps" if values[NEW] else "hard labels"
    if values["distillation.losses"]:
        return "logit matching and labels, alpha = 0.9"
    if values[NEW]:
        return "soft targets and labels, and 7,200 new signals without labels"
    if values["distillation.alpha"] == 1:
        return "soft targets alone, T = 4"
    return "soft targets and labels, alpha = 0.9, T = 4"


def accuracies(point: SweepPoint, split: str = "test") -> list[float]:
    """Returns the accuracy of each seed in percent, in the order of the seeds."""
    seeds = sorted(point.seeds, key=lambda found: found.seed)
    return [100 * getattr(found, f"{split}_accuracy") for found in seeds]


def readme_tables(records: Path) -> list[str]:
    """Returns the table of README.md as Markdown."""
    record = SweepRecord.load(records / "sweep.json")
    hard = next(p for p in record.points if p.is_reference and not p.values[NEW])
    others = [p for p in record.points if p is not hard]
    tests = paired_tests((accuracies(p), accuracies(hard)) for p in others)
    lines = [
        "| the small student learns from | validation, % | test, % (95 % interval)"
        " | to hard labels, points (95 % interval) | p, paired t test, Holm |",
        "|---|---:|---|---|---:|",
    ]
    for point, compared in zip([hard, *others], [None, *tests], strict=True):
        found = point.test_accuracy
        row = f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"
        gap, test = "", ""
        if compared is not None:
            gain, p = compared
            gap = f"{gain.value:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
            test = f"{p:.3f}" if p >= 0.001 else "< 0.001"
        checked = f"{100 * point.validation_accuracy.value:.1f}"
        lines.append(f"| {title(point)} | {checked} | {row} | {gap} | {test} |")
    teacher = record.teachers[0]
    lines.append(
        f"| teacher `{teacher.model}` | {100 * teacher.validation_accuracy:.1f}"
        f" | {100 * teacher.test_accuracy:.1f} | | |"
    )
    return ["\n".join(lines)]


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of this study in the project's README."""
    record = SweepRecord.load(records / "sweep.json")
    hard = next(p for p in record.points if p.is_reference and not p.values[NEW])
    plain = next(p for p in record.points if title(p).endswith("T = 4") and "labels" in title(p))
    more = next(p for p in record.points if "without labels" in title(p))
    gains = [paired_difference(accuracies(p), accuracies(hard)).value for p in (plain, more)]
    answer = (
        f"+{gains[0]:.1f} points on MNIST-1D; with twice as many new examples without labels"
        f" +{gains[1]:.1f}"
    )
    return [("What do soft targets give a small student, and unlabeled data on top?", answer)]


def draw(records: Path, path: Path) -> None:
    """Draws the test accuracy of each seed."""
    from matplotlib.figure import Figure

    record = SweepRecord.load(records / "sweep.json")
    points = sorted(record.points, key=lambda p: p.test_accuracy.value)
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    axes = figure.subplots()
    for y, point in enumerate(points):
        found = accuracies(point)
        color = "#868e96" if point.is_reference else "#0b7285"
        axes.plot(found, [y] * len(found), "o", color=color, alpha=0.5, markersize=4)
        axes.plot([100 * point.test_accuracy.value], [y], "|", color=color, markersize=18)
    teacher = 100 * record.teachers[0].test_accuracy
    axes.axvline(teacher, color="#c92a2a", linewidth=1, label="teacher")
    axes.set_yticks(range(len(points)), [title(p) for p in points])
    axes.set_xlabel("test accuracy, %")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(FOLDER / "records", FOLDER / "accuracy.svg")
