"""The part of a recipe on data."""

from typing import Annotated

from pydantic import Field, field_validator

from keras_distill.records._base import Record

_Fraction = Annotated[float, Field(ge=0, le=1)]


class AugmentPart(Record):
    """Random changes of the images; see `keras_distill.data.Augmentation`.

    Attributes:
        crop: Largest shift in pixels along each axis.
        flip: Whether half of the images are mirrored left to right.
        rotate: Largest rotation in degrees.
        zoom: Largest relative change of size, below 1.
        shear: Largest shear in degrees.
        jitter: Largest relative change of brightness and of contrast, 0..1.
        erase: Share of images in which a rectangle is erased, 0..1.
        mixup: Share of images that are averaged with another one, 0..1.
        cutmix: Share of images that get a rectangle of another one; with `mixup` at most 1.
        seed: Seed of the changes.
    """

    crop: int = Field(default=0, ge=0, le=1 << 14)
    flip: bool = False
    rotate: float = Field(default=0.0, ge=0, le=180)
    zoom: float = Field(default=0.0, ge=0, le=0.9)
    shear: float = Field(default=0.0, ge=0, le=44)
    jitter: _Fraction = 0.0
    erase: _Fraction = 0.0
    mixup: _Fraction = 0.0
    cutmix: _Fraction = 0.0
    seed: int = Field(default=0, ge=0, lt=2**63)

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return any(value for name, value in self if name != "seed")


class DataPart(Record):
    """Where the examples come from, and how many of their labels the student may see.

    Attributes:
        source: A data spec: `digits`, `tfds:mnist`, `images:DIR`, …
        data_dir: Folder of prepared TFDS data sets; None: TFDS's own default.
        labels: Labels the student sees: a count (int), a share (0..1], or None for all. The teacher
            always sees all.
        omit_classes: Names or ids of classes whose examples the student does not see. The teacher
            sees them, and the student is tested on them.
        unlabeled: A second data spec; its training examples, without their labels, are added to
            those that the student learns from the teacher on.
        augment: Random changes of the training images, the same for all variants. Teacher and
            student see the same changes; see `distillation.views`.
    """

    source: str
    data_dir: str | None = Field(default=None, examples=["tensorflow_datasets"])
    labels: int | float | None = Field(default=None, examples=[0.1])
    omit_classes: tuple[int | str, ...] = Field(default=(), max_length=100_000)
    unlabeled: str | None = Field(default=None, examples=["images:more-photos"])
    augment: AugmentPart | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a count >= 1, or a share in 0..1 such as 0.1")
        return value

    @field_validator("labels")
    @classmethod
    def _count_or_share(cls, value: int | float | None) -> int | float | None:
        good = value is None or (value >= 1 if isinstance(value, int) else 0 < value <= 1)
        if not good:
            raise ValueError("must be a count >= 1, or a share in 0..1 such as 0.1")
        return value
