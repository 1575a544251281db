"""Is inheriting worth epochs, and is structured pruning better than zeros? The parts with code.

    python study.py teacher --data-dir DIR        # trains teacher.keras, for MNIST
    keras-distill sweep mnist.toml --data-dir DIR -o sweep-mnist
    python study.py pruning --data-dir DIR        # makes files of zeros and narrower ones
    python study.py latency --data-dir DIR        # on a quiet machine
    python study.py table                         # prints the tables of README.md

The sweeps `digits.toml`, `mnist.toml`, and `cifar100.toml` need no code; `table` reads their
records. A finished cell is not made again.
"""

import argparse
import gzip
import json
import os
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
import numpy as np

from keras_distill import metrics
from keras_distill.benchmarks import measure_latency
from keras_distill.litert import LiteRTModel
from keras_distill.records import SweepRecord

HERE = Path(__file__).parent
RECORDS = HERE / "records"
WORK = Path("work")
BATCH, TEACHER_EPOCHS, EPOCHS, ROUNDS = 128, 5, 2, 100
# Cell -> share of zeros in each kernel, or width.
PRUNED = {f"pruned-{share}": share for share in (0.8, 0.9, 0.95, 0.98)}
SHRUNK = {f"shrunk-{width}": width for width in (0.5, 0.25, 0.125)}
PRECISIONS = ("float32", "int8")


def mnist():
    """The splits, and the images and labels of the test split."""
    splits = kd.data.load("tfds:mnist")
    test = list(splits.test.batch(1000).as_numpy_iterator())
    return splits, tuple(np.concatenate(column) for column in zip(*test, strict=True))


def trained(trainer, batches, epochs, steps):
    """Trains with Adam, the rate falling to 0."""
    rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(keras.optimizers.Adam(rate), loss, steps_per_execution=32)
    trainer.fit(batches, epochs=epochs, steps_per_epoch=steps, verbose=2)
    return trainer


