"""The record of an exported `.tflite` file."""

from typing import Any, Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record

Precision = Literal[
    "float32",
    "float16",
    "dynamic",
    "int8",
    "int16x8",
    "weight-only-int8",
    "weight-only-int4",
]


class TensorRecord(Record):
    """One input or output of the file.

    Attributes:
        name: The name in the file's signature, that of the Keras input or output.
        shape: The shape; None for a size that is not fixed.
        dtype: The dtype as NumPy names it.
        scale: Real value per step, if quantized: real = scale · (q - zero_point).
        zero_point: The integer that represents 0.0, if quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class OutputVerification(Record):
    """The difference of one output of the file to that of the Keras model.

    Attributes:
        name: Name of the output.
        max_difference: Largest |file - Keras|, in the units of the output.
        relative_difference: `max_difference` over the range (max - min) of Keras's output.
        noise: Root mean square of the difference over the standard deviation of Keras's output.
        limit: Maximum of `relative_difference` and `noise`.
        agreement: Share of samples with the same largest entry; None for a single entry.
        accuracy_keras: Accuracy of the Keras model, 0..1, if the samples have labels.
        accuracy: Accuracy of the file, 0..1, if the samples have labels.
    """

    name: str
    max_difference: Measured
    relative_difference: Measured
    noise: Measured
    limit: float
    agreement: Measured = None
    accuracy_keras: Measured = None
    accuracy: Measured = None


class VerificationRecord(Record):
    """The result of verifying a file.

    Attributes:
        passed: Whether the file passed.
        failures: Each failure, by how much, and what to try; empty if passed.
        samples: Number of samples.
        source: Origin of the samples: a data spec, "data given", "calibration", or "random".
        max_drop: Maximum loss of accuracy in points, if set.
        outputs: One entry for each output.
    """

    passed: bool
    failures: tuple[str, ...]
    samples: int
    source: str
    max_drop: float | None
    outputs: tuple[OutputVerification, ...]


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


class ExportRecipe(Record):
    """The settings that made the file.

    Attributes:
        quantization: The precision.
        io: Input and output type of an integer file: "integer" or "float32".
        batch_size: Rows per call; None: any number.
        sparse: Whether the file is stored without its zeros.
        calibration: The calibration rows; None if the precision needs none.
    """

    quantization: Precision
    io: Literal["integer", "float32"]
    batch_size: int | None
    sparse: bool
    calibration: CalibrationRecord | None = None


class ModelRecord(Record):
    """The model that was exported.

    Attributes:
        name: Name of the Keras model, or of the SavedModel folder.
        parameters: Number of parameters; None for a SavedModel.
        fingerprint: Fingerprint, see `models.fingerprint`; None for a SavedModel.
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
        class_names: Names of the classes, if known.
        preprocessing: Description of what the file does to its raw input first.
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
    class_names: tuple[str, ...] = ()
    preprocessing: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float
    versions: dict[str, str]
    created: str


class ExportSet(Record):
    """The result of exporting one model in several precisions.

    Attributes:
        exports: Records of the files that passed, by precision.
        rejected: Failures of the files that did not pass, by precision.
        impossible: Reasons why the model does not support a precision, by precision.
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
