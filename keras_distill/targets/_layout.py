"""The layout of a record: encodes logits as records of fixed size, and decodes batches of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import TopK
from keras_distill.records import TargetsOutput

# The number of logits whose moments are computed at once, to limit memory use.
_CHUNK = 1 << 20
_LARGEST = {"float16": 65504.0, "float32": float(np.finfo(np.float32).max)}


def fields(output: TargetsOutput) -> list[tuple[str, str, tuple[int, ...]]]:
    """Returns the fields of one output as NumPy describes them: (name, type, shape)."""
    value = {"float16": "<f2", "float32": "<f4"}[output.dtype]
    if output.top_k is None:
        return [("logits", value, output.shape)]
    lead = output.shape[:-1]
    index = {2: "<u2", 4: "<u4"}[output.index_bytes]
    return [
        ("indices", index, (*lead, output.top_k)),
        ("logits", value, (*lead, output.top_k)),
        ("rest_mean", value, lead),
        # The standard deviation: float16 cannot hold a variance above 65504.
        ("rest_std", value, lead),
        ("rest_log_mean_exp", value, (*lead, 2)),
    ]


def record_dtype(outputs: Sequence[TargetsOutput]) -> np.dtype:
    """Returns the packed structured dtype of one record; its field `i` is the i-th output."""
    return np.dtype([(str(i), np.dtype(fields(output))) for i, output in enumerate(outputs)])


def topk(logits: np.ndarray, k: int) -> TopK:
    """Returns the k largest logits of the last axis, and the moments of the rest.

    Among equal logits, the lower class id comes first.

    Args:
        logits: float32 `(..., N)`, N > k.
        k: The number of logits to keep.

    Returns:
        NumPy arrays: int32 and float32; the moments of the rest are float64.

    Example:
        >>> kept = topk(np.array([[1.0, 5.0, 3.0, 2.0]], "float32"), 2)
        >>> kept.indices.tolist(), kept.rest_mean.tolist(), kept.rest_var.tolist()
        ([[1, 2]], [1.5], [0.25])
    """
    best, indices = (part.numpy() for part in tf.math.top_k(tf.constant(logits, tf.float32), k))
    classes, lead = logits.shape[-1], logits.shape[:-1]
    rows, kept = logits.reshape(-1, classes), indices.reshape(-1, k)
    step = max(1, _CHUNK // classes)
    parts = [_rest(rows[i : i + step], kept[i : i + step]) for i in range(0, len(rows), step)]
    mean, var, masses = (np.concatenate(part) for part in zip(*parts, strict=True))
    return TopK(indices, best, mean.reshape(lead), var.reshape(lead), masses.reshape(*lead, 2))


def _rest(rows: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean, variance, and log mean exp at T = 1 and 4 of the other logits, float64."""
    outside = np.ones(rows.shape, bool)
    np.put_along_axis(outside, kept, False, axis=-1)
    rest = rows[outside].reshape(len(rows), -1).astype(np.float64)
    mean, top = rest.mean(axis=-1), rest.max(axis=-1)
    rest -= top[:, None]
    variance = np.square(rest - (mean - top)[:, None]).mean(axis=-1)
    masses = [np.log(np.exp(rest / t).mean(axis=-1)) + top / t for t in (1.0, 4.0)]
    return mean, variance, np.stack(masses, axis=-1)


def check_logits(logits: np.ndarray, output: TargetsOutput, first: int) -> None:
    """Rejects logits that a record cannot store.

    Args:
        logits: float32 `(B, ..., N)`.
        output: The declared layout of the output.
        first: Index of the batch's first example, for the message.

    Raises:
        InputError: If the shape differs, a logit is NaN or +inf, one is -inf with top-k, or one is
            too large for the dtype.
    """
    name = "" if output.name is None else f" of output {output.name!r}"
    if logits.shape[1:] != output.shape:
        raise InputError(
            f"The teacher's logits{name} must have one shape, {output.shape}, for all examples."
            f" Received: {logits.shape[1:]} at example {first}. Pad sequences to one length."
        )
    reach = np.abs(logits).reshape(len(logits), -1).max(axis=1)
    if np.all(reach <= _LARGEST[output.dtype]):
        return
    flat = logits.reshape(len(logits), -1)
    for i, row in enumerate(flat):
        where = f"at example {first + i}"
        if np.isnan(row).any() or np.isposinf(row).any():
            raise InputError(
                f"The teacher's logits{name} must be finite. Received: NaN or inf {where}."
            )
        if output.top_k is not None and np.isneginf(row).any():
            raise InputError(
                f"A top-k record cannot hold -inf: the rest has no mean. Received: -inf {where}."
                " Leave out `top_k`."
            )
        finite = np.abs(row[np.isfinite(row)])
        if finite.size and finite.max() > _LARGEST[output.dtype]:
            raise InputError(
                f"float16 holds logits up to 65504. Received: {finite.max():g}{name} {where}."
                " Pass dtype='float32'."
            )


