"""The parts of a recipe that describe the models: teacher, assistants, and student."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from keras_distill.records._base import Record
from keras_distill.records._recipe_data import AugmentPart
from keras_distill.records._training_settings import ClassifierChanges, Count

_MAX_MEMBERS = 1000
_MAX_CLASSES = 1 << 20
_CLASSES = (
    "must be a list of the teacher's classes (ids, names, or lists of these to sum), one for each"
    " of the student's; a table by the student's class names; a file; or \"names\""
)


class TeacherPart(ClassifierChanges):
    """The teacher, and how its training differs from the student's.

    Attributes:
        model: The teacher; a list makes an ensemble. A model spec is trained by the run. A `.keras`
            or `.tflite` file and the folder of a SavedModel, an ensemble, or specialists are used
            without training. The function of `py:package.module:function` returns a Keras model, or
            a function from a NumPy batch to logits. A store of soft targets
            (`keras-distill targets build`) replaces the teacher.
        members: Number of networks to train from one model spec with different initial weights.
            Their ensemble is the teacher.
        mean: Mean of an ensemble: `geometric`, or `arithmetic` at `distillation.temperature`.
        augment: Random changes of the teacher's training images, different in each epoch. By
            default, those of `data.augment`.
        source: The data spec on which the teacher is trained; by default, that of the student.
        classes: The teacher's classes that make up each class of the student: a list of ids or
            names in the order of the student's classes (the classes in an inner list are summed), a
            table by the student's class names, a file with one of these, or `names` (classes of the
            same name). By default, teacher and student have the same classes.
        class_names: Names of the teacher's classes: a list, or a file with one name per line. By
            default, those of `source`.
        preprocess: `py:package.module:function`, a function that converts a batch of the student's
            inputs to the teacher's with TensorFlow operations.
        from_probabilities: Whether a file or function returns probabilities instead of logits, if
            its graph does not show it: true, false, `softmax`, or `sigmoid`. By default, outputs
            that look like probabilities are an error.
        threads: Number of threads for a `.tflite` file.
    """

    model: str | tuple[str, ...] = Field(examples=["resnet:20"])
    members: int = Field(default=1, ge=1, le=_MAX_MEMBERS)
    mean: Literal["geometric", "arithmetic"] = "geometric"
    augment: AugmentPart | None = None
    source: str | None = Field(default=None, examples=["tfds:cifar100"])
    classes: Any = Field(default=None, examples=[["cat", ["oak", "elm"], 7]])
    class_names: str | tuple[str, ...] | None = Field(default=None, examples=["names.txt"])
    preprocess: str | None = Field(default=None, examples=["py:my_code:resize"])
    from_probabilities: bool | Literal["softmax", "sigmoid"] | None = Field(
        default=None, examples=[True]
    )
    threads: Count | None = Field(default=None, examples=[2])

    @field_validator("model", "class_names", mode="before")
    @classmethod
    def _text_or_list(cls, value: Any) -> Any:
        good = isinstance(value, str) or (
            isinstance(value, list | tuple)
            and 0 < len(value) <= _MAX_CLASSES
            and all(isinstance(part, str) for part in value)
        )
        if value is not None and not good:
            raise ValueError("must be a string, or a list of one or more strings")
        return tuple(value) if isinstance(value, list) else value

    @field_validator("classes")
    @classmethod
    def _map(cls, value: Any) -> Any:
        entries = value.values() if isinstance(value, dict) else value
        if value is None or isinstance(value, str):
            return value
        if not isinstance(entries, list | tuple | type({}.values())) or not entries:
            raise ValueError(_CLASSES)
        for entry in entries:
            for part in entry if isinstance(entry, list | tuple) else [entry]:
                if isinstance(part, bool) or not isinstance(part, int | str):
                    raise ValueError(_CLASSES)
        return value

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.members > 1 and len(self.models) > 1:
            raise ValueError("must have one `model` with `members`. Give a list, or a number")
        if self.mean == "arithmetic" and len(self.models) * self.members == 1:
            raise ValueError("must have several `model`s, or `members`, with `mean`")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The sources of the teacher: one, or several for an ensemble."""
        return (self.model,) if isinstance(self.model, str) else self.model

    def __str__(self) -> str:
        text = ", ".join(self.models)
        return text if self.members == 1 else f"{self.members} x {text}"


class AssistantPart(ClassifierChanges):
    """A teacher assistant: it is distilled from the teacher and then replaces it.

    With several assistants, each learns from the one before it. Source: Mirzadeh, Farajtabar, Li,
    Levine, Matsukawa, Ghasemzadeh 2020 (arXiv:1902.03393).

    Attributes:
        model: A model spec or a `.keras` file, with a size between those of teacher and student.
    """

    model: str = Field(examples=["resnet:14"])


class StudentPart(Record):
    """The student.

    Attributes:
        model: A model spec, a `.keras` file, a narrower copy of the teacher such as `shrink:0.5`,
            `auto` (with `budget`), or `py:package.module:function`, whose function takes
            `input_shape` and `num_classes` and returns a Keras model.
        pretrained: A `.keras` or `.weights.h5` file with initial weights for the layers that have
            the same name and shapes. The other layers are initialized by seed.
    """

    model: str
    pretrained: str | None = Field(default=None, examples=["pretrained.keras"])
