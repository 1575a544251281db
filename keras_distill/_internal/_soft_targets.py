"""The element contract: the structures inside `y` when soft targets come with the data.

Their fields are `Any`, because `tf.data` puts tensors, arrays, or specs in them.
"""

from typing import Any, NamedTuple


class TopK(NamedTuple):
    """The k largest logits of a teacher, and the moments of the rest.

    The probability mass of the N-k classes left out is modeled for any temperature T, so that one
    record serves every temperature: as (N-k)·exp(mean/T + var/(2T²)), the mean of a log-normal with
    the moments of their logits z, and exactly at T = 1 and 4 where `rest_log_mean_exp` is known.

    Attributes:
        indices: int, `(..., k)`: class ids, in order of descending logit.
        logits: float, `(..., k)`: their logits.
        rest_mean: float, `(...)`: mean of the other N-k logits.
        rest_var: float, `(...)`: their variance.
        rest_log_mean_exp: float, `(..., 2)`: log of their mean of exp(z/T) at T = 1 and T = 4, or
            None.
    """

    indices: Any
    logits: Any
    rest_mean: Any
    rest_var: Any
    rest_log_mean_exp: Any = None


class Targets(NamedTuple):
    """Labels and the teacher's logits, as one `y` that `tf.data` and `fit` pass on unchanged.

    Attributes:
        labels: The labels of the hard loss: class ids, one-hot rows, values, or a dict by output;
            None or () without labels.
        teacher: The teacher's logits `(..., N)`, a `TopK`, or a dict of these by output name.
        labeled: bool `(B,)`, or None or () (all are labeled). An unlabeled example has hard weight
            0 and counts 0 in metrics. With sparse class labels, label -1 means the same.

    Example:
        >>> y = Targets(labels=[3, -1], teacher=[[0.1, 2.0], [1.0, 0.0]])
        >>> y.labeled is None
        True
    """

    labels: Any
    teacher: Any
    labeled: Any = None
