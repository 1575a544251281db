"""Deterministic augmentation: each view of an example is a pure function of its index.

The random numbers of a view depend only on (seed, sample index, view). A teacher and a student
therefore see the same pixels of view v of example i in any process, batch, or epoch ("patient and
consistent" teaching: Beyer et al. 2022, arXiv:2106.05237).

`tf.random.stateless_*` takes one seed per call, so examples with different seeds would need one
call each. A call takes 12 µs, as long as a small student trains on the example. Here a
counter-based generator of a few integer operations draws the numbers of a whole batch at once.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_count, check_number, did_you_mean
from keras_distill._internal._checks import MAX_INT
from keras_distill._internal._types import Tensor, TensorLike
from keras_distill.data._mixing import STREAMS as MIX_STREAMS
from keras_distill.data._mixing import Mixing, Pool, draw_mixing
from keras_distill.data._mixing import mixed as mix

_GOLDEN = 0x9E3779B97F4A7C15
# Each random number of an image has its own stream, so that turning one change on or off does not
# alter the others.
_STREAMS = (
    "dx", "dy", "flip", "angle", "zoom", "shear_x", "shear_y", "brightness", "contrast",
    "erase", "erase_area", "erase_aspect", "erase_x", "erase_y",
)  # fmt: skip


def _word(value: int) -> Tensor:
    return tf.constant(np.uint64(value % 2**64))


def _mix(z: Tensor) -> Tensor:
    """Applies the finalizer of SplitMix64 (Steele, Lea, Flood 2014, OOPSLA) to uint64 values."""
    shift, xor = tf.bitwise.right_shift, tf.bitwise.bitwise_xor
    z = xor(z, shift(z, _word(30))) * _word(0xBF58476D1CE4E5B9)
    z = xor(z, shift(z, _word(27))) * _word(0x94D049BB133111EB)
    return xor(z, shift(z, _word(31)))


def uniform(index: TensorLike, view: TensorLike, seed: int, streams: int) -> Tensor:
    """Computes random numbers in [0, 1), a pure function of (index, view, seed) and the column.

    Args:
        index: int `(B,)`, the indices of the examples in the unshuffled data set.
        view: int, scalar or `(B,)`.
        seed: An integer.
        streams: How many numbers to compute per example.

    Returns:
        float32 `(B, streams)`, multiples of 2⁻²⁴.

    Example:
        >>> one = uniform([7], 0, seed=1, streams=3)
        >>> many = uniform([5, 6, 7], 0, seed=1, streams=5)
        >>> bool(tf.reduce_all(one[0] == many[2, :3]))
        True
    """
    positions = tf.cast(index, tf.uint64)
    state = _mix(_word(seed) + _word(_GOLDEN))
    state = _mix(state + tf.cast(view, tf.uint64) * _word(_GOLDEN))
    state = _mix(state + (positions + _word(1)) * _word(_GOLDEN))
    columns = tf.cast(tf.range(1, streams + 1, dtype=tf.int64), tf.uint64)
    bits = _mix(state[:, None] + columns[None, :] * _word(_GOLDEN))
    top = tf.cast(tf.bitwise.right_shift(bits, _word(40)), tf.int32)
    return tf.cast(top, tf.float32) * 2.0**-24


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images `(H, W, C)`; serializable, with a fingerprint.

    Attributes:
        crop: Largest shift in pixels along each axis; the image is zero-padded and cropped to its
            size. Hinton 2015 uses 2 for MNIST; 4 is usual for CIFAR.
        flip: Whether half of the images are mirrored left to right.
        rotate: Largest rotation in degrees, in both directions, 0..180.
        zoom: Largest relative change of size, 0..0.9.
        shear: Largest shear of each axis in degrees, 0..44.
        jitter: Largest relative change of brightness (the mean of the image) and of contrast (the
            deviation from the mean), 0..1.
        erase: Fraction of images in which a rectangle of 2 to 33 % of the area is set to 0 (random
            erasing: Zhong et al. 2020, AAAI).
        seed: Seed of the random numbers, an integer >= 0.
        mixup: Fraction of images that are averaged with a partner, which is another example (see
            `_mixing`).
        cutmix: Fraction of images in which a rectangle is replaced by that of a partner. The sum
            of `mixup` and `cutmix` is at most 1.

    Raises:
        InputError: If a setting is invalid.

    Example:
        >>> augment = Augmentation(crop=2, flip=True, seed=3)
        >>> images = tf.reshape(tf.range(2 * 8 * 8), (2, 8, 8, 1))
        >>> first, again = (augment.apply(images, index=[0, 1], view=5) for _ in range(2))
        >>> bool(tf.reduce_all(first == again)), first.dtype.name
        (True, 'int32')
    """

    crop: int = 0
    flip: bool = False
    rotate: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    jitter: float = 0.0
    erase: float = 0.0
    seed: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        check_count("crop", self.crop, at_least=0)
        check_count("seed", self.seed, at_least=0, at_most=MAX_INT)
        if not isinstance(self.flip, bool):
            raise bad("flip", "be true or false", self.flip)
        for name, most in [
            ("rotate", 180),
            ("zoom", 0.9),
            ("shear", 44),
            ("jitter", 1),
            ("erase", 1),
            ("mixup", 1),
            ("cutmix", 1),
        ]:
            value = check_number(name, getattr(self, name), at_least=0, at_most=most)
            object.__setattr__(self, name, value)
        if self.mixup + self.cutmix > 1:
            both = (self.mixup, self.cutmix)
            raise bad("mixup", "be at most 1 together with cutmix", both)

    @property
    def mixes(self) -> bool:
        """Whether images and their labels are mixed with those of a second example."""
        return self.mixup + self.cutmix > 0

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Augmentation":
        """Creates an augmentation from the result of `settings`.

        Raises:
            InputError: If a key is unknown or a value is invalid.
        """
        unknown = sorted(set(settings) - {field.name for field in fields(cls)})
        if unknown:
            names = [field.name for field in fields(cls)]
            known, near = ", ".join(names), did_you_mean(unknown[0], names)
            raise InputError(f"Unknown augmentation {unknown[0]!r}. Known: {known}.{near}")
        return cls(**settings)

    def settings(self) -> dict[str, Any]:
        """Returns the settings as JSON values, without `mixup` and `cutmix` where they are 0."""
        settings = asdict(self)
        # Stores that were built before mixing was added do not have these settings.
        return {k: v for k, v in settings.items() if v or k not in ("mixup", "cutmix")}

    def fingerprint(self) -> str:
        """Computes the SHA-256 of the settings and of the version of the implementation."""
        text = json.dumps(["augmentation 1", self.settings()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Checks that examples of the given shape can be augmented.

        Args:
            shape: The shape of x without the batch axis; None for an unknown size.

        Raises:
            InputError: If the examples are not images, or are not larger than `crop`.
        """
        if len(shape) != 3:
            raise InputError(
                "An augmentation must be left out where the examples are not images (height,"
                f" width, channels). Received: examples of shape {tuple(shape)}"
            )
        sizes = [size for size in shape[:2] if size is not None]
        if sizes and self.crop >= min(sizes):  # some images would contain only zeros
            raise bad("crop", f"be less than the size of the images, {min(sizes)}", self.crop)

    def apply(
        self, x: TensorLike, index: TensorLike, view: TensorLike, pool: Pool | None = None
    ) -> Tensor:
        """Computes the view of a batch of images; works in a graph.

        Args:
            x: Images `(B, H, W, C)` of any real dtype. Integers are rounded and clipped to the
                range of their dtype.
            index: int `(B,)`, the indices of the images in the unshuffled data set.
            view: The number of the view: int, scalar or `(B,)`.
            pool: The examples from which partners are drawn; required if the augmentation mixes.

        Returns:
            Images of the same shape and dtype.

        Raises:
            InputError: If x is not a batch of images, the images are not larger than `crop`, or a
                required pool is missing.
        """
        return self.mixed(x, index, view, pool)[0]

    def mixed(
        self, x: TensorLike, index: TensorLike, view: TensorLike, pool: Pool | None = None
    ) -> tuple[Tensor, Mixing | None]:
        """Computes the view of a batch of images, and returns how they were mixed.

        Args:
            x: As for `apply`.
            index: As for `apply`.
            view: As for `apply`.
            pool: As for `apply`.

        Returns:
            The images, and the argument `mixing` of `mixed_labels` (None if the augmentation does
            not mix).

        Raises:
            InputError: As for `apply`.
        """
        if isinstance(x, dict | list | tuple) or len(tf.convert_to_tensor(x).shape) != 4:
            raise bad("x", "be images (H, W, C), for an augmentation", x)
        x = tf.convert_to_tensor(x)
        self.check_shape(tuple(x.shape[1:]))
        draw = self._draw(index, view)
        images = self._changed(x, draw)
        if not self.mixes:
            return tf.ensure_shape(_as_dtype(images, x.dtype), x.shape), None
        if pool is None:
            raise bad("pool", "be given for an augmentation with mixup or cutmix", pool)
        mixing = draw_mixing(draw, self.mixup, self.cutmix, pool, tf.shape(x))
        others = tf.gather(pool.x, mixing.partner)
        others = self._changed(others, self._draw(tf.gather(pool.index, mixing.partner), view))
        mixed = mix(tf.cast(images, tf.float32), tf.cast(others, tf.float32), mixing)
        return tf.ensure_shape(_as_dtype(mixed, x.dtype), x.shape), mixing

    def _draw(self, index: TensorLike, view: TensorLike) -> dict[str, Tensor]:
        names = _STREAMS + (MIX_STREAMS if self.mixes else ())
        draws = uniform(index, view, self.seed, len(names))
        return {name: draws[:, i] for i, name in enumerate(names)}

    def _changed(self, x: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Applies all changes except mixing."""
        images = self._moved(x, draw)
        if self.jitter:
            images = _jittered(images, self.jitter, draw)
        if self.erase:
            images = _erased(images, self.erase, draw)
        return images

    def _moved(self, x: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Applies crop, flip, rotation, zoom, and shear in one resampling."""
        bends = self.rotate or self.zoom or self.shear
        if not (bends or self.crop or self.flip):
            return x
        matrix = self._matrix(x, draw)
        # Crop and flip copy whole pixels exactly. Only rotation, zoom, and shear interpolate, in
        # float32.
        kind = tf.float32 if bends or not _resampled(x.dtype) else x.dtype
        size = tf.shape(x)[1:3]
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(x, kind),
            transforms=matrix,
            output_shape=size,
            fill_value=0.0,
            interpolation="BILINEAR" if bends else "NEAREST",
            fill_mode="CONSTANT",
        )

    def _matrix(self, x: Tensor, draw: dict[str, Tensor]) -> Tensor:
        """Computes transforms `(B, 8)` that map pixels of the result to pixels of the image."""
        height, width = (tf.cast(tf.shape(x)[axis] - 1, tf.float32) / 2 for axis in (1, 2))

        def between(name: str, most: float) -> Tensor:
            return (2 * draw[name] - 1) * most

        angle = between("angle", math.radians(self.rotate))
        grown = 1 / (1 + between("zoom", self.zoom))
        lean_x = tf.tan(between("shear_x", math.radians(self.shear)))
        lean_y = tf.tan(between("shear_y", math.radians(self.shear)))
        cos, sin = tf.cos(angle) * grown, tf.sin(angle) * grown
        mirror = tf.where(draw["flip"] < 0.5, -1.0, 1.0) if self.flip else tf.ones_like(cos)
        xx, xy = mirror * (cos - sin * lean_y), mirror * (cos * lean_x - sin)
        yx, yy = sin + cos * lean_y, sin * lean_x + cos
        dx = tf.floor(draw["dx"] * (2 * self.crop + 1)) - self.crop
        dy = tf.floor(draw["dy"] * (2 * self.crop + 1)) - self.crop
        x0 = width - xx * width - xy * height + dx
        y0 = height - yx * width - yy * height + dy
        none = tf.zeros_like(dx)
        return tf.stack([xx, xy, x0, yx, yy, y0, none, none], axis=1)


def _resampled(dtype: tf.DType) -> bool:
    """Returns whether `ImageProjectiveTransformV3` accepts the dtype."""
    return dtype in (tf.uint8, tf.int32, tf.int64, tf.float16, tf.float32, tf.float64)


def _per_image(value: Tensor) -> Tensor:
    return value[:, None, None, None]


def _jittered(images: Tensor, most: float, draw: dict[str, Tensor]) -> Tensor:
    images = tf.cast(images, tf.float32)
    bright = _per_image(1 + (2 * draw["brightness"] - 1) * most)
    contrast = _per_image(1 + (2 * draw["contrast"] - 1) * most)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * contrast + mean * bright


def _erased(images: Tensor, share: float, draw: dict[str, Tensor]) -> Tensor:
    size = tf.shape(images)
    height, width = (tf.cast(size[axis], tf.float32) for axis in (1, 2))
    area = (0.02 + 0.31 * draw["erase_area"]) * height * width
    aspect = tf.exp((2 * draw["erase_aspect"] - 1) * math.log(1 / 0.3))
    tall = tf.minimum(tf.round(tf.sqrt(area * aspect)), height)
    wide = tf.minimum(tf.round(tf.sqrt(area / aspect)), width)
    top = tf.floor(draw["erase_y"] * (height - tall + 1))
    left = tf.floor(draw["erase_x"] * (width - wide + 1))
    rows = tf.range(height)[None, :]
    columns = tf.range(width)[None, :]
    in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    gone = in_rows[:, :, None] & in_columns[:, None, :] & (draw["erase"] < share)[:, None, None]
    return tf.where(gone[..., None], tf.zeros_like(images), images)


def _as_dtype(images: Tensor, dtype: tf.DType) -> Tensor:
    if images.dtype == dtype:
        return images
    if dtype.is_integer:
        images = tf.clip_by_value(tf.round(images), float(dtype.min), float(dtype.max))
    return tf.cast(images, dtype)
