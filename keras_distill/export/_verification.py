"""Verifies a file: compares its outputs with those of the model.

Differences are relative to the variation of the reference output, so that one limit serves logits
of any range and probabilities alike:

    relative = max |file - Keras| / (max Keras - min Keras)
    noise    = rms(file - Keras) / std(Keras)

over all samples and entries of an output. A file with wrong values has a noise of about 1 or more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_distill import metrics
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.records import OutputVerification, VerificationRecord
from keras_distill.teachers import look_like_probabilities

# Maximum of `relative` and `noise` by precision.
LIMITS = {
    "float32": 0.001,
    "float16": 0.01,
    "dynamic": 0.15,
    "int8": 0.35,
    "int16x8": 0.15,
    "weight-only-int8": 0.15,
    "weight-only-int4": 0.5,
}

_ADVICE = {
    "float32": "the converter gets an operation of the model wrong; do not call Keras's"
    " model.quantize before, and report the layer",
    "float16": "weights may exceed the float16 range of 65504; use float32",
    "dynamic": "use float16",
    "int8": "calibrate on more, typical rows; use int16x8 or dynamic; or train with"
    " quantization-aware training",
    "int16x8": "calibrate on more, typical rows; use dynamic or float16",
    "weight-only-int8": "use float16",
    "weight-only-int4": "use weight-only-int8",
}


def difference(reference: Array, produced: Array) -> tuple[float, float, float]:
    """Returns the largest absolute difference, `relative`, and `noise` (see the module).

    Args:
        reference: Output of the Keras model, finite.
        produced: Output of the file, of the same shape.

    Example:
        >>> difference(np.array([[0.0, 4.0]]), np.array([[0.0, 3.0]]))
        (1.0, 0.25, 0.3535533905932738)
    """
    reference, produced = np.asarray(reference, np.float64), np.asarray(produced, np.float64)
    d = np.abs(produced - reference)
    # A constant output is compared with its own size.
    size = float(np.abs(reference).max()) or 1.0
    span = float(np.ptp(reference)) or size
    deviation = float(reference.std()) or size
    return float(d.max()), float(d.max() / span), float(np.sqrt((d**2).mean()) / deviation)


def class_ids(labels: Any, outputs: Array) -> Array:
    """Returns labels as class ids `(n, …)`, for outputs `(n, …, classes)`.

    Args:
        labels: Class ids, with or without a last axis of 1, or rows of probabilities (one-hot).
        outputs: The outputs that they label.

    Raises:
        InputError: If the labels have another form.

    Example:
        >>> class_ids([[0, 1], [1, 0]], np.zeros((2, 2))).tolist()
        [1, 0]
    """
    labels = np.asarray(labels)
    if labels.ndim == outputs.ndim and labels.shape[-1] == 1:
        labels = labels[..., 0]
    elif _are_probabilities(labels, outputs):
        labels = labels.argmax(-1)
    if labels.shape != outputs.shape[:-1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"`data` must have class ids {outputs.shape[:-1]} or one-hot rows for outputs of shape"
            f" {outputs.shape}. Received: labels {labels.dtype} {labels.shape}"
        )
    return labels


def _are_probabilities(labels: Array, outputs: Array) -> bool:
    numeric = labels.shape == outputs.shape and labels.dtype.kind in "iufb"
    return numeric and look_like_probabilities(labels, tolerance=1e-3)


def labeled_classes(labels: Any, reference: Mapping[str, Array]) -> dict[str, Array]:
    """Returns class ids by output, without the targets of regressions.

    Args:
        labels: Labels of one output, a dict by output, a list in the order of outputs, or None.
        reference: The outputs by name.

    Raises:
        InputError: If integer labels do not fit their output, or all rows of an output are
            unlabeled.
    """
    found: dict[str, Array] = {}
    for name, outputs in reference.items():
        own = _labels_of(labels, name, list(reference))
        if own is None or outputs.ndim < 2 or outputs.shape[-1] < 2:
            continue
        regression = np.asarray(own).dtype.kind == "f" and not _are_probabilities(
            np.asarray(own), outputs
        )
        if not regression:
            found[name] = class_ids(own, outputs)
            if (found[name] < 0).all():
                raise InputError(f"`data` has no labeled row for output {name!r}.")
    return found


def _labels_of(labels: Any, name: str, outputs: Sequence[str]) -> Any:
    if isinstance(labels, Mapping):
        return labels.get(name)
    if isinstance(labels, list | tuple) and len(labels) == len(outputs):
        return labels[list(outputs).index(name)]
    return labels if len(outputs) == 1 else None


def judge(
    reference: Mapping[str, Array],
    produced: Mapping[str, Array],
    *,
    quantization: str,
    labels: Mapping[str, Array] | None = None,
    max_drop: float | None = None,
    limit: float | None = None,
    source: str,
) -> VerificationRecord:
    """Compares the outputs of a file with those of the model.

    Args:
        reference: Outputs of the Keras model by name, `(n, …)`.
        produced: Outputs of the file by name.
        quantization: Precision of the file; selects the limit and the advice.
        labels: Class ids by output, see `labeled_classes`.
        max_drop: Maximum loss of accuracy, in points.
        limit: Maximum difference, instead of `LIMITS[quantization]`.
        source: Origin of the samples.
    """
    limit = LIMITS[quantization] if limit is None else limit
    outputs: list[OutputVerification] = []
    failures: list[str] = []
    for name, expected in reference.items():
        got = produced[name]
        entry: dict[str, Any] = {"name": name, "limit": limit}
        measured = None
        if got.shape != expected.shape:
            failures.append(f"output {name!r} has shape {got.shape}, not {expected.shape}")
        elif not np.isfinite(got).all():
            failures.append(f"output {name!r} is not finite; {_ADVICE[quantization]}")
        else:
            measured = difference(expected, got)
            failures += _too_far(name, measured, limit, quantization)
            entry |= _classified(expected, got, (labels or {}).get(name))
            failures += _too_wrong(entry, max_drop, quantization)
        keys = ("max_difference", "relative_difference", "noise")
        outputs.append(
            OutputVerification(
                **entry, **dict(zip(keys, measured or (None, None, None), strict=True))
            )
        )
    return VerificationRecord(
        passed=not failures,
        failures=tuple(failures),
        samples=len(next(iter(reference.values()))),
        source=source,
        max_drop=max_drop,
        outputs=tuple(outputs),
    )


def _too_far(
    name: str, measured: tuple[float, float, float], limit: float, quantization: str
) -> list[str]:
    largest, relative, noise = measured
    if relative <= limit and noise <= limit:
        return []
    return [
        f"output {name!r} differs from Keras by up to {largest:.3g}, {relative:.1%} of its range"
        f" (noise {noise:.1%}; limit {limit:.1%}); {_ADVICE[quantization]}"
    ]


def _classified(expected: Array, got: Array, ids: Array | None) -> dict[str, float]:
    if expected.ndim < 2 or expected.shape[-1] < 2:
        return {}
    found = {"agreement": metrics.agreement(expected, got)}
    if ids is not None:
        found["accuracy_keras"] = metrics.accuracy(expected, ids)
        found["accuracy"] = metrics.accuracy(got, ids)
    return found


def _too_wrong(entry: Mapping[str, Any], max_drop: float | None, quantization: str) -> list[str]:
    if max_drop is None or "accuracy" not in entry:
        return []
    drop = 100 * (entry["accuracy_keras"] - entry["accuracy"])
    if drop <= max_drop + 1e-9:
        return []
    return [
        f"accuracy falls by {drop:.2f} points, from {entry['accuracy_keras']:.2%} to"
        f" {entry['accuracy']:.2%} (output {entry['name']!r}; limit {max_drop:g});"
        f" {_ADVICE[quantization]}"
    ]
