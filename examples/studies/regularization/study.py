"""Whether soft targets regularize: accuracy, likelihood, and calibration of three trainings.

    python examples/studies/regularization/study.py

trains what the built-in recipe `regularization` says, measures the predictions of every student,
writes `records/students.json`, and draws `reliability.svg`; `python examples/studies/tables.py`
writes the table into README.md.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from keras_distill.benchmarks import (
    describe_machine,
    describe_versions,
    mean_interval,
    paired_difference,
)

FOLDER = Path(__file__).parent
TITLES = {"hard": "hard labels", "smoothed": "label smoothing, 0.1", "soft": "soft targets"}
BINS = 10
# Of the table: key, title, digits, and the factor from the record to the page.
MEASURES = (
    ("train_accuracy", "train accuracy, %", 2, 100),
    ("test_accuracy", "test accuracy, %", 2, 100),
    ("gap", "gap, points", 2, 100),
    ("test_nll", "test likelihood loss, nats", 3, 1),
    ("test_ece", "calibration error, %", 2, 100),
    ("test_entropy", "entropy, nats", 3, 1),
    ("wrong_confidence", "confidence where wrong, %", 1, 100),
)


def measured(logits: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns what the logits of one student say of its predictions.

    Returns:
        accuracy, nll, ece, entropy (mean, nats), confidence where the answer is wrong (None where
        none is), and for each of 10 bins of confidence: examples, right answers, and the sum of
        the confidences.
    """
    from keras_distill import metrics

    log_p = log_softmax(logits.astype(np.float64), -1)
    p = np.exp(log_p)
    confidence, right = p.max(1), p.argmax(1) == labels
    bin_of = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return {
        "accuracy": metrics.accuracy(logits, labels),
        "nll": metrics.negative_log_likelihood(logits, labels),
        "ece": metrics.expected_calibration_error(logits, labels),
        "entropy": float(-(p * log_p).sum(1).mean()),
        "wrong_confidence": None if right.all() else float(confidence[~right].mean()),
        "bins": {
            "examples": np.bincount(bin_of, minlength=BINS).tolist(),
            "right": np.bincount(bin_of, right, minlength=BINS).tolist(),
            "confidence": np.bincount(bin_of, confidence, minlength=BINS).tolist(),
        },
    }


def run(records: Path, work: Path) -> None:
    """Trains teachers and students, and writes the record."""
    import keras_distill as kd  # before TensorFlow, so that oneDNN is on

    # isort: split
    import keras

    from keras_distill import runs

    recipe = runs.load_recipe("regularization")
    splits, part = kd.data.load(recipe.data.source), recipe.training
    arrays = {}
    for name in ("train", "test"):
        rows = list(getattr(splits, name).as_numpy_iterator())
        arrays[name] = tuple(np.stack(column) for column in zip(*rows, strict=True))
    steps = math.ceil(splits.sizes["train"] / part.batch_size)

    def built(spec: str, seed: int) -> Any:
        return kd.models.build(
            spec,
            input_shape=splits.input_shape,
            num_classes=splits.num_classes,
            rescale=kd.data.statistics(splits.train),
            seed=seed,
        )

    def fitted(trainer: Any, batches: Any, loss: Any) -> None:
        rate = keras.optimizers.schedules.CosineDecay(part.learning_rate, part.epochs * steps)
        trainer.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=steps)
        trainer.fit(batches, epochs=part.epochs, steps_per_epoch=steps, shuffle=False, verbose=0)

    def labeled(seed: int) -> Any:
        return kd.data.batches(splits.train, part.batch_size, shuffle_seed=seed, epochs=None)

    def loss(smoothing: float = 0.0) -> Any:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)

    def one_hot(seed: int) -> Any:
        return labeled(seed).map(lambda x, y: (x, keras.ops.one_hot(y, splits.num_classes)))

    members = [built(recipe.teacher.model, 1000 + i) for i in range(recipe.teacher.members)]
    for i, member in enumerate(members):
        fitted(member, one_hot(1000 + i), loss())
    store = kd.SoftTargetStore.build(
        members, splits.train, work / "targets", overwrite=True, progress=False
    )
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found: dict[str, Any] = {name: [] for name in TITLES}
    for seed in recipe.seeds:
        for name in TITLES:
            student = built(recipe.student.model, seed)
            if name == "soft":
                taught = recipe.distillation
                trainer = kd.Distiller(
                    None, student, alpha=taught.alpha, temperature=taught.temperature
                )
                batches = store.batches(splits.train, part.batch_size, seed=seed).repeat()
                fitted(trainer, batches, sparse)
            else:
                fitted(student, one_hot(seed), loss(0.1 if name == "smoothed" else 0.0))
            of = {s: measured(student.predict(x, verbose=0), y) for s, (x, y) in arrays.items()}
            found[name].append({"seed": seed, **of})
        print(seed, {n: round(rows[-1]["test"]["accuracy"], 4) for n, rows in found.items()})
    logits = np.mean([m.predict(arrays["test"][0], verbose=0) for m in members], axis=0)
    record = {
        "teacher": {"model": recipe.teacher.model, "members": len(members)}
        | {"test": measured(logits, arrays["test"][1])},
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "students": found,
    }
    records.mkdir(exist_ok=True)
    (records / "students.json").write_text(json.dumps(record, indent=1) + "\n")


