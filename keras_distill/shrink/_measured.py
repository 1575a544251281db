"""Handles budgets that are measured on an exported file: its size and its latency."""

import abc
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_distill._internal import InputError, KerasDistillWarning, bad
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import Array
from keras_distill.benchmarks import measure_latency
from keras_distill.export import KerasSource, Samples, export_all, keep_converter, random_samples
from keras_distill.shrink._analysis import Analysis, analyze
from keras_distill.shrink._budget import Budget
from keras_distill.shrink._cost import Costs
from keras_distill.shrink._rebuild import rebuild
from keras_distill.shrink._select import within

_ROWS = 64  # for calibration and verification; size and latency do not depend on their values
_TRIES = 8
_FULL = 0.95  # fraction of the budget: a candidate that uses at least this much is wide enough
_BYTES: dict[str, float] = {
    "float16": 2,
    "dynamic": 1,
    "int8": 1,
    "int16x8": 1,
    "weight-only-int8": 1,
    "weight-only-int4": 0.5,
}


def bytes_per_weight(precision: str) -> float:
    """Returns the number of bytes per kernel weight in a file of a precision.

    Example:
        >>> bytes_per_weight("int8"), bytes_per_weight("float32")
        (1, 4)
    """
    return _BYTES.get(precision, 4)


def measured_choice(
    model: keras.Model,
    analysis: Analysis,
    score: Array,
    budget: Budget,
    multiple: int,
    export: Mapping[str, Any],
) -> tuple[Array, float]:
    """Finds the widest model whose file is within a budget.

    A candidate is chosen by prediction, exported, and measured. The measurement corrects the
    prediction. The search ends when a candidate is within the budget and uses nearly all of it, or
    when no candidate is left between one that is within the budget and one that is not. Usually,
    two to four files are exported.

    Args:
        model: The original model. Latency is relative to this model.
        analysis: The analysis of the model, or of the model without the removed blocks.
        score: Importance of each unit.
        budget: The budget, in bytes or latency.
        multiple: Numbers of channels are rounded to multiples of this number.
        export: More fields of `ExportOptions`, such as `class_names`, which the file contains.

    Returns:
        The kept units, bool `(units,)`, and the measured value.

    Raises:
        InputError: If even the smallest candidate is over the budget, or cannot be exported.
    """
    with temporary_folder() as folder, keep_converter():
        kind = _Bytes if budget.kind == "bytes" else _Latency
        scale = kind(model, analysis, budget.precision, Path(folder), export)
        wide: tuple[Array, float] | None = None  # the narrowest candidate over the budget
        best: tuple[Array, float] | None = None  # the widest candidate within the budget
        value = np.inf
        for _ in range(_TRIES):
            bound = analysis.units + 1 if wide is None else int(wide[0].sum())
            most = _predicted_limit(scale, budget.limit, best, wide)

            def fits(keep: Array, bound: int = bound, most: float = most) -> bool:
                return scale.predict(keep) <= most and int(keep.sum()) < bound

            keep, found = within(analysis, score, fits, multiple)
            if best is not None and keep.sum() <= best[0].sum():
                break
            value = scale.measure(keep)
            if value <= budget.limit:
                best = keep, value
                if value >= _FULL * budget.limit:
                    break
            elif not found:
                break
            else:
                wide = keep, value
            scale.learn(keep, value)
        if best is not None:
            return best
        raise bad(
            "budget",
            f"be >= {budget.kind}={value:.4g}, the smallest that {model.name!r} allows",
            budget.text,
        )


def _predicted_limit(
    scale: "_Scale",
    limit: float,
    best: tuple[Array, float] | None,
    wide: tuple[Array, float] | None,
) -> float:
    """Returns the limit for predictions, interpolated linearly between measured candidates."""
    if best is None or wide is None:
        return limit
    low, high = scale.predict(best[0]), scale.predict(wide[0])
    share = ((1 + _FULL) / 2 * limit - best[1]) / (wide[1] - best[1])
    return low + share * (high - low)


