"""Solves the problems of `combine` in NumPy: EM, then Newton for rows that converge slowly."""

from typing import NamedTuple

import numpy as np

EM_STEPS = 50
NEWTON_STEPS = 60
# Uniform fraction of the starting point, so that no bin is empty at the start.
EVEN_SHARE = 0.01
# Smallest starting value of Newton's variables; largest step as a fraction of the distance to the
# boundary.
NEWTON_FLOOR = 1e-8
NEWTON_REACH = 0.99
NEWTON_CENTRING = 0.1
TINY = 1e-300


class Problem(NamedTuple):
    """B problems over G groups of classes.

    Attributes:
        known: `(B, G)`: the sum of the probabilities that the generalist and the specialists give
            to the group's classes individually; in 0..1+M.
        dustbin: `(B, M)`: dustbin probability of each specialist; 0 where it is not active.
        total: `(B,)`: 1 + the number of active specialists.
    """

    known: np.ndarray
    dustbin: np.ndarray
    total: np.ndarray

    def take(self, rows: np.ndarray) -> "Problem":
        """Returns the problems at `rows`."""
        return Problem(*(part[rows] for part in self))


def em_step(q: np.ndarray, problem: Problem, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Makes one step of EM.

    Args:
        q: `(B, G)` probabilities of the groups.
        problem: The problems.
        outside: `(M, G)`, from `Bins`.

    Returns:
        The new q `(B, G)`, and an upper bound `(B,)` on the distance of the old q's objective from
        the optimum.
    """
    weights = _ratio(problem.dustbin, q @ outside.T)
    pull = weights @ outside
    total = problem.total[:, None]
    new = (problem.known + q * pull) / total
    factor = np.where(q > 0, _ratio(new, q), pull / total)
    gap = problem.total * np.log(np.maximum(factor.max(axis=1), 1))
    return new, gap


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns a / b, with 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b > 0)


def em(
    q: np.ndarray, problem: Problem, outside: np.ndarray, tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs at most `EM_STEPS` steps. Rows that have converged are removed from the batch."""
    found, rows = q.copy(), np.arange(len(q))
    steps, gaps = np.zeros(len(q), np.int64), np.zeros(len(q))
    for step in range(1, EM_STEPS + 1):
        q, gap = em_step(q, problem, outside)
        found[rows], steps[rows], gaps[rows] = q, step, gap
        left = gap > tol
        if not left.any():
            break
        if not left.all():
            rows, q, problem = rows[left], q[left], problem.take(left)
    return found, steps, gaps


def newton(
    q: np.ndarray, problem: Problem, outside: np.ndarray, gap: np.ndarray, tol: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solves rows on which EM converges slowly. The last step of each row is an EM step.

    The solved conditions are q_g·z_g = known_g and w_m·q(outside m) = dustbin_m, with the slack
    z = total - w·outside, for q, w, z > 0.
    """
    found, gaps, steps = q.copy(), gap.copy(), np.zeros(len(q), np.int64)
    rows = np.arange(len(q))
    q = np.maximum(q, NEWTON_FLOOR)
    w = np.maximum(problem.dustbin / (q @ outside.T), NEWTON_FLOOR)
    # Scaled so that all slacks are positive.
    w *= np.minimum(1, 0.95 * problem.total / (w @ outside).max(axis=1))[:, None]
    z = problem.total[:, None] - w @ outside
    for step in range(1, NEWTON_STEPS + 1):
        q, w, z = _newton_step(q, w, z, problem, outside)
        candidate, gap = em_step(q / q.sum(axis=1, keepdims=True), problem, outside)
        better = gap < gaps[rows]
        found[rows[better]], gaps[rows[better]] = candidate[better], gap[better]
        steps[rows] = step
        left = gap > tol
        if not left.any():
            break
        rows, q, w, z = rows[left], q[left], w[left], z[left]
        problem = problem.take(left)
    return found, steps, gaps


def _newton_step(
    q: np.ndarray, w: np.ndarray, z: np.ndarray, problem: Problem, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    binned = q @ outside.T
    known_error, dustbin_error = problem.known - q * z, problem.dustbin - w * binned
    mean_error = np.abs(known_error).sum(axis=1) + np.abs(dustbin_error).sum(axis=1)
    center = NEWTON_CENTRING * mean_error[:, None] / (q.shape[1] + w.shape[1])
    known_error, dustbin_error = (known_error + center) / z, (dustbin_error + center) / w
    hessian = (outside * (q / z)[:, None, :]) @ outside.T
    diagonal = np.arange(w.shape[1])
    hessian[:, diagonal, diagonal] += binned / w
    right = dustbin_error - known_error @ outside.T
    dw = np.linalg.solve(hessian, right[..., None])[..., 0]
    dz = -dw @ outside
    dq = known_error - q / z * dz
    reach = np.ones(len(q))
    for value, change in ((q, dq), (w, dw), (z, dz)):
        room = np.where(change < 0, value / np.maximum(-change, TINY), np.inf).min(axis=1)
        reach = np.minimum(reach, NEWTON_REACH * room)
    reach = reach[:, None]
    return q + reach * dq, w + reach * dw, z + reach * dz
