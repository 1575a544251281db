"""Implements `combine` in TensorFlow: the same steps as in NumPy, in float64, also in a graph."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Tensor
from keras_distill.specialists import _solver
from keras_distill.specialists._bins import Bins, check_class_sets

# For each row: the known part, the dustbins, and the weight of all terms.
Problem: TypeAlias = tuple[Tensor, Tensor, Tensor]


def combine(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any,
    *,
    tol: float,
) -> Tensor:
    """See `_inference.combine`. Shapes are checked when the graph is built; values are not checked.

    Raises:
        InputError: If a shape does not match, or `active` is not bool.
    """
    given = tf.convert_to_tensor(generalist_probs)
    bins = Bins.of(class_sets, int(given.shape[-1] or 0))
    specialists = _check_shapes(specialist_probs, bins)
    generalist = _normalized(given)
    if active is None:
        active = tf.ones([tf.shape(given)[0], len(specialists)], tf.bool)
    active = _check_active(tf.convert_to_tensor(active), given.shape[0], len(specialists))
    outside = tf.constant(bins.outside)
    known, problem = _state(generalist, specialists, active, bins)
    q = _solve(generalist, problem, outside, bins, tol)
    probs = _spread(q, known, problem[0], bins)
    probs /= tf.reduce_sum(probs, axis=1, keepdims=True)
    return tf.cast(probs, given.dtype if given.dtype.is_floating else tf.float64)


def active_by_top(generalist_probs: Tensor, class_sets: Sequence[Any], n: int) -> Tensor:
    """See `_inference.active_by_top`.

    Raises:
        InputError: If n is more than the number of classes.
    """
    classes = int(generalist_probs.shape[-1] or 0)
    if n > classes:
        raise bad("n", f"be at most the number of classes, {classes}", n)
    sets = check_class_sets(class_sets, classes)
    inside = np.zeros((classes, len(sets)), bool)
    for m, ids in enumerate(sets):
        inside[ids, m] = True
    best = tf.math.top_k(generalist_probs, k=n).indices
    return tf.reduce_any(tf.gather(tf.constant(inside), best), axis=1)


def _check_shapes(specialists: Sequence[Any], bins: Bins) -> list[Tensor]:
    widths = [probs.shape[-1] for probs in specialists]
    wanted = [len(ids) + 1 for ids in bins.class_sets]
    if widths != wanted:
        raise InputError(
            f"`specialist_probs` must have {wanted} columns (|S|+1 each). Received: {widths}"
        )
    return [_normalized(tf.convert_to_tensor(probs)) for probs in specialists]


def _check_active(active: Tensor, rows: int | None, count: int) -> Tensor:
    if active.dtype != tf.bool or not active.shape.is_compatible_with((rows, count)):
        raise InputError(
            f"`active` must be bool of shape ({rows or 'B'}, {count})."
            f" Received: {active.dtype.name} {active.shape}"
        )
    return tf.cast(active, tf.float64)


def _normalized(probs: Tensor) -> Tensor:
    probs = tf.cast(probs, tf.float64)
    return probs / tf.reduce_sum(probs, axis=1, keepdims=True)


def _state(
    generalist: Tensor, specialists: list[Tensor], active: Tensor, bins: Bins
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    known = generalist
    dustbins = []
    for m, (ids, probs) in enumerate(zip(bins.class_sets, specialists, strict=True)):
        place = np.zeros((len(ids), bins.num_classes))
        place[np.arange(len(ids)), ids] = 1
        known += active[:, m : m + 1] * (probs[:, :-1] @ tf.constant(place))
        dustbins.append(active[:, m] * probs[:, -1])
    rows = tf.shape(generalist)[0]
    dustbin = tf.stack(dustbins, axis=1) if dustbins else tf.zeros([rows, 0], tf.float64)
    total = 1 + tf.reduce_sum(active, axis=1)
    return known, (known @ tf.constant(bins.membership), dustbin, total)


def _spread(groups: Tensor, known: Tensor, of_groups: Tensor, bins: Bins) -> Tensor:
    whole = tf.gather(of_groups, bins.group_of, axis=1)
    even = tf.constant(1 / bins.group_sizes[bins.group_of])
    share = tf.where(whole > 0, tf.math.divide_no_nan(known, whole), even)
    return tf.gather(groups, bins.group_of, axis=1) * share


def _solve(generalist: Tensor, problem: Problem, outside: Tensor, bins: Bins, tol: float) -> Tensor:
    """Runs EM on all rows until each is within `tol`, then Newton on the rows that are not."""
    even = _solver.EVEN_SHARE
    q = (1 - even) * (generalist @ tf.constant(bins.membership))
    q += even * tf.constant(bins.group_sizes / bins.num_classes)

    def em(step: Tensor, q: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, gap = _em_step(q, problem, outside)
        return step + 1, q, gap

    far = tf.fill([tf.shape(q)[0]], tf.constant(np.inf, tf.float64))
    _, q, gap = tf.while_loop(
        lambda step, q, gap: (step < _solver.EM_STEPS) & tf.reduce_any(gap > tol),
        em,
        (tf.constant(0), q, far),
    )
    rows = tf.where(gap > tol)
    left = rows[:, 0]
    known, dustbin, total = (tf.gather(part, left) for part in problem)
    few = known, dustbin, total
    finished = _newton(tf.gather(q, left), few, outside, tf.gather(gap, left), tol)
    return tf.tensor_scatter_nd_update(q, rows, finished)


def _em_step(q: Tensor, problem: Problem, outside: Tensor) -> tuple[Tensor, Tensor]:
    known, dustbin, total = problem
    weights = tf.math.divide_no_nan(dustbin, tf.matmul(q, outside, transpose_b=True))
    pull = weights @ outside
    new = (known + q * pull) / total[:, None]
    factor = tf.where(q > 0, tf.math.divide_no_nan(new, q), pull / total[:, None])
    return new, total * tf.math.log(tf.maximum(tf.reduce_max(factor, axis=1), 1.0))


def _newton(q: Tensor, problem: Problem, outside: Tensor, gap: Tensor, tol: float) -> Tensor:
    """See `_solver.newton`."""
    found = q
    q = tf.maximum(q, _solver.NEWTON_FLOOR)
    w = problem[1] / tf.matmul(q, outside, transpose_b=True)
    w = tf.maximum(w, _solver.NEWTON_FLOOR)
    slack = 0.95 * problem[2] / tf.reduce_max(w @ outside, axis=1)
    w *= tf.minimum(slack, 1)[:, None]
    z = problem[2][:, None] - w @ outside

    def step(number: Tensor, variables: Problem, found: Tensor, gaps: Tensor) -> tuple[Any, ...]:
        running = (gaps > tol)[:, None]  # a row that has converged no longer changes
        moved = _newton_step(*variables, problem, outside)
        q, w, z = (tf.where(running, *pair) for pair in zip(moved, variables, strict=True))
        variables = q, w, z
        candidate, gap = _em_step(q / tf.reduce_sum(q, 1, keepdims=True), problem, outside)
        better = gap < gaps
        found = tf.where(better[:, None], candidate, found)
        return number + 1, variables, found, tf.where(better, gap, gaps)

    return tf.while_loop(
        lambda number, variables, found, gaps: (
            (number < _solver.NEWTON_STEPS) & tf.reduce_any(gaps > tol)
        ),
        step,
        (tf.constant(0), (q, w, z), found, gap),
    )[2]


def _newton_step(
    q: Tensor, w: Tensor, z: Tensor, problem: Problem, outside: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    known, dustbin, total = problem
    binned = tf.matmul(q, outside, transpose_b=True)
    known_error, dustbin_error = known - q * z, dustbin - w * binned
    error = tf.reduce_sum(tf.abs(known_error), 1) + tf.reduce_sum(tf.abs(dustbin_error), 1)
    size = tf.cast(tf.shape(q)[1] + tf.shape(w)[1], tf.float64)
    center = _solver.NEWTON_CENTRING * error[:, None] / size
    known_error, dustbin_error = (known_error + center) / z, (dustbin_error + center) / w
    hessian = tf.matmul(outside[None] * (q / z)[:, None, :], outside[None], transpose_b=True)
    hessian += tf.linalg.diag(binned / w)
    right = dustbin_error - tf.matmul(known_error, outside, transpose_b=True)
    dw = tf.squeeze(tf.linalg.solve(hessian, tf.expand_dims(right, -1)), -1)
    dz = -dw @ outside
    dq = known_error - q / z * dz
    reach = tf.ones_like(total)
    for value, change in ((q, dq), (w, dw), (z, dz)):
        room = tf.where(change < 0, value / tf.maximum(-change, _solver.TINY), np.inf)
        reach = tf.minimum(reach, _solver.NEWTON_REACH * tf.reduce_min(room, axis=1))
    reach = reach[:, None]
    return q + reach * dq, w + reach * dw, z + reach * dz