def encode(values: Sequence[np.ndarray], outputs: Sequence[TargetsOutput], first: int) -> bytes:
    """Returns the records of one batch, concatenated.

    Args:
        values: For each output, float32 logits `(B, ..., N)`.
        outputs: The layout of a record.
        first: Index of the batch's first example, for messages.
    """
    records = np.zeros(len(values[0]), record_dtype(outputs))
    for i, (logits, output) in enumerate(zip(values, outputs, strict=True)):
        check_logits(logits, output, first)
        part = records[str(i)]
        if output.top_k is None:
            part["logits"] = logits
        else:
            kept = topk(logits, output.top_k)
            part["indices"], part["logits"] = kept.indices, kept.logits
            part["rest_mean"], part["rest_std"] = kept.rest_mean, np.sqrt(kept.rest_var)
            part["rest_log_mean_exp"] = kept.rest_log_mean_exp
    return records.tobytes()


def decode_array(data: bytes, outputs: Sequence[TargetsOutput]) -> list[np.ndarray | TopK]:
    """Inverts `encode` in NumPy: returns per output float32 logits, or a `TopK`."""
    records = np.frombuffer(data, record_dtype(outputs))
    values = []
    for i, output in enumerate(outputs):
        part = records[str(i)]
        if output.top_k is None:
            values.append(part["logits"].astype(np.float32))
        else:
            wide = {name: part[name].astype(np.float32) for name in part.dtype.names[1:]}
            values.append(_as_topk(indices=part["indices"].astype(np.int32), **wide))
    return values


def _as_topk(
    indices: Any, logits: Any, rest_mean: Any, rest_std: Any, rest_log_mean_exp: Any
) -> TopK:
    return TopK(indices, logits, rest_mean, rest_std * rest_std, rest_log_mean_exp)


def _decode_field(raw: tf.Tensor, dtype: np.dtype, offset: int, whole: int) -> tf.Tensor:
    """Returns one field of raw 16-bit words `(B, whole)` as float32 or int32 `(B, ...)`."""
    base, words = dtype.base, dtype.itemsize // 2
    part = raw if words == whole else raw[:, offset // 2 : offset // 2 + words]
    if base.itemsize == 4:
        part = tf.bitcast(tf.reshape(part, (-1, words // 2, 2)), tf.int32)
        if base.kind == "f":
            part = tf.bitcast(part, tf.float32)
    elif base.kind == "f":
        part = tf.cast(tf.bitcast(part, tf.float16), tf.float32)
    else:
        part = tf.cast(part, tf.int32)
    return tf.reshape(part, (-1, *dtype.shape))


def _decode_dense(records: tf.Tensor, output: TargetsOutput) -> Any:
    """Decodes the most common record, one dense output, in three operations."""
    logits = tf.io.decode_raw(records, output.dtype)
    logits = tf.reshape(tf.cast(logits, tf.float32), (-1, *output.shape))
    return logits if output.name is None else {output.name: logits}


def decode(records: tf.Tensor, outputs: Sequence[TargetsOutput]) -> Any:
    """Inverts `encode` in TensorFlow, for a whole batch at once.

    Args:
        records: string `(B,)`.
        outputs: The layout of a record.

    Returns:
        float32 logits `(B, ..., N)` or a `TopK` of int32 and float32; a dict of these by name
        if the outputs have names.
    """
    if len(outputs) == 1 and outputs[0].top_k is None:
        return _decode_dense(records, outputs[0])
    layout = record_dtype(outputs)
    words = layout.itemsize // 2
    raw = tf.reshape(tf.io.decode_raw(records, tf.uint16), (-1, words))
    values = {}
    for i, output in enumerate(outputs):
        part, start = layout.fields[str(i)][:2]
        parts = {
            name: _decode_field(raw, dtype, start + offset, words)
            for name, (dtype, offset, *_) in part.fields.items()
        }
        values[output.name] = parts["logits"] if output.top_k is None else _as_topk(**parts)
    return values.get(None, values)
