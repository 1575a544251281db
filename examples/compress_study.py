"""What soft targets win back of what compression costs: one student, many ways, several seeds.

    python examples/compress_study.py --data-dir DIR                # the whole study
    python examples/compress_study.py --smoke                       # digits, minutes

The student is distilled first; then each way starts from that student and trains for the same
number of epochs, once on hard labels only and once on soft targets. Judged is the `.tflite` file,
on the test split. Each cell is a record in the results; the same command goes on where the last
one stopped.
"""

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
import numpy as np

from keras_distill import _files, _machine, _stats, metrics
from keras_distill._litert import LiteRTModel
from keras_distill.benchmarks import measure_latency
from keras_distill.compress import compress, count_weights
from keras_distill.records.compress import CompressCell

ALPHA, TEMPERATURE = 0.9, 4.0
BATCH = 128

# Name of a way without "-hard" or "-soft" -> (title, steps).
WAYS = {
    "qat": ("QAT int8", ["quantize"]),
    "prune80": ("80 % pruned", ["prune:0.8"]),
    "prune90": ("90 % pruned", ["prune:0.9"]),
    "prune2of4": ("2:4 pruned", ["prune:2:4"]),
    "cluster16": ("16 values", ["cluster:16"]),
    "pcqat": ("80 % pruned, 16 values, int8", ["prune:0.8", "cluster:16", "quantize"]),
}
ARMS = ("float32", "ptq-int8", *(f"{way}-{kind}" for way in WAYS for kind in ("hard", "soft")))


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
    work: Path
    results: Path

    def __post_init__(self):
        test = list(self.splits.test.batch(1000).as_numpy_iterator())
        self.test = tuple(np.concatenate(column) for column in zip(*test, strict=True))
        self.rescale = kd.data.statistics(self.splits.train)
        self.work.mkdir(parents=True, exist_ok=True)
        self.results.mkdir(parents=True, exist_ok=True)
        self._keep_settings()

    def _keep_settings(self):
        """Cells of other settings in the same folder would be taken for these."""
        fields = ("student", "teacher", "epochs", "student_epochs", "teacher_epochs")
        asked = {name: getattr(self, name) for name in (*fields, "learning_rate")}
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
        """A new network for the data, its normalisation that of the data."""
        return kd.models.build(
            spec,
            input_shape=self.splits.input_shape,
            num_classes=self.splits.num_classes,
            rescale=self.rescale,
            seed=seed,
        )

    def trained(self, trainer, batches, epochs):
        """The trainer after `epochs` of Adam, its rate falling to 0."""
        rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * self.steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trainer.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        trainer.fit(batches, epochs=epochs, steps_per_epoch=self.steps, verbose=2)
        return trainer

    def labelled(self, seed, epoch=0):
        """Batches of (x, y) without end."""
        return kd.data.batches(
            self.splits.train, BATCH, shuffle_seed=seed, epoch=epoch, epochs=None
        )

    def store(self):
        """The teacher's soft targets, made once."""
        path = self.work / "targets"
        if not path.exists():
            saved = self.work / "teacher.keras"
            if not saved.exists():
                teacher = self.trained(
                    self.built(self.teacher, 1000), self.labelled(1000), self.teacher_epochs
                )
                with _files.atomic_path(saved) as temporary:
                    teacher.save(temporary)
            return kd.SoftTargetStore.build(kd.models.load(saved), self.splits.train, path)
        return kd.SoftTargetStore.open(path)

    def base(self, seed):
        """The distilled student that every way starts from, made once per seed."""
        path = self.work / f"student-{seed}.keras"
        if not path.exists():
            batches = self.store().batches(self.splits.train, BATCH, seed=seed)
            distiller = kd.Distiller(
                None, self.built(self.student, seed), alpha=ALPHA, temperature=TEMPERATURE
            )
            self.trained(distiller, batches, self.student_epochs)
            with _files.atomic_path(path) as temporary:
                distiller.student.save(temporary)
        return kd.models.load(path)

    def file(self, arm, seed):
        """Where the .tflite file of a cell stands."""
        folder = self.work / f"{arm}-{seed}"
        quantized = arm.startswith(("qat", "pcqat", "ptq"))
        return folder / f"student-{'int8' if quantized else 'float32'}.tflite"

    def make(self, arm, seed):
        """Trains and exports one cell; returns the seconds its training took."""
        student, path = self.base(seed), self.file(arm, seed)
        if path.exists():
            return 0.0
        if arm in ("float32", "ptq-int8"):
            path.parent.mkdir(parents=True, exist_ok=True)
            kd.export_tflite(
                student, path, quantization=arm.removeprefix("ptq-"), calibration=self.splits
            )
            return 0.0
        way, _, kind = arm.rpartition("-")

        def batches(epoch):
            if kind == "hard":
                return self.labelled(seed, epoch)
            return self.store().batches(self.splits.train, BATCH, seed=seed, first_epoch=epoch)

        done = compress(
            student,
            batches,
            WAYS[way][1],
            path.parent,
            alpha=ALPHA if kind == "soft" else 0.0,
            temperature=TEMPERATURE,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
            learning_rate=self.learning_rate,
            validation_data=self.splits.validation.batch(BATCH),
            overwrite=True,
        )
        return sum(step.seconds for step in done.record.steps)

    def cell(self, arm, seed):
        """The record of one cell, made if it is not there."""
        path = self.results / f"{arm}-{seed}.json"
        if path.exists():
            return CompressCell.load(path)
        seconds = self.make(arm, seed)
        file = self.file(arm, seed)
        x, y = self.test
        counted = [k for k in count_weights(file) if k.op != "DEPTHWISE_CONV_2D"]
        content = file.read_bytes()
        cell = CompressCell(
            student=self.student,
            arm=arm,
            seed=seed,
            accuracy=metrics.accuracy(LiteRTModel(file, threads=2).predict(x), y),
            bytes=len(content),
            gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
            sparsity=sum(k.zeros for k in counted) / sum(k.size for k in counted),
            values_per_channel=max(k.values_per_channel for k in counted),
            seconds=seconds,
        )
        cell.save(path)
        print(f"{arm:16} seed {seed}: {cell.accuracy:.2%}, {cell.gzip_bytes} bytes gzipped")
        return cell

    def latencies(self, arms, seed):
        """Median milliseconds of a call by arm, all files in turn."""
        files = {arm: self.file(arm, seed) for arm in arms}
        timings = measure_latency(files, self.test[0][:64], runs=100)
        return {arm: timing.records[0].median_ms for arm, timing in timings.items()}


