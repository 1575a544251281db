"""Defines the structures that carry soft targets inside `y`.

The fields have type `Any`, because `tf.data` replaces their values by tensors, arrays, or specs.
"""

from typing import Any, NamedTuple


class TopK(NamedTuple):
    """The k largest logits of a teacher, and the moments of the other logits.

    The total exp(z/T) of the other N-k classes is modeled for any temperature T, so that one record
    works at every temperature. It is (N-k)·exp(mean/T + var/(2T²)), from the mean of a log-normal
    distribution with the moments of their logits z. At T = 1 and T = 4 it is exact if
    `rest_log_mean_exp` is given.

    Attributes:
        indices: int `(..., k)`, the class ids, in order of descending logit.
        logits: float `(..., k)`, the logits of these classes.
        rest_mean: float `(...)`, the mean of the other N-k logits.
        rest_var: float `(...)`, the variance of the other N-k logits.
        rest_log_mean_exp: float `(..., 2)`, log(mean of exp(z/T)) of the other N-k logits z at
            T = 1 and T = 4, or None.
    """

    indices: Any
    logits: Any
    rest_mean: Any
    rest_var: Any
    rest_log_mean_exp: Any = None


class Targets(NamedTuple):
    """Labels and the teacher's logits, as one `y` that `tf.data` and `fit` pass on unchanged.

    Attributes:
        labels: The labels of the hard loss: class ids, one-hot rows, values, or a dict by output
            name. None or () if there are no labels.
        teacher: The teacher's logits `(..., N)`, a `TopK`, or a dict of these by output name.
        labeled: bool `(B,)`, whether each example has a label. None or () if all examples have
            one. An unlabeled example has weight 0 in the hard loss and in metrics. With sparse
            class labels, the label -1 also means unlabeled.

    Example:
        >>> y = Targets(labels=[3, -1], teacher=[[0.1, 2.0], [1.0, 0.0]])
        >>> y.labeled is None
        True
    """

    labels: Any
    teacher: Any
    labeled: Any = None
