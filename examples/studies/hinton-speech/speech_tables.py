"""Tables and figures of the speech studies, from their records."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_distill.benchmarks import paired_p_value

RESAMPLES, SEEDS = 2000, 5
# Students with soft targets alone at T = 2, by what they train on; each for longer and longer.
CURVES = {
    "1,000 recordings with labels": ("soft", "soft-20", "soft-60"),
    "and 500 without labels": ("more-500",),
    "and 1,000 without labels": ("all-half", "all", "all-30"),
    "and copies of all": ("all-copies",),
    "labels alone": ("alone-60",),
}
# Distilled from ten networks that trained 60 epochs each, and a control on labels alone.
CONVERGED = ("converged", "converged-all", "converged-60", "converged-copies", "alone-120")
_TICKS = (0.4, 0.8, 1.6, 2.4)  # million frames
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

    def __str__(self) -> str:
        return "{} ({} to {})".format(*map(round, self))


def kept(alone: Measured, best: Measured, student: Measured) -> Kept:
    """Returns (student - alone) / (best - alone) in percent."""
    draws = resampled(alone, best, student)
    low, high = interval(100 * (draws[2] - draws[0]) / (draws[1] - draws[0]))
    gain = best.accuracy - alone.accuracy
    return Kept(100 * (student.accuracy - alone.accuracy) / gain, low, high)


def pooled(parts: Sequence[Measured]) -> Measured:
    """Returns the recordings of several folds as one; network k is that of every fold."""
    joined = (np.concatenate(own, axis=-1) for own in zip(*parts, strict=True))
    return Measured(*joined)


def folds(records: Path, speakers: Sequence[str]) -> dict[str, list[Measured]]:
    """Returns one network, the ensemble, and the two students of each fold, and of all together."""
    found = {}
    for speaker in speakers:
        alone, paper, more = (record(records / speaker, name) for name in ("alone", "paper", "all"))
        found[speaker] = [measured(alone), ensemble(alone), measured(paper), measured(more)]
    return found | {"all five": [pooled(own) for own in zip(*found.values(), strict=True)]}


def fold_table(records: Path, speakers: Sequence[str]) -> str:
    """Returns what is measured on each speaker by networks that never heard them."""
    lines = [
        "| speaker left out | one network, frame accuracy, % | ten: gain, points"
        " | kept as in the paper, % | kept with unlabeled recordings, %"
        " | digit error, %: one, ten, paper, unlabeled |",
        "|---|---:|---|---|---|---|",
    ]
    for speaker, (one, ten, *pupils) in folds(records, speakers).items():
        draws = resampled(one, ten)
        low, high = interval(draws[1] - draws[0])
        shares = [kept(one, ten, pupil) for pupil in pupils]
        errors = ", ".join(f"{part.digit_error:.1f}" for part in (one, ten, *pupils))
        lines.append(
            f"| {speaker} | {one.accuracy:.2f} | {ten.accuracy - one.accuracy:+.2f}"
            f" ({low:+.2f} to {high:+.2f}) | {' | '.join(map(str, shares))} | {errors} |"
        )
    return "\n".join(lines)


def training_table(records: Path, name: str = "alone") -> str:
    """Returns how much better an ensemble is, by what its networks know of the recordings."""
    found = record(records, name)
    test, ten = measured(found), ensemble(found)
    rows = [("the test split", test.accuracy, ten.accuracy)]
    titles = {"labeled": "those it was trained on", "others": "without labels"}
    for part, title in titles.items():
        own = found["training"][part]
        rows.append((title, 100 * float(np.mean(own["networks"])), 100 * own["ensemble"]))
    lines = ["| recordings | one network, % | ten, % | gain, points |", "|---|---:|---:|---:|"]
    lines += [f"| {t} | {a:.2f} | {b:.2f} | {b - a:+.2f} |" for t, a, b in rows[1:] + rows[:1]]
    return "\n".join(lines)


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
    """Returns the records of the systems with all seeds, but for the networks alone.

    Those that are distilled from another ensemble are left out.
    """
    names = sorted(path.stem for path in records.glob("*.json"))
    found = {name: record(records, name) for name in names if name != "alone"}
    return {
        name: own
        for name, own in found.items()
        if len(own["seeds"]) >= SEEDS and own["system"].get("ensemble", "alone") == "alone"
    }


def shares(records: Path) -> dict[str, Kept]:
    """Returns the share of the gain that every student keeps."""
    base = record(records, "alone")
    one, ten = measured(base), ensemble(base)
    return {name: kept(one, ten, measured(own)) for name, own in students(records).items()}


def heard(own: dict[str, Any]) -> float:
    """Returns how many frames a network is trained on, in millions; one of every epoch counts."""
    return own["frames"] * own["system"]["epochs"] / 1e6


def kept_table(records: Path) -> str:
    """Returns the share of the gain that every student keeps, the least first."""
    lines = [
        "| student | frames it trains on | with repeats, million | frame accuracy, %"
        " | digit error, % | share of the gain kept, % (95 % interval) | to one network, p |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    found, alone = shares(records), measured(record(records, "alone"))
    for name in sorted(found, key=lambda n: found[n].value):
        own = record(records, name)
        part, share = measured(own), found[name]
        paired = [m.right.sum(1)[: len(part.right)].astype(float) for m in (part, alone)]
        p = paired_p_value(*paired)
        lines.append(
            f"| {own['system']['title']} | {own['frames']:,} | {heard(own):.2f} |"
            f" {part.accuracy:.2f} |"
            f" {part.digit_error:.1f} | {share} | {f'{p:.3f}' if p >= 0.001 else '< 0.001'} |"
        )
    return "\n".join(lines)


def converged_table(records: Path) -> str:
    """Returns what an ensemble of networks that train 60 epochs gains, and what one keeps of it."""
    base = record(records, "alone-60")
    one, ten = measured(base), ensemble(base)
    rows = [(base, one), (None, ten)]
    for name in CONVERGED:
        if (records / f"{name}.json").exists():
            rows.append((own := record(records, name), measured(own)))
    lines = [
        "| system | frames with repeats, million | frame accuracy, %"
        " | to one of 60 epochs, points (95 % interval)"
        " | share of the gain kept, % | digit error, % |",
        "|---|---:|---:|---|---|---:|",
    ]
    for own, part in rows:
        title, frames, gap, share = f"mean of the logits of {len(base['seeds'])}", "", "", ""
        if own is not None:
            title, frames = own["system"]["title"], f"{heard(own):.2f}"
        if part is not one:
            draws = resampled(one, part)
            low, high = interval(draws[1] - draws[0])
            gap = f"{part.accuracy - one.accuracy:+.2f} ({low:+.2f} to {high:+.2f})"
            share = "" if part is ten else str(kept(one, ten, part))
        lines.append(
            f"| {title} | {frames} | {part.accuracy:.2f} | {gap} | {share} |"
            f" {part.digit_error:.1f} |"
        )
    return "\n".join(lines)


def headline(records: Path) -> tuple[str, str]:
    """Returns the row of the study in the project's README."""
    base = record(records, "alone-60")
    one, ten = measured(base), ensemble(base)
    share = {
        name: kept(one, ten, measured(record(records, name))).value
        for name in ("converged", "converged-all", "converged-copies")
    }
    answer = (
        f"ten networks gain {ten.accuracy - one.accuracy:.1f} points; one distilled on their own"
        f" training recordings keeps {share['converged']:.0f} %, also on unlabeled ones"
        f" {share['converged-all']:.0f} %, and on copies at other speeds"
        f" {share['converged-copies']:.0f} % (the paper: 86 %)"
    )
    return "How much of an ensemble does one acoustic model keep?", answer