def make_teacher():
    """Trains `teacher.keras`."""
    import networks  # of this folder; another study has a module of the same name

    if Path("teacher.keras").exists():
        return
    splits, _ = mnist()
    teacher = networks.teacher(splits.input_shape, splits.num_classes)
    steps = -(-int(splits.train.cardinality()) // BATCH)
    batches = kd.data.batches(splits.train, BATCH, shuffle_seed=0, epochs=None)
    trained(teacher, batches, TEACHER_EPOCHS, steps)
    kd.models.save(teacher, "teacher.keras")


def make_cells():
    """Prunes, shrinks, and exports; each file is judged on the test split."""
    from keras_distill.compress import prune

    path, (splits, (x, y)) = RECORDS / "pruning.json", mnist()
    found = json.loads(path.read_text()) if path.exists() else {}
    teacher = kd.models.load("teacher.keras")
    WORK.mkdir(exist_ok=True)
    store = WORK / "targets"
    if not store.exists():
        kd.SoftTargetStore.build(teacher, splits.train, store)
    store = kd.SoftTargetStore.open(store)
    steps = -(-int(splits.train.cardinality()) // BATCH)

    def batches(epoch=0):
        return store.batches(splits.train, BATCH, seed=0, first_epoch=epoch).repeat()

    for name in ("teacher", *PRUNED, *SHRUNK):
        if name in found:
            continue
        if name in PRUNED:
            settings = {"alpha": 0.9, "temperature": 4.0, "epochs": EPOCHS, "learning_rate": 3e-3}
            student = prune(
                teacher, batches, sparsity=PRUNED[name], steps_per_epoch=steps, **settings
            )
        elif name in SHRUNK:
            student = kd.shrink(teacher, width=SHRUNK[name], multiple=4, data=splits)
            distiller = kd.Distiller(None, student, alpha=0.9, temperature=4.0)
            trained(distiller, batches(), EPOCHS, steps)
        else:
            student = teacher
        cell = {"parameters": student.count_params()}
        for precision in PRECISIONS:
            file = WORK / f"{name}-{precision}.tflite"
            kd.export_tflite(
                student, file, quantization=precision, overwrite=True, max_drop=100,
                calibration=None if precision == "float32" else splits, data=splits,
            )  # fmt: skip
            content = file.read_bytes()
            cell[precision] = {
                "accuracy": metrics.accuracy(LiteRTModel(file, threads=2).predict(x), y),
                "bytes": len(content),
                "gzip": len(gzip.compress(content, 9, mtime=0)),
                "latency": None,
            }
        found[name] = cell
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(name, cell, flush=True)


def time_cells():
    """Measures the latency of all files, which take turns, relative to the teacher's."""
    path = RECORDS / "pruning.json"
    found = json.loads(path.read_text())
    _, (x, _) = mnist()
    for precision in PRECISIONS:
        files = {name: WORK / f"{name}-{precision}.tflite" for name in found}
        timings = measure_latency(files, x[:1], runs=ROUNDS, batch_size=1)
        for name, cell in found.items():
            ratio = timings[name].records[0].ratio
            cell[precision]["latency"] = ratio and [ratio.value, ratio.low, ratio.high]
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def readme_tables(records):
    """The tables of README.md, from the records."""
    tables = []
    for name in ("digits", "mnist", "cifar100"):
        path = Path(records) / f"{name}.json"
        if path.exists():
            tables.append(sweep_table(SweepRecord.load(path)))
    path = Path(records) / "pruning.json"
    if path.exists():
        tables.append(pruning_table(json.loads(path.read_text(encoding="utf-8"))))
    return tables


def sweep_table(record):
    """A row for each student, a column for each number of epochs: test accuracy in percent."""
    epochs = list(dict.fromkeys(point.values["training.epochs"] for point in record.points))
    students = list(dict.fromkeys(point.values["student.model"] for point in record.points))
    lines = [
        f"| student | parameters | {' | '.join(map(length, epochs))} |",
        f"|---|{'---:|' * (len(epochs) + 1)}",
    ]
    for student in students:
        points = [p for p in record.points if p.values["student.model"] == student]
        cells = [interval(point.test_accuracy) for point in points]
        lines.append(f"| `{student}` | {points[0].parameters:,} | {' | '.join(cells)} |")
    (teacher,) = record.teachers
    accuracy = "" if teacher.test_accuracy is None else f"{100 * teacher.test_accuracy:.2f}"
    blanks = " | ".join([accuracy, *[""] * (len(epochs) - 1)])
    lines.append(f"| teacher `{Path(teacher.model).name}` | {teacher.parameters:,} | {blanks} |")
    return "\n".join(lines) + "\n"


def length(epochs):
    """A number of epochs, for people."""
    return f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"


def interval(found):
    """Mean over the seeds and half the width of its 95 % interval, in percent."""
    half = "" if found.high is None else f" ± {100 * (found.high - found.value):.2f}"
    return f"{100 * found.value:.2f}{half}"


def pruning_table(found):
    """A row for each network and precision."""
    lines = [
        "| network | file | accuracy | bytes | gzipped | latency (95 %) |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, cell in found.items():
        for precision in PRECISIONS:
            part = cell[precision]
            latency = "1" if name == "teacher" else "not measured"
            if part["latency"]:
                latency = "{:.2f} ({:.2f} to {:.2f})".format(*part["latency"])
            lines.append(
                f"| {title(name)} | {precision} | {100 * part['accuracy']:.2f} |"
                f" {part['bytes']:,} | {part['gzip']:,} | {latency} |"
            )
    return "\n".join(lines) + "\n"


def title(name):
    """What a cell is."""
    if name in PRUNED:
        return f"{100 * PRUNED[name]:.0f} % zeros"
    return f"width {SHRUNK[name]:g}" if name in SHRUNK else name


def main():
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["teacher", "pruning", "latency", "table"])
    parser.add_argument("--data-dir", type=Path, help="Folder of prepared data sets.")
    options = parser.parse_args()
    if options.data_dir is not None:
        os.environ["TFDS_DATA_DIR"] = str(options.data_dir)
    if options.part == "table":
        print("\n".join(readme_tables(RECORDS)))
        return
    {"teacher": make_teacher, "pruning": make_cells, "latency": time_cells}[options.part]()


if __name__ == "__main__":
    main()
