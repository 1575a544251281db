"""Builds a specialist from the generalist's body and weights, with a head of |S|+1 logits."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError, _checks
from keras_distill._internal._keras_private import call_inputs, producer
from keras_distill.specialists._bins import check_class_sets
from keras_distill.teachers import ONLY, Teacher, as_teacher

HEAD = "logits"
_AT_THE_END = (keras.activations.linear, keras.activations.softmax)


def build_specialist(
    generalist: keras.Model, class_ids: Sequence[int], *, correction: float = 0.0
) -> keras.Model:
    """Copies the generalist with a new head of |S|+1 logits. The last logit is the dustbin's.

    The head weights of the classes in S are copied. The weights of the dustbin are the mean of the
    weights of the other classes. Its bias is the mean of their biases plus log(N - |S|), which
    gives the joint logit of N - |S| equal classes. Source: Hinton 2015, section 5.4.

    Args:
        generalist: A functional or Sequential model that ends in a Dense layer of N units,
            optionally followed by a softmax. It is not changed.
        class_ids: The specialist's classes S: distinct ids in 0..N-1, at least one and not all.
        correction: `dustbin_correction` of the training stream. It is subtracted from the dustbin's
            bias, so that training starts from the class proportions of the stream.

    Returns:
        A new model, not compiled, with logits `(B, |S|+1)`.

    Raises:
        InputError: If the generalist is not such a model, or S is not a valid set of classes.

    Example:
        >>> generalist = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> build_specialist(generalist, [1, 3]).output_shape
        (None, 3)
    """
    head = find_head(generalist)
    (ids,) = check_class_sets([class_ids], head.units)
    copy = keras.models.clone_model(generalist)
    models.copy_weights(generalist, copy)
    features = copy.get_layer(head.name).input
    outputs = keras.layers.Dense(len(ids) + 1, name=HEAD, dtype=head.dtype_policy)(features)
    inputs = copy.input if isinstance(copy, keras.Function) else copy.inputs[0]
    specialist = keras.Model(inputs, outputs, name="specialist")
    kernel = np.asarray(head.kernel)
    bias = np.asarray(head.bias) if head.use_bias else np.zeros(head.units, np.float32)
    rest = np.setdiff1d(np.arange(head.units), ids)
    dustbin = kernel[:, rest].mean(axis=1), bias[rest].mean() + math.log(len(rest)) - correction
    specialist.get_layer(HEAD).set_weights(
        [np.column_stack([kernel[:, ids], dustbin[0]]), np.append(bias[ids], dustbin[1])]
    )
    return specialist


def find_head(generalist: keras.Model) -> keras.layers.Dense:
    """Returns the final Dense layer, from which a specialist copies the weights of its classes.

    Args:
        generalist: See `build_specialist`.

    Raises:
        InputError: If `generalist` is not built, not functional or Sequential, or does not end in
            a Dense layer.

    Example:
        >>> find_head(keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="d")])).name
        'd'
    """
    if not isinstance(generalist, keras.Function | keras.Sequential) or not generalist.built:
        raise InputError(
            "`generalist` must be a built functional or Sequential model, so that its body can be"
            f" copied. Received: {type(generalist).__name__}"
        )
    outputs = keras.tree.flatten(generalist.outputs)
    layer, node, _ = producer(outputs[0])
    allowed = _AT_THE_END
    if _is_omitted(layer):
        layer = producer(call_inputs(layer, node)[0])[0]
        allowed = (keras.activations.linear,)
    fits = isinstance(layer, keras.layers.Dense) and layer.activation in allowed
    if len(outputs) != 1 or not fits:
        raise InputError(
            "`generalist` must end in one Dense layer, without activation or with softmax; its rows"
            f" become the specialist's. Received: a model that ends in {layer.name!r}"
            f" ({type(layer).__name__})"
        )
    return layer


def _is_omitted(layer: keras.Layer) -> bool:
    """Returns whether a specialist omits it: the softmax after the head, or a logits cast."""
    if isinstance(layer, keras.layers.Activation):
        return layer.activation in _AT_THE_END
    return isinstance(layer, keras.layers.Softmax)


def dustbin_correction(labels: Any, class_ids: Sequence[int], share: float = 0.5) -> float:
    """Returns the value to add to a dustbin's logit after training on a stream that oversamples S.

    In the stream, the odds of S against all other classes are share/(1-share); in the data, they
    are n_S/n_R. The correction is the logarithm of the ratio of these odds, by which S was
    oversampled: log( share/(1-share) · n_R/n_S ). With the correction, the softmax of the
    specialist's logits is correct for the proportions of the data (Hinton 2015, section 5.4).

    Args:
        labels: int `(n,)`: the class ids of the training data.
        class_ids: The specialist's classes S.
        share: Fraction of the stream that comes from S, > 0 and < 1.

    Raises:
        InputError: If the data contains no example of S, or no example of the other classes.

    Example:
        >>> labels = [0] * 10 + [1] * 90
        >>> round(dustbin_correction(labels, [0]), 4), round(math.log(9), 4)
        (2.1972, 2.1972)
    """
    _checks.check_number("share", share, above=0, at_most=0.999)
    inside = int(np.isin(labels, class_ids).sum())
    outside = int(np.size(labels)) - inside
    if not inside or not outside:
        raise InputError(
            "The training data must have examples of the specialist's classes and of other classes."
            f" Received: {inside} and {outside}"
        )
    return math.log(share / (1 - share) * outside / inside)


def add_to_dustbin(specialist: keras.Model, value: float) -> None:
    """Adds `value` to the dustbin's logit in place: to the last entry of the head's bias.

    Example:
        >>> generalist = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> specialist = build_specialist(generalist, [1, 3])
        >>> before = specialist(np.zeros((1, 4)))[0, -1]
        >>> add_to_dustbin(specialist, 2.0)
        >>> float(specialist(np.zeros((1, 4)))[0, -1] - before)
        2.0
    """
    kernel, bias = specialist.get_layer(HEAD).get_weights()
    bias[-1] += value
    specialist.get_layer(HEAD).set_weights([kernel, bias])


class BinnedTeacher(Teacher):
    """A teacher that returns the generalist's soft targets over the bins of a specialist.

    Its logits are z_S and log(sum of exp z over all other classes) - correction. These are exactly
    the generalist's probabilities of the bins, adjusted to the proportions of the training stream.

    Args:
        generalist: Anything `teachers.as_teacher` accepts, with logits `(B, N)`.
        class_ids: The specialist's classes S.
        num_classes: Number of classes N.
        correction: See `dustbin_correction`.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        >>> BinnedTeacher(model, [0], num_classes=4).predict(np.zeros((1, 2), "float32")).round(2)
        array([[0. , 1.1]], dtype=float32)
    """

    def __init__(
        self, generalist: Any, class_ids: Sequence[int], *, num_classes: int, correction: float = 0
    ) -> None:
        self.generalist = as_teacher(generalist)
        (self.class_ids,) = check_class_sets([class_ids], num_classes)
        self.rest = np.setdiff1d(np.arange(num_classes), self.class_ids)
        self.correction = correction
        self.name = f"{self.generalist.name} in {len(self.class_ids) + 1} bins"
        self.output_shapes = {ONLY: (None, len(self.class_ids) + 1)}
        self.input_shapes = self.generalist.input_shapes

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """Returns the binned logits; see `Teacher.outputs`. Layers are not supported."""
        if layers:
            raise self.no_layers(layers)
        return {ONLY: self.binned(self.generalist.logits(x))}, {}

    def binned(self, logits: Any) -> tf.Tensor:
        """Converts logits `(B, N)` of the generalist to logits of bins, float32 `(B, |S|+1)`."""
        logits = tf.cast(logits, tf.float32)
        rest = tf.reduce_logsumexp(tf.gather(logits, self.rest, axis=-1), axis=-1, keepdims=True)
        return tf.concat([tf.gather(logits, self.class_ids, axis=-1), rest - self.correction], -1)

    def fingerprint(self) -> str | None:
        """Returns None: a new teacher is made for each stream."""
        return None
