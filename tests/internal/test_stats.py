import math

import numpy as np
import pytest
from scipy import stats

from keras_distill._internal import InputError, _stats


def test_mean_interval_is_that_of_scipy():
    values = [0.91, 0.93, 0.95, 0.94]
    got = _stats.mean_interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (got.value, got.low, got.high) == pytest.approx((np.mean(values), low, high))


def test_mean_interval_of_one_value_has_no_ends():
    got = _stats.mean_interval([0.5])
    assert got.value == 0.5
    assert math.isnan(got.low)
    assert math.isnan(got.high)


@pytest.mark.parametrize("values", [[], [float("nan")], [[1.0]]])
def test_mean_interval_refuses(values):
    with pytest.raises(InputError):
        _stats.mean_interval(values)


def test_paired_difference_is_the_paired_t_interval():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 9), rng.normal(0, 1, 9)
    got = _stats.paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high))


def test_paired_difference_needs_pairs():
    with pytest.raises(InputError, match="equal lengths"):
        _stats.paired_difference([1.0], [1.0, 2.0])


def test_ratio_is_steady_under_a_drift_that_hits_both():
    rng = np.random.default_rng(1)
    drift = np.linspace(1, 10, 200)
    b = drift * rng.normal(1, 0.01, 200)
    got = _stats.ratio_of_medians(2 * drift * rng.normal(1, 0.01, 200), b)
    assert got.low < 2 < got.high
    assert got.high - got.low < 0.5


def test_ratio_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        a, b = rng.lognormal(0.5, 0.2, 40), rng.lognormal(0, 0.2, 40)
        got = _stats.ratio_of_medians(a, b, seed=trial, resamples=400)
        covered += got.low <= math.exp(0.5) <= got.high
    assert covered >= 180


def test_ratio_needs_pairs():
    with pytest.raises(InputError, match=">= 2 pairs"):
        _stats.ratio_of_medians([1.0, 2.0], [1.0])


def test_share_kept_is_a_ratio_of_means_with_its_spread():
    got = _stats.share_kept([0, 0, 0], [10, 12, 8], [5, 6, 4])
    assert got.value == pytest.approx(0.5)
    assert got.low == pytest.approx(0.5)
    assert got.high == pytest.approx(0.5)


def test_share_kept_needs_a_gain():
    with pytest.raises(InputError, match="no gain"):
        _stats.share_kept([1.0], [1.0], [2.0])


def test_the_ends_of_a_ratio_of_means_are_where_the_paired_t_test_just_rejects():
    rng = np.random.default_rng(0)
    b = rng.normal(2, 0.3, 5)
    a = 0.6 * b + rng.normal(0, 0.2, 5)
    got = _stats.ratio_of_means(a, b)
    assert got.value == pytest.approx(a.mean() / b.mean())
    assert got.low < got.value < got.high
    for end in (got.low, got.high):
        assert stats.ttest_1samp(a - end * b, 0).pvalue == pytest.approx(0.05)


def test_a_ratio_of_means_covers_the_truth_as_often_as_it_says_with_three_pairs():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        b = rng.normal(1, 0.2, 3)
        got = _stats.ratio_of_means(0.5 * b + rng.normal(0, 0.1, 3), b)
        covered += got.low <= 0.5 <= got.high
    assert 1870 <= covered <= 1930


def test_a_ratio_to_what_may_be_nothing_can_be_anything():
    got = _stats.ratio_of_means([1.0, 2.0, 3.0], [1.0, -1.0, 0.5])
    assert (got.low, got.high) == (-math.inf, math.inf)
    assert math.isnan(_stats.ratio_of_means([1.0], [2.0]).low)
    for a, b in [([1.0], [0.0]), ([], []), ([1.0], [1.0, 2.0])]:
        with pytest.raises(InputError, match="Ratios need pairs"):
            _stats.ratio_of_means(a, b)


def test_the_paired_p_value_is_that_of_scipy():
    from scipy.stats import ttest_rel

    random = np.random.default_rng(0)
    for n in (2, 3, 10):
        a, b = random.normal(size=(2, n))
        assert _stats.paired_p_value(a, b) == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-9)


def test_the_paired_p_value_of_pairs_that_do_not_vary():
    assert np.isnan(_stats.paired_p_value([0.5], [0.4]))
    assert np.isnan(_stats.paired_p_value([0.5, 0.6], [0.5, 0.6]))
    assert _stats.paired_p_value([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) == 0.0


def test_holm_of_the_worked_example():
    """Four p-values, worked out by hand: 4·0.005, 3·0.01, 2·0.03, then 0.04 raised to 0.06."""
    assert _stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert _stats.holm([0.6, 0.9]) == [1.0, 1.0]
    assert _stats.holm([]) == []
