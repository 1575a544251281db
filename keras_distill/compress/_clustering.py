"""Weight clustering while distilling."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

# The public name of it, tfmot.clustering.keras.experimental, is another module of that name.
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
    """Reduces every kernel to a few different values while the student trains.

    Each weight of a Dense, convolution (not depthwise) or embedding kernel takes the nearest of
    `clusters` centroids, which start by k-means++ and get the summed gradient of their weights.
    Zeros that pruning made stay: 0 is then one of the centroids. Source: Han, Mao, Dally 2016
    (arXiv:1510.00149), section 3; tensorflow-model-optimization does the clustering, on a tf_keras
    twin of the student. The file shrinks when it is compressed: 16 values are 4 bits per weight.

    Args:
        student: A trained functional or Sequential Keras 3 model. It is not changed.
        data: Batches of (x, y), y labels or `Targets`; a pair (x, y) of arrays; or a function
            from the number of the first epoch to batches, with which a resumed training sees
            the same as an uninterrupted one.
        clusters: Values per kernel, >= 2 (>= 3 where zeros are kept). A kernel that has not more
            values already stays as it is, and is not trained.
        skip: Names of layers to leave alone.
        **training: See `Training` and `TrainingSettings`. Use a learning rate well below the one
            that the student was trained with.

    Returns:
        A plain Keras 3 model with that many values per kernel.

    Raises:
        InputError: If an argument breaks its rule or the student cannot cross the bridge.
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
    """Clusters as `cluster` does; returns the logs of each epoch too."""
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
    """Refuses a model with more values in a kernel than allowed.

    Raises:
        VerificationError: Names the layer.
    """
    for kernel in kernels(model):
        if kernel.layer not in skip and kernel.values > clusters:
            raise VerificationError(
                f"Layer {kernel.layer!r} has {kernel.values} different weights after clustering,"
                f" not {clusters}."
            )


def check_no_fewer_zeros(before: keras.Model, after: keras.Model) -> None:
    """Refuses a model that has lost zeros of a pruned kernel.

    Raises:
        VerificationError: Names the layer.
    """
    for old, new in zip(kernels(before), kernels(after), strict=True):
        if old.sparsity >= PRUNED and new.zeros < old.zeros:
            raise VerificationError(
                f"Layer {old.layer!r} has {new.sparsity:.1%} zeros left of {old.sparsity:.1%}."
            )
