"""Finds the kernels that compression changes, and counts their zeros and distinct values."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_distill._internal import bad
from keras_distill.models import walk_layers
from keras_distill.records import KernelState

# tf_keras and Keras 3 class -> the weight that is pruned and clustered. Depthwise kernels are not
# compressed: they are small, and removing some of their few weights loses too much accuracy for the
# bytes it saves.
KERNELS = {
    **dict.fromkeys(
        ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "Dense"), "kernel"
    ),
    "SeparableConv1D": "pointwise_kernel",
    "SeparableConv2D": "pointwise_kernel",
    "Embedding": "embeddings",
}

# Minimum fraction of zeros of a pruned kernel; later steps keep the zeros of pruned kernels.
PRUNED = 0.1


def kernel_of(layer: Any) -> np.ndarray | None:
    """Returns the kernel of a Keras 3 or tf_keras layer; None if it has no kernel to compress."""
    name = KERNELS.get(type(layer).__name__)
    return None if name is None else np.asarray(getattr(layer, name))


def kernels(model: keras.Model) -> Iterator[KernelState]:
    """Yields the state of every kernel of a Keras 3 model, including nested models.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="a")])
        >>> model.set_weights([np.float32([[0, 1], [1, 2]]), np.float32([0, 0])])
        >>> list(kernels(model))
        [KernelState(layer='a', size=4, zeros=1, values=3)]
    """
    for path, layer in walk_layers(model):
        values = kernel_of(layer)
        if values is not None:
            yield KernelState(
                layer=path,
                size=values.size,
                zeros=int((values == 0).sum()),
                values=len(np.unique(values)),
            )


def check_skip(student: keras.Model, skip: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the layers to skip, as they are called in the flat twin.

    Raises:
        InputError: If a name does not belong to a layer with a kernel.
    """
    known = [kernel.layer for kernel in kernels(student)]
    for name in skip:
        if name not in known:
            raise bad("skip", f"name layers with a kernel ({', '.join(known)})", name)
    return tuple(name.replace("/", "_") for name in skip)
