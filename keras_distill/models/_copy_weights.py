"""Copies the weights of a model to a copy of the model."""

import keras

from keras_distill._internal import _keras_private as private


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Sets the weights of `target` to those of `source`.

    `set_weights` is not enough for `Normalization`: an adapted layer computes with values that it
    derives from its weights when they are loaded.

    Args:
        source: A built layer or model.
        target: A built copy of the source, with weights of its own.

    Example:
        >>> source = keras.Sequential([keras.Input((1,)), keras.layers.Normalization()])
        >>> source.layers[0].adapt(keras.ops.array([[1.0], [3.0]]))
        >>> target = keras.models.clone_model(source)
        >>> copy_weights(source, target)
        >>> target(keras.ops.array([[3.0]])).numpy().tolist()
        [[1.0]]
    """
    target.set_weights(source.get_weights())
    for layer in (target, *private.sublayers(target)):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
