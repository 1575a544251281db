"""Trains single specialists with several settings, and measures them on the validation split.

    cd examples/studies/specialists
    python pilot.py converged.toml --generalist model.keras --data-dir DIR 0:12:0.01:0.5

trains the specialist of set 0 for 12 epochs at rate 0.01, half of its stream from its own classes,
and adds a row to `records/converged/pilot.json`. The table is on the page of the study.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)

# isort: split
import numpy as np
from scipy.special import log_softmax
from specialists_tables import Study

from keras_distill import data, models, specialists
from keras_distill.data import labels_of

RECORD = Path(__file__).parent / "records" / "converged" / "pilot.json"


def within(logits: np.ndarray, labels: np.ndarray, ids: list[int]) -> tuple[float, float]:
    """Accuracy among the classes of a set, and mean loss in nats, on the examples of the set.

    Args:
        logits: `(n, |S|)` or more: of the classes of the set, and of what else the loss counts.
        labels: The examples' classes; those of others are left out.
        ids: The classes of the set, in the order of the first logits.
    """
    place = {label: i for i, label in enumerate(ids)}
    rows = np.isin(labels, ids)
    right = np.array([place[label] for label in labels[rows]])
    own = logits[rows]
    accuracy = float((own[:, : len(ids)].argmax(1) == right).mean())
    return accuracy, float(-log_softmax(own, axis=1)[np.arange(len(right)), right].mean())


def in_order(logits: np.ndarray, ids: list[int]) -> np.ndarray:
    """The logits of a generalist with those of a set first."""
    rest = np.setdiff1d(np.arange(logits.shape[1]), ids)
    return logits[:, [*ids, *rest]]


def table(rows: list[dict[str, Any]]) -> str:
    """The measurements in Markdown."""
    lines = [
        "| set | epochs | rate | own share | accuracy within the set, %: generalist | specialist"
        " | loss, nats: generalist | specialist |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda r: (r["set"], r["epochs"], r["rate"], r["share"])):
        shown = [f"{100 * row[name][0]:.1f}" for name in ("generalist", "specialist")]
        losses = [f"{row[name][1]:.2f}" for name in ("generalist", "specialist")]
        settings = f"{row['set']} | {row['epochs']} | {row['rate']:g} | {row['share']:g}"
        lines.append(f"| {settings} | {' | '.join(shown)} | {' | '.join(losses)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="the study, a .toml file")
    parser.add_argument("settings", nargs="+", help="SET:EPOCHS:RATE:SHARE")
    parser.add_argument("--generalist", type=Path, required=True, help="a .keras file")
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    options = parser.parse_args()
    study = Study.load(options.study)
    splits = data.load(study.source, data_dir=options.data_dir)
    generalist = models.load(options.generalist)
    images = splits.validation.map(lambda x, y: x).batch(250)
    labels, train_labels = labels_of(splits.validation), labels_of(splits.train)
    base = generalist.predict(images, verbose=0)
    sets = specialists.confusable_sets(
        specialists.predictions(generalist, splits.validation, study.cluster_temperature),
        study.clusters,
        size=study.size,
        even=study.even,
        seed=0,
    ).lists()
    for text in options.settings:
        number, epochs, rate, share = (float(part) for part in text.split(":"))
        ids, started = sets[int(number)], time.monotonic()
        changes = {"epochs": int(epochs), "learning_rate": rate, "share": share}
        specialist, _ = specialists.train_specialist(
            generalist,
            splits.train,
            ids,
            study.specialist.model_copy(update=changes),
            num_classes=splits.num_classes,
            seed=int(number),
            labels=train_labels,
        )
        row = {
            "set": int(number),
            "epochs": int(epochs),
            "rate": rate,
            "share": share,
            "generalist": within(in_order(base, ids), labels, ids),
            "specialist": within(specialist.predict(images, verbose=0), labels, ids),
            "seconds": time.monotonic() - started,
        }
        rows = json.loads(RECORD.read_text()) if RECORD.exists() else []
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(json.dumps([*rows, row], indent=1) + "\n")
        print(table([row]), flush=True)


if __name__ == "__main__":
    main()
