"""How much of the accuracy that compression loses do soft targets recover?

    python examples/studies/compression/study.py --data-dir DIR     # the whole study
    python examples/studies/compression/study.py --smoke            # digits, a few minutes
    python examples/studies/compression/study.py --table RECORDS    # the table of existing records

A student is distilled first. Each method then starts from that student and trains for the same
number of epochs, once on hard labels only and once on soft targets: the same examples in the same
order, the same optimizer, the same learning rates. Controls: the student as it was, the student
quantized without training, and the student trained for as long without compression. The accuracy is
that of the `.tflite` file on the test split. Each cell of the table is a record, and running the
command again resumes the study. Settings are chosen with `--split validation`.
"""

import argparse
import gzip
import json
import time
from dataclasses import dataclass
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
import numpy as np

from keras_distill import metrics
from keras_distill.benchmarks import (
    mean_interval,
    measure_latency,
    paired_difference,
    ratio_of_means,
)
from keras_distill.compress import compress, count_weights
from keras_distill.litert import LiteRTModel
from keras_distill.records import Record

ALPHA, TEMPERATURE = 0.9, 4.0
BATCH = 100
BASE = "float32"
SHIFT = 100  # added to the seed: the data order differs from that of distilling

# Method -> (title, steps). A variant is a method with "-hard" or "-soft".
METHODS = {
    "on": ("trained longer, not compressed", []),
    "qat": ("QAT int8", ["quantize"]),
    "prune80": ("80 % pruned", ["prune:0.8"]),
    "prune90": ("90 % pruned", ["prune:0.9"]),
    "prune2of4": ("2:4 pruned", ["prune:2:4"]),
    "cluster16": ("16 values", ["cluster:16"]),
    "pcqat": ("80 % pruned, 16 values, int8", ["prune:0.8", "cluster:16", "quantize"]),
}
VARIANTS = (
    BASE,
    "ptq-int8",
    *(f"{method}-{kind}" for method in METHODS for kind in ("hard", "soft")),
)


class Cell(Record):
    """One student, compressed by one method, from one seed.

    Attributes:
        student: Its spec.
        variant: Method and kind of labels.
        seed: Seed of the initial weights and of the data order.
        accuracy: Accuracy of the `.tflite` file on the evaluated split, 0..1.
        bytes: Size of the file.
        gzip_bytes: Size of the file after gzip.
        sparsity: Share of zeros among the weights in the file.
        values_per_channel: The largest number of distinct weights in an output channel of a
            convolution or dense layer. Depthwise kernels, which are never clustered, do not count.
        seconds: Training time in the session that made the cell.
    """

    student: str
    variant: str
    seed: int
    accuracy: float
    bytes: int
    gzip_bytes: int
    sparsity: float
    values_per_channel: int
    seconds: float


class Latency(Record):
    """Median latency of each variant's file at batch size 1, one thread, seed 0.

    Attributes:
        milliseconds: By variant.
    """

    milliseconds: dict[str, float]


