"""What 3 % of the recordings are worth with soft targets; see README.md.

    python examples/studies/hinton-speech-3-percent/study.py --data-dir DIR

trains what `records/` lacks and draws `accuracy.svg`. The teachers are the networks that
`hinton-speech/study.py` leaves in its folder (`--teachers`); those that are not there are trained.
`python examples/studies/tables.py` writes the tables into README.md.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
SPEECH = FOLDER.parent / "hinton-speech"
sys.path.insert(0, str(SPEECH))

import speech_tables as tables

SHARE, SUBSETS = 0.03, 5
SPEC, BATCH, TEMPERATURE = "mlp:128x128", 128, 20.0
HARD_EPOCHS, SOFT_EPOCHS = 20, 40
FULL_EPOCHS = 10  # as the networks of the other study; each frame counts three times with copies
TITLES = {
    "alone": "1,000 recordings, hard labels",
    "alone-copies": "1,000 recordings and copies, hard labels",
    "hard": "3 %, hard labels, early stopping",
    "soft": "3 %, soft targets",
    "hard-copies": "3 % and copies, hard labels, early stopping",
    "soft-copies": "3 % and copies, soft targets",
}
# Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), table 5: train and test frame accuracy, %.
PAPER = {"alone": (63.4, 58.9), "hard": (67.3, 44.5), "soft": (65.4, 57.0)}
PAPER_RECOVERED = 87


def run(data_dir: str | None, teachers: Path, work: Path, records: Path) -> None:
    """Trains and measures what the records lack."""
    import acoustic  # TensorFlow
    import speech
    from study import Study

    from keras_distill.benchmarks import describe_machine, describe_versions

    corpus = Study(data_dir, teachers)
    checked = corpus.data.frames(corpus.split("validation"))
    validation = corpus.windows[checked], corpus.states[checked]

    def recordings(name: str, seed: int) -> np.ndarray:
        if name == "alone-copies":
            return corpus.labeled
        chosen = speech.subset(corpus.data, corpus.labeled & corpus.real, SHARE, seed)
        return chosen[corpus.data.originals] if name.endswith("copies") else chosen

    def trained(name: str, seed: int, frames: np.ndarray) -> Any:
        x, y = corpus.windows[frames], corpus.states[frames]
        if name == "alone-copies":
            return acoustic.trained_alone(SPEC, x, y, seed=seed, epochs=FULL_EPOCHS)
        given: dict[str, Any] = {"seed": seed, "batch": BATCH}
        if name.startswith("hard"):
            given |= {"epochs": HARD_EPOCHS, "validation": validation}
            return acoustic.trained_alone(SPEC, x, y, **given)
        taught = corpus.teacher("alone")[frames]
        given |= {"epochs": SOFT_EPOCHS, "alpha": 1.0, "temperature": TEMPERATURE}
        return acoustic.distilled(SPEC, x, y, taught, work / f"targets-{name}-{seed}", **given)

    records.mkdir(parents=True, exist_ok=True)
    for name in TITLES:
        path = records / f"{name}.json"
        if name == "alone":  # measured in the other study
            continue
        found = json.loads(path.read_text()) if path.exists() else {"seeds": []}
        for seed in range(len(found["seeds"]), SUBSETS):
            started, frames = time.monotonic(), corpus.data.frames(recordings(name, seed))
            model = trained(name, seed, frames)
            seconds = time.monotonic() - started
            own = acoustic.logits_of(model, corpus.windows[frames]).argmax(1)
            measured = corpus.measured(
                lambda at, m=model: acoustic.logits_of(m, corpus.windows[at])
            )
            train = float((own == corpus.states[frames]).mean())
            facts = {"seed": seed, "frames": len(frames), "seconds": seconds, "train": train}
            found["seeds"].append({**facts, **measured})
            found["lengths"] = {
                s: corpus.data.lengths[corpus.split(s)].tolist() for s in ("validation", "test")
            }
            found |= {"machine": describe_machine(), "versions": describe_versions()}
            path.write_text(json.dumps(found, separators=(",", ":")) + "\n")
            print(f"{name:12} {seed} {tables.measured(found).accuracy:.2f}", flush=True)


def parts(records: Path) -> dict[str, dict[str, Any]]:
    """Returns the record of each row of the table."""
    folders = {name: SPEECH / "records" if name == "alone" else records for name in TITLES}
    return {name: tables.record(folder, name) for name, folder in folders.items()}


def recovered(full: tables.Measured, hard: tables.Measured, soft: tables.Measured) -> tables.Kept:
    """Returns (soft - hard) / (full - hard) in percent.

    The subsets are resampled together for hard labels and soft targets, and the recordings for all.
    """
    random, n = np.random.default_rng(0), len(full.lengths)
    draws = []
    for _ in range(tables.RESAMPLES):
        picks = random.integers(0, n, n)
        rows = random.integers(0, len(hard.right), len(hard.right))
        networks = random.integers(0, len(full.right), len(full.right))
        top = full.right[networks][:, picks].sum() / len(networks)
        low, middle = (p.right[rows][:, picks].sum() / len(rows) for p in (hard, soft))
        draws.append(100 * (middle - low) / (top - low))
    value = 100 * (soft.accuracy - hard.accuracy) / (full.accuracy - hard.accuracy)
    return tables.Kept(value, *tables.interval(np.array(draws)))


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    found = parts(records)
    lines = [
        "| system | train frame accuracy, % | test frame accuracy, % | each | digit error, %"
        " | paper: train, test |",
        "|---|---:|---:|---|---:|---|",
    ]
    for name, title in TITLES.items():
        part = tables.measured(found[name])
        each = 100 * part.right.sum(1) / part.lengths.sum()
        train = [100 * s["train"] for s in found[name]["seeds"] if "train" in s]
        paper = "{}, {}".format(*PAPER[name]) if name in PAPER else ""
        lines.append(
            f"| {title} | {f'{np.mean(train):.1f}' if train else ''} | {part.accuracy:.2f} |"
            f" {each.min():.1f} to {each.max():.1f} | {part.digit_error:.1f} | {paper} |"
        )
    rows = ["| | share of the gap recovered, % (95 % interval) | paper |", "|---|---|---:|"]
    for title, whole, suffix in (
        ("recordings as they are", "alone", ""),
        ("copies of the 3 % at other speeds", "alone", "-copies"),
        ("copies of all recordings", "alone-copies", "-copies"),
    ):
        names = (whole, f"hard{suffix}", f"soft{suffix}")
        full, hard, soft = (tables.measured(found[name]) for name in names)
        share = recovered(full, hard, soft)
        paper = PAPER_RECOVERED if not suffix else ""
        cells = f"{share.value:.0f} ({share.low:.0f} to {share.high:.0f})"
        rows.append(f"| {title} | {cells} | {paper} |")
    return ["\n".join(lines), "\n".join(rows)]


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of this study in the project's README."""
    found = parts(records)
    full, hard, soft = (tables.measured(found[name]) for name in ("alone", "hard", "soft"))
    share = recovered(full, hard, soft)
    answer = (
        f"{share.value:.0f} % of the gap ({share.low:.0f} to {share.high:.0f}): frame accuracy"
        f" {soft.accuracy:.1f} % for {hard.accuracy:.1f} % (the paper: {PAPER_RECOVERED} %)"
    )
    return [("How much of the other 97 % of the recordings do soft targets replace?", answer)]


def draw(records: Path, path: Path) -> None:
    """Draws the test frame accuracy of every network."""
    from matplotlib.figure import Figure

    found = parts(records)
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(reversed(TITLES)):
        part = tables.measured(found[name])
        each = 100 * part.right.sum(1) / part.lengths.sum()
        color = {"a": "#868e96", "h": "#d55e00", "s": "#0b7285"}[name[0]]
        axes.plot(each, [y] * len(each), "o", color=color, alpha=0.6, markersize=5)
    axes.set_yticks(range(len(TITLES)), list(reversed(TITLES.values())))
    axes.set_xlabel("test frame accuracy, %")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--teachers", type=Path, default=Path("saved_models/hinton-speech"))
    parser.add_argument("--work", type=Path, default=Path("saved_models/hinton-speech-3-percent"))
    given = parser.parse_args()
    run(given.data_dir, given.teachers, given.work, FOLDER / "records")
    draw(FOLDER / "records", FOLDER / "accuracy.svg")


if __name__ == "__main__":
    main()
