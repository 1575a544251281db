"""The parts of a recipe on the models: teacher and student."""

from keras_distill.records._base import Record
from keras_distill.records._recipe_data import AugmentPart
from keras_distill.records._training_settings import ClassifierChanges


class TeacherPart(ClassifierChanges):
    """The teacher, and how its training differs from the student's.

    Attributes:
        model: A model spec (trained by the run), or a `.keras` or `.tflite` file (used as it is).
        augment: Random changes of its training images; None: those of `data.augment`. Each epoch
            has new ones.
    """

    model: str
    augment: AugmentPart | None = None


class StudentPart(Record):
    """The student: a model spec or a `.keras` file."""

    model: str
