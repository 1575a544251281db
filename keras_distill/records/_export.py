"""What is written beside an exported `.tflite` file."""

from typing import Any, Literal

from keras_distill.records._base import Record

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
        name: Its name in the file's signature; the Keras input's or output's own.
        shape: Sizes; None where open.
        dtype: As NumPy names it.
        scale: Real value per step, if quantized: real = scale · (q - zero_point).
        zero_point: The integer that stands for 0.0, if quantized.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class OutputVerification(Record):
    """How near one output of the file is to Keras's, over the verification's samples.

    Attributes:
        name: The output.
        max_difference: Largest |file - Keras|, in the output's own units.
        relative_difference: That over the range (max - min) of Keras's output.
        noise: Root mean square of the difference over the standard deviation of Keras's output.
        limit: The most that `relative_difference` and `noise` may be.
        agreement: Share of samples on which both have the same largest entry; None: one entry.
        accuracy_keras: Share that the Keras model gets right, 0..1, if the samples have labels.
        accuracy: Share that the file gets right, likewise.
    """

    name: str
    max_difference: float | None
    relative_difference: float | None
    noise: float | None
    limit: float
    agreement: float | None = None
    accuracy_keras: float | None = None
    accuracy: float | None = None


class VerificationRecord(Record):
    """The verdict on a file.

    Attributes:
        passed: Whether all rules held.
        failures: What did not hold, by how much, and what to try; empty if passed.
        samples: Number of samples it was judged on.
        source: Where they came from: a data spec, "data given", "calibration", "random".
        max_drop: The most accuracy points the file was allowed to lose, if asked.
        outputs: One entry for each output.
    """

    passed: bool
    failures: tuple[str, ...]
    samples: int
    source: str
    max_drop: float | None
    outputs: tuple[OutputVerification, ...]


class CalibrationRecord(Record):
    """What the ranges of an integer file were measured on.

    Attributes:
        source: A data spec, or "data given".
        samples: Their number.
        ranges: Smallest and largest value by input.
    """

    source: str
    samples: int
    ranges: dict[str, tuple[float, float]]


class ExportRecipe(Record):
    """The settings that made the file.

    Attributes:
        quantization: The precision.
        io: "integer" or "float32": what an integer file takes and gives.
        batch_size: Rows per call; None: open.
        sparse: Whether zeros are left out of the file.
        calibration: What the ranges were measured on; None where none are needed.
    """

    quantization: Precision
    io: Literal["integer", "float32"]
    batch_size: int | None
    sparse: bool
    calibration: CalibrationRecord | None = None


class ModelRecord(Record):
    """The model that the file was made of.

    Attributes:
        name: Its Keras name, or the folder's.
        parameters: Number of weights; None for a SavedModel.
        fingerprint: SHA-256 of its weights; None for a SavedModel.
    """

    name: str
    parameters: int | None = None
    fingerprint: str | None = None


class ExportRecord(Record):
    """A `.tflite` file, how it was made, and what the verification found.

    Attributes:
        file: Its name; the record stands beside it.
        bytes: Its size.
        gzip_bytes: Its size compressed by gzip.
        sha256: Its hash.
        ops: Its operators and their counts.
        inputs: Its inputs.
        outputs: Its outputs.
        model: What it was made of.
        recipe: The settings that made it.
        verification: The verdict.
        class_names: Names of the classes, if known.
        preprocessing: What the file does to its input first, in words; a caller feeds raw values.
        warnings: What was said on the way.
        seconds: What the conversion took.
        versions: Of the packages involved.
        created: UTC, ISO 8601.
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
    """What came of asking for several precisions of one model.

    Attributes:
        exports: The files that stand, by precision.
        rejected: By precision: what the verification found; the file is not kept unless asked.
        impossible: By precision: why this model cannot be had in it.
    """

    exports: dict[str, ExportRecord]
    rejected: dict[str, str]
    impossible: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """One word by precision: "made", "rejected" or "impossible"."""
        return {
            **dict.fromkeys(self.exports, "made"),
            **dict.fromkeys(self.rejected, "rejected"),
            **dict.fromkeys(self.impossible, "impossible"),
        }
