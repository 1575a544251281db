"""The record of an exported `.tflite` file."""

from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from keras_distill.records._base import Measured, Record
from keras_distill.records._precision import Metric, PrecisionRecord, QuantizationRule

Precision = Literal[
    "float32",
    "float16",
    "dynamic",
    "int8",
    "int16x8",
    "weight-only-int8",
    "weight-only-int4",
]

Verdict = Literal["passed", "failed", "not verified on data"]
RANDOM = "random"
"""`VerificationRecord.source` of rows that were drawn at random, which verify nothing."""


class TensorRecord(Record):
    """One input or output of the file.

    Attributes:
        name: The name in the file's signature, which is that of the Keras input or output.
        shape: The shape; None for a size that is not fixed.
        dtype: The NumPy name of the dtype.
        scale: Real value per quantization step, if quantized: real = scale · (q - zero_point).
        zero_point: The integer that represents 0.0, if quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class MeasureRecord(Record):
    """A metric of one output, for two models and for the file.

    Attributes:
        reference: The value for the reference.
        converted: The value for the converted model, if it is not the reference.
        file: The value for the file.
    """

    reference: Measured
    converted: Measured = None
    file: Measured


class WorstClass(Record):
    """The class whose score drops most from the reference to the file.

    Attributes:
        label: The class, or one of several labels.
        samples: Number of examples, or pixels, of the class.
        score_reference: Score of the reference: the recall of the class, its overlap for mIoU, or
            for one of several labels the fraction of rows in which it is correct.
        score: The same score of the file.
    """

    label: int
    samples: int
    score_reference: float
    score: float

    @property
    def drop(self) -> float:
        """The drop of the score, in points."""
        return 100 * (self.score_reference - self.score)


class OutputVerification(Record):
    """One output of a file, compared with the same output of two models.

    For an exported file, the converted model and the reference are the same model. For a compressed
    file, the converted model is the compressed model, and the reference is the given student.

    Attributes:
        name: Name of the output.
        max_difference: Largest |file - converted model|, in the units of the output.
        relative_difference: `max_difference` over the range (max - min) of the model's output.
        noise: Root mean square of the difference over the standard deviation of the model's output.
        limit: Maximum of `relative_difference` and `noise`; None if differences are not judged.
        agreement: Fraction of samples with the same largest entry as the reference; None for
            outputs with a single entry.
        accuracy_reference: Accuracy of the reference, 0..1, if the samples have labels.
        accuracy_converted: Accuracy of the converted model, if it is not the reference.
        accuracy: Accuracy of the file, 0..1, if the samples have labels.
        metric: The metric by which the file is judged: the accuracy, or one of `measures`.
        measures: Other metrics by name: "mIoU"; "R2" and "MAE"; "AUC"; for classes "ECE", the
            expected calibration error.
        worst_class: The class that loses most; None if the labels are not classes.
    """

    name: str
    max_difference: Measured
    relative_difference: Measured
    noise: Measured
    limit: float | None
    agreement: Measured = None
    accuracy_reference: Measured = None
    accuracy_converted: Measured = None
    accuracy: Measured = None
    metric: Metric = "accuracy"
    measures: dict[str, MeasureRecord] = Field(default={}, max_length=100)
    worst_class: WorstClass | None = None

    @property
    def judged(self) -> MeasureRecord:
        """The values of `metric`."""
        if self.metric == "accuracy":
            return MeasureRecord(
                reference=self.accuracy_reference,
                converted=self.accuracy_converted,
                file=self.accuracy,
            )
        return self.measures.get(self.metric, MeasureRecord(reference=None, file=None))

    @property
    def drop(self) -> float | None:
        """Loss of `metric` against the reference, in points; None if it was not measured."""
        values = self.judged
        if values.file is None or values.reference is None:
            return None
        return 100 * (values.reference - values.file)


def shown_score(metric: str, value: float | None) -> str:
    """Formats a score for messages and tables: fractions in percent, other metrics as numbers.

    Example:
        >>> shown_score("accuracy", 0.5), shown_score("AUC", 0.93219), shown_score("AUC", None)
        ('50.00%', '0.9322', '')
    """
    if value is None:
        return ""
    return f"{value:.2%}" if metric in ("accuracy", "mIoU") else f"{value:.4g}"


class VerificationRecord(Record):
    """The result of verifying a file.

    Attributes:
        verdict: "passed", "failed", or "not verified on data". The last means that no fault was
            found, but the rows are not the user's, have no labels although accuracy has to be
            kept, or are too few to show whether a loss is within `max_drop`.
        failures: Each failure, its amount, and what to try; empty unless the file failed.
        reference: Name of the model that the accuracy is compared with.
        samples: Number of samples.
        source: Origin of the samples: a data spec, "data given", "calibration", or "random".
        max_drop: Maximum loss of an output's metric, in points; None if no metric was measured.
        min_agreement: Minimum of `agreement` of each output; None if none was set.
        resolution: The loss caused by one more wrong label, in points; 0 for metrics without steps;
            None if no metric was measured.
        needed: Number of rows that would resolve a loss of `max_drop`; None if the rows suffice.
        outputs: One entry for each output.
    """

    verdict: Verdict
    failures: tuple[str, ...]
    reference: str
    samples: int
    source: str
    max_drop: float | None
    min_agreement: float | None = None
    resolution: Measured = None
    needed: int | None = None
    outputs: tuple[OutputVerification, ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.verdict == "failed") != bool(self.failures):
            raise ValueError("must have `failures` if and only if `verdict` is failed")
        if self.verdict == "passed" and self.source == RANDOM:
            raise ValueError("must have a `verdict` other than passed on random rows")
        return self

    @property
    def passed(self) -> bool:
        """Whether the file was verified on data, and passed."""
        return self.verdict == "passed"

    @property
    def worst(self) -> OutputVerification | None:
        """The output whose metric drops most; None if no metric was measured."""
        judged = [output for output in self.outputs if output.drop is not None]
        return max(judged, key=lambda output: output.drop or 0.0, default=None)

    @property
    def statement(self) -> str:
        """The verdict in one sentence, without a period."""
        if self.verdict == "failed":
            return f"failed verification: {'; '.join(self.failures)}"
        if self.too_few:
            return (
                f"too few examples to verify: {self.allowance}, and something was lost or"
                f" disagrees; give at least {self.needed:,} rows"
            )
        if self.verdict == "not verified on data":
            return "not verified on your data: give --data SPEC (in Python, data=)"
        rows = f"verified on {self.samples} rows ({self.source})"
        if self.worst is None or self.max_drop is None:
            return f"{rows}: outputs compared; accuracy was not measured (no labels)"
        metric, values = self.worst.metric, self.worst.judged
        file, reference = shown_score(metric, values.file), shown_score(metric, values.reference)
        return f"{rows}: {file} {metric}, {self.reference} {reference}; {self.allowance}"

    @property
    def allowance(self) -> str:
        """The allowed loss, and the resolution of the rows if they are too few, for messages."""
        text = f"a loss of up to {self.max_drop or 0:g} points is allowed"
        return text if self.needed is None else f"{text}, but {self._resolved}"

    @property
    def too_few(self) -> bool:
        """Whether the rows are too few for a verdict."""
        return self.verdict == "not verified on data" and self.needed is not None

    @property
    def _resolved(self) -> str:
        return f"{self.samples:,} rows resolve steps of {self.resolution or 0:.2g} points"

    def __str__(self) -> str:
        return self.statement


class CalibrationRecord(Record):
    """The rows that set the ranges of an integer file.

    Attributes:
        source: A data spec, or "data given".
        samples: Number of rows.
        ranges: Smallest and largest value by input.
    """

    source: str
    samples: int
    ranges: dict[str, tuple[float, float]]


class ProbabilityRecord(Record):
    """The temperature that was folded into the last layer to calibrate the probabilities.

    The expected calibration error before and after is in the `measures` of the verification.

    Attributes:
        temperature: The logits are divided by this number.
        source: Origin of the rows on which it was fitted.
        samples: Number of these rows.
    """

    temperature: float
    source: str
    samples: int


class ExportRecipe(Record):
    """The settings of the export.

    Attributes:
        quantization: The precision; for "mixed", see `rules`.
        rules: How single operators are quantized; the last rule that matches an operator applies.
        asked: The requested precision, if the converter failed on it and the file has another one.
        unrolled: Whether the loops of recurrent layers were unrolled.
        io: Input and output type of an integer file: "integer" or "float32".
        batch_size: Rows per call; None for any number.
        sparse: Whether the file is stored without its zeros.
        calibration: The calibration rows; None if the precision needs none.
    """

    quantization: Precision | Literal["mixed"]
    rules: tuple[QuantizationRule, ...] = Field(default=(), max_length=10_000)
    asked: Precision | None = None
    unrolled: bool = False
    io: Literal["integer", "float32"]
    batch_size: int | None
    sparse: bool
    calibration: CalibrationRecord | None = None


class ModelRecord(Record):
    """The model that was exported.

    Attributes:
        name: Name of the Keras model or of the SavedModel folder.
        parameters: Number of parameters; None for a SavedModel.
        fingerprint: The result of `models.fingerprint`; None for a SavedModel.
    """

    name: str
    parameters: int | None = None
    fingerprint: str | None = None


class ExportRecord(Record):
    """A `.tflite` file, how it was made, and the result of its verification.

    Attributes:
        file: Name of the file, in the folder of the record.
        bytes: Size of the file.
        gzip_bytes: Size compressed by gzip.
        sha256: Hash of the file.
        ops: Operators and their counts.
        inputs: Inputs of the file.
        outputs: Outputs of the file.
        model: The exported model.
        recipe: The settings of the export.
        verification: The result of the verification.
        precision: How the precision was chosen; None if it was given.
        probabilities: The temperature in the last layer; None if none was folded into it.
        class_names: Names of the classes, if known.
        preprocessing: Description of the preprocessing that the file applies to its raw input.
        warnings: Warnings given during the export.
        seconds: Duration of the conversion.
        versions: Versions of the packages involved.
        created: Time in UTC, ISO 8601.
    """

    file: str
    bytes: int
    gzip_bytes: int
    sha256: str
    ops: dict[str, int]
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    model: ModelRecord
    recipe: ExportRecipe
    verification: VerificationRecord
    precision: PrecisionRecord | None = None
    probabilities: ProbabilityRecord | None = None
    class_names: tuple[str, ...] = ()
    preprocessing: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float
    versions: dict[str, str]
    created: str

    def __repr__(self) -> str:
        """Returns the file, its precision and size, and the verdict."""
        made = f"{self.file}, {self.recipe.quantization}, {self.bytes:,} bytes"
        return f"<ExportRecord {made}: {self.verification.statement}>"

    __str__ = __repr__


class ExportSet(Record):
    """The result of exporting one model in several precisions.

    Attributes:
        exports: The records of the written files, by precision.
        rejected: The reasons why files failed verification, by precision.
        impossible: The reasons why the model does not support a precision, by precision.
    """

    exports: dict[str, ExportRecord] = Field(max_length=100)
    rejected: dict[str, str] = Field(max_length=100)
    impossible: dict[str, str] = Field(max_length=100)

    def summary(self) -> dict[str, Any]:
        """Returns "made", "rejected", or "impossible" by precision."""
        return {
            **dict.fromkeys(self.exports, "made"),
            **dict.fromkeys(self.rejected, "rejected"),
            **dict.fromkeys(self.impossible, "impossible"),
        }
