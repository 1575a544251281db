"""Inference with specialists (Hinton 2015, section 5.4) by EM, without gradients or step sizes.

Given are the distribution p_g of a generalist over N classes and, for each active specialist m, a
distribution p_m over its class set S_m and a dustbin for all other classes. Inference finds the q
that minimizes

    F(q) = KL(p_g, q) + sum_m KL(p_m, q in the bins of m)

where the dustbin of m has the sum of q over the classes outside S_m. The paper runs gradient
descent on logits, for each image. Up to a constant, F is -sum over bins of p_bin·log q(bin), the
negative log-likelihood of multinomials that are observed through coarsened bins. EM (Dempster,
Laird, Rubin 1977) minimizes it, and every step lowers F:

    q_c <- 1/(1+M) * (p_g(c) + sum_m p_m(bin_m(c)) * q_c / q(bin_m(c)))

By Jensen's inequality, F(q) - F(optimum) <= (1+M)·log max_c r_c, where r_c is the factor by which
the step multiplies q_c. This bounds the distance of each row from its optimum; a row stops when the
bound is within the tolerance. If specialists contradict each other and probabilities are close to
zero, EM converges slowly. The few rows that have not converged after 50 steps are solved by Newton
steps on the same optimality conditions (a primal-dual interior-point method, Wright 1997).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal import InputError, _checks, bad
from keras_distill.specialists._bins import Bins, check_class_sets
from keras_distill.specialists._solver import EVEN_SHARE, Problem, em, newton


class Solution(NamedTuple):
    """The result of `solve`.

    Attributes:
        probs: float64 `(B, N)`: q, rows sum to 1.
        steps: int64 `(B,)`: number of EM and Newton steps of the row.
        gap: float64 `(B,)`: upper bound on the distance of the objective from its optimum, in nats.
    """

    probs: np.ndarray
    steps: np.ndarray
    gap: np.ndarray


def combine(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
    *,
    tol: float = 1e-8,
) -> Any:
    """Finds the distribution that agrees best with a generalist and its specialists.

    Takes and returns NumPy arrays. If one of the probabilities is a TensorFlow tensor, it runs in
    TensorFlow, also in a graph. It computes in float64.

    Args:
        generalist_probs: `(B, N)` probabilities.
        specialist_probs: M arrays `(B, |S_m|+1)` of probabilities; the last column is the dustbin.
        class_sets: M arrays of class ids, S_m, in the order of the columns; they may overlap.
        active: bool `(B, M)`: the specialists that are active in each row. If None, all. For the
            choice made in the paper, see `active_by_top`.
        tol: Maximum distance of the objective from its optimum, in nats; >= 1e-12.

    Returns:
        `(B, N)` probabilities, in the floating dtype of `generalist_probs`.

    Raises:
        InputError: If shapes do not match, or rows are not probabilities (NumPy only).

    Example:
        >>> import numpy as np
        >>> generalist = np.array([[0.4, 0.4, 0.2]])
        >>> specialist = np.array([[0.7, 0.1, 0.2]])      # class 0, class 1, any other
        >>> combine(generalist, [specialist], [[0, 1]]).round(3).tolist()
        [[0.55, 0.25, 0.2]]
    """
    if is_tensor(generalist_probs) or any(map(is_tensor, specialist_probs)):
        from keras_distill.specialists import _inference_tf

        return _inference_tf.combine(
            generalist_probs, specialist_probs, class_sets, active, tol=check_tol(tol)
        )
    probs = solve(generalist_probs, specialist_probs, class_sets, active, tol=tol).probs
    dtype = np.asarray(generalist_probs).dtype
    return probs.astype(dtype if dtype.kind == "f" else np.float64)


def solve(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
    *,
    tol: float = 1e-8,
) -> Solution:
    """Runs `combine` on NumPy arrays; also returns the number of steps and the gap.

    For arguments and errors, see `combine`.

    Example:
        >>> import numpy as np
        >>> found = solve(np.array([[0.4, 0.4, 0.2]]), [np.array([[0.7, 0.1, 0.2]])], [[0, 1]])
        >>> int(found.steps[0]), bool(found.gap[0] <= 1e-8)
        (2, True)
    """
    check_tol(tol)
    generalist, specialists, active = check_probs(
        generalist_probs, specialist_probs, class_sets, active
    )
    bins = Bins.of(class_sets, generalist.shape[1])
    known, problem = state(generalist, specialists, active, bins)
    even = bins.group_sizes / bins.num_classes
    q = (1 - EVEN_SHARE) * (generalist @ bins.membership) + EVEN_SHARE * even
    groups, steps, gap = em(q, problem, bins.outside, tol)
    left = np.flatnonzero(gap > tol)
    if left.size:
        groups[left], more, gap[left] = newton(
            groups[left], problem.take(left), bins.outside, gap[left], tol
        )
        steps[left] += more
    probs = _spread(groups, known, problem.known, bins)
    return Solution(probs / probs.sum(axis=1, keepdims=True), steps, gap)


def _spread(groups: np.ndarray, known: np.ndarray, of_groups: np.ndarray, bins: Bins) -> np.ndarray:
    """Distributes each group's probability over its classes in proportion to `known`, or evenly."""
    whole = of_groups[:, bins.group_of]
    share = np.divide(
        known, whole, out=np.tile(1 / bins.group_sizes[bins.group_of], (len(known), 1)),
        where=whole > 0,
    )  # fmt: skip
    return groups[:, bins.group_of] * share


