"""Verifies a file: compares its outputs with those of the model.

Differences are relative to the variation of the reference output, so that the same limit can be
used for logits of any range and for probabilities:

    relative = max |file - model| / (max model - min model)
    noise    = rms(file - model) / std(model)

over all samples and entries of an output. A file with wrong values has a noise of about 1 or more.

With few labels, a small loss of accuracy is not visible: one of 20 labels is 5 points. If one label
is more than the allowed loss, a file passes only if it loses no label and makes the same
predictions.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_distill._internal._types import Array
from keras_distill.export import _metric
from keras_distill.metrics import Truth
from keras_distill.records import OutputVerification, Verdict, VerificationRecord, shown_score

KERAS = "Keras"
"""Name of the model that an exported file was converted from."""
MAX_DROP = 1.0
"""Maximum loss of accuracy in points, where none is set."""

# Maximum of `relative` and `noise` by precision.
LIMITS = {
    "float32": 0.001,
    "float16": 0.01,
    "dynamic": 0.15,
    "int8": 0.35,
    "int16x8": 0.15,
    "weight-only-int8": 0.15,
    "weight-only-int4": 0.5,
}

_ADVICE = {
    "float32": "the converter gets an operation of the model wrong; do not call Keras's"
    " model.quantize before, and report the layer",
    "float16": "weights may exceed the float16 range of 65504; use float32",
    "dynamic": "use float16",
    "int8": "calibrate on more, typical rows; use int16x8 or dynamic; or train with"
    " quantization-aware training",
    "int16x8": "calibrate on more, typical rows; use dynamic or float16",
    "weight-only-int8": "use float16",
    "weight-only-int4": "use weight-only-int8",
}
_OF_COMPRESSION = (
    "prune less, keep more values, or train for more epochs (recover, --recover, tries both), or"
    " allow the loss (max_drop, --max-drop)"
)


def difference(reference: Array, produced: Array) -> tuple[float, float, float]:
    """Returns the largest absolute difference, `relative`, and `noise` (see the module).

    Args:
        reference: Output of the Keras model, finite.
        produced: Output of the file, of the same shape.

    Example:
        >>> difference(np.array([[0.0, 4.0]]), np.array([[0.0, 3.0]]))
        (1.0, 0.25, 0.3535533905932738)
    """
    reference, produced = np.asarray(reference, np.float64), np.asarray(produced, np.float64)
    d = np.abs(produced - reference)
    # The difference of a constant output is relative to its magnitude.
    size = float(np.abs(reference).max()) or 1.0
    span = float(np.ptp(reference)) or size
    deviation = float(reference.std()) or size
    return float(d.max()), float(d.max() / span), float(np.sqrt((d**2).mean()) / deviation)


class Rule(NamedTuple):
    """The conditions under which a file passes.

    Attributes:
        limit: Maximum of `relative` and `noise` of each output. If None, differences are not
            judged.
        max_drop: Maximum loss of an output's metric, in percentage points. If None, `MAX_DROP`, and
            a larger loss caused by a single label is not a failure.
        advice: What to try if differences are too large.
        accuracy_advice: What to try if too much accuracy is lost. If None, `advice`.
        min_agreement: Minimum fraction of predictions that are equal to those of the reference. If
            None, agreement is not judged.
    """

    limit: float | None
    max_drop: float | None
    advice: str
    accuracy_advice: str | None = None
    min_agreement: float | None = None

    @classmethod
    def of_precision(
        cls,
        quantization: str,
        *,
        limit: float | None = None,
        max_drop: float | None = None,
        min_agreement: float | None = None,
        compressed: bool = False,
    ) -> "Rule":
        """Returns the rule of a precision.

        Args:
            quantization: The precision.
            limit: Maximum difference, instead of `LIMITS[quantization]`.
            max_drop: See the class.
            min_agreement: See the class.
            compressed: Whether accuracy may already have been lost before the conversion.
        """
        limit = LIMITS[quantization] if limit is None else limit
        lost = _OF_COMPRESSION if compressed else None
        return cls(limit, max_drop, _ADVICE[quantization], lost, min_agreement)


def default_max_drop(truths: Iterable[Truth]) -> float:
    """Returns the default of the allowed loss: `MAX_DROP`, or one label if that is more.

    Example:
        >>> from keras_distill.metrics import truth_of
        >>> [default_max_drop([truth_of(np.zeros(n, int), np.zeros((n, 2)))]) for n in (1000, 50)]
        [1.0, 2.0]
    """
    return max([MAX_DROP, *(truth.step for truth in truths)])


def judge(
    converted: Mapping[str, Array],
    produced: Mapping[str, Array],
    rule: Rule,
    *,
    name: str = KERAS,
    reference: Mapping[str, Array] | None = None,
    reference_name: str | None = None,
    truths: Mapping[str, Truth] | None = None,
    source: str,
    on_data: bool = True,
) -> VerificationRecord:
    """Compares the outputs of a file with those of its model.

    Args:
        converted: Outputs by name, `(n, …)`, of the model that was converted. Differences are
            measured from these outputs.
        produced: Outputs of the file by name.
        rule: The conditions under which the file passes.
        name: Name of the converted model.
        reference: Outputs by name of the model from which the loss of accuracy is measured. If
            None, `converted`.
        reference_name: Name of that model. If None, `name`.
        truths: Labels by output, see `truths_by_output`.
        source: Origin of the samples.
        on_data: Whether the samples come from the user and suffice for a verdict.
    """
    outputs: list[OutputVerification] = []
    failures: list[str] = []
    for key, expected in converted.items():
        own, truth = (reference or converted)[key], (truths or {}).get(key)
        output, wrong = _compare(key, expected, produced[key], rule, own, truth)
        outputs.append(output)
        if wrong:
            failures.append(wrong)
        else:
            failures += [*_too_far(output, rule, name), *_too_wrong(output, rule, truth)]
            failures += _too_different(output, rule)
    allowed = MAX_DROP if rule.max_drop is None else rule.max_drop
    coarse = {key: t for key, t in (truths or {}).items() if t.step > (allowed or MAX_DROP) + 1e-9}
    enough = not any(_differs(output) for output in outputs if output.name in coarse)
    verdict: Verdict = "passed" if on_data and enough else "not verified on data"
    return VerificationRecord(
        verdict="failed" if failures else verdict,
        failures=tuple(failures),
        reference=reference_name or name,
        samples=len(next(iter(converted.values()))),
        source=source,
        max_drop=allowed if truths else None,
        min_agreement=rule.min_agreement,
        resolution=max((t.step for t in truths.values()), default=None) if truths else None,
        needed=max((t.rows_for(allowed or MAX_DROP) for t in coarse.values()), default=None),
        outputs=tuple(outputs),
    )


def _compare(
    name: str, expected: Array, got: Array, rule: Rule, reference: Array, truth: Truth | None
) -> tuple[OutputVerification, str]:
    """Returns the measurements of one output, and a reason if it cannot be judged."""
    wrong = ""
    if got.shape != expected.shape:
        wrong = f"output {name!r} has shape {got.shape}, not {expected.shape}"
    elif not np.isfinite(got).all():
        wrong = f"output {name!r} is not finite; {rule.advice}"
    if wrong:
        nothing = dict.fromkeys(("max_difference", "relative_difference", "noise"))
        return OutputVerification(name=name, limit=rule.limit, **nothing), wrong
    largest, relative, noise = difference(expected, got)
    scores: dict[str, Any] = {}
    if truth is not None:
        converted = None if reference is expected else expected
        scores["metric"] = truth.metric
        scores["accuracy_reference"] = truth.accuracy(reference)
        scores["accuracy"] = truth.accuracy(got)
        if converted is not None:
            scores["accuracy_converted"] = truth.accuracy(converted)
        scores["measures"] = _metric.measures(truth, reference, converted, got)
        scores["worst_class"] = _metric.worst_class(truth, reference, got)
    output = OutputVerification(
        name=name,
        max_difference=largest,
        relative_difference=relative,
        noise=noise,
        limit=rule.limit,
        agreement=_metric.agreement(reference, got, truth),
        **scores,
    )
    return output, ""


def _too_far(output: OutputVerification, rule: Rule, model: str) -> list[str]:
    relative, noise = output.relative_difference, output.noise
    largest, limit = output.max_difference, rule.limit
    if limit is None or largest is None or relative is None or noise is None:
        return []
    if relative <= limit and noise <= limit:
        return []
    return [
        f"output {output.name!r} differs from {model} by up to {largest:.3g}, {relative:.1%} of"
        f" its range (noise {noise:.1%}; limit {limit:.1%}); {rule.advice}"
    ]


def _too_wrong(output: OutputVerification, rule: Rule, truth: Truth | None) -> list[str]:
    metric, drop = output.metric, output.drop
    if truth is None or drop is None:
        return []
    limit = default_max_drop([truth]) if rule.max_drop is None else rule.max_drop
    if drop <= limit + 1e-9:
        return []
    before = shown_score(metric, output.judged.reference)
    after = shown_score(metric, output.judged.file)
    return [
        f"{metric} falls by {drop:.2f} points, from {before} to {after} (output"
        f" {output.name!r}; limit {limit:.3g});"
        f" {rule.accuracy_advice or rule.advice}"
    ]


def _too_different(output: OutputVerification, rule: Rule) -> list[str]:
    least, found = rule.min_agreement, output.agreement
    if least is None or (found is not None and found >= least - 1e-9):
        return []
    if found is None:
        return [f"output {output.name!r} has no classes, on which it could agree (min_agreement)"]
    return [
        f"output {output.name!r} agrees on {found:.2%} of the predictions; at least {least:.2%} are"
        f" asked for; {rule.accuracy_advice or rule.advice}"
    ]


def _differs(output: OutputVerification) -> bool:
    """Returns whether a file loses accuracy, or predicts another class than the reference."""
    return (output.drop or 0.0) > 0 or (output.agreement is not None and output.agreement < 1)
