"""Compares the result of every step with the original student, on labeled rows."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill._internal import InputError, check_number
from keras_distill.compress._fake_quant import FakeQuantModel, FakeQuantSource
from keras_distill.compress._fit import Training
from keras_distill.export import (
    KerasSource,
    Samples,
    default_max_drop,
    measure_own_accuracy,
    take,
    truths_by_output,
)
from keras_distill.metrics import Truth
from keras_distill.training import split

_ROWS = 1000


class Score(NamedTuple):
    """The accuracy of a model.

    Attributes:
        accuracy: Mean of the metric over labeled outputs (see `metrics.Truth`), 1 at best; None
            without labels, or if outputs are not finite.
        drop: Loss compared with the original student, in percentage points, for the output that
            loses most; None without labels, infinite if outputs are not finite.
    """

    accuracy: float | None
    drop: float | None


class Judge:
    """The original student, and the labeled rows on which results are compared with it.

    Args:
        student: The student.
        samples: The rows. If None, results are not compared.
        max_drop: Maximum loss of accuracy, in percentage points. If None, the default of an export.

    Attributes:
        samples: As given.
        asked: `max_drop` as given.
        max_drop: The limit; None without labels.
        accuracy: The student's accuracy, as in `Score`; None without labels.
        warnings: Reasons why the rows or the student may be wrong.

    Raises:
        InputError: If `max_drop` is given but the rows have no labels, or if the student is far
            more accurate on rows scaled to another range.
    """

    def __init__(
        self, student: keras.Model, samples: Samples | None, max_drop: float | None
    ) -> None:
        if max_drop is not None:
            check_number("max_drop", max_drop, at_least=0, at_most=100)
        self.samples, self.asked = samples, max_drop
        self._truths: dict[str, Truth] = {}
        self._names: tuple[str, ...] = ()
        self._scores: dict[str, float] = {}
        self.warnings: tuple[str, ...] = ()
        if samples is not None:
            source = KerasSource(student)
            outputs = source.predict(samples.x)
            self._names = tuple(outputs)
            self._truths = truths_by_output(samples.y, outputs, samples.x)
            self._scores = {
                name: truth.score(outputs[name]) for name, truth in self._truths.items()
            }
            if self._truths:
                own = measure_own_accuracy(
                    source, samples, outputs, self._truths, what="the student given"
                )
                self.warnings = own.warnings
        if self._truths and samples is not None:
            default = default_max_drop(self._truths.values())
            self.max_drop = default if max_drop is None else max_drop
        elif max_drop is not None:
            raise InputError(
                "`max_drop` needs labeled rows: pass `validation_data`, or export={'data': …}."
            )
        else:
            self.max_drop = None
        self.accuracy = _mean(self._scores)

    @classmethod
    def of(
        cls,
        student: keras.Model,
        training: Training,
        export: Mapping[str, Any],
        max_drop: float | None,
    ) -> "Judge":
        """Creates the judge of a pipeline from the rows of the export or `validation_data`."""
        given = export.get("data")
        if given is None and training.validation_data is not None:
            batches = training.batches("validation_data", training.validation_data)
            given = batches.map(_labeled)
        if given is None:
            return cls(student, None, max_drop)
        samples = take(
            "validation_data",
            given,
            KerasSource(student).inputs,
            export.get("verification_samples", _ROWS),
            split="validation",
            data_dir=export.get("data_dir"),
        )
        return cls(student, samples, max_drop)

    def measure(self, model: keras.Model | FakeQuantModel) -> Score:
        """Measures a compressed model."""
        if self.samples is None or not self._truths:
            return Score(None, None)
        try:
            fake = isinstance(model, FakeQuantModel)
            source = FakeQuantSource(model) if fake else KerasSource(model)
        except InputError:  # weights that are not finite
            return Score(None, math.inf)
        outputs = source.predict(self.samples.renamed(source.inputs).x)
        named = dict(zip(self._names, outputs.values(), strict=True))
        if not all(np.isfinite(named[name]).all() for name in self._truths):
            return Score(None, math.inf)
        scores = {name: truth.score(named[name]) for name, truth in self._truths.items()}
        drop = max(100 * (self._scores[name] - scores[name]) for name in scores)
        return Score(_mean(scores), drop)

    def accepts(self, drop: float | None) -> bool:
        """Returns whether a loss is within the limit. None is a loss that could not be measured."""
        if self.max_drop is None:
            return True
        return drop is not None and drop <= self.max_drop + 1e-9


def _mean(scores: Mapping[str, float]) -> float | None:
    return sum(scores.values()) / len(scores) if scores else None


def _labeled(x: Any, y: Any, *weights: Any) -> tuple[Any, Any]:
    """Returns x and the labels, because the verification does not use soft targets."""
    return x, split(y).labels