def smallest_file(model: keras.Model, precision: str, export: Mapping[str, Any]) -> int:
    """Returns the file size, in bytes, of the narrowest model that a budget allows.

    Args:
        model: The model.
        precision: Precision of the file.
        export: More fields of `ExportOptions`.

    Raises:
        InputError: If the model cannot be exported in this precision.
    """
    analysis = analyze(model)
    keep, _ = within(analysis, np.ones(analysis.units), lambda _: False, multiple=1)
    narrow = rebuild(analysis, keep).model
    samples = random_samples(model, KerasSource(model).inputs, _ROWS)
    with temporary_folder() as folder:
        path = export_candidate(narrow, precision, samples, Path(folder), "smallest", export)
        return path.stat().st_size


class _Scale(abc.ABC):
    """Predicts and measures the size or latency of a candidate."""

    def __init__(
        self,
        model: keras.Model,
        analysis: Analysis,
        precision: str,
        folder: Path,
        export: Mapping[str, Any],
    ) -> None:
        self._model, self._analysis = model, analysis
        self._precision, self._folder = precision, folder
        self._export_options = export
        self._costs = Costs(analysis)
        source = KerasSource(model)
        self._samples = random_samples(model, source.inputs, _ROWS)

    @abc.abstractmethod
    def predict(self, keep: Array) -> float:
        """Predicts the value. It never increases when units are removed."""

    @abc.abstractmethod
    def learn(self, keep: Array, value: float) -> None:
        """Corrects the prediction, so that it is exact for this candidate."""

    @abc.abstractmethod
    def measure(self, keep: Array) -> float:
        """Exports a candidate and measures it."""

    def _export(self, keep: Array) -> Path:
        return self._file_of(rebuild(self._analysis, keep).model, "candidate")

    def _file_of(self, model: keras.Model, name: str) -> Path:
        return export_candidate(
            model, self._precision, self._samples, self._folder, name, self._export_options
        )


class _Bytes(_Scale):
    """Bytes of the file: those of the weights, plus a nearly constant rest."""

    _rest = 0.0

    def predict(self, keep: Array) -> float:
        return self._costs.total(keep).parameters * bytes_per_weight(self._precision) + self._rest

    def learn(self, keep: Array, value: float) -> None:
        self._rest += value - self.predict(keep)

    def measure(self, keep: Array) -> float:
        return float(self._export(keep).stat().st_size)


class _Latency(_Scale):
    """Latency relative to the model: a constant part, plus a part proportional to operations."""

    _stays = 0.1

    @cached_property
    def _reference(self) -> Path:
        return self._file_of(self._model, "model")

    @cached_property
    def _whole(self) -> int:
        return max(1, self._costs.total(self._analysis.all()).macs)

    def _share(self, keep: Array) -> float:
        return self._costs.total(keep).macs / self._whole

    def predict(self, keep: Array) -> float:
        return self._stays + (1 - self._stays) * self._share(keep)

    def learn(self, keep: Array, value: float) -> None:
        share = self._share(keep)
        self._stays = min(1.0, (value - share) / max(1 - share, 1e-6))

    def measure(self, keep: Array) -> float:
        files = {"model": self._reference, "candidate": self._export(keep)}
        x = {name: rows[:1] for name, rows in self._samples.x.items()}
        timings = measure_latency(files, x, batch_size=1)
        ratio = timings["candidate"].records[0].ratio
        assert ratio is not None  # there was a measurement before
        return ratio.value


def export_candidate(
    model: keras.Model,
    precision: str,
    samples: Samples,
    folder: Path,
    name: str,
    export: Mapping[str, Any],
) -> Path:
    """Writes the `.tflite` file of an untrained candidate. Its accuracy does not matter.

    Args:
        model: The candidate.
        precision: Precision of the file.
        samples: Rows for calibration and for running the file.
        folder: The folder of the file.
        name: Start of the file name.
        export: More fields of `ExportOptions`.

    Raises:
        InputError: If the candidate cannot be exported in this precision.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KerasDistillWarning)  # about the random rows
        made = export_all(
            model,
            folder,
            quantizations=[precision],
            stem=name,
            calibration=samples.x,
            data=samples.x,
            keep_failed=True,
            overwrite=True,
            **export,
        )
    path = folder / f"{name}-{precision}.tflite"
    if precision in made.impossible or not path.exists():
        reason = made.impossible.get(precision) or made.rejected.get(precision)
        raise InputError(f"{model.name!r} cannot be exported as {precision}: {reason}.")
    return path
