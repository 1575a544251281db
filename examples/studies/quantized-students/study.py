"""Compares what quantization costs a distilled student and a student trained alone.

    python examples/studies/quantized-students/study.py --data digits --labels 100 --seeds 5

Both students start from the same weights and take the same number of steps. The student trained
alone sees the labeled examples, the distilled one sees all examples through the teacher's logits.
Each is exported in every requested precision and evaluated on the test split. A drop is the
accuracy of the Keras model minus the accuracy of its file, in points. Differences are paired by
seed, with a 95 % t interval.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras

from keras_distill import data, export, models
from keras_distill.benchmarks import mean_interval, paired_difference

ALL = 10**9  # rows: the whole split


def fresh(spec, splits, seed):
    """A compiled network on raw values."""
    model = models.build(
        spec,
        input_shape=splits.input_shape,
        num_classes=splits.num_classes,
        rescale=data.statistics(splits.train),
        seed=seed,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def students(options, teacher, splits, seed):
    """The student trained alone, and distilled, from the same initial weights."""
    train = splits.train
    if options.labels is not None:
        train = data.keep_labels(train, options.labels, seed=seed)
    labeled = train.filter(lambda x, y: y >= 0).cache()
    count = options.labels or splits.sizes["train"]
    labeled = labeled.apply(lambda ds: ds.shuffle(count, seed).repeat().batch(options.batch_size))
    steps = options.epochs * -(-splits.sizes["train"] // options.batch_size)
    alone = fresh(options.student, splits, seed)
    start = alone.get_weights()
    alone.fit(labeled, steps_per_epoch=steps, epochs=1, verbose=0)
    student = fresh(options.student, splits, seed)
    student.set_weights(start)
    everything = data.batches(
        train.cache(), options.batch_size, shuffle_seed=seed, epochs=options.epochs
    )
    distiller = kd.Distiller(teacher, student, alpha=options.alpha, temperature=options.temperature)
    distiller.fit(everything, verbose=0)
    return {"alone": alone, "distilled": student}


def evaluated(student, options, splits):
    """Precision -> (accuracy in Keras, drop in points, agreement) on the test split."""
    anything = dict.fromkeys(options.precisions, 100.0)  # report every drop, reject none
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = export.export_all(
            student,
            folder,
            quantizations=options.precisions,
            calibration=splits.train,
            data=splits.test,
            verification_samples=ALL,
            limits=anything,
            max_drop=100,
        )
    found = {}
    for precision, record in result.exports.items():
        figures = record.verification.outputs[0]
        drop = 100 * (figures.accuracy_reference - figures.accuracy)
        found[precision] = (100 * figures.accuracy_reference, drop, 100 * figures.agreement)
    return found


def table(options, found):
    """Markdown: a row per precision and variant, and the paired difference of the drops."""
    lines = ["| precision | student | accuracy % | drop, points | agreement % |"]
    lines.append("|---|---|---:|---:|---:|")
    for precision in options.precisions:
        drops = {}
        for variant in ("alone", "distilled"):
            columns = list(zip(*(seed[variant][precision] for seed in found), strict=True))
            drops[variant] = columns[1]
            cells = " | ".join(interval(mean_interval(column)) for column in columns)
            lines.append(f"| {precision} | {variant} | {cells} |")
        gap = paired_difference(drops["distilled"], drops["alone"])
        lines.append(f"| {precision} | distilled - alone | | {interval(gap)} | |")
    return "\n".join(lines) + "\n"


def interval(value):
    """A mean with its interval."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def main():
    """Trains, exports, evaluates, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--teacher", default="mlp:256x256")
    parser.add_argument("--student", default="mlp:16")
    parser.add_argument("--labels", type=int, default=None, help="Labels that the students see.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--alpha", type=float, default=0.9)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--precisions", nargs="+", default=["int8", "weight-only-int4"])
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    splits = data.load(options.data, data_dir=options.data_dir)
    teacher = fresh(options.teacher, splits, 0)
    train = data.batches(
        splits.train.cache(), options.batch_size, shuffle_seed=0, epochs=options.teacher_epochs
    )
    teacher.fit(train, verbose=0)
    found = []
    for seed in range(options.seeds):
        variants = students(options, teacher, splits, seed)
        found.append(
            {variant: evaluated(student, options, splits) for variant, student in variants.items()}
        )
        print(f"seed {seed}: {found[-1]}", flush=True)
    text = table(options, found)
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
