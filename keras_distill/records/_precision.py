"""The records of a precision chosen by measurement, and of the sensitivity of layers."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record

_MANY = 10_000

Metric = Literal["accuracy", "mIoU", "R2", "AUC"]
Outcome = Literal["chosen", "passed", "failed", "not supported"]


class QuantizationRule(Record):
    """How some operators are quantized; see `litert.Rule`.

    Attributes:
        kind: The precision, such as "int8", "weight-only-int4", or "float32".
        scopes: The names of the operators' outputs; None for all operators.
        operation: The kind of operator, such as "FULLY_CONNECTED"; None for all kinds.
        algorithm: The algorithm that finds the scales of weights.
    """

    kind: str
    scopes: tuple[str, ...] | None = None
    operation: str | None = None
    algorithm: str = "min-max"


class Sensitivity(Record):
    """The effect of quantizing one operator or a few neighbors, measured on calibration rows.

    Attributes:
        layers: The layers that the operators compute, as far as their names show.
        operations: The kinds of the operators, such as "CONV_2D".
        kind: How they are quantized, such as "int8" (weights and activations).
        noise: rms(file - float32) / std(float32) of the output that differs most.
        agreement: Fraction of rows with the same prediction; 1 for outputs with a single entry.
        bytes: Number of bytes by which the file becomes smaller.
    """

    layers: tuple[str, ...]
    operations: tuple[str, ...]
    kind: str
    noise: float
    agreement: float
    bytes: int


class PrecisionCandidate(Record):
    """A file that was tried.

    Attributes:
        name: The name in the table, such as "int8, 2 groups in float32 with int8 weights".
        family: The precision of most operators.
        rules: The rules for LiteRT Quantizer; empty for the TFLite converter.
        kept: Layers that are more precise than the others.
        outcome: "chosen", "passed", "failed", or "not supported".
        reasons: The reasons why the candidate failed or is not supported.
        on_front: Whether no other candidate is at least as good in bytes and drop, and better in
            one of them.
        bytes: Size of the file.
        score: The metric on the rows used for choosing.
        drop: Loss of the metric against the model on these rows, in points.
        worst_class_drop: Loss of the class that loses most on these rows, in points.
        agreement: Fraction of predictions on these rows that are equal to those of the model.
        latency_ms: Median of interleaved calls with one row; None if it was not measured.
        latency_ratio: The latency divided by that of the float32 file.
        judged_drop: Loss on the rows used for verification, in points; None if the file was not
            verified.
    """

    name: str
    family: str
    rules: tuple[QuantizationRule, ...] = Field(default=(), max_length=_MANY)
    kept: tuple[str, ...] = ()
    outcome: Outcome
    reasons: tuple[str, ...] = ()
    on_front: bool = False
    bytes: int | None = None
    score: Measured = None
    drop: Measured = None
    worst_class_drop: Measured = None
    agreement: Measured = None
    latency_ms: Measured = None
    latency_ratio: Measured = None
    judged_drop: Measured = None


class PrecisionRecord(Record):
    """The search for the smallest file that keeps its accuracy, with every file that was tried.

    Attributes:
        metric: The metric by which files are judged.
        reference: The metric of the model on the rows used for choosing.
        max_drop: Maximum loss, in points.
        max_bytes: Maximum size; None for any size.
        max_latency_ratio: Maximum latency relative to the float32 file; None for any latency.
        chosen: Name of the chosen candidate; None if no candidate passes.
        nearest: Name of the candidate that exceeds the limits least, if none passes.
        chosen_on: Origin of the rows used for choosing.
        chosen_on_rows: Number of these rows.
        judged_on: Origin of the rows on which the chosen file was verified.
        judged_on_rows: Number of these rows.
        candidates: The files, smallest first.
        sensitivity: The measurements behind mixed precision; empty if it was not tried.
        conversions: Number of files that were made, including those for the sensitivity.
        notes: What was not tried, with the reason.
    """

    metric: Metric
    reference: float
    max_drop: float
    max_bytes: int | None
    max_latency_ratio: float | None
    chosen: str | None
    nearest: str | None
    chosen_on: str
    chosen_on_rows: int
    judged_on: str
    judged_on_rows: int
    candidates: tuple[PrecisionCandidate, ...] = Field(max_length=_MANY)
    sensitivity: tuple[Sensitivity, ...] = Field(default=(), max_length=_MANY)
    conversions: int
    notes: tuple[str, ...] = ()


class CalibrationChoice(Record):
    """A calibration method for an int8 file, and its effect.

    Attributes:
        ranges: How ranges of activations are found: "min-max" or "moving-average" over the rows.
        weights: How scales of weights are found: "min-max", "OCTAV", or "MSE".
        corrected: Whether biases are corrected for the shift that rounded weights cause.
        noise: See `Sensitivity`; None if the method is not supported.
        agreement: See `Sensitivity`; None if the method is not supported.
        reason: The reason why the method is not supported.
    """

    ranges: str
    weights: str
    corrected: bool = False
    noise: Measured = None
    agreement: Measured = None
    reason: str = ""


class ExplainRecord(Record):
    """The effect of quantization on a model, layer by layer.

    Attributes:
        model: The name of the model.
        source: Origin of the calibration rows.
        rows: Number of calibration rows.
        operators: Number of operators of the float32 file.
        sensitivity: The groups of operators of each kind, most sensitive first.
        calibrations: The calibration methods, applied to the whole model in int8.
        versions: Versions of the packages involved.
        created: Time in UTC, ISO 8601.
    """

    model: str
    source: str
    rows: int
    operators: int
    sensitivity: tuple[Sensitivity, ...] = Field(max_length=_MANY)
    calibrations: tuple[CalibrationChoice, ...] = Field(default=(), max_length=100)
    versions: dict[str, str]
    created: str
