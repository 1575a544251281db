"""Computes means, paired differences, and ratios with confidence intervals, and paired tests."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_distill._internal import InputError


class Interval(NamedTuple):
    """An estimate with its confidence interval.

    Attributes:
        value: The estimate.
        low: The lower end; NaN if it is unknown, as for one observation.
        high: The upper end; NaN if it is unknown.
        n: The number of observations.
    """

    value: float
    low: float
    high: float
    n: int


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes the mean with its Student t interval.

    Args:
        values: Independent observations `(n,)`, n >= 1.
        confidence: The confidence level of the interval.

    Raises:
        InputError: If `values` is empty, does not have one axis, or is not finite.

    Example:
        >>> i = mean_interval([1.0, 2.0, 3.0])
        >>> round(i.value, 2), round(i.low, 2), round(i.high, 2)
        (2.0, -0.48, 4.48)
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"`values` must be a non-empty list of finite numbers. Received: {values}")
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    error = values.std(ddof=1) / np.sqrt(values.size)
    half = float(error * _student_t(values.size - 1, confidence))
    return Interval(mean, mean - half, mean + half, int(values.size))


def paired_difference(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes the mean of a - b over pairs (same seed, same data), with its t interval.

    Args:
        a: Observations `(n,)`.
        b: Observations `(n,)`, paired with `a`.
        confidence: The confidence level of the interval.

    Raises:
        InputError: If the shapes differ, or as for `mean_interval`.

    Example:
        >>> d = paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 3.1])
        >>> round(d.value, 3), round(d.low, 3)
        (0.967, 0.823)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise InputError(f"Pairs need equal lengths. Received: {a.shape} and {b.shape}")
    return mean_interval(a - b, confidence)


def paired_p_value(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Computes the two-sided p-value of Student's paired t test of a = b.

    Args:
        a: Observations `(n,)`.
        b: Observations `(n,)`, paired with `a`.

    Returns:
        The p-value. NaN for fewer than two pairs, or if no pair differs. 0 if all pairs differ by
        the same amount.

    Raises:
        InputError: If the lengths differ.

    Example:
        >>> round(paired_p_value([2.0, 3.0, 4.0], [1.0, 2.0, 3.1]), 4)
        0.0012
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"Pairs need equal lengths. Received: {a.shape} and {b.shape}")
    difference = a - b
    if difference.size < 2 or not difference.any():
        return float("nan")
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    if error <= 1e-12 * np.abs(difference).max():  # the same difference in every pair
        return 0.0
    from scipy.special import stdtr

    return float(2 * stdtr(difference.size - 1, -abs(difference.mean() / error)))


class PairedTest(NamedTuple):
    """The result of comparing two paired samples.

    Attributes:
        difference: The mean of the first minus the second sample, with its t interval.
        p: The two-sided p-value of the paired t test, adjusted for all comparisons made together.
    """

    difference: Interval
    p: float


def paired_tests(pairs: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> list[PairedTest]:
    """Compares pairs of samples with paired t tests and Holm's correction.

    Args:
        pairs: Pairs of two samples `(n,)`, whose observations are paired by position.

    Returns:
        One result per pair, in the order of `pairs`.

    Example:
        >>> found = paired_tests([([2.0, 3.0, 4.0], [1.0, 2.0, 3.1]), ([1.0, 2.0], [2.0, 1.0])])
        >>> [(round(test.difference.value, 2), round(test.p, 4)) for test in found]
        [(0.97, 0.0024), (0.0, 1.0)]
    """
    pairs = list(pairs)
    adjusted = holm([paired_p_value(a, b) for a, b in pairs])
    return [
        PairedTest(paired_difference(a, b), p) for (a, b), p in zip(pairs, adjusted, strict=True)
    ]


def holm(p_values: npt.ArrayLike) -> list[float]:
    """Adjusts p-values for the number of tests by Holm's step-down method.

    Of m known p-values, the i-th smallest (i = 1..m) becomes max over j <= i of (m - j + 1)·p_(j),
    and at most 1. If hypotheses with an adjusted p-value < alpha are rejected, the probability of
    at least one false rejection is at most alpha, even for dependent tests. Source: Holm 1979,
    Scandinavian Journal of Statistics 6.

    Args:
        p_values: The p-values `(n,)`. NaN means that a test was not possible.

    Returns:
        The adjusted p-values, in the same order. NaN stays NaN.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, float("nan")])]
        [0.03, 0.06, 0.06, nan]
    """
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = [i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (len(order) - rank) * p[i])
        adjusted[i] = min(1.0, largest)
    return adjusted.tolist()


def ratio_of_medians(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Computes median(a) / median(b) of paired timings, with a percentile bootstrap interval.

    The timings should be interleaved. Pairs are resampled together, so that a drift of the machine
    that affects both cancels out.

    Args:
        a: Timings `(n,)`, n >= 2.
        b: Timings `(n,)`, interleaved with `a`.
        confidence: The confidence level of the interval.
        resamples: The number of bootstrap resamples.
        seed: The seed of the resampling.

    Raises:
        InputError: If the lengths differ or are less than 2.

    Example:
        >>> r = ratio_of_medians([2.0, 2.1, 1.9, 2.0], [1.0, 1.0, 1.1, 1.0])
        >>> round(r.value, 2)
        2.0
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size < 2:
        raise InputError(f"Ratios need >= 2 pairs of timings. Received: {a.shape} and {b.shape}")
    picks = np.random.default_rng(seed).integers(0, a.size, (resamples, a.size))
    ratios = np.median(a[picks], axis=1) / np.median(b[picks], axis=1)
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(ratios, [tail, 100 - tail])
    return Interval(float(np.median(a) / np.median(b)), float(low), float(high), int(a.size))


def share_kept(
    base: npt.ArrayLike,
    best: npt.ArrayLike,
    candidate: npt.ArrayLike,
    confidence: float = 0.95,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Computes the share of a gain that is kept, (candidate - base) / (best - base).

    The share is a ratio of means over paired runs, and the interval is a percentile bootstrap over
    the pairs. Hinton 2015 reports 1.9/2.2 = 86 % for speech, which is computed in the same way.

    Args:
        base: The lower reference `(n,)`, such as the student alone.
        best: The upper reference `(n,)`, such as the ensemble or full precision.
        candidate: The measured values `(n,)`.
        confidence: The confidence level of the interval.
        resamples: The number of bootstrap resamples.
        seed: The seed of the resampling.

    Raises:
        InputError: If the lengths differ or are 0, or `best` and `base` have equal means.

    Example:
        >>> s = share_kept([58.9], [61.1], [60.8])
        >>> round(s.value, 2)
        0.86
    """
    base, best, candidate = (np.asarray(v, np.float64) for v in (base, best, candidate))
    if not base.shape == best.shape == candidate.shape or base.ndim != 1 or base.size == 0:
        raise InputError("`base`, `best` and `candidate` must be lists of one length >= 1.")
    gain = best.mean() - base.mean()
    if gain == 0:
        raise InputError(
            "There is no gain to compute a share of: `best` and `base` have equal means."
        )
    value = float((candidate.mean() - base.mean()) / gain)
    if base.size == 1:
        return Interval(value, float("nan"), float("nan"), 1)
    picks = np.random.default_rng(seed).integers(0, base.size, (resamples, base.size))
    means = [v[picks].mean(axis=1) for v in (base, best, candidate)]
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (means[2] - means[0]) / (means[1] - means[0])
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(shares, [tail, 100 - tail])
    return Interval(value, float(low), float(high), int(base.size))


