"""Tables and figures of the speech studies, from their records."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_distill.benchmarks import paired_p_value

RESAMPLES, SEEDS = 2000, 5
# Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), table 1: frame accuracy and word error rate, %.
PAPER = {"alone": (58.9, 10.9), "ensemble": (61.1, 10.7), "distilled": (60.8, 10.7)}
PAPER_KEPT = 86


class Measured(NamedTuple):
    """The networks of a system on the test split.

    Attributes:
        right: Frames recognized, by network and recording.
        lengths: Frames of each recording.
        digits: Whether the digit is recognized, by network and recording.
    """

    right: np.ndarray
    lengths: np.ndarray
    digits: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean frame accuracy in percent."""
        return 100 * float(self.right.sum(1).mean() / self.lengths.sum())

    @property
    def digit_error(self) -> float:
        """Mean digit error rate in percent."""
        return 100 * float(1 - self.digits.mean())


def record(records: Path, name: str) -> dict[str, Any]:
    """Returns the record of a system."""
    return json.loads((records / f"{name}.json").read_text())


def measured(found: dict[str, Any], split: str = "test") -> Measured:
    """Returns what a record says of the networks of a system."""
    right, digits = (
        np.array([s[f"{split}_{what}"] for s in found["seeds"]]) for what in ("frames", "digits")
    )
    return Measured(right, np.array(found["lengths"][split]), digits)


def ensemble(found: dict[str, Any], split: str = "test") -> Measured:
    """Returns what a record says of the ensemble of its networks."""
    whole = {"seeds": [found["ensemble"]], "lengths": found["lengths"]}
    return measured(whole, split)


def resampled(*parts: Measured, seed: int = 0) -> np.ndarray:
    """Returns the accuracies of parts in bootstrap resamples, `(parts, 2000)`, in percent.

    Recordings are resampled together for all parts, and the networks of each part on their own.
    """
    random, recordings = np.random.default_rng(seed), len(parts[0].lengths)
    found = np.empty((len(parts), RESAMPLES))
    for b in range(RESAMPLES):
        picks = random.integers(0, recordings, recordings)
        total = parts[0].lengths[picks].sum()
        for i, part in enumerate(parts):
            rows = random.integers(0, len(part.right), len(part.right))
            found[i, b] = 100 * part.right[rows][:, picks].sum() / len(rows) / total
    return found


def interval(draws: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % percentile interval."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


class Kept(NamedTuple):
    """The share of an ensemble's gain that a student keeps, with its interval, in percent."""

    value: float
    low: float
    high: float


def kept(alone: Measured, best: Measured, student: Measured) -> Kept:
    """Returns (student - alone) / (best - alone) in percent."""
    draws = resampled(alone, best, student)
    low, high = interval(100 * (draws[2] - draws[0]) / (draws[1] - draws[0]))
    gain = best.accuracy - alone.accuracy
    return Kept(100 * (student.accuracy - alone.accuracy) / gain, low, high)


def paper_table(records: Path) -> str:
    """Returns the table that stands beside the paper's."""
    lines = [
        "| system | frame accuracy, % | to one network, points (95 % interval) | digit error, %"
        " | paper: frame accuracy, % | paper: word error, % |",
        "|---|---:|---|---:|---:|---:|",
    ]
    found = record(records, "alone")
    one = measured(found)
    rows = [
        ("one network", one, "alone"),
        (f"mean of the logits of {len(found['seeds'])}", ensemble(found), "ensemble"),
        ("distilled, T = 2, alpha = 0.5", measured(record(records, "paper")), "distilled"),
    ]
    for title, part, paper in rows:
        gap = ""
        if part is not one:
            draws = resampled(one, part)
            low, high = interval(draws[1] - draws[0])
            gap = f"{part.accuracy - one.accuracy:+.2f} ({low:+.2f} to {high:+.2f})"
        lines.append(
            f"| {title} | {part.accuracy:.2f} | {gap} | {part.digit_error:.1f} |"
            f" {PAPER[paper][0]} | {PAPER[paper][1]} |"
        )
    return "\n".join(lines)


def students(records: Path) -> dict[str, dict[str, Any]]:
    """Returns the records of the systems with all seeds, but for the networks alone."""
    names = sorted(path.stem for path in records.glob("*.json"))
    found = {name: record(records, name) for name in names if name != "alone"}
    return {name: own for name, own in found.items() if len(own["seeds"]) >= SEEDS}


def shares(records: Path) -> dict[str, Kept]:
    """Returns the share of the gain that every student keeps."""
    base = record(records, "alone")
    one, ten = measured(base), ensemble(base)
    return {name: kept(one, ten, measured(own)) for name, own in students(records).items()}


def kept_table(records: Path) -> str:
    """Returns the share of the gain that every student keeps, the least first."""
    lines = [
        "| student | frames it trains on | frame accuracy, % | digit error, %"
        " | share of the gain kept, % (95 % interval) | to one network, p |",
        "|---|---:|---:|---:|---|---:|",
    ]
    found, alone = shares(records), measured(record(records, "alone"))
    for name in sorted(found, key=lambda n: found[n].value):
        own = record(records, name)
        part, share = measured(own), found[name]
        paired = [m.right.sum(1)[: len(part.right)].astype(float) for m in (part, alone)]
        p = paired_p_value(*paired)
        lines.append(
            f"| {own['system']['title']} | {own['frames']:,} | {part.accuracy:.2f} |"
            f" {part.digit_error:.1f} | {share.value:.0f} ({share.low:.0f} to {share.high:.0f}) |"
            f" {f'{p:.3f}' if p >= 0.001 else '< 0.001'} |"
        )
    return "\n".join(lines)


def headline(records: Path) -> tuple[str, str]:
    """Returns the row of the study in the project's README."""
    found = record(records, "alone")
    gain = ensemble(found).accuracy - measured(found).accuracy
    share = {name: part.value for name, part in shares(records).items()}
    best = max(share.values())
    answer = (
        f"ten networks gain {gain:.1f} points; one distilled as in the paper keeps"
        f" {share['paper']:.0f} %, with audio without labels {best:.0f} % (the paper: 86 %)"
    )
    return "How much of an ensemble does one acoustic model keep?", answer


def draw(records: Path, path: Path) -> None:
    """Draws the share kept against the frames that a student trains on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, share in shares(records).items():
        own = record(records, name)
        control = not own["system"]["alpha"]
        color = "#868e96" if control else "#0b7285"
        bars = [[share.value - share.low], [share.high - share.value]]
        axes.errorbar([own["frames"]], [share.value], bars, fmt="o", color=color, alpha=0.8)
        axes.annotate(
            own["system"]["title"],
            (own["frames"], share.value),
            xytext=(6, 2),
            textcoords="offset points",
            fontsize=7,
        )
    axes.axhline(PAPER_KEPT, color="#c92a2a", linestyle=":", linewidth=1, label="paper, 86 %")
    axes.axhline(0, color="#868e96", linewidth=0.8)
    axes.set_xscale("log")
    axes.set(xlabel="frames that the student trains on", ylabel="share of the gain kept, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})
