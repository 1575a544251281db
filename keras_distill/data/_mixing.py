"""MixUp and CutMix: each view of an example may be mixed with a second example.

The partner is also a function of (sample index, view, seed), so that stored soft targets match.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._types import Dataset, Tensor

# The largest size, in bytes, of the examples that partners are drawn from: they are in memory.
_MEMORY_LIMIT = 2 << 30
# The names of the random numbers of an image, in order.
STREAMS = ("mix", "mix_share", "mix_partner", "mix_y", "mix_x")


@dataclass(frozen=True)
class Pool:
    """The examples that partners are drawn from, in memory.

    Attributes:
        x: Images `(n, H, W, C)`.
        y: Their labels `(n, ...)`.
        index: int64 `(n,)`, their indices in the unshuffled data set.
    """

    x: Tensor
    y: Tensor
    index: Tensor

    @classmethod
    def of(cls, indexed: Dataset) -> "Pool":
        """Reads a data set of `(index, (x, y, …))` into memory.

        Raises:
            InputError: If the images need more than 2 GiB.
        """
        elements: Any = indexed.element_spec
        spec = elements[1][0]
        width = (spec.shape.num_elements() or 0) * spec.dtype.size
        size = int(indexed.cardinality()) * width
        if size > _MEMORY_LIMIT:
            raise InputError(
                "mixup and cutmix keep the examples in memory, at most"
                f" {_MEMORY_LIMIT >> 30} GiB. Received: {size / 2**30:.1f} GiB of examples. Leave"
                " them out, or use smaller images."
            )
        parts = list(indexed.batch(1024).as_numpy_iterator())
        with tf.device("cpu"):
            return cls(
                x=tf.constant(np.concatenate([element[0] for _, element in parts])),
                y=tf.constant(np.concatenate([element[1] for _, element in parts])),
                index=tf.constant(np.concatenate([index for index, _ in parts]), tf.int64),
            )


class Mixing(NamedTuple):
    """How a batch is mixed.

    Attributes:
        partner: int64 `(B,)`, positions in the pool.
        share: float32 `(B,)`, the weight of the original image in the average, or the fraction of
            its area that is kept.
        cut: bool `(B, H, W, 1)`, true where the partner's pixels replace the original pixels.
        blended: bool `(B,)`, whether the two images are averaged.
    """

    partner: Tensor
    share: Tensor
    cut: Tensor
    blended: Tensor


def draw_mixing(
    draw: dict[str, Tensor], mixup: float, cutmix: float, pool: Pool, shape: Tensor
) -> Mixing:
    """Draws the partners and the amount of mixing of a batch.

    MixUp averages two images with a share drawn uniformly from 0..1, which is Beta(1, 1). CutMix
    pastes a rectangle whose share of the area has the same distribution. Its center is drawn
    uniformly, and it is clipped at the border.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz 2018 (mixup, arXiv:1710.09412), section 2; Yun, Han,
    Oh, Chun, Choe, Yoo 2019 (CutMix, arXiv:1905.04899), section 3.1.

    Args:
        draw: Random numbers in 0..1, `(B,)` each, by the names in `STREAMS`.
        mixup: Fraction of the images that are averaged with a partner.
        cutmix: Fraction of the images that get a rectangle of a partner.
        pool: The examples that partners are drawn from.
        shape: The shape of the images, `(B, H, W, C)`.
    """
    count = tf.cast(tf.shape(pool.x)[0], tf.float32)
    partner = tf.cast(tf.floor(draw["mix_partner"] * count), tf.int64)
    partner = tf.minimum(partner, tf.shape(pool.x, out_type=tf.int64)[0] - 1)
    blended = draw["mix"] < mixup
    pasted = (draw["mix"] >= mixup) & (draw["mix"] < mixup + cutmix)
    side = tf.sqrt(1 - draw["mix_share"])
    rows = _inside(draw["mix_y"], side, shape[1]) & pasted[:, None]
    columns = _inside(draw["mix_x"], side, shape[2])
    cut = tf.expand_dims(rows[:, :, None] & columns[:, None, :], -1)
    kept = 1 - tf.reduce_mean(tf.cast(cut, tf.float32), axis=(1, 2, 3))
    share = tf.where(blended, draw["mix_share"], kept)
    return Mixing(partner, share, cut, blended)


def _inside(center: Tensor, side: Tensor, size: Tensor) -> Tensor:
    """Returns bool `(B, size)`, true for pixels in the span of length `side` around `center`.

    Args:
        center: float `(B,)`, as a fraction of `size`.
        side: float `(B,)`, as a fraction of `size`.
        size: The number of pixels along the axis.
    """
    length = tf.cast(size, tf.float32)
    middle, half = tf.floor(center * length), tf.floor(side * length / 2)
    place = tf.range(length)[None, :]
    return (place >= (middle - half)[:, None]) & (place < (middle + half)[:, None])


def mixed(images: Tensor, partners: Tensor, mixing: Mixing) -> Tensor:
    """Mixes float32 images with those of their partners, `(B, H, W, C)` each."""
    share = tf.where(mixing.blended, mixing.share, 1.0)[:, None, None, None]
    return tf.where(mixing.cut, partners, share * images + (1 - share) * partners)


def mixed_labels(labels: Tensor, mixing: Mixing, pool: Pool, classes: int) -> tuple[Tensor, Tensor]:
    """Mixes labels as the images were mixed.

    Args:
        labels: Class ids `(B,)`, with -1 for an unlabeled example, or rows `(B, classes)`.
        mixing: How the images were mixed.
        pool: The examples that the partners were drawn from.
        classes: Number of classes.

    Returns:
        Rows `(B, classes)`, share · own + (1 - share) · partner, and bool `(B,)`, whether the
        image has a label. A mixed image has a label if both of its images have one.
    """
    partners = tf.gather(pool.y, mixing.partner)
    share, alone = mixing.share[:, None], mixing.share == 1.0
    if pool.y.dtype.is_integer and pool.y.shape.rank == 1:
        own, other = (tf.one_hot(ids, classes) for ids in (labels, partners))
        known = (labels >= 0) & (alone | (partners >= 0))
    else:
        own, other = (tf.cast(rows, tf.float32) for rows in (labels, partners))
        known = tf.ones_like(alone)
    return share * own + (1 - share) * other, known
