"""Tables and figure of the MNIST study, from the records of its runs; and the shifts of its biases.

    python examples/studies/hinton-mnist/study.py
    python examples/studies/hinton-mnist/study.py --shift RUN/student.keras --classes 3

The first command prints the tables of README.md and draws `errors.svg`. The second one chooses, for
a student that has not seen all classes, by how much to shift the biases of the given classes, and
writes what it finds to `records/`; `--data-dir` names the folder of prepared TFDS data sets.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

FOLDER = Path(__file__).parent
TEST = 10_000
# Test errors in Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 3.
PAPER = {"teacher": 67, "alone": 146, "distilled": 74}
SEEDS = (0, 1, 2)


def runs(name: str, records: Path) -> list[dict[str, Any]]:
    """Returns the records of one variant, a seed each."""
    return [json.loads((records / f"{name}-s{seed}.json").read_text()) for seed in SEEDS]


def errors(name: str, records: Path, variant: str = "distilled") -> list[int]:
    """Returns the test errors of each seed."""
    whole = records / f"{name}.json"
    found = [json.loads(whole.read_text())] if whole.exists() else runs(name, records)
    made = [v for record in found for v in record["variants"] if v["name"] == variant]
    return [round(TEST * (1 - s["test_accuracy"])) for v in made for s in v["seeds"]]


def validation(name: str, records: Path) -> float:
    """Returns the mean accuracy on the validation split, in percent."""
    seeds = [s for r in runs(name, records) for v in r["variants"] for s in v["seeds"]]
    return 100 * float(np.mean([s["validation_accuracy"] for s in seeds]))


def interval(values: list[int]) -> str:
    """Returns the mean with its 95 % t interval."""
    if len(values) == 1:
        return f"{values[0]}"
    low, high = _ends(values)
    return f"{np.mean(values):.1f} ({low:.1f} to {high:.1f})"


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    mlp, resnet = (
        json.loads((records / f"teacher-{name}.json").read_text())
        for name in ("2x1200", "resnet-8")
    )

    def of(record: dict[str, Any]) -> str:
        return f"{round(TEST * (1 - record['test_accuracy'] / 100))}"

    rows = [
        ("teacher 2x1200: dropout, max-norm, jitter", of(mlp), PAPER["teacher"]),
        ("student 2x800 alone", _cell("paper", records, "alone"), PAPER["alone"]),
        ("student 2x800 distilled, T = 20, no jitter", _cell("paper", records), PAPER["distilled"]),
        ("teacher ResNet-8 on affine views", of(resnet), ""),
        ("student 2x800 on affine views, labels alone", _cell("control", records), ""),
        ("student 2x800 distilled on affine views, T = 10", _cell("best-t10", records), ""),
        ("**student 2x800 distilled on affine views, T = 4**", _cell("best-t4", records), ""),
    ]
    lines = ["| network | test errors of 10,000 | each seed | paper |", "|---|---|---|---|"]
    for title, cell, paper in rows:
        whole, _, each = cell.partition(";")
        lines.append(f"| {title} | {whole} | {each} | {paper} |")
    tables = ["\n".join(lines)]
    shifts = [json.loads(path.read_text()) for path in sorted(records.glob("shift-*.json"))]
    lines = [
        "| the student saw | shift chosen on | shift | test errors | right of those not seen |",
        "|---|---|---|---|---|",
    ]
    for shift in shifts:
        for chosen in ("none", "validation", "test"):
            row = shift[chosen]
            lines.append(
                f"| {shift['seen']} | {chosen} | {row['shift']:.1f} | {row['errors']} |"
                f" {100 * row['unseen']:.1f} % |"
            )
    return [*tables, "\n".join(lines)] if shifts else tables


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the rows of this study in the project's README."""
    best, control = errors("best-t4", records), errors("control", records)
    low, high = (f"{end:.0f}" for end in _ends(best))
    answer = (
        f"{np.mean(best):.0f} of 10,000 ({low} to {high}); Hinton 2015 has {PAPER['distilled']};"
        f" on the same views without a teacher {np.mean(control):.0f}"
    )
    return [("How many errors does a distilled 2x800 network make on MNIST?", answer)]


def _ends(values: list[int]) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def _cell(name: str, records: Path, variant: str = "distilled") -> str:
    found = errors(name, records, variant)
    return f"{interval(found)};{', '.join(map(str, found))}"


def shifted(student: Path, classes: list[int], data_dir: str | None) -> dict[str, Any]:
    """Chooses the shift of the biases of `classes` that the student never saw, or saw alone.

    The shift with the fewest errors on the validation split, which holds all classes, is chosen;
    the one chosen on the test split is reported beside it, as the paper has it.
    """
    import keras_distill as kd  # before TensorFlow

    splits = kd.data.load("tfds:mnist", data_dir=data_dir)
    model = kd.models.load(student)
    logits, labels = {}, {}
    for split in ("validation", "test"):
        batches = list(kd.data.batches(getattr(splits, split), 1000).as_numpy_iterator())
        logits[split] = np.concatenate([model.predict_on_batch(x) for x, _ in batches])
        labels[split] = np.concatenate([y for _, y in batches])
    chosen = np.isin(np.arange(10), classes)
    seen = "no 3" if classes == [3] else "7s and 8s only"

    def measured(shift: float, split: str) -> tuple[int, float]:
        found = np.argmax(logits[split] + shift * chosen, axis=1)
        unseen = np.isin(
            labels[split], classes if classes == [3] else [c for c in range(10) if c not in classes]
        )
        right = found == labels[split]
        return int((~right).sum()), float(right[unseen].mean())

    grid = np.round(np.arange(-20, 20.05, 0.1), 1)
    result: dict[str, Any] = {"seen": seen, "classes": classes}
    best = {s: min(grid, key=lambda g: (measured(g, s)[0], abs(g))) for s in ("validation", "test")}
    for name, shift in {"none": 0.0, **best}.items():
        wrong, unseen = measured(shift, "test")
        result[name] = {"shift": float(shift), "errors": wrong, "unseen": unseen}
    return result


def draw(records: Path, path: Path) -> None:
    """Draws the test errors of every seed beside those of the paper."""
    from matplotlib.figure import Figure

    rows = [
        ("alone", errors("paper", records, "alone"), PAPER["alone"]),
        ("distilled, T = 20", errors("paper", records), PAPER["distilled"]),
        ("affine views,\nlabels alone", errors("control", records), None),
        ("affine views,\ndistilled, T = 4", errors("best-t4", records), None),
    ]
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    for y, (_, found, paper) in enumerate(reversed(rows)):
        axes.plot(
            found,
            [y] * len(found),
            "o",
            color="#0b7285",
            alpha=0.8,
            label="each seed" if not y else None,
        )
        if paper:
            axes.plot(
                [paper], [y], "|", markersize=18, color="#c92a2a", label="paper" if y == 3 else None
            )
    axes.set_yticks(range(len(rows)), [title for title, *_ in reversed(rows)])
    axes.set_xlabel("test errors of 10,000, student of 2x800 units")
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shift", type=Path, help="student.keras of a run with classes left out")
    parser.add_argument("--classes", type=int, nargs="+", default=[3])
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    given = parser.parse_args()
    records = FOLDER / "records"
    if given.shift is not None:
        found = shifted(given.shift, given.classes, given.data_dir)
        name = "-".join(map(str, given.classes))
        (records / f"shift-{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found, indent=1))
        return
    print(*readme_tables(records), sep="\n\n")
    draw(records, FOLDER / "errors.svg")


if __name__ == "__main__":
    main()
