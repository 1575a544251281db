"""References for `specialists.combine`: the paper's gradient descent, and L-BFGS, on logits."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize


class Descent(NamedTuple):
    """The course of a gradient descent.

    Attributes:
        probs: float64 `(B, N)`: the last q.
        objective: float64 `(steps+1, B)`: F before the first step and after each, in nats.
    """

    probs: np.ndarray
    objective: np.ndarray


def _normalized(probs: Any) -> np.ndarray:
    probs = np.asarray(probs, np.float64)
    return probs / probs.sum(axis=1, keepdims=True)


class _Loss:
    """F and its gradient over the logits of q, for B rows at once.

    With q = softmax(u): dF/du_c = (1+M)·q_c - (p_g(c) + sum_m p_m(bin_m(c))·q_c/q(bin_m(c))).
    """

    def __init__(self, generalist, specialists, class_sets, active):
        self.generalist, *specialists = (_normalized(p) for p in (generalist, *specialists))
        shape = len(self.generalist), len(specialists)
        active = np.ones(shape) if active is None else np.asarray(active, np.float64)
        self.sets = [np.asarray(ids) for ids in class_sets]
        self.parts = [p * active[:, m : m + 1] for m, p in enumerate(specialists)]
        self.total = 1 + active.sum(axis=1, keepdims=True)
        self._self_information = sum(
            (p * np.log(np.where(p > 0, p, 1))).sum(axis=1) for p in (self.generalist, *self.parts)
        )

    def __call__(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_q = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        q = np.exp(log_q)
        value = self._self_information - (self.generalist * log_q).sum(axis=1)
        pull = self.generalist.copy()
        for ids, p in zip(self.sets, self.parts, strict=True):
            value -= (p[:, :-1] * log_q[:, ids]).sum(axis=1)
            outside = np.ones(q.shape[1], bool)
            outside[ids] = False
            # In log space: the sum of the rest of q underflows long before its logarithm does.
            rest = np.logaddexp.reduce(log_q[:, outside], axis=1, keepdims=True)
            value -= (p[:, -1:] * rest)[:, 0]
            pull[:, ids] += p[:, :-1]
            pull[:, outside] += p[:, -1:] * np.exp(log_q[:, outside] - rest)
        return value, self.total * q - pull


def gradient_descent(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
    *,
    learning_rate: float,
    steps: int,
) -> Descent:
    """Runs the paper's inference: gradient descent on the logits of q, started at q = p_g.

    Args:
        generalist_probs: `(B, N)` probabilities; zeros start at 1e-12.
        specialist_probs: M arrays `(B, |S_m|+1)`.
        class_sets: M arrays of class ids.
        active: bool `(B, M)`; None: all.
        learning_rate: Step size.
        steps: Number of steps.

    Example:
        >>> problem = np.array([[0.4, 0.4, 0.2]]), [np.array([[0.7, 0.1, 0.2]])], [[0, 1]]
        >>> course = gradient_descent(*problem, learning_rate=0.5, steps=100)
        >>> course.probs.round(3).tolist()
        [[0.55, 0.25, 0.2]]
    """
    loss = _Loss(generalist_probs, specialist_probs, class_sets, active)
    logits = np.log(np.maximum(loss.generalist, 1e-12))
    values = []
    for _ in range(steps):
        value, gradient = loss(logits)
        values.append(value)
        logits = logits - learning_rate * gradient
    values.append(loss(logits)[0])
    q = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Descent(q / q.sum(axis=1, keepdims=True), np.stack(values))


def lbfgs(
    generalist_probs: Any,
    specialist_probs: Sequence[Any],
    class_sets: Sequence[Any],
    active: Any = None,
    *,
    max_steps: int = 5000,
    goal: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Runs SciPy's L-BFGS on the logits of q, row by row.

    Args:
        generalist_probs: `(B, N)` probabilities; zeros start at 1e-3.
        specialist_probs: M arrays `(B, |S_m|+1)`.
        class_sets: M arrays of class ids.
        active: bool `(B, M)`; None: all.
        max_steps: Iterations per row.
        goal: `(B,)`: the objective at which a row stops; None: at convergence.

    Returns:
        float64 `(B, N)`: q, and int64 `(B,)`: iterations.

    Example:
        >>> q, _ = lbfgs(np.array([[0.4, 0.4, 0.2]]), [np.array([[0.7, 0.1, 0.2]])], [[0, 1]])
        >>> q.round(3).tolist()
        [[0.55, 0.25, 0.2]]
    """
    rows = len(generalist_probs)
    active = np.ones((rows, len(class_sets)), bool) if active is None else np.asarray(active)
    found, iterations = [], []
    for row in range(rows):
        one = slice(row, row + 1)
        parts = [np.asarray(p)[one] for p in specialist_probs]
        loss = _Loss(np.asarray(generalist_probs)[one], parts, class_sets, active[one])

        def flat(u, loss=loss):
            value, gradient = loss(u[None])
            return value[0], gradient[0]

        result = minimize(
            flat,
            np.log(np.maximum(loss.generalist[0], 1e-3)),
            jac=True,
            method="L-BFGS-B",
            callback=_stop_at(-np.inf if goal is None else goal[row]),
            options={"maxiter": max_steps, "maxfun": 2 * max_steps, "ftol": 1e-15, "gtol": 1e-10},
        )
        q = np.exp(result.x - result.x.max())
        found.append(q / q.sum())
        iterations.append(result.nit)
    return np.stack(found), np.array(iterations)


def _stop_at(goal: float) -> Callable[..., None]:
    # SciPy chooses what to pass by the name of the only parameter.
    def enough(intermediate_result):
        if intermediate_result.fun <= goal:
            raise StopIteration

    return enough
