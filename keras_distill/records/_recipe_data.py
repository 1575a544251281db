"""The part of a recipe that describes the data."""

from typing import Annotated

from pydantic import Field, field_validator

from keras_distill.records._base import Record

_Fraction = Annotated[float, Field(ge=0, le=1)]


class AugmentPart(Record):
    """Random changes of the images; see `keras_distill.data.Augmentation`.

    Attributes:
        crop: Largest shift in pixels along each axis.
        flip: Whether half of the images are mirrored left to right.
        rotate: Largest rotation in degrees, in both directions, 0..180.
        zoom: Largest relative change of size, 0..0.9.
        shear: Largest shear of each axis in degrees, 0..44.
        jitter: Largest relative change of brightness and of contrast, 0..1.
        erase: Fraction of images in which a rectangle is set to 0, 0..1.
        mixup: Fraction of images that are averaged with another image, 0..1.
        cutmix: Fraction of images in which a rectangle is replaced by that of another image, 0..1.
            The sum of `mixup` and `cutmix` is at most 1.
        seed: Seed of the random changes.
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
        """Whether the settings change anything."""
        return any(value for name, value in self if name != "seed")


class DataPart(Record):
    """The source of the examples, and the part of them that the student sees.

    Attributes:
        source: A data spec, such as `digits`, `tfds:mnist`, or `images:DIR`.
        data_dir: Folder of prepared TFDS data sets. By default, the environment variable
            TFDS_DATA_DIR or, if it is not set, the default folder of TFDS.
        labels: Labels that the student sees: a count (an integer >= 1) or a fraction (above 0, at
            most 1, such as 0.1). By default, all labels. A teacher that the run trains always sees
            all labels.
        omit_classes: Names or ids of classes whose examples the student does not see. The teacher
            sees them, and the student is tested on them.
        unlabeled: A second data spec. The student also learns from the teacher on its training
            examples, without their labels.
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