def draw(records: Path, path: Path) -> None:
    """Draws the share kept for each student, of both ensembles, and against its frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), layout="constrained")
    panels = figure.subplot_mosaic([["top", "top"], ["left", "right"]], height_ratios=(3, 7))
    top, left, right = (panels[name] for name in ("top", "left", "right"))
    base = record(records, "alone-60")
    one, ten = measured(base), ensemble(base)
    converged = {
        name: kept(one, ten, measured(record(records, name)))
        for name in CONVERGED
        if (records / f"{name}.json").exists()
    }
    _bar_chart(top, records, converged, "ten networks of 60 epochs")
    found = shares(records)
    for i, (title, names) in enumerate(CURVES.items()):
        if not (done := [name for name in names if name in found]):
            continue
        at = [heard(record(records, name)) for name in done]
        color = "#868e96" if title == "labels alone" else f"C{i}"
        left.errorbar(at, *_bars(found, done), fmt="o-", color=color, label=title, capsize=2)
    left.axhline(PAPER_KEPT, color="#c92a2a", linestyle=":", linewidth=1)
    left.axhline(0, color="#868e96", linewidth=0.8)
    left.set_xscale("log")
    left.set_xticks(_TICKS, map(str, _TICKS))
    left.set_xticks([], minor=True)
    left.set(xlabel="frames trained on, with repeats, million", ylabel="share kept, %")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    _bar_chart(right, records, found, "ten networks of 10 epochs")
    for axes in panels.values():
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def _bar_chart(axes: Any, records: Path, found: dict[str, Kept], title: str) -> None:
    """Draws the share of every student as a bar, the largest at the top."""
    order = sorted(found, key=lambda name: found[name].value)
    systems = [record(records, name)["system"] for name in order]
    values, bars = _bars(found, order)
    colors = ["#0b7285" if system["alpha"] else "#868e96" for system in systems]
    axes.barh(range(len(order)), values, xerr=bars, color=colors, height=0.6)
    axes.set_yticks(range(len(order)), [system["title"] for system in systems], fontsize=8)
    axes.axvline(PAPER_KEPT, color="#c92a2a", linestyle=":", linewidth=1, label="paper, 86 %")
    axes.legend(frameon=False, loc="lower right")
    axes.set(xlabel="share kept, %")
    axes.set_title(title, fontsize=10)


def _bars(found: dict[str, Kept], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the shares of systems, and how far their intervals reach below and above."""
    values = np.array([found[name] for name in names]).reshape(-1, 3)
    return values[:, 0], np.abs(values[:, 1:] - values[:, :1]).T
