"""Chooses the classes of each specialist: classes that the generalist confuses."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, sparse

from keras_distill._internal import InputError, _checks, bad
from keras_distill.specialists._bins import check_class_sets


@dataclass(frozen=True)
class ClassSets:
    """The class sets of a group of specialists.

    Attributes:
        sets: M arrays of class ids, in the order of a specialist's logits; sets may overlap.
        num_classes: Number of classes N.
    """

    sets: tuple[np.ndarray, ...]
    num_classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sets", check_class_sets(self.sets, self.num_classes))

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def coverage(self) -> np.ndarray:
        """int64 `(N,)`: the number of sets that contain each class."""
        ids = np.concatenate([np.zeros(0, np.int64), *self.sets])
        return np.bincount(ids, minlength=self.num_classes)

    @property
    def left_alone(self) -> np.ndarray:
        """int64: the classes that no set contains."""
        return np.flatnonzero(self.coverage == 0)

    def lists(self) -> list[list[int]]:
        """Returns the sets as plain lists."""
        return [ids.tolist() for ids in self.sets]


def confusion_covariance(probs: Any) -> np.ndarray:
    """Computes the covariance matrix of predictions over examples.

    Two classes that often have high probabilities together have a positive covariance.

    Args:
        probs: `(n, N)` probabilities, n >= 2.

    Returns:
        float64 `(N, N)`.

    Raises:
        InputError: If `probs` has another shape or is not finite.

    Example:
        >>> confusion_covariance([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]).round(3).tolist()
        [[0.125, 0.125, -0.25], [0.125, 0.125, -0.25], [-0.25, -0.25, 0.5]]
    """
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or len(probs) < 2 or probs.shape[1] < 2 or not np.isfinite(probs).all():
        raise InputError(
            "`probs` must be finite numbers of shape (examples >= 2, classes >= 2)."
            f" Received: {probs.shape}"
        )
    return np.cov(probs, rowvar=False)


def confusable_sets(
    probs: Any, clusters: int, *, size: int | None = None, even: bool = False, seed: int = 0
) -> ClassSets:
    """Clusters classes by the columns of the covariance of a generalist's predictions.

    Source: Hinton 2015, section 5.3. The paper runs K-means online; this function uses
    scikit-learn's MiniBatchKMeans (Sculley 2010). Two things are removed from each column. The
    first is the class's own variance, which depends on how often the class is predicted. The second
    is the length of the column: columns of rarely predicted classes lie near the origin, where
    K-means would put all of them into one cluster. (On CIFAR-100 with a weak generalist and K = 5,
    plain columns gave clusters of 92 and 5 classes.)

    Args:
        probs: `(n, N)`: the generalist's probabilities on examples that it was not trained on.
            Softened probabilities (temperature > 1) show confusions that are rare at 1.
        clusters: Number of clusters K, in 1..N.
        size: Classes per set, in 2..N-1. A set contains the classes nearest to the center of its
            cluster, so sets may overlap, and classes may be in no set. If None, the sets are the
            clusters, without clusters of one class.
        even: Whether sets of `size` classes cover all classes evenly: each class is in K·size/N
            sets, rounded down or up, and the sum of the squared distances to the centers is
            minimal. If specialists cover a class less often than similar classes, the class is at a
            disadvantage in `combine`.
        seed: Seed of K-means.

    Returns:
        At most `clusters` distinct sets.

    Raises:
        InputError: If an argument is not valid, or no cluster has two classes.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shared = rng.random((200, 2))                   # classes 0-2 rise together, so do 3-5
        >>> probs = np.repeat(shared, 3, axis=1) + 0.1 * rng.random((200, 6))
        >>> sets = confusable_sets(probs / probs.sum(axis=1, keepdims=True), 2)
        >>> sorted(ids.tolist() for ids in sets.sets)
        [[0, 1, 2], [3, 4, 5]]
        >>> pairs = confusable_sets(probs / probs.sum(axis=1, keepdims=True), 3, size=4, even=True)
        >>> pairs.coverage
        array([2, 2, 2, 2, 2, 2])
    """
    from sklearn.cluster import MiniBatchKMeans

    covariance = confusion_covariance(probs)
    classes = len(covariance)
    if _checks.check_count("clusters", clusters) > classes:
        raise bad("clusters", f"be at most the number of classes, {classes}", clusters)
    if size is not None and not 2 <= _checks.check_count("size", size) < classes:
        raise bad("size", f"be in 2..{classes - 1}", size)
    if even and size is None:
        raise bad("even", "be used together with `size`, the number of classes per set", even)
    columns = _directions(covariance)
    settings: dict[str, Any] = {"n_init": 10, "batch_size": max(classes, 256)}
    kmeans: Any = MiniBatchKMeans(clusters, random_state=seed, **settings)
    labels = kmeans.fit(columns).labels_
    distances = np.linalg.norm(columns[:, None] - kmeans.cluster_centers_[None], axis=2)
    if size is None:
        groups = [np.flatnonzero(labels == k) for k in range(clusters)]
    elif even:
        groups = _distributed_evenly(distances[:, np.unique(labels)] ** 2, size)
    else:
        nearest = np.argsort(distances, axis=0, kind="stable")[:size]
        groups = [np.sort(nearest[:, k]) for k in np.unique(labels)]
    distinct = {tuple(ids.tolist()): ids for ids in groups if 2 <= len(ids) < classes}
    if not distinct:
        raise InputError(
            f"None of {clusters} clusters has two or more classes, but not all. Try another number"
            " of `clusters`, or set `size`."
        )
    return ClassSets(tuple(distinct.values()), classes)


def _distributed_evenly(costs: np.ndarray, size: int) -> list[np.ndarray]:
    """Returns sets of `size` classes at minimal cost, with each class in equally many sets.

    This is a transport problem: the optimum of its linear program is integral.

    Args:
        costs: `(N, K)`: the cost of a class in a set.
        size: Classes per set.
    """
    classes, clusters = costs.shape
    in_set = sparse.kron(np.ones((1, classes)), sparse.identity(clusters))
    of_class = sparse.kron(sparse.identity(classes), np.ones((1, clusters)))
    mean = clusters * size / classes
    found = optimize.linprog(
        costs.ravel(),
        A_ub=sparse.vstack([of_class, -of_class]),
        b_ub=np.repeat([math.ceil(mean), -math.floor(mean)], classes),
        A_eq=in_set,
        b_eq=np.full(clusters, size),
        bounds=(0, 1),
        method="highs-ds",
    )
    chosen = found.x.reshape(classes, clusters) > 0.5
    return [np.flatnonzero(column) for column in chosen.T]


def _directions(covariance: np.ndarray) -> np.ndarray:
    """Returns a unit vector per class that shows with which classes it is predicted together."""
    columns = covariance - np.diag(np.diag(covariance))
    # The entry of a class with itself is set to its largest entry with another, so that pairs are
    # close to each other.
    np.fill_diagonal(columns, columns.max(axis=1))
    length = np.linalg.norm(columns, axis=1, keepdims=True)
    return np.divide(columns, length, out=np.zeros_like(columns), where=length > 0)


def random_sets(like: ClassSets, *, seed: int = 0) -> ClassSets:
    """Returns random sets of the same sizes, a control for the choice of confusable classes.

    The class ids are permuted, so that sets overlap as in `like`.

    Args:
        like: The class sets to imitate.
        seed: Seed of the permutation.

    Example:
        >>> sets = random_sets(ClassSets(([0, 1], [1, 2, 3]), 6), seed=1)
        >>> [len(ids) for ids in sets.sets], len(sets.left_alone)
        ([2, 3], 2)
    """
    renamed = np.random.default_rng(seed).permutation(like.num_classes)
    return ClassSets(tuple(np.sort(renamed[ids]) for ids in like.sets), like.num_classes)
