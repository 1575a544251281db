"""What soft targets win back of what compression costs: one student, many ways, several seeds.

    python examples/compress_study.py --data-dir DIR                # the whole study
    python examples/compress_study.py --smoke                       # digits, minutes

The student is distilled first; then each way starts from that student and trains for the same
number of epochs, once on hard labels only and once on soft targets: the same examples in the same
order, the same optimizer and rates. Beside them stand the student as it was, quantized without
training, and trained on for as long without compression. Judged is the `.tflite` file, on the
test split. Each cell is a record in the results; the same command goes on where the last one
stopped. Settings are chosen with `--split validation`, which looks at no test data.
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
from keras_distill._internal import _files, _machine, _stats
from keras_distill.benchmarks import measure_latency
from keras_distill.compress import compress, count_weights
from keras_distill.litert._interpreter import LiteRTModel
from keras_distill.records._compress import CompressCell

ALPHA, TEMPERATURE = 0.9, 4.0
BATCH = 100
BASE = "float32"
SHIFT = 100  # of the seed, so that a way does not see the orders of distilling again

# Name of a way without "-hard" or "-soft" -> (title, steps).
WAYS = {
    "on": ("trained on, not compressed", []),
    "qat": ("QAT int8", ["quantize"]),
    "prune80": ("80 % pruned", ["prune:0.8"]),
    "prune90": ("90 % pruned", ["prune:0.9"]),
    "prune2of4": ("2:4 pruned", ["prune:2:4"]),
    "cluster16": ("16 values", ["cluster:16"]),
    "pcqat": ("80 % pruned, 16 values, int8", ["prune:0.8", "cluster:16", "quantize"]),
}
ARMS = (BASE, "ptq-int8", *(f"{way}-{kind}" for way in WAYS for kind in ("hard", "soft")))


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

    def __post_init__(self):
        judged = list(getattr(self.splits, self.split).batch(1000).as_numpy_iterator())
        self.judged = tuple(np.concatenate(column) for column in zip(*judged, strict=True))
        self.rescale = kd.data.statistics(self.splits.train)
        self.teaching = self.work.parent / slug(
            f"{self.splits.name}-{self.teacher}-{self.teacher_epochs}"
        )
        for folder in (self.work, self.teaching, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._keep_settings()

    def _keep_settings(self):
        """Cells of other settings in the same folder would be taken for these."""
        fields = ("student", "teacher", "epochs", "student_epochs", "teacher_epochs")
        fields += ("learning_rate", "split")
        asked = {name: getattr(self, name) for name in fields}
        for folder in (self.work, self.results):
            kept = folder / "settings.json"
            if not kept.exists():
                _files.write_json(kept, asked)
            elif json.loads(kept.read_text()) != asked:
                raise kd.InputError(
                    f"{folder} holds a study of other settings; remove or rename it."
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

    def labeled(self, seed, epoch=0):
        """Batches of (x, y) without end."""
        return kd.data.batches(
            self.splits.train, BATCH, shuffle_seed=seed, epoch=epoch, epochs=None
        )

    def softened(self, seed, epoch=0):
        """The same batches in the same order with the teacher's soft targets, without end."""
        batches = self.store().batches(self.splits.train, BATCH, seed=seed, first_epoch=epoch)
        return batches.repeat()

    def taught(self):
        """The teacher, trained once for all students."""
        saved = self.teaching / "teacher.keras"
        if not saved.exists():
            teacher = self.built(self.teacher, 1000)
            self.trained(teacher, self.labeled(1000), self.teacher_epochs)
            with _files.atomic_path(saved) as temporary:
                teacher.save(temporary)
        return kd.models.load(saved)

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
        """The distilled student that every way starts from, made once per seed."""
        path = self.work / f"student-{seed}.keras"
        if not path.exists():
            student = self.built(self.student, seed)
            self.trained(self.distiller(student), self.softened(seed), self.student_epochs)
            with _files.atomic_path(path) as temporary:
                student.save(temporary)
        return kd.models.load(path)

    def file(self, variant, seed):
        """Where the .tflite file of a cell stands."""
        folder = self.work / f"{variant}-{seed}"
        quantized = variant.startswith(("qat", "pcqat", "ptq"))
        return folder / f"student-{'int8' if quantized else 'float32'}.tflite"

    def make(self, variant, seed):
        """Trains and exports one cell; returns the seconds its training took."""
        student, path = self.base(seed), self.file(variant, seed)
        if path.exists():
            return 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        way, _, kind = variant.rpartition("-")
        if way not in WAYS:
            precision = variant.removeprefix("ptq-")
            calibration = None if precision == BASE else self.splits
            kd.export_tflite(
                student, path, quantization=precision, calibration=calibration, data=self.splits
            )
            return 0.0
        if way == "on":
            return self.train_on(student, kind, seed, path)
        return self.compressed(student, way, kind, seed, path.parent)

    def train_on(self, student, kind, seed, path):
        """What as many epochs more do without compression: the control; returns its seconds."""
        started = time.monotonic()
        batches = (self.labeled if kind == "hard" else self.softened)(seed + SHIFT)
        trainer = student if kind == "hard" else self.distiller(student)
        self.trained(trainer, batches, self.epochs, self.learning_rate)
        seconds = time.monotonic() - started
        kd.export_tflite(student, path, data=self.splits)
        return seconds

    def compressed(self, student, way, kind, seed, folder):
        """Compresses into the folder; returns the seconds of all training."""

        def batches(epoch):
            return (self.labeled if kind == "hard" else self.softened)(seed + SHIFT, epoch)

        done = compress(
            student,
            batches,
            WAYS[way][1],
            folder,
            alpha=ALPHA if kind == "soft" else 0.0,
            temperature=TEMPERATURE,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            learning_rate=self.learning_rate,
            export={"data": self.splits},
            overwrite=True,
        )
        return sum(step.seconds for step in done.record.steps)

    def cell(self, variant, seed):
        """The record of one cell, made if it is not there."""
        path = self.results / f"{variant}-{seed}.json"
        if path.exists():
            return CompressCell.load(path)
        seconds = self.make(variant, seed)
        file = self.file(variant, seed)
        x, y = self.judged
        counted = [k for k in count_weights(file) if k.op != "DEPTHWISE_CONV_2D"]
        content = file.read_bytes()
        cell = CompressCell(
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
        timings = measure_latency(files, self.judged[0][:64], runs=100)
        return {variant: timing.records[0].median_ms for variant, timing in timings.items()}


def slug(text):
    """The text as part of a path."""
    return "".join(c if c.isalnum() else "-" for c in text)


def interval(values, scale=1.0, digits=2):
    """Mean and half width of its 95 % interval, as text."""
    found = _stats.mean_interval([scale * v for v in values])
    if not np.isfinite(found.high):
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ± {found.high - found.value:.{digits}f}"


def gain(soft, hard):
    """Soft minus hard in points, paired by seed, with its 95 % interval, as text."""
    found = _stats.paired_difference([100 * v for v in soft], [100 * v for v in hard])
    ends = f" ({found.low:+.2f} to {found.high:+.2f})" if np.isfinite(found.high) else ""
    return f"{found.value:+.2f}{ends}"


def share(base, hard, soft):
    """The share of the loss (base - hard) that soft targets win back, as text."""
    loss = np.subtract(base, hard)
    if loss.mean() <= 0:
        return "nothing was lost"
    found = _stats.ratio_of_means(np.subtract(soft, hard), loss)
    if np.isnan(found.low):
        return f"{found.value:.0%}"
    if np.isinf(found.low):
        return f"{found.value:.0%} (any: the loss may be none)"
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def table(cells, latency):
    """The study as Markdown."""
    by_arm = {}
    for cell in sorted(cells, key=lambda c: c.seed):
        by_arm.setdefault(cell.variant, []).append(cell)
    accuracies = {variant: [c.accuracy for c in found] for variant, found in by_arm.items()}
    lines = [
        "| way | accuracy, % | lost to float32, points | soft minus hard, points"
        " | won back of the loss | zeros | values per channel | bytes | gzipped | latency, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant, found in by_arm.items():
        way, _, kind = variant.rpartition("-")
        title = (
            WAYS[way][0] + (", hard labels" if kind == "hard" else ", soft targets")
            if way in WAYS
            else variant
        )
        base, own = accuracies[BASE], accuracies[variant]
        lost, won, back = "", "", ""
        if variant != BASE and len(own) == len(base):
            lost = interval(np.subtract(base, own), 100)
        hard = accuracies.get(f"{way}-hard", [])
        if kind == "soft" and len(hard) == len(own) == len(base):
            won, back = gain(own, hard), share(base, hard, own)
        lines.append(
            f"| {title} | {interval(own, 100)} | {lost} | {won} | {back}"
            f" | {np.mean([c.sparsity for c in found]):.1%}"
            f" | {max(c.values_per_channel for c in found)}"
            f" | {np.mean([c.bytes for c in found]):,.0f}"
            f" | {np.mean([c.gzip_bytes for c in found]):,.0f} | {latency[variant]:.3f} |"
        )
    return "\n".join(lines)


def heading(study, seeds, machine):
    """What the table shows, in words."""
    x, y = study.judged
    teacher = metrics.accuracy(study.taught().predict(x, batch_size=1000, verbose=0), y)
    return f"""# Compression of `{study.student}` on {study.splits.name}

Distilled from `{study.teacher}` ({teacher:.2%}) for {study.student_epochs} epochs on all
{int(study.splits.train.cardinality()):,} labels, then compressed, {study.epochs} epochs per step
at a learning rate of {study.learning_rate:g}; alpha {ALPHA:g} (soft) or 0 (hard), T =
{TEMPERATURE:g}. Accuracy of the `.tflite` file on the {study.split} split, mean over {seeds} seeds
with its 95 % t interval; losses and gains are paired by seed. The share won back is
(soft - hard) / (float32 - hard), with Fieller's 95 % interval over the seeds. Latency: median of a
call at batch 1, one thread, all files in turn, of seed 0. Machine: {machine}.
"""


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
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--variants", default=",".join(ARMS), help="which, by comma")
    parser.add_argument("--work", type=Path, default=Path("saved_models/compress_study"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results/compress")
    parser.add_argument("--smoke", action="store_true", help="digits, 1 seed, 1 epoch of each")
    given = parser.parse_args()
    if given.smoke:
        given.data, given.student, given.teacher, given.seeds = "digits", "mlp:8", "mlp:32", 1
        given.epochs = given.student_epochs = given.teacher_epochs = 1
    name = slug(f"{given.data}-{given.student}")
    study = Study(
        kd.data.load(given.data, data_dir=given.data_dir),
        student=given.student,
        teacher=given.teacher,
        epochs=given.epochs,
        student_epochs=given.student_epochs,
        teacher_epochs=given.teacher_epochs,
        learning_rate=given.learning_rate,
        split=given.split,
        work=given.work / name,
        results=given.results / name,
    )
    variants = given.variants.split(",")
    cells = [study.cell(variant, seed) for seed in range(given.seeds) for variant in variants]
    latency = study.latencies(variants, 0)
    text = heading(study, given.seeds, _machine.describe()) + "\n" + table(cells, latency) + "\n"
    _files.write_text(study.results / "table.md", text, overwrite=True)
    print(text)


if __name__ == "__main__":
    main()
