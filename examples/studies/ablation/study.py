"""Tables and heat maps of the ablation, from the records of its two sweeps.

    python examples/studies/ablation/study.py

Draws `heat.svg`; `python examples/studies/tables.py` writes the tables into README.md.
"""

from pathlib import Path

import numpy as np

from keras_distill.benchmarks import mean_interval, paired_tests
from keras_distill.records import SweepPoint, SweepRecord

FOLDER = Path(__file__).parent
SWEEPS = {"short": "4 epochs", "long": "16 epochs"}  # the record of each sweep
TEST = 10_000
NAMES = {
    "SoftTargetLoss": "Hinton's loss",
    "DecoupledLoss": "decoupled (DKD)",
}


def key(point: SweepPoint) -> tuple[str, float, float]:
    """Returns loss, alpha, and temperature."""
    values = point.values
    loss = values["distillation.losses"][0]["loss"]
    return loss, values["distillation.alpha"], values["distillation.temperature"]


def errors(point: SweepPoint) -> list[int]:
    """Returns the test errors of each seed, in the order of the seeds."""
    seeds = sorted(point.seeds, key=lambda found: found.seed)
    return [round(TEST * (1 - found.test_accuracy)) for found in seeds]


def points(record: SweepRecord) -> dict[tuple[str, float, float], SweepPoint]:
    """Returns the points of the grid."""
    return {key(p): p for p in record.points if not p.is_reference}


def axes_of(record: SweepRecord) -> tuple[list[str], list[float], list[float]]:
    """Returns the losses, alphas, and temperatures of the grid."""
    losses, alphas, temperatures = zip(*points(record), strict=True)
    return list(dict.fromkeys(losses)), sorted({*alphas}), sorted({*temperatures})


def grid_table(record: SweepRecord) -> str:
    """Returns the mean test errors of every point."""
    losses, alphas, temperatures = axes_of(record)
    grid = points(record)
    lines = [
        "| loss | alpha | " + " | ".join(f"T = {t:g}" for t in temperatures) + " |",
        "|---|---:" + "|---:" * len(temperatures) + "|",
    ]
    for loss in losses:
        for alpha in alphas:
            row = [f"{np.mean(errors(grid[loss, alpha, t])):.0f}" for t in temperatures]
            marked = [
                f"**{cell}**" if grid[loss, alpha, t].name in record.flat else cell
                for cell, t in zip(row, temperatures, strict=True)
            ]
            lines.append(f"| {NAMES[loss]} | {alpha:g} | " + " | ".join(marked) + " |")
    return "\n".join(lines)


def answers(record: SweepRecord) -> str:
    """Returns what validation data choose, and the comparisons that the advice rests on."""
    grid = points(record)
    alone = next(p for p in record.points if p.is_reference)
    best = record.point(record.best)
    loss, alpha, temperature = key(best)
    losses, alphas, temperatures = axes_of(record)
    hinton = losses[0]
    default = grid[hinton, 0.9, 4]

    def mean(**fixed: float) -> list[float]:
        """Returns the errors of Hinton's loss by seed, mean over what is not fixed."""
        chosen = [
            errors(grid[hinton, a, t])
            for a in alphas
            for t in temperatures
            if fixed.get("alpha", a) == a and fixed.get("temperature", t) == t
        ]
        return np.mean(chosen, axis=0).tolist()

    rows = [
        ("the default (Hinton's loss, alpha 0.9, T = 4) against alone", errors(default), alone),
        (
            f"the best on validation data ({NAMES[loss]}, alpha {alpha:g}, T = {temperature:g})"
            " against the default",
            errors(best),
            default,
        ),
        *(
            (f"{NAMES[other]} against Hinton's loss, alpha 0.9, T = 4", errors(p), default)
            for other in losses[1:]
            for p in [grid[other, 0.9, 4]]
        ),
    ]
    pairs = [(title, a, errors(b)) for title, a, b in rows]
    low, high = temperatures[0], temperatures[-1]
    pairs += [
        (
            f"Hinton's loss: T = {t:g} against T = 4, mean of the alphas",
            mean(temperature=t),
            mean(temperature=4),
        )
        for t in (low, 2, high)
    ]
    pairs += [
        (
            f"Hinton's loss: alpha = {a:g} against 0.9, mean of the temperatures",
            mean(alpha=a),
            mean(alpha=0.9),
        )
        for a in (alphas[0], alphas[-1])
    ]
    pairs = [(title, a, b) for title, a, b in pairs if a != b]
    tests = paired_tests((a, b) for _, a, b in pairs)
    found = mean_interval(errors(alone))
    lines = [
        f"| compared (alone: {found.value:.0f} errors, {found.low:.0f} to {found.high:.0f}) |"
        " more errors (95 % interval) | p, paired t test, Holm |",
        "|---|---|---:|",
    ]
    for (title, _, _), (gap, p) in zip(pairs, tests, strict=True):
        lines.append(
            f"| {title} | {gap.value:+.0f} ({gap.low:+.0f} to {gap.high:+.0f}) | {p_text(p)} |"
        )
    return "\n".join(lines)


def p_text(p: float) -> str:
    """Returns a p-value as the page shows it."""
    return f"{p:.2f}" if p >= 0.01 else "< 0.01"


def sweeps(records: Path) -> dict[str, SweepRecord]:
    """Returns the record of each sweep by its training time."""
    return {time: SweepRecord.load(records / f"{name}.json") for name, time in SWEEPS.items()}


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    return [t for record in sweeps(records).values() for t in (grid_table(record), answers(record))]


def draw(records: Path, path: Path) -> None:
    """Draws the mean test errors as heat maps, one for each loss and training time."""
    from matplotlib.figure import Figure

    panels = [
        (f"{NAMES[loss]}, {time}", record, loss)
        for time, record in sweeps(records).items()
        for loss in axes_of(record)[0]
    ]
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, (title, record, loss) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        _, alphas, temperatures = axes_of(record)
        grid = points(record)
        rows = np.array([[np.mean(errors(grid[loss, a, t])) for t in temperatures] for a in alphas])
        image = axes.imshow(rows, cmap="viridis_r", aspect="auto")
        for (i, j), value in np.ndenumerate(rows):
            color = "black" if value < (rows.min() + rows.max()) / 2 else "white"
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
        axes.set_xticks(range(len(temperatures)), [f"{t:g}" for t in temperatures])
        axes.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("temperature T")
        figure.colorbar(image, ax=axes)
    figure.axes[0].set_ylabel("alpha")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(FOLDER / "records", FOLDER / "heat.svg")