def interval(values, scale=1.0, digits=2):
    """Mean and half width of its 95 % interval, as text."""
    found = _stats.mean_interval([scale * v for v in values])
    if not np.isfinite(found.high):
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ± {found.high - found.value:.{digits}f}"


def share(base, hard, soft):
    """The share of the loss (base - hard) that soft targets win back, as text."""
    if np.mean(base) <= np.mean(hard):
        return "nothing was lost"
    found = _stats.share_kept(hard, base, soft)
    if not np.isfinite(found.high):
        return f"{found.value:.0%}"
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"


def table(cells, latency):
    """The study as Markdown."""
    by_arm = {}
    for cell in sorted(cells, key=lambda c: c.seed):
        by_arm.setdefault(cell.arm, []).append(cell)
    accuracies = {arm: [c.accuracy for c in found] for arm, found in by_arm.items()}
    lines = [
        "| way | accuracy, % | won back of the loss | zeros | values per channel"
        " | bytes | gzipped | latency, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, found in by_arm.items():
        way, _, kind = arm.rpartition("-")
        title = (
            WAYS[way][0] + (", hard labels" if kind == "hard" else ", soft targets")
            if way in WAYS
            else arm
        )
        won = ""
        hard = accuracies.get(f"{way}-hard", [])
        if kind == "soft" and len(hard) == len(found) == len(accuracies["float32"]):
            won = share(accuracies["float32"], hard, accuracies[arm])
        lines.append(
            f"| {title} | {interval(accuracies[arm], 100)} | {won}"
            f" | {np.mean([c.sparsity for c in found]):.1%}"
            f" | {max(c.values_per_channel for c in found)}"
            f" | {np.mean([c.bytes for c in found]):,.0f}"
            f" | {np.mean([c.gzip_bytes for c in found]):,.0f} | {latency[arm]:.3f} |"
        )
    return "\n".join(lines)


def heading(study, seeds, machine):
    """What the table shows, in words."""
    return f"""# Compression of `{study.student}` on {study.splits.name}

Distilled from `{study.teacher}` for {study.student_epochs} epochs, then compressed, {study.epochs}
epochs per step; alpha {ALPHA:g} (soft) or 0 (hard), T = {TEMPERATURE:g}. Accuracy of the `.tflite`
file on the test split, mean over {seeds} seeds with its 95 % t interval; the share won back is
(soft - hard) / (float32 - hard), with a bootstrap interval over the seeds. Latency: median of a
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
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    parser.add_argument("--work", type=Path, default=Path("saved_models/compress_study"))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results/compress")
    parser.add_argument("--smoke", action="store_true", help="digits, 1 seed, 1 epoch of each")
    given = parser.parse_args()
    if given.smoke:
        given.data, given.student, given.teacher, given.seeds = "digits", "mlp:8", "mlp:32", 1
        given.epochs = given.student_epochs = given.teacher_epochs = 1
    name = "".join(c if c.isalnum() else "-" for c in f"{given.data}-{given.student}")
    study = Study(
        kd.data.load(given.data, data_dir=given.data_dir),
        given.student,
        given.teacher,
        given.epochs,
        given.student_epochs,
        given.teacher_epochs,
        given.learning_rate,
        given.work / name,
        given.results / name,
    )
    arms = given.arms.split(",")
    cells = [study.cell(arm, seed) for seed in range(given.seeds) for arm in arms]
    latency = study.latencies(arms, 0)
    text = heading(study, given.seeds, _machine.describe()) + "\n" + table(cells, latency) + "\n"
    _files.write_text(study.results / "table.md", text, overwrite=True)
    print(text)


if __name__ == "__main__":
    main()
