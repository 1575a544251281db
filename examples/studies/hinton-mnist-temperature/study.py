"""Tables and figure of the study of the temperature, from the records of its sweep.

    python examples/studies/hinton-mnist-temperature/study.py

Draws `errors.svg`; `python examples/studies/tables.py` writes the tables into README.md.
"""

import json
from pathlib import Path

import numpy as np

from keras_distill.benchmarks import mean_interval, paired_tests
from keras_distill.records import SweepPoint, SweepRecord

FOLDER = Path(__file__).parent
TEST = 10_000
SMALL = "mlp:30x30"
# Pairs of temperatures that decide the statements of Hinton, Vinyals, Dean 2015, section 3.
HIGH = ((20, 8), (40, 8), (40, 20))
LOW = ((1, 4), (2.5, 4), (8, 4), (20, 4), (40, 4))


def errors(point: SweepPoint) -> list[int]:
    """Returns the test errors of each seed, in the order of the seeds."""
    seeds = sorted(point.seeds, key=lambda found: found.seed)
    return [round(TEST * (1 - found.test_accuracy)) for found in seeds]


def by_student(record: SweepRecord) -> dict[str, dict[float, list[int]]]:
    """Returns the test errors by student and temperature; 0 stands for the student alone."""
    found: dict[str, dict[float, list[int]]] = {}
    for point in record.points:
        temperature = 0 if point.is_reference else point.values["distillation.temperature"]
        found.setdefault(point.values["student.model"], {})[temperature] = errors(point)
    return found


def units(student: str) -> int:
    """Returns the units of each hidden layer."""
    return int(student.partition(":")[2].partition("x")[0])


def errors_table(found: dict[str, dict[float, list[int]]]) -> str:
    """Returns the test errors of every student at every temperature."""
    temperatures = sorted({t for row in found.values() for t in row if t})
    lines = [
        "| units per layer | alone | " + " | ".join(f"T = {t:g}" for t in temperatures) + " |",
        "|---:" * (2 + len(temperatures)) + "|",
    ]
    for student, row in found.items():
        best = min((t for t in row if t), key=lambda t: np.mean(row[t]))
        cells = [f"{units(student)}"]
        for t in (0, *temperatures):
            cell = _mean(row[t]) if t in row else ""
            cells.append(f"**{cell}**" if t == best else cell)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: list[int]) -> str:
    found = mean_interval(values)
    return f"{found.value:.0f} ± {found.high - found.value:.0f}"


def pairs_table(found: dict[str, dict[float, list[int]]]) -> str:
    """Returns the paired differences that decide the two statements of the paper."""
    rows = [(s, pair) for s in found if units(s) >= 300 for pair in HIGH]
    rows += [(SMALL, pair) for pair in LOW]
    rows = [(s, (a, b)) for s, (a, b) in rows if a in found[s] and b in found[s]]
    tests = paired_tests((found[s][a], found[s][b]) for s, (a, b) in rows)
    lines = [
        "| units per layer | compared | more errors (95 % interval) | p, paired t test, Holm |",
        "|---:|---|---|---:|",
    ]
    for (student, (a, b)), (gap, p) in zip(rows, tests, strict=True):
        lines.append(
            f"| {units(student)} | T = {a:g} against T = {b:g}"
            f" | {gap.value:+.0f} ({gap.low:+.0f} to {gap.high:+.0f}) | {p_text(p)} |"
        )
    return "\n".join(lines)


def theory_table(records: Path) -> str:
    """Returns what theory.py found."""
    theory = json.loads((records / "theory.json").read_text())
    softened, gaps = theory["softening"], theory["uniformity"]
    ratios = theory["logit_matching_limit"]
    lines = [
        "| T | softmax([8, 2, 0.5] / T) | mean of max \\|q - 1/N\\|"
        " | gradient of T²·KL / gradient of logit matching, median (smallest to largest) |",
        "|---:|---|---:|---|",
    ]
    for t in sorted({*softened, *gaps}, key=float):
        q = ", ".join(f"{p:.3f}" for p in softened.get(t, []))
        gap = f"{gaps[t]:.2e}" if t in gaps else ""
        ratio = "{:.4f} ({:.4f} to {:.4f})".format(*ratios[t]) if t in ratios else ""
        lines.append(f"| {t} | {q} | {gap} | {ratio} |")
    return "\n".join(lines)


def p_text(p: float) -> str:
    """Returns a p-value as the page shows it."""
    return f"{p:.2f}" if p >= 0.01 else "< 0.01"


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    found = by_student(SweepRecord.load(records / "sweep.json"))
    return [errors_table(found), pairs_table(found), theory_table(records)]


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of this study in the project's README."""
    found = by_student(SweepRecord.load(records / "sweep.json"))
    small, large = (found[f"mlp:{n}x{n}"] for n in (30, 300))
    low, high = (np.mean(small[t]) for t in (2.5, 40))
    wide = [float(np.mean(row)) for t, row in large.items() if t >= 8]
    answer = (
        f"2x30 units: a low one, {low:.0f} errors at T = 2.5 and {high:.0f} at T = 40; 2x300 units:"
        f" any from 8 to 40, {min(wide):.0f} to {max(wide):.0f} errors"
    )
    return [("Which temperature suits which student?", answer)]


def draw(records: Path, path: Path) -> None:
    """Draws the test errors against the temperature, a line for each student."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
    found = by_student(SweepRecord.load(records / "sweep.json"))
    for (student, row), color in zip(found.items(), colors, strict=False):
        temperatures = sorted(t for t in row if t)
        means = [np.mean(row[t]) for t in temperatures]
        axes.plot(temperatures, means, "o-", color=color, label=f"2x{units(student)}")
        for t in temperatures:
            axes.plot([t] * len(row[t]), row[t], "o", color=color, alpha=0.35, markersize=4)
        axes.axhline(float(np.mean(row[0])), color=color, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({t for row in found.values() for t in row if t})
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks([], [], minor=True)
    axes.set_yticks([100, 150, 200, 300, 400], ["100", "150", "200", "300", "400"])
    axes.set(xlabel="temperature T", ylabel="test errors of 10,000")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, title="dotted: alone", ncols=2)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(FOLDER / "records", FOLDER / "errors.svg")