def values(rows: list[dict[str, Any]], key: str) -> list[float]:
    """Returns one measure of each seed."""
    if key == "gap":
        return [r["train"]["accuracy"] - r["test"]["accuracy"] for r in rows]
    if key == "wrong_confidence":
        return [r["test"][key] for r in rows]
    split, _, name = key.partition("_")
    return [r[split][name] for r in rows]


def readme_tables(records: Path) -> list[str]:
    """Returns the tables of README.md as Markdown."""
    students = json.loads((records / "students.json").read_text())["students"]
    titles = list(TITLES.values())
    first = ["| mean (95 % interval) | " + " | ".join(titles) + " |", "|---|" + "---|" * 3]
    second = [
        "| difference to hard labels, paired by seed (95 % interval) | label smoothing, 0.1"
        " | soft targets |",
        "|---|---|---|",
    ]
    for key, title, digits, factor in MEASURES:
        by = {name: factor * np.array(values(rows, key)) for name, rows in students.items()}
        cells = [mean_interval(by[name]) for name in TITLES]
        first.append(f"| {title} | " + " | ".join(_cell(c, digits, "") for c in cells) + " |")
        gaps = [paired_difference(by[name], by["hard"]) for name in ("smoothed", "soft")]
        second.append(f"| {title} | " + " | ".join(_cell(g, digits, "+") for g in gaps) + " |")
    return ["\n".join(first), "\n".join(second)]


def _cell(found: Any, digits: int, sign: str) -> str:
    form = f"{sign}.{digits}f"
    return f"{found.value:{form}} ({found.low:{form}} to {found.high:{form}})"


def headlines(records: Path) -> list[tuple[str, str]]:
    """Returns the row of this study in the project's README."""
    students = json.loads((records / "students.json").read_text())["students"]

    def gain(name: str, key: str) -> float:
        return paired_difference(values(students[name], key), values(students["hard"], key)).value

    answer = (
        f"hardly on digits: {gain('soft', 'test_nll'):+.3f} nats of likelihood loss,"
        f" {100 * gain('soft', 'test_accuracy'):+.2f} points of accuracy; label smoothing"
        f" {100 * gain('smoothed', 'test_accuracy'):+.2f} points, but underconfident"
    )
    return [("Do soft targets regularize?", answer)]


def draw(records: Path, path: Path) -> None:
    """Draws the reliability diagram: accuracy against confidence, all seeds together."""
    from matplotlib.figure import Figure

    students = json.loads((records / "students.json").read_text())["students"]
    figure = Figure(figsize=(8.4, 3), layout="constrained")
    for axes, name in zip(figure.subplots(1, 3, sharey=True), TITLES, strict=True):
        sums = {
            key: np.sum([r["test"]["bins"][key] for r in students[name]], axis=0)
            for key in ("examples", "right", "confidence")
        }
        some = sums["examples"] >= 20  # fewer say nothing
        confidence = sums["confidence"][some] / sums["examples"][some]
        accuracy = sums["right"][some] / sums["examples"][some]
        axes.plot([0, 1], [0, 1], ":", color="#868e96", linewidth=1)
        share = sums["examples"][some] / sums["examples"].sum()
        axes.scatter(confidence, accuracy, s=20 + 300 * share, color="#0b7285", alpha=0.7)
        axes.plot(confidence, accuracy, color="#0b7285", linewidth=1)
        axes.set(title=TITLES[name], xlabel="confidence", xlim=(0, 1.03), ylim=(0, 1.03))
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("accuracy on the test split")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("saved_models/regularization-study"))
    run(FOLDER / "records", parser.parse_args().work)
    draw(FOLDER / "records", FOLDER / "reliability.svg")


if __name__ == "__main__":
    main()