def state(
    generalist: np.ndarray, specialists: Sequence[np.ndarray], active: np.ndarray, bins: Bins
) -> tuple[np.ndarray, Problem]:
    """Returns `known` per class `(B, N)`, and the problems per group."""
    known = generalist.copy()
    for m, (ids, probs) in enumerate(zip(bins.class_sets, specialists, strict=True)):
        known[:, ids] += active[:, m : m + 1] * probs[:, :-1]
    dustbin = np.zeros(active.shape)
    for m, probs in enumerate(specialists):
        dustbin[:, m] = active[:, m] * probs[:, -1]
    return known, Problem(known @ bins.membership, dustbin, 1 + active.sum(axis=1))


def active_by_top(generalist_probs: Any, class_sets: Sequence[Any], n: int = 1) -> Any:
    """Selects the specialists whose set contains one of the generalist's n best classes.

    Args:
        generalist_probs: `(B, N)` probabilities or logits.
        class_sets: M arrays of class ids.
        n: Number of best classes; the paper uses 1.

    Returns:
        bool `(B, M)`, a NumPy array or a TensorFlow tensor like `generalist_probs`.

    Raises:
        InputError: If n is not in 1..N.

    Example:
        >>> active_by_top([[0.5, 0.3, 0.2]], [[0, 1], [1, 2]]).tolist()
        [[True, False]]
    """
    _checks.check_count("n", n)
    if is_tensor(generalist_probs):
        from keras_distill.specialists import _inference_tf

        return _inference_tf.active_by_top(generalist_probs, class_sets, n)
    probs = np.asarray(generalist_probs)
    if probs.ndim != 2 or n > probs.shape[1]:
        raise bad("n", f"be at most the number of classes, of probabilities {probs.shape}", n)
    best = np.argsort(-probs, axis=1, kind="stable")[:, :n]
    sets = check_class_sets(class_sets, probs.shape[1])
    columns = [np.isin(best, ids).any(axis=1) for ids in sets]
    return np.stack(columns, axis=1) if columns else np.zeros((len(probs), 0), bool)


def objective(
    probs: Any,
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
) -> np.ndarray:
    """Computes F(q) = KL(p_g, q) + sum over active m of KL(p_m, q in the bins of m), in nats.

    Args:
        probs: `(B, N)`: q.
        generalist_probs: `(B, N)`.
        specialist_probs: M arrays `(B, |S_m|+1)`.
        class_sets: M arrays of class ids.
        active: bool `(B, M)`. If None, all.

    Returns:
        float64 `(B,)`; infinite where q is 0 and p is not.

    Example:
        >>> p = np.array([[0.5, 0.3, 0.2]])
        >>> objective(p, p, [np.array([[0.5, 0.5]])], [[0]]).round(6).tolist()
        [0.0]
    """
    generalist, specialists, active = check_probs(
        generalist_probs, specialist_probs, class_sets, active
    )
    q = np.asarray(probs, np.float64)
    value = _kl(generalist, q)
    for m, (ids, p) in enumerate(zip(class_sets, specialists, strict=True)):
        rest = np.delete(q, np.asarray(ids), axis=1).sum(axis=1, keepdims=True)
        value += np.where(active[:, m] > 0, _kl(p, np.concatenate([q[:, ids], rest], axis=1)), 0)
    return value


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        terms = p * (np.log(np.where(p > 0, p, 1)) - np.log(np.where(p > 0, q, 1)))
    return terms.sum(axis=1)


