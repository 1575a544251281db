"""What keeping k logits of N loses, at each temperature."""

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax, logsumexp

from keras_distill._internal._elements import TopK
from keras_distill.losses.functional import topk_log_probabilities
from keras_distill.records._targets import TargetsOutput, TopKError
from keras_distill.targets._layout import decode_array, encode

TEMPERATURES = (1.0, 2.0, 4.0, 10.0, 20.0)
COUNTS = (5, 10, 20, 50, 100)
# Logits to measure on, spread over what is given: large vocabularies would take minutes.
_MOST = 1 << 18


def _kl(log_p: np.ndarray, log_q: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(log_p), 0.0, np.exp(log_p) * (log_p - log_q))
    return float(terms.sum(axis=-1).mean())


def error(logits: np.ndarray, k: int, temperature: float) -> TopKError:
    """The error of one k at one T, on dense logits, as a float16 record has it.

    Args:
        logits: `(B, N)`, N > k.
        k: Logits kept.
        temperature: T.
    """
    classes = logits.shape[-1]
    spec = TargetsOutput(shape=(classes,), top_k=k)
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


def table(logits: Sequence[np.ndarray], own: int | None = None) -> tuple[TopKError, ...]:
    """The error against k and T, on the output with the most classes.

    Args:
        logits: Per output, dense `(B, ..., N)`.
        own: A further k to try.
    """
    flat = max((part.reshape(-1, part.shape[-1]) for part in logits), key=lambda p: p.shape[-1])
    flat = flat[np.isfinite(flat).all(axis=-1)]
    ks = sorted(k for k in {*COUNTS, *([own] if own else [])} if k < flat.shape[-1])
    if not len(flat):
        return ()
    rows = np.linspace(0, len(flat) - 1, _MOST // flat.shape[-1] + 8)
    flat = flat[np.unique(rows.astype(int))]
    return tuple(error(flat, k, temperature) for k in ks for temperature in TEMPERATURES)
