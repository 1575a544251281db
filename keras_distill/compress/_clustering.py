"""Clusters weights during distillation."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

# The public name of this function, tfmot.clustering.keras.experimental, is a different module.
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import (
    cluster_weights,
)

from keras_distill._internal import InputError, VerificationError, check_count
from keras_distill.compress import _bridge
from keras_distill.compress._fit import Training, fit
from keras_distill.compress._kernels import PRUNED, check_skip, kernel_of, kernels


def cluster(
    student: keras.Model,
    data: Any,
    *,
    clusters: int = 16,
    skip: Sequence[str] = (),
    **training: Any,
) -> keras.Model:
    """Reduces the weights of every kernel to a few distinct values while the student trains.

    Each weight of a Dense, convolution (not depthwise), or embedding kernel takes the value of the
    nearest of `clusters` centroids. Centroids are initialized by k-means++ and trained with the
    summed gradient of their weights. Zeros from pruning are kept: 0 is then one of the centroids.
    Source: Han, Mao, Dally 2016 (arXiv:1510.00149), section 3. tensorflow-model-optimization does
    the clustering, on a tf_keras twin of the student. The file becomes smaller only when it is
    compressed: 16 distinct values need 4 bits per weight.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), where y are labels or `Targets`; a pair (x, y) of arrays; or a
            function that takes the number of the first epoch and returns batches. With a function,
            a resumed training sees the same data as an uninterrupted one.
        clusters: Number of values per kernel, >= 2 (>= 3 if zeros are kept). A kernel that already
            has at most this many values is not changed and not trained.
        skip: Names of layers that are not clustered.
        **training: See `Training` and `TrainingSettings`. Use a learning rate well below the rate
            that the student was trained with.
            that the student was trained with.

    Returns:
        A Keras 3 model with at most `clusters` distinct values per kernel.

    Raises:
        InputError: If an argument is not valid, or the student cannot be converted to tf_keras.
        VerificationError: If a kernel of the result has more values, or fewer zeros than before.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x, y = np.random.rand(64, 8).astype("float32"), np.random.randint(0, 4, 64)
        >>> clustered = cluster(model, (x, y), clusters=4, alpha=0, epochs=1)
        >>> len(np.unique(clustered.get_weights()[0])) <= 4
        True
    """
    return cluster_logged(student, data, clusters, skip, Training.of(**training))[0]


def cluster_logged(
    student: keras.Model, data: Any, clusters: int, skip: Sequence[str], training: Training
) -> tuple[keras.Model, dict[str, Any]]:
    """Clusters as `cluster` does, and also returns the logs of each epoch."""
    check_count("clusters", clusters, at_least=2)
    before = {kernel.layer: kernel for kernel in kernels(student)}
    if not before:
        raise InputError(f"Model {student.name!r} has no kernel that could be clustered.")
    if clusters < 3 and any(kernel.sparsity >= PRUNED for kernel in before.values()):
        raise InputError("`clusters` must be >= 3 for a pruned student: 0 is one of them.")
    objective = training.objective(student)
    twin = _bridge.to_logits(student, objective.heads)
    left = check_skip(student, skip)
    masked = []

    def wrap(layer: Any) -> Any:
        kernel = kernel_of(layer)
        if kernel is None:
            return layer
        pruned = float((kernel == 0).mean()) >= PRUNED
        if layer.name in left:
            if pruned:
                masked.append(layer.weights[0])
            return layer
        if len(np.unique(kernel)) <= clusters:
            layer.trainable = False
            return layer
        return cluster_weights(layer, clusters, preserve_sparsity=pruned)

    network = tf_keras.models.clone_model(twin, clone_function=wrap)
    logs = fit(network, objective, student, data, training, masked=masked)
    stripped = tfmot.clustering.keras.strip_clustering(network)
    clustered = _bridge.to_keras(stripped, like=student)
    check_values(clustered, clusters, skip)
    check_no_fewer_zeros(student, clustered)
    return clustered, logs


def check_values(model: keras.Model, clusters: int, skip: Sequence[str] = ()) -> None:
    """Checks that no kernel of a model has more distinct values than allowed.

    Raises:
        VerificationError: If one has. The message names the layer.
    """
    for kernel in kernels(model):
        if kernel.layer not in skip and kernel.values > clusters:
            raise VerificationError(
                f"Layer {kernel.layer!r} has {kernel.values} different weights after clustering,"
                f" not {clusters}."
            )


def check_no_fewer_zeros(before: keras.Model, after: keras.Model) -> None:
    """Checks that a model has kept the zeros of its pruned kernels.

    Raises:
        VerificationError: If zeros were lost. The message names the layer.
    """
    for old, new in zip(kernels(before), kernels(after), strict=True):
        if old.sparsity >= PRUNED and new.zeros < old.zeros:
            raise VerificationError(
                f"Layer {old.layer!r} has {new.sparsity:.1%} zeros left of {old.sparsity:.1%}."
            )