@dataclass
class Study:
    """The settings, the data, and the folders."""

    splits: kd.data.Splits
    student: str
    teacher: str
    epochs: int
    student_epochs: int
    teacher_epochs: int
    learning_rate: float
    split: str
    work: Path
    results: Path
    labels: float = 1.0  # share of the training labels that the student has

    def __post_init__(self):
        examples = list(getattr(self.splits, self.split).batch(1000).as_numpy_iterator())
        self.evaluated = tuple(np.concatenate(column) for column in zip(*examples, strict=True))
        self.rescale = kd.data.statistics(self.splits.train)
        self.teaching = self.work.parent / slug(
            f"{self.splits.name}-{self.teacher}-{self.teacher_epochs}"
        )
        for folder in (self.work, self.teaching, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._keep_settings()

    def _keep_settings(self):
        """Refuses folders with results of other settings."""
        fields = ("student", "teacher", "epochs", "student_epochs", "teacher_epochs")
        fields += ("learning_rate", "split")
        settings = {name: getattr(self, name) for name in fields}
        if self.labels < 1:
            settings["labels"] = self.labels
        for folder in (self.work, self.results):
            kept = folder / "settings.json"
            if not kept.exists():
                kept.write_text(json.dumps(settings, indent=2) + "\n")
            elif json.loads(kept.read_text()) != settings:
                raise kd.InputError(
                    f"{folder} holds a study of other settings. Remove or rename it."
                )

    @property
    def steps(self):
        """Training steps of an epoch."""
        return -(-int(self.splits.train.cardinality()) // BATCH)

    def built(self, spec, seed):
        """A new network for the data, its normalization that of the data."""
        return kd.models.build(
            spec,
            input_shape=self.splits.input_shape,
            num_classes=self.splits.num_classes,
            rescale=self.rescale,
            seed=seed,
        )

    def trained(self, trainer, batches, epochs, learning_rate=1e-3):
        """The trainer after `epochs` of Adam, its rate falling to 0."""
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * self.steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        together = max(n for n in range(1, 33) if self.steps % n == 0)
        trainer.compile(
            keras.optimizers.Adam(rate), loss, metrics=["accuracy"], steps_per_execution=together
        )
        trainer.fit(batches, epochs=epochs, steps_per_epoch=self.steps, verbose=2)
        return trainer

    def kept(self, seed):
        """The training split, with label -1 where the student has none."""
        if self.labels == 1:
            return self.splits.train
        count = round(self.labels * int(self.splits.train.cardinality()))
        return kd.data.keep_labels(self.splits.train, count, seed=seed % SHIFT)

    def labeled(self, seed, epoch=0):
        """Batches of (x, y) with labels, without end."""
        kept = self.kept(seed)
        if self.labels < 1:
            kept = kd.data.select(kept, kd.data.labels_of(kept) != kd.data.UNLABELED)
            epoch = epoch * self.steps * BATCH // int(kept.cardinality())
        return kd.data.batches(kept, BATCH, shuffle_seed=seed, epoch=epoch, epochs=None)

    def softened(self, seed, epoch=0):
        """Batches of all examples with the teacher's soft targets, without end.

        With all labels, they are those of `labeled` in the same order.
        """
        batches = self.store().batches(self.kept(seed), BATCH, seed=seed, first_epoch=epoch)
        return batches.repeat()

    def taught(self):
        """The teacher, trained once for all students."""
        saved = self.teaching / "teacher.keras"
        if not saved.exists():
            teacher = self.built(self.teacher, 1000)
            whole = kd.data.batches(self.splits.train, BATCH, shuffle_seed=1000, epochs=None)
            self.trained(teacher, whole, self.teacher_epochs)
            save_model(teacher, saved)
        return kd.models.load(saved)

    def teacher_accuracy(self):
        """Accuracy of the teacher on the evaluated split."""
        x, y = self.evaluated
        return metrics.accuracy(self.taught().predict(x, batch_size=1000, verbose=0), y)

    def store(self):
        """The teacher's soft targets, made once."""
        path = self.teaching / "targets"
        if path.exists():
            return kd.SoftTargetStore.open(path)
        return kd.SoftTargetStore.build(self.taught(), self.splits.train, path)

    def distiller(self, student):
        """The student, ready to be trained on soft targets."""
        return kd.Distiller(None, student, alpha=ALPHA, temperature=TEMPERATURE)

    def base(self, seed):
        """The distilled student that every method starts from, made once per seed."""
        path = self.work / f"student-{seed}.keras"
        if not path.exists():
            student = self.built(self.student, seed)
            self.trained(self.distiller(student), self.softened(seed), self.student_epochs)
            save_model(student, path)
        return kd.models.load(path)

    def file(self, variant, seed):
        """Path of the .tflite file of a cell."""
        folder = self.work / f"{variant}-{seed}"
        quantized = variant.startswith(("qat", "pcqat", "ptq"))
        return folder / f"student-{'int8' if quantized else 'float32'}.tflite"

    def make(self, variant, seed):
        """Trains and exports one cell; returns the seconds its training took."""
        student, path = self.base(seed), self.file(variant, seed)
        if path.exists():
            return 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        method, _, kind = variant.rpartition("-")
        if method not in METHODS:
            precision = variant.removeprefix("ptq-")
            calibration = None if precision == BASE else self.splits
            kd.export_tflite(
                student,
                path,
                quantization=precision,
                calibration=calibration,
                data=self.splits,
                max_drop=100,
            )
            return 0.0
        if method == "on":
            return self.train_on(student, kind, seed, path)
        return self.compressed(student, method, kind, seed, path.parent)

    def train_on(self, student, kind, seed, path):
        """The control: as many more epochs without compression; returns the training seconds."""
        started = time.monotonic()
        batches = (self.labeled if kind == "hard" else self.softened)(seed + SHIFT)
        trainer = student if kind == "hard" else self.distiller(student)
        self.trained(trainer, batches, self.epochs, self.learning_rate)
        seconds = time.monotonic() - started
        kd.export_tflite(student, path, data=self.splits, max_drop=100)
        return seconds

    def compressed(self, student, method, kind, seed, folder):
        """Compresses into the folder; returns the seconds of all training."""

        def batches(epoch):
            return (self.labeled if kind == "hard" else self.softened)(seed + SHIFT, epoch)

        done = compress(
            student,
            batches,
            METHODS[method][1],
            folder,
            alpha=ALPHA if kind == "soft" else 0.0,
            temperature=TEMPERATURE,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            learning_rate=self.learning_rate,
            export={"data": self.splits},
            max_drop=100,  # the study reports every loss
            overwrite=True,
        )
        return sum(step.seconds for step in done.record.steps)

    def cell(self, variant, seed):
        """The record of one cell, made if it is not there."""
        path = self.results / f"{variant}-{seed}.json"
        if path.exists():
            return Cell.load(path)
        seconds = self.make(variant, seed)
        file = self.file(variant, seed)
        x, y = self.evaluated
        counted = [k for k in count_weights(file) if k.op != "DEPTHWISE_CONV_2D"]
        content = file.read_bytes()
        cell = Cell(
            student=self.student,
            variant=variant,
            seed=seed,
            accuracy=metrics.accuracy(LiteRTModel(file, threads=2).predict(x), y),
            bytes=len(content),
            gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
            sparsity=sum(k.zeros for k in counted) / sum(k.size for k in counted),
            values_per_channel=max(k.values_per_channel for k in counted),
            seconds=seconds,
        )
        cell.save(path)
        print(f"{variant:16} seed {seed}: {cell.accuracy:.2%}, {cell.gzip_bytes} bytes gzipped")
        return cell

    def latencies(self, variants, seed):
        """Median milliseconds of a call by variant, all files in turn."""
        files = {variant: self.file(variant, seed) for variant in variants}
        timings = measure_latency(files, self.evaluated[0][:64], runs=100)
        return {variant: timing.records[0].median_ms for variant, timing in timings.items()}


def save_model(model, path):
    """Saves the model atomically: an interrupted study never finds half a file."""
    temporary = path.with_name("unfinished.keras")
    model.save(temporary)
    temporary.replace(path)


def slug(text):
    """The text as part of a path."""
    return "".join(c if c.isalnum() else "-" for c in text)


def interval(values, scale=1.0, digits=2):
    """Mean and half width of its 95 % interval, as text."""
    found = mean_interval([scale * v for v in values])
    if not np.isfinite(found.high):
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ± {found.high - found.value:.{digits}f}"


def gain(soft, hard):
    """Soft minus hard in points, paired by seed, with its 95 % interval, as text."""
    found = paired_difference([100 * v for v in soft], [100 * v for v in hard])
    ends = f" ({found.low:+.2f} to {found.high:+.2f})" if np.isfinite(found.high) else ""
    return f"{found.value:+.2f}{ends}"


def share(base, hard, soft):
    """The share of the loss (base - hard) that soft targets recover, as text."""
    loss = np.subtract(base, hard)
    if loss.mean() <= 0:
        return "no loss"
    found = ratio_of_means(np.subtract(soft, hard), loss)
    if np.isnan(found.low):
        return f"{found.value:.0%}"
    if np.isinf(found.low):
        return f"{found.value:.0%} (unbounded: the loss may be zero)"
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def table(cells, latency):
    """The study as a Markdown table."""
    by_variant = {}
    for cell in sorted(cells, key=lambda c: c.seed):
        by_variant.setdefault(cell.variant, []).append(cell)
    accuracies = {variant: [c.accuracy for c in found] for variant, found in by_variant.items()}
    lines = [
        "| variant | accuracy, % | loss to float32, points | soft minus hard, points"
        " | share of the loss recovered | zeros | values per channel | bytes | gzipped"
        " | latency, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant, found in by_variant.items():
        method, _, kind = variant.rpartition("-")
        title = (
            METHODS[method][0] + (", hard labels" if kind == "hard" else ", soft targets")
            if method in METHODS
            else variant
        )
        base, own = accuracies[BASE], accuracies[variant]
        lost, gained, recovered = "", "", ""
        if variant != BASE and len(own) == len(base):
            lost = interval(np.subtract(base, own), 100)
        hard = accuracies.get(f"{method}-hard", [])
        if kind == "soft" and len(hard) == len(own) == len(base):
            gained, recovered = gain(own, hard), share(base, hard, own)
        lines.append(
            f"| {title} | {interval(own, 100)} | {lost} | {gained} | {recovered}"
            f" | {np.mean([c.sparsity for c in found]):.1%}"
            f" | {max(c.values_per_channel for c in found)}"
            f" | {np.mean([c.bytes for c in found]):,.0f}"
            f" | {np.mean([c.gzip_bytes for c in found]):,.0f} | {latency[variant]:.3f} |"
        )
    return "\n".join(lines)


def readme_tables(records):
    """The tables of README.md: few labels, then all labels."""
    folders = (records / "few-labels", records)
    return [records_table(folder) for folder in folders if folder.exists()]


def records_table(records):
    """The table of a folder of records."""
    latency = Latency.load(records / "latency.json").milliseconds
    cells = [Cell.load(path) for path in records.glob("*-[0-9].json")]
    order = list(VARIANTS)
    cells.sort(key=lambda cell: (order.index(cell.variant), cell.seed))
    return table(cells, latency)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="tfds:mnist")
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--student", default="mlp:16")
    parser.add_argument("--teacher", default="mlp:800x800?dropout=0.5")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of each step")
    parser.add_argument("--student-epochs", type=int, default=20)
    parser.add_argument("--teacher-epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--labels", type=float, default=1.0, help="share that the student has")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--variants", default=",".join(VARIANTS), help="separated by commas")
    parser.add_argument("--work", type=Path, default=Path("saved_models/compression-study"))
    parser.add_argument("--records", type=Path, help="folder of the records [WORK/STUDY/records]")
    parser.add_argument("--table", type=Path, help="only print the table of these records")
    parser.add_argument("--smoke", action="store_true", help="digits, 1 seed, 1 epoch of each")
    given = parser.parse_args()
    if given.table:
        print(records_table(given.table))
        return
    if given.smoke:
        given.data, given.student, given.teacher, given.seeds = "digits", "mlp:8", "mlp:32", 1
        given.epochs = given.student_epochs = given.teacher_epochs = 1
    name = slug(f"{given.data}-{given.student}")
    if given.labels < 1:
        name += f"-{given.labels:g}"
    study = Study(
        kd.data.load(given.data, data_dir=given.data_dir),
        student=given.student,
        teacher=given.teacher,
        epochs=given.epochs,
        student_epochs=given.student_epochs,
        teacher_epochs=given.teacher_epochs,
        learning_rate=given.learning_rate,
        split=given.split,
        labels=given.labels,
        work=given.work / name,
        results=given.records or given.work / name / "records",
    )
    variants = given.variants.split(",")
    cells = [study.cell(variant, seed) for seed in range(given.seeds) for variant in variants]
    latency = study.latencies(variants, 0)
    Latency(milliseconds=latency).save(study.results / "latency.json", overwrite=True)
    print(f"Teacher: {study.teacher_accuracy():.2%}\n\n{table(cells, latency)}")


if __name__ == "__main__":
    main()
