"""The sizes of a store, and the error of storing k of N logits at each temperature."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import log_softmax, logsumexp

from keras_distill._internal._soft_targets import TopK
from keras_distill._internal._types import Array
from keras_distill.losses.functional import topk_log_probabilities
from keras_distill.records import TargetsInfo, TargetsManifest, TargetsOutput, TopKError
from keras_distill.targets._layout import decode_array, encode

TEMPERATURES = (1.0, 2.0, 4.0, 10.0, 20.0)
COUNTS = (5, 10, 20, 50, 100)
# The maximum number of logits to measure on, spread evenly; large vocabularies would take minutes.
_MOST = 1 << 18


def _kl(log_p: Array, log_q: Array) -> float:
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(log_p), 0.0, np.exp(log_p) * (log_p - log_q))
    return float(terms.sum(axis=-1).mean())


def error(logits: Array, k: int, temperature: float) -> TopKError:
    """Returns the error for one k and one T, on dense logits stored as records.

    The records are float16, or float32 if a logit is too large for float16.

    Args:
        logits: `(B, N)`, N > k.
        k: Logits kept.
        temperature: T.
    """
    classes = logits.shape[-1]
    fits = np.abs(logits).max() <= np.finfo(np.float16).max
    spec = TargetsOutput(shape=(classes,), top_k=k, dtype="float16" if fits else "float32")
    (kept,) = decode_array(encode([logits.astype(np.float32)], [spec], 0), [spec])
    kept = TopK(kept.indices, *(part.astype(np.float64) for part in kept[1:]))
    log_q = topk_log_probabilities(kept, classes, temperature).numpy()
    log_p = log_softmax(logits.astype(np.float64) / temperature, axis=-1)
    in_rest = np.ones(logits.shape, bool)
    np.put_along_axis(in_rest, kept.indices, False, axis=-1)
    of_rest = logsumexp(np.where(in_rest, log_p, -np.inf), axis=-1)
    exact = np.take_along_axis(log_p, kept.indices, axis=-1)
    spread = np.where(in_rest, log_q[:, -1:] - np.log(classes - k), 0.0)
    np.put_along_axis(spread, kept.indices, log_q[:, :-1], axis=-1)
    return TopKError(
        top_k=k,
        temperature=temperature,
        rest=float(np.exp(of_rest).mean()),
        kl=_kl(log_p, spread),
        kl_bins=_kl(np.concatenate([exact, of_rest[:, None]], axis=-1), log_q),
    )


def table(logits: Sequence[Array], own: int | None = None) -> tuple[TopKError, ...]:
    """Returns the error for several k and T, on the output with the most classes.

    Args:
        logits: Per output, dense `(B, ..., N)`.
        own: One more k to try.
    """
    flat = max((part.reshape(-1, part.shape[-1]) for part in logits), key=lambda p: p.shape[-1])
    flat = flat[np.isfinite(flat).all(axis=-1)]
    ks = sorted(k for k in {*COUNTS, *([own] if own else [])} if k < flat.shape[-1])
    if not len(flat):
        return ()
    rows = np.linspace(0, len(flat) - 1, _MOST // flat.shape[-1] + 8)
    flat = flat[np.unique(rows.astype(int))]
    return tuple(error(flat, k, temperature) for k in ks for temperature in TEMPERATURES)


def sample(path: Path, manifest: TargetsManifest, examples: int) -> list:
    """Returns records spread evenly over view 0, decoded: per output logits or a `TopK`."""
    picks = np.unique(np.linspace(0, manifest.examples - 1, examples).astype(int))
    width, data = manifest.record_bytes, []
    for number, shard in enumerate(manifest.shards[: len(manifest.keys)]):
        first = number * manifest.shard_examples
        inside = picks[(picks >= first) & (picks < first + shard.examples)] - first
        with (path / shard.file).open("rb") as file:
            for index in inside:
                file.seek(int(index) * width)
                data.append(file.read(width))
    return decode_array(b"".join(data), manifest.outputs)


def describe(path: Path, manifest: TargetsManifest, examples: int) -> TargetsInfo:
    """Computes the result of `SoftTargetStore.info`."""
    if manifest.outputs[0].top_k is None:
        values = sample(path, manifest, examples)
        errors = table(values)
        of = f"{len(values[0])} dense records of this store, as if only k logits had been kept"
    else:
        errors = manifest.topk_error
        of = f"the dense logits of the first {manifest.batch_size} examples, during the build"
    records = manifest.examples * manifest.views
    return TargetsInfo(
        path=str(path),
        manifest=manifest.model_copy(update={"shards": (), "keys": (), "seal": None}),
        files=len(manifest.shards) + len(manifest.keys),
        record_bytes=manifest.record_bytes,
        total_bytes=sum(shard.bytes for shard in manifest.shards),
        key_bytes=sum(shard.bytes for shard in manifest.keys),
        dense_bytes=records * sum(2 * o.rows * o.classes for o in manifest.outputs),
        topk_error=errors,
        topk_error_of=of,
    )
