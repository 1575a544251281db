"""Makes batches of augmented views, the same views that a soft-target store has."""

from typing import Any

import tensorflow as tf

from keras_distill._internal import check_count
from keras_distill._internal._types import Dataset, Tensor
from keras_distill.data._augment import Augmentation
from keras_distill.data._batching import epoch_seed, read_ahead, shuffled
from keras_distill.data._mixing import Pool, mixed_labels

# AutoGraph takes seconds, and no function here has Python control flow on tensors.
_as_written: Any = tf.autograph.experimental.do_not_convert


def augmented_batches(
    ds: Dataset,
    batch_size: int,
    augment: Augmentation,
    *,
    shuffle_seed: int,
    views: int | None = None,
    first_step: int = 0,
    across: bool = False,
    classes: int | None = None,
) -> Dataset:
    """Makes endless batches of augmented views; each pass has its own order and its own view.

    Args:
        ds: A data set of `(index, (x, y))`, unbatched, finite, with known cardinality. The index of
            an example is its position in the unshuffled data set; it determines the views.
        batch_size: Elements per batch.
        augment: The augmentation of x, images `(H, W, C)`.
        shuffle_seed: The seed of the order. The order is the same as that of `batches`.
        views: The number V of views: pass p has view p mod V, as in a store of V views. With None,
            pass p has view p.
        first_step: The step at which to start.
        across: Whether a batch may hold the end of one pass and the start of the next. Otherwise
            the last batch of a pass may be smaller.
        classes: Number of classes; required if the augmentation mixes examples.

    Returns:
        A data set of batches `(x, y)`. If the augmentation mixes, y is the pair that
        `mixed_labels` returns: rows, and whether each image has a label.

    Raises:
        InputError: If `batch_size` is not valid, or the augmentation mixes and `classes` is missing
            or the images need more than 2 GiB.

    Example:
        >>> x = tf.reshape(tf.range(16), (4, 2, 2, 1))
        >>> ds = tf.data.Dataset.from_tensor_slices((x, tf.range(4))).enumerate()
        >>> batches = augmented_batches(ds, 3, Augmentation(flip=True), shuffle_seed=0)
        >>> [len(y) for _, y in batches.take(3)]
        [3, 1, 3]
    """
    check_count("batch_size", batch_size)
    count = int(ds.cardinality())
    per_pass = count if across else -(-count // batch_size)
    first, skip = divmod(first_step * batch_size if across else first_step, per_pass)

    def one_pass(number: Any) -> Dataset:
        view = number if views is None else number % views
        elements = shuffled(ds, count, epoch_seed(shuffle_seed, number))
        numbered = elements.map(_as_written(lambda index, pair: (view, index, pair)))
        return numbered if across else numbered.batch(batch_size)

    pool = Pool.of(ds) if augment.mixes else None

    def finish(view: Tensor, index: Tensor, pair: Any) -> Any:
        x, y = pair
        images, mixing = augment.mixed(x, index, view, pool)
        if mixing is None or pool is None:
            return images, y
        return images, mixed_labels(y, mixing, pool, check_count("classes", classes))

    made = tf.data.Dataset.counter(first, 1).flat_map(_as_written(one_pass)).skip(skip)
    if across:
        made = made.batch(batch_size, drop_remainder=True)
    return read_ahead(made.map(_as_written(finish), num_parallel_calls=tf.data.AUTOTUNE))
