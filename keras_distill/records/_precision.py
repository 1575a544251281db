"""The record of a precision that was chosen by measurement, and of how sensitive layers are."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record

_MANY = 10_000

Metric = Literal["accuracy", "mIoU", "R2", "AUC"]
Outcome = Literal["chosen", "passed", "failed", "not supported"]


class QuantizationRule(Record):
    """How some operators are quantized; see `litert.Rule`.

    Attributes:
        kind: Their precision: "int8", "weight-only-int4", "float32".
        scopes: The names of their outputs; None: all operators.
        operation: Their kind: "FULLY_CONNECTED"; None: all.
        algorithm: How the scale of weights is found.
    """

    kind: str
    scopes: tuple[str, ...] | None = None
    operation: str | None = None
    algorithm: str = "min-max"


class Sensitivity(Record):
    """The effect on the outputs of quantizing one operator or a few neighbors (calibration rows).

    Attributes:
        layers: The layers that it computes, as far as names show.
        operations: The operators: "CONV_2D".
        kind: How it is quantized: "int8" (weights and activations), "weight-only-int4".
        noise: rms(file - float32) / std(float32), of the output that differs most.
        agreement: Share of rows with the same prediction; 1 for outputs of one entry.
        bytes: By how much the file gets smaller.
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
        name: Its name in the table: "int8, 2 operators of int8 weights".
        family: The precision of most of its operators.
        rules: What LiteRT Quantizer was given; empty for the TFLite converter.
        kept: Layers that are more precise than the others.
        outcome: "chosen", "passed", "failed", or "not supported".
        reasons: Why it failed, or is not supported.
        on_front: Whether no other candidate is at least as good in bytes and drop, and better in
            one of them.
        bytes: Size of the file.
        score: Its metric on the rows that choose.
        drop: Loss of the metric there against the model, in points.
        worst_class_drop: Loss of the class that loses most there, in points.
        agreement: Share of predictions there that are those of the model.
        latency_ms: Median of calls of one row, taking turns; None: not measured.
        latency_ratio: Over that of the float32 file.
        judged_drop: Loss on the rows that judge, in points; None: it was not judged.
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
    """Every file that was tried to find the smallest that keeps its accuracy.

    Attributes:
        metric: What files are judged by.
        reference: The metric of the model on the rows that choose.
        max_drop: Maximum loss, in points.
        max_bytes: Maximum size; None: any.
        max_latency_ratio: Maximum latency over that of the float32 file; None: any.
        chosen: Name of the chosen candidate; None: no candidate passes.
        nearest: Name of the candidate that misses the limits least, if none passes.
        chosen_on: Origin of the rows that chose.
        chosen_on_rows: Their number.
        judged_on: Origin of the rows on which the chosen file was verified.
        judged_on_rows: Their number.
        candidates: The files, smallest first.
        sensitivity: What mixed precision was based on; empty if it was not tried.
        conversions: Number of files that were made, those for the sensitivity included.
        notes: What was not tried, and why.
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
    """A way to find the scales of an int8 file.

    Attributes:
        ranges: How ranges of activations are found: "min-max" or "moving-average" over the rows.
        weights: How scales of weights are found: "min-max", "OCTAV", "MSE".
        corrected: Whether biases are corrected for the shift that rounded weights cause.
        noise: See `Sensitivity`; None if it is not supported.
        agreement: See `Sensitivity`.
        reason: Why it is not supported.
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
        model: Its name.
        source: Origin of the calibration rows.
        rows: Their number.
        operators: Number of operators of the float32 file.
        sensitivity: The groups of operators, most sensitive first, each kind apart.
        calibrations: The ways to find scales, on the whole model in int8.
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
