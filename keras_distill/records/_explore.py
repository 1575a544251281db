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
        examples: Number of them.
        confidence: Mean of the largest probability.
        accuracy: Share of right predictions.
    """

    examples: Annotated[int, Field(ge=1)]
    confidence: _Share
    accuracy: _Share


class ExploredModel(Record):
    """One model on the whole test split.

    Attributes:
        name: `teacher`, `alone`, `distilled`, or `file`.
        title: Its name for people.
        correct: Right predictions by class.
        bins: Bins of equal width of the confidence, ascending; empty bins are left out.
        expected_calibration_error: Mean gap between confidence and accuracy over the bins, 0..1.
    """

    name: Literal["teacher", "alone", "distilled", "file"]
    title: str
    correct: tuple[_Count, ...]
    bins: tuple[ReliabilityBin, ...] = Field(max_length=100)
    expected_calibration_error: _Share


class Confusion(Record):
    """How often examples of one class are taken for another.

    Attributes:
        label: The class.
        predicted: The other class.
        counts: Examples, by model.
    """

    label: _Count
    predicted: _Count
    counts: tuple[_Count, ...]


class ExploredExample(Record):
    """One example of the test split.

    Attributes:
        index: Its number in the split.
        label: Its class.
        picked: Why it was picked: teacher and student disagree, the teacher is uncertain, or it is
            one of those spread evenly over the split.
        logits: Logits by model.
        image: A PNG in base64; None if the data are not images.
        values: The values of a signal or of a row of a table; None if it is not one.
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
        class_examples: Examples of the test split by class.
        models: The models; lists "by model" are in this order.
        confusions: The most frequent confusions, and those that changed most from model to model.
        examples: A bounded number of examples.
    """

    indent: ClassVar[int | None] = None

    class_names: tuple[str, ...] = Field(min_length=2)
    class_examples: tuple[_Count, ...]
    models: tuple[ExploredModel, ...] = Field(min_length=2, max_length=4)
    confusions: tuple[Confusion, ...] = Field(max_length=10_000)
    examples: tuple[ExploredExample, ...] = Field(max_length=1000)

    def check(self) -> None:
        """Compares the values with each other; see `Record.check`."""
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
        """Returns the model of that name; None if it was not explored."""
        return next((model for model in self.models if model.name == name), None)
