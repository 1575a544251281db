"""Summarizes the outputs of a run's models on the test split: classes, bins, and examples."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from scipy.special import log_softmax

from keras_distill import data, metrics
from keras_distill._internal._probabilities import (
    look_like_probabilities,
    probabilities_to_logits,
)
from keras_distill._internal._types import Array
from keras_distill.data import Splits
from keras_distill.records import (
    Confusion,
    ExploredExample,
    ExploredModel,
    ExploreRecord,
    Picked,
    ReliabilityBin,
)

_BINS = 15
_PER_REASON = 16  # the most examples per reason
_MAX_LOGITS = 200_000  # the most logits in the record
_MAX_CONFUSIONS = 200
_MAX_VALUES = 256  # the most values of a signal


def explore(
    splits: Splits, outputs: Mapping[str, tuple[str, Array]], labels: Array
) -> ExploreRecord | None:
    """Summarizes the outputs of models on the test split, and picks examples.

    Args:
        splits: The data set.
        outputs: Title and logits `(n, N)` by name: `distilled`, `teacher`, and others. The logits
            of the teacher select the examples; without a teacher, there are no examples.
        labels: Class ids `(n,)` of the test split.

    Returns:
        The record; None if an output is not one row of N logits per example, if there are fewer
        than two models, or if no example has a label.
    """
    classes = splits.num_classes
    titles = {name: title for name, (title, _) in outputs.items()}
    logits = {name: _as_logits(values) for name, (_, values) in outputs.items()}
    fits = all(values.shape == (len(labels), classes) for values in logits.values())
    labeled = labels >= 0
    if not fits or len(logits) < 2 or not labeled.any() or classes < 2:
        return None
    known = {name: values[labeled] for name, values in logits.items()}
    return ExploreRecord(
        class_names=splits.class_names,
        class_examples=_counts(labels[labeled], classes),
        models=tuple(_model(name, titles[name], known[name], labels[labeled]) for name in known),
        confusions=_confusions(list(known.values()), labels[labeled]),
        examples=_examples(splits, logits, labels),
    )


def _as_logits(outputs: Array) -> Array:
    outputs = np.asarray(outputs, np.float64)
    # Quantized probabilities sum only approximately to 1.
    if look_like_probabilities(outputs, tolerance=0.05):
        return probabilities_to_logits(outputs, "softmax")
    return outputs


def _counts(labels: Array, classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(labels, minlength=classes).tolist())


def _model(name: str, title: str, logits: Array, labels: Array) -> ExploredModel:
    right = logits.argmax(axis=1) == labels
    confidence = np.exp(log_softmax(logits, axis=1).max(axis=1))
    index = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    bins = [
        ReliabilityBin(
            examples=int(inside.sum()),
            confidence=min(1.0, float(confidence[inside].mean())),
            accuracy=float(right[inside].mean()),
        )
        for inside in (index == number for number in range(_BINS))
        if inside.any()
    ]
    return ExploredModel(
        name=name,  # pyright: ignore[reportArgumentType]
        title=title,
        correct=_counts(labels[right], logits.shape[1]),
        bins=tuple(bins),
        expected_calibration_error=metrics.expected_calibration_error(logits, labels, _BINS),
    )


def _confusions(logits: Sequence[Array], labels: Array) -> tuple[Confusion, ...]:
    """Counts pairs of a class and a wrong prediction.

    Returns:
        The most frequent pairs, then those whose counts differ most between models.
    """
    classes = logits[0].shape[1]
    counts: dict[int, list[int]] = {}
    for number, values in enumerate(logits):
        predicted = values.argmax(axis=1)
        wrong = predicted != labels
        pairs, found = np.unique(labels[wrong] * classes + predicted[wrong], return_counts=True)
        for pair, count in zip(pairs.tolist(), found.tolist(), strict=True):
            counts.setdefault(pair, [0] * len(logits))[number] = count
    ranked = sorted(counts.items(), key=lambda item: (-max(item[1]), item[0]))
    changed = sorted(counts.items(), key=lambda item: (min(item[1]) - max(item[1]), item[0]))
    kept = dict(ranked[: _MAX_CONFUSIONS // 2] + changed[: _MAX_CONFUSIONS // 2])
    return tuple(
        Confusion(label=pair // classes, predicted=pair % classes, counts=tuple(values))
        for pair, values in kept.items()
    )


def _examples(
    splits: Splits, logits: Mapping[str, Array], labels: Array
) -> tuple[ExploredExample, ...]:
    classes = next(iter(logits.values())).shape[1]
    if "teacher" not in logits:
        return ()
    most = min(_PER_REASON, _MAX_LOGITS // (3 * len(logits) * classes))
    picks = _pick(logits["teacher"], logits["distilled"], labels, most) if most else {}
    if not picks:
        return ()
    x = _rows(splits.test, sorted(picks))
    images, values = _shown(x, splits.input_shape)
    return tuple(
        ExploredExample(
            index=index,
            label=int(labels[index]),
            picked=picks[index],
            logits=tuple(
                tuple(round(float(z), 4) for z in one[index] - one[index].max())
                for one in logits.values()
            ),
            image=images[number] if images else None,
            values=values[number] if values else None,
        )
        for number, index in enumerate(sorted(picks))
    )


def _pick(teacher: Array, student: Array, labels: Array, most: int) -> dict[int, Picked]:
    """Picks examples by position: at most `most` for each reason, without duplicates."""
    log_p, log_q = log_softmax(teacher, axis=1), log_softmax(student, axis=1)
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    differ = teacher.argmax(axis=1) != student.argmax(axis=1)
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    right = teacher.argmax(axis=1) == labels
    spread = np.linspace(0, len(labels) - 1, min(len(labels), most)).round().astype(int)
    reasons: dict[Picked, Array] = {
        "disagreement": np.lexsort((-divergence, ~differ))[:most],
        "uncertain": np.lexsort((-entropy, ~right))[:most],
        "spread": spread,
    }
    picks: dict[int, Picked] = {}
    for reason, numbers in reasons.items():
        for number in numbers.tolist():
            if labels[number] >= 0:
                picks.setdefault(number, reason)
    return picks


def _rows(examples: tf.data.Dataset, numbers: Sequence[int]) -> Array:
    """Returns x of the examples at the given positions."""
    mask = np.zeros(int(examples.cardinality()), bool)
    mask[list(numbers)] = True
    return np.stack([x for x, _ in data.select(examples, mask).as_numpy_iterator()])


def _shown(
    x: Array, shape: tuple[int, ...]
) -> tuple[list[str] | None, list[tuple[float, ...]] | None]:
    """Returns pictures for images, values for signals, and neither for other data."""
    if data.are_images(shape):
        return data.pictures(x), None
    flat = x.reshape(len(x), -1)
    single = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not single or x.dtype.kind != "f" or flat.shape[1] > 4 * _MAX_VALUES:
        return None, None
    step = -(-flat.shape[1] // _MAX_VALUES)
    return None, [tuple(float(f"{v:.4g}") for v in row[::step]) for row in flat]
