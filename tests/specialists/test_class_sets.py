import itertools

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.specialists._class_sets import (
    ClassSets,
    _distributed_evenly,
    confusable_sets,
    confusion_covariance,
    random_sets,
)


def confused(groups, examples=400, seed=0):
    """Predictions of a generalist that confuses classes within `groups` only."""
    rng = np.random.default_rng(seed)
    classes = sum(map(len, groups))
    probs = np.full((examples, classes), 0.01)
    for row in probs:
        group = groups[rng.integers(len(groups))]
        row[group] += rng.dirichlet(np.ones(len(group)) * 5)
    return probs / probs.sum(axis=1, keepdims=True)


GROUPS = [[0, 5, 7], [1, 2], [3, 4, 6, 8]]


def test_covariance_is_numpys():
    probs = confused(GROUPS)
    np.testing.assert_allclose(confusion_covariance(probs), np.cov(probs.T))


@pytest.mark.parametrize("seed", range(5))
def test_finds_the_groups_that_are_confused(seed):
    sets = confusable_sets(confused(GROUPS), 3, seed=seed)
    assert sorted(sets.lists()) == sorted(GROUPS)
    assert sets.left_alone.tolist() == [] and sets.coverage.tolist() == [1] * 9


def test_a_class_that_is_never_confused_is_left_alone():
    sets = confusable_sets(confused([*GROUPS, [9]]), 4)
    assert sorted(sets.lists()) == sorted(GROUPS)
    assert sets.left_alone.tolist() == [9]


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_classes_that_are_seldom_predicted_are_told_apart_too(seed):
    """One group has nearly all of the probability; plain columns split it and merge the others."""
    rng = np.random.default_rng(seed)
    groups = [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    probs = np.zeros((600, 10))
    for group, scale in zip(groups, (1.0, 0.1, 0.1), strict=True):
        noise = 1 + 0.3 * rng.normal(size=(600, len(group)))
        probs[:, group] = scale * rng.random((600, 1)) * noise
    assert sorted(confusable_sets(probs, 3).lists()) == groups


def test_a_class_that_is_never_predicted_does_no_harm():
    probs = confused(GROUPS)
    sets = confusable_sets(np.column_stack([probs, np.zeros(len(probs))]), 4)
    assert sorted(s for s in sets.lists() if 9 not in s) == sorted(GROUPS)


def test_with_a_size_all_sets_have_it_and_may_overlap():
    sets = confusable_sets(confused(GROUPS), 3, size=4)
    assert [len(ids) for ids in sets.sets] == [4] * len(sets)
    for group in GROUPS:
        assert any(set(group) <= set(ids.tolist()) for ids in sets.sets)
    assert sets.coverage.max() >= 2


@pytest.mark.parametrize(("clusters", "size"), [(3, 3), (3, 4), (3, 6), (2, 3), (5, 7)])
def test_even_sets_share_the_classes_out(clusters, size):
    sets = confusable_sets(confused(GROUPS), clusters, size=size, even=True)
    assert [len(ids) for ids in sets.sets] == [size] * clusters
    mean = clusters * size / 9
    assert set(sets.coverage) <= {int(np.floor(mean)), int(np.ceil(mean))}


def test_even_sets_are_the_clusters_where_these_are_of_one_size():
    groups = [[0, 5, 7], [1, 2, 8], [3, 4, 6]]
    sets = confusable_sets(confused(groups), 3, size=3, even=True)
    assert sorted(sets.lists()) == groups


def test_even_sets_cost_the_least():
    """Beside all ways to put six classes into two sets of three."""
    costs = np.random.default_rng(0).random((6, 2))
    first, second = _distributed_evenly(costs, 3)
    assert sorted([*first, *second]) == list(range(6))
    least = min(
        costs[list(ids), 0].sum() + np.delete(costs[:, 1], ids).sum()
        for ids in itertools.combinations(range(6), 3)
    )
    assert costs[first, 0].sum() + costs[second, 1].sum() == pytest.approx(least)


def test_the_same_seed_gives_the_same_sets():
    probs = confused(GROUPS, examples=30)
    one, two = (confusable_sets(probs, 3, seed=4).lists() for _ in range(2))
    assert one == two


def test_random_sets_keep_sizes_and_overlaps():
    like = ClassSets(([0, 1, 2], [2, 3], [4, 5]), 10)
    sets = random_sets(like, seed=3)
    assert [len(ids) for ids in sets.sets] == [3, 2, 2]
    assert sorted(sets.coverage) == sorted(like.coverage)
    assert sets.lists() != like.lists()
    assert sets.lists() == random_sets(like, seed=3).lists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": 0}, "`clusters`"),
        ({"clusters": 10}, "at most the number of classes, 9"),
        ({"clusters": 3, "size": 1}, r"`size` must be in 2\.\.8"),
        ({"clusters": 3, "size": 9}, r"`size` must be in 2\.\.8"),
        ({"clusters": 3, "even": True}, "`even` must be used together with `size`"),
        ({"clusters": 1}, "None of 1 clusters"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        confusable_sets(confused(GROUPS), **settings)


def test_bad_predictions_are_named():
    with pytest.raises(InputError, match="`probs` must be finite"):
        confusable_sets(np.ones((1, 5)), 2)
    with pytest.raises(InputError, match="`probs` must be finite"):
        confusable_sets(np.full((4, 5), np.nan), 2)


def test_sets_are_checked():
    with pytest.raises(InputError, match="distinct class ids"):
        ClassSets(([0, 9],), 5)
