"""The predictions of a run's models on examples of the test split: `explore.json`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill.records._base import Record

Picked = Literal["disagreement", "uncertain", "spread"]
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]


class ReliabilityBin(Record):
    """The examples whose confidence lies in one bin.

    Attributes:
        examples: Number of examples.
        confidence: Mean of the largest probability.
        accuracy: Fraction of correct predictions.
    """

    examples: Annotated[int, Field(ge=1)]
    confidence: _Share
    accuracy: _Share


class ExploredModel(Record):
    """The predictions of one model on the whole test split.

    Attributes:
        name: `teacher`, `alone`, `distilled`, or `file`.
        title: Display name.
        correct: Number of correct predictions, by class.
        bins: Confidence bins of equal width, ascending; empty bins are left out.
        expected_calibration_error: Mean gap between confidence and accuracy over the bins, 0..1.
    """

    name: Literal["teacher", "alone", "distilled", "file"]
    title: str
    correct: tuple[_Count, ...]
    bins: tuple[ReliabilityBin, ...] = Field(max_length=100)
    expected_calibration_error: _Share


class Confusion(Record):
    """How often models predict another class for examples of one class.

    Attributes:
        label: The class of the examples.
        predicted: The predicted class.
        counts: Number of such examples, by model.
    """

    label: _Count
    predicted: _Count
    counts: tuple[_Count, ...]


class ExploredExample(Record):
    """One example of the test split.

    Attributes:
        index: The position of the example in the split.
        label: The class of the example.
        picked: The reason for picking it: teacher and student disagree, the teacher is uncertain,
            or it is one of the examples spread evenly over the split.
        logits: Logits by model, relative to the largest logit.
        image: A PNG in base64; None if the data are not images.
        values: The values of a signal or of a table row; None for other data.
    """

    index: _Count
    label: _Count
    picked: Picked
    logits: tuple[tuple[float, ...], ...]
    image: str | None = None
    values: tuple[float, ...] | None = Field(default=None, max_length=1000)


class ExploreRecord(Record):
    """The predictions of teacher, student, and file on the test split, for the report page.

    Attributes:
        class_names: Names of the classes.
        class_examples: Number of labeled examples of the test split, by class.
        models: The models; lists "by model" are in this order.
        confusions: The most frequent confusions, and those that differ most between models.
        examples: A limited number of examples.
    """

    indent: ClassVar[int | None] = None

    class_names: tuple[str, ...] = Field(min_length=2)
    class_examples: tuple[_Count, ...]
    models: tuple[ExploredModel, ...] = Field(min_length=2, max_length=4)
    confusions: tuple[Confusion, ...] = Field(max_length=10_000)
    examples: tuple[ExploredExample, ...] = Field(max_length=1000)

    def check(self) -> None:
        """Checks that the values are consistent with each other; see `Record.check`."""
        classes, models = len(self.class_names), len(self.models)
        if len({model.name for model in self.models}) < models:
            raise InputError("`models` must have different names.")
        by_class = [self.class_examples, *(model.correct for model in self.models)]
        by_model = [item.counts for item in self.confusions]
        by_model += [item.logits for item in self.examples]
        rows = [row for item in self.examples for row in item.logits]
        ids = [item.label for item in (*self.confusions, *self.examples)]
        ids += [item.predicted for item in self.confusions]
        if any(len(values) != classes for values in (*by_class, *rows)):
            raise InputError(f"Lists by class must have {classes} entries.")
        if any(len(values) != models for values in by_model):
            raise InputError(f"Lists by model must have {models} entries.")
        if any(number >= classes for number in ids):
            raise InputError(f"Class ids must be below {classes}.")

    def model(self, name: str) -> ExploredModel | None:
        """Returns the model with the given name; None if the record does not have it."""
        return next((model for model in self.models if model.name == name), None)