def ratio_of_means(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95) -> Interval:
    """Computes mean(a) / mean(b) over pairs, with Fieller's confidence interval.

    The interval contains every ratio r for which the mean of a - r·b does not differ significantly
    from 0 in a paired t test. For normally distributed values it is exact even for few pairs. If
    mean(b) itself does not differ significantly from 0, the ends are infinite. Source: Fieller
    1954, Journal of the Royal Statistical Society B 16.

    Args:
        a: Observations `(n,)`.
        b: Observations `(n,)`, paired with `a`.
        confidence: The confidence level of the interval.

    Raises:
        InputError: If the lengths differ or are 0, or the mean of `b` is 0.

    Example:
        >>> r = ratio_of_means([1.0, 1.2, 0.9], [2.0, 2.1, 2.2])
        >>> round(r.value, 2), round(r.low, 2), round(r.high, 2)
        (0.49, 0.3, 0.72)
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0 or b.mean() == 0:
        raise InputError(f"Ratios need pairs, and a mean of b that is not 0. Received: {a}, {b}")
    value, n = float(a.mean() / b.mean()), int(a.size)
    if n == 1:
        return Interval(value, float("nan"), float("nan"), 1)
    factor = _student_t(n - 1, confidence) ** 2 / n
    (s_aa, s_ab), (_, s_bb) = factor * np.cov(a, b)
    # The interval is where top - 2·middle·r + bottom·r² <= 0.
    top = a.mean() ** 2 - s_aa
    middle = a.mean() * b.mean() - s_ab
    bottom = b.mean() ** 2 - s_bb
    if bottom <= 0:
        return Interval(value, float("-inf"), float("inf"), n)
    root = np.sqrt(max(0.0, middle**2 - top * bottom))
    low, high = (middle - root) / bottom, (middle + root) / bottom
    return Interval(value, float(low), float(high), n)


def _student_t(freedom: int, confidence: float) -> float:
    """Returns the half-width of a central interval of Student's t, in standard errors."""
    # Imported here: importing SciPy takes a second, also in each child that runs a .tflite file.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))
