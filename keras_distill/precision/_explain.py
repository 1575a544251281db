"""Explains the effect of quantization on a model, by layer and by calibration method."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

from keras_distill._internal import InputError, _machine
from keras_distill.export import ExportOptions, Session, prepare, resolve
from keras_distill.litert import RANGES, Quantizer, Rule
from keras_distill.precision._recipes import INT4, INT8, octav
from keras_distill.precision._sensitivity import measure_sensitivity
from keras_distill.records import CalibrationChoice, ExplainRecord

_WEIGHTS = ("min-max", "OCTAV", "MSE")


def explain(
    model: Any, *, progress: Callable[[str], None] | None = None, **options: Any
) -> ExplainRecord:
    """Measures how much the outputs change if only some operators are quantized.

    Each group of operators is measured in int8 (weights and activations) and with int4 weights. The
    whole model in int8 is also measured with every method to determine ranges of activations and
    scales of weights: minimum and maximum, a moving average of them, OCTAV (Sakr et al. 2022,
    arXiv:2206.06501: clips where the mean squared error is smallest), and a search by the mean
    squared error. Each method is measured with and without bias correction (Nagel et al. 2019,
    arXiv:1906.04721).

    Args:
        model: See `export_tflite`.
        progress: Function that receives lines of progress.
        **options: Arguments of `export_tflite`; `calibration` rows are required.

    Raises:
        InputError: If an argument is not valid, or the model has no float32 file.

    Example:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="logits")])
        >>> rows = np.random.default_rng(0).normal(size=(60, 8))
        >>> record = explain(model, calibration=rows)
        >>> {one.kind for one in record.sensitivity} == {"int8", "weight-only-int4"}
        True
    """
    given = ExportOptions(**options)
    if given.calibration is None:
        raise InputError(
            "`explain` needs `calibration` (--calibration, or --data): typical rows, on which"
            " outputs are compared."
        )
    source = resolve(model, imports=given.imports)
    plain = dataclasses.replace(given, data=None, max_drop=None, report=None)
    prepared = prepare(source, plain, integer=True)
    assert prepared.calibration is not None  # as given
    with Session(prepared) as session:
        made = session.convert(["float32"])["float32"]
        if made.path is None:
            raise InputError(f"The model has no float32 file: {made.error}")
        size = made.path.stat().st_size
        with session.quantizer(made.path) as quantizer:
            measured = [
                one.record(size)
                for kind in (INT8, INT4)
                for one in measure_sensitivity(quantizer, kind, report=progress)
            ]
            choices = _choices(quantizer)
            count = len(quantizer.operators)
    return ExplainRecord(
        model=source.name,
        source=prepared.calibration.source,
        rows=prepared.calibration.rows,
        operators=count,
        sensitivity=tuple(measured),
        calibrations=tuple(choices),
        versions=_machine.versions(),
        created=_machine.now(),
    )


def _choices(quantizer: Quantizer) -> list[CalibrationChoice]:
    found: list[CalibrationChoice] = []
    for ranges, weights, correct in itertools.product(RANGES, _WEIGHTS, (True, False)):
        rules = [Rule(INT8)]
        if weights != "min-max":
            rules += octav(quantizer.operators, weights)
        way: dict[str, Any] = {"ranges": ranges, "weights": weights, "corrected": correct}
        try:
            effect = quantizer.measure(rules, ranges=ranges, correct=correct)
        except InputError as error:
            found.append(CalibrationChoice(**way, reason=str(error)))
            continue
        found.append(CalibrationChoice(**way, noise=effect.noise, agreement=effect.agreement))
    return found