def arithmetic_mean(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
) -> np.ndarray:
    """Computes the mean of generalist and active specialists, the alternative to `combine`.

    The dustbin probability of a specialist is distributed over the classes outside its set in
    proportion to the generalist's probabilities (evenly if these are 0). This is one EM step from
    p_g.

    For arguments and errors, see `combine`. Only NumPy arrays are supported.

    Returns:
        float64 `(B, N)`.

    Example:
        >>> mean = arithmetic_mean([[0.4, 0.4, 0.2]], [np.array([[0.7, 0.1, 0.2]])], [[0, 1]])
        >>> mean.round(3).tolist()
        [[0.55, 0.25, 0.2]]
    """
    generalist, specialists, active = check_probs(
        generalist_probs, specialist_probs, class_sets, active
    )
    total = generalist.copy()
    for m, (ids, p) in enumerate(zip(class_sets, specialists, strict=True)):
        rest = generalist.copy()
        rest[:, ids] = 0
        empty = rest.sum(axis=1) == 0
        rest[empty] = 1
        rest[:, ids] = 0
        rest *= p[:, -1:] / rest.sum(axis=1, keepdims=True)
        rest[:, ids] = p[:, :-1]
        total += active[:, m : m + 1] * rest
    return total / (1 + active.sum(axis=1, keepdims=True))


def is_tensor(value: Any) -> bool:
    """Returns whether `value` is a TensorFlow tensor. Does not import TensorFlow."""
    return type(value).__module__.partition(".")[0] == "tensorflow"


def check_tol(tol: float) -> float:
    """Returns `tol` if it is large enough for float64."""
    return _checks.check_number("tol", tol, at_least=1e-12)


def check_probs(
    generalist: Any, specialists: Sequence[Any], class_sets: Sequence[Any], active: Any
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Returns all arguments as float64, with rows that sum to 1.

    Raises:
        InputError: If the arguments do not match.
    """
    generalist = _check_rows("generalist_probs", generalist, None, None)
    rows = len(generalist)
    if len(specialists) != len(class_sets):
        raise InputError(
            "`specialist_probs` and `class_sets` must have the same length."
            f" Received: {len(specialists)} and {len(class_sets)}"
        )
    sets = check_class_sets(class_sets, generalist.shape[1])
    checked = [
        _check_rows(f"specialist_probs[{m}]", probs, rows, len(ids) + 1)
        for m, (probs, ids) in enumerate(zip(specialists, sets, strict=True))
    ]
    if active is None:
        return generalist, checked, np.ones((rows, len(sets)))
    active = np.asarray(active)
    if active.shape != (rows, len(sets)) or active.dtype != bool:
        raise InputError(
            f"`active` must be bool of shape {(rows, len(sets))}."
            f" Received: {active.dtype} {active.shape}"
        )
    return generalist, checked, active.astype(np.float64)


def _check_rows(name: str, probs: Any, rows: int | None, columns: int | None) -> np.ndarray:
    probs = np.asarray(probs, np.float64)
    wanted = (rows or "B", columns or "N")
    if (
        probs.ndim != 2
        or (rows is not None and len(probs) != rows)
        or (columns is not None and probs.shape[1] != columns)
    ):
        raise InputError(
            f"`{name}` must have shape ({wanted[0]}, {wanted[1]}). Received: {probs.shape}"
        )
    total = probs.sum(axis=1, keepdims=True)
    if not (np.isfinite(total).all() and (probs >= 0).all() and (np.abs(total - 1) < 0.01).all()):
        raise InputError(
            f"`{name}` must be probabilities (not logits): >= 0, and rows sum to 1."
            f" Received: smallest {probs.min():g}, sums up to {total.max():g}"
        )
    return probs / total
