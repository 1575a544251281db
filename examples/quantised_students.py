"""What quantizing costs a distilled student, and what it costs the same student trained alone.

    python examples/quantized_students.py --data digits --labels 100 --seeds 5

Both start from the same weights and take the same number of steps; the one alone sees the labeled
examples, the distilled one all of them through the teacher's logits. Each is exported in every
precision asked for and judged on the test split; a drop is accuracy of the Keras model less
accuracy of its file, in points. Differences are paired by seed, with a 95 % t interval.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras

from keras_distill import data, export, models
from keras_distill._internal import _files, _stats

ALL = 10**9  # rows: the whole split


def fresh(spec, splits, seed):
    """A net on raw values, with its loss and optimizer."""
    net = models.build(
        spec,
        input_shape=splits.input_shape,
        num_classes=splits.num_classes,
        rescale=data.statistics(splits.train),
        seed=seed,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("adam", loss, metrics=["accuracy"])
    return net


def students(asked, teacher, splits, seed):
    """The student trained alone, and distilled, from the same initial weights."""
    train = splits.train
    if asked.labels is not None:
        train = data.keep_labels(train, asked.labels, seed=seed)
    labeled = train.filter(lambda x, y: y >= 0).cache()
    count = asked.labels or splits.sizes["train"]
    labeled = labeled.apply(lambda ds: ds.shuffle(count, seed).repeat().batch(asked.batch_size))
    steps = asked.epochs * -(-splits.sizes["train"] // asked.batch_size)
    alone = fresh(asked.student, splits, seed)
    start = alone.get_weights()
    alone.fit(labeled, steps_per_epoch=steps, epochs=1, verbose=0)
    student = fresh(asked.student, splits, seed)
    student.set_weights(start)
    everything = data.batches(
        train.cache(), asked.batch_size, shuffle_seed=seed, epochs=asked.epochs
    )
    distiller = kd.Distiller(teacher, student, alpha=asked.alpha, temperature=asked.temperature)
    distiller.fit(everything, verbose=0)
    return {"alone": alone, "distilled": student}


def judged(student, asked, splits):
    """Precision -> (accuracy in Keras, drop in points, agreement) on the test split."""
    anything = dict.fromkeys(asked.precisions, 100.0)  # measure, whatever is found
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = export.export_all(
            student,
            folder,
            quantizations=asked.precisions,
            calibration=splits.train,
            data=splits.test,
            verification_samples=ALL,
            limits=anything,
        )
    found = {}
    for precision, record in result.exports.items():
        figures = record.verification.outputs[0]
        drop = 100 * (figures.accuracy_keras - figures.accuracy)
        found[precision] = (100 * figures.accuracy_keras, drop, 100 * figures.agreement)
    return found


def table(asked, found):
    """Markdown: a row per precision and variant, and the paired difference of the drops."""
    lines = ["| precision | student | accuracy % | drop, points | agreement % |"]
    lines.append("|---|---|---:|---:|---:|")
    for precision in asked.precisions:
        drops = {}
        for variant in ("alone", "distilled"):
            columns = list(zip(*(seed[variant][precision] for seed in found), strict=True))
            drops[variant] = columns[1]
            cells = " | ".join(interval(_stats.mean_interval(column)) for column in columns)
            lines.append(f"| {precision} | {variant} | {cells} |")
        gap = _stats.paired_difference(drops["distilled"], drops["alone"])
        lines.append(f"| {precision} | distilled - alone | | {interval(gap)} | |")
    return "\n".join(lines) + "\n"


def interval(value):
    """A mean with its interval."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def main():
    """Trains, exports, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--teacher", default="mlp:256x256")
    parser.add_argument("--student", default="mlp:16")
    parser.add_argument("--labels", type=int, default=None, help="Labels the students see.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--alpha", type=float, default=0.9)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--precisions", nargs="+", default=["int8", "weight-only-int4"])
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    splits = data.load(asked.data, data_dir=asked.data_dir)
    teacher = fresh(asked.teacher, splits, 0)
    train = data.batches(
        splits.train.cache(), asked.batch_size, shuffle_seed=0, epochs=asked.teacher_epochs
    )
    teacher.fit(train, verbose=0)
    found = []
    for seed in range(asked.seeds):
        variants = students(asked, teacher, splits, seed)
        found.append(
            {variant: judged(student, asked, splits) for variant, student in variants.items()}
        )
        print(f"seed {seed}: {found[-1]}", flush=True)
    text = table(asked, found)
    print(text, end="")
    if asked.out is not None:
        _files.write_text(asked.out, text, overwrite=True)


if __name__ == "__main__":
    main()
