"""Verifies a file against another file. Either may come from any tool."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_distill import models
from keras_distill._internal import (
    InputError,
    _files,
    _machine,
    check_choice,
    check_count,
    check_number,
)
from keras_distill._internal._types import Array, PathLike
from keras_distill.export import _metric
from keras_distill.export._own_accuracy import measure_own_accuracy
from keras_distill.export._prepare import resolve
from keras_distill.export._samples import take
from keras_distill.export._sources import Predictor
from keras_distill.export._tflite_source import TFLiteSource, same_inputs, shown_inputs
from keras_distill.export._verification import Rule, judge
from keras_distill.records import ComparedModel, VerifyRecord

_SPLITS = ("train", "validation", "test")
_ADVICE = "the file does not compute what the reference computes; make it again from its model"
_LOST = "make the file again, by a milder conversion, or allow the loss (max_drop, --max-drop)"


def verify_tflite(
    path: PathLike,
    against: PathLike,
    data: Any,
    *,
    split: str = "test",
    samples: int | None = None,
    max_drop: float | None = None,
    limit: float | None = None,
    data_dir: PathLike | None = None,
    imports: Sequence[str] = (),
) -> VerifyRecord:
    """Compares a file with a reference file on labeled rows. Either may come from any tool.

    The file passes if its outputs are finite and have the same shape as those of the reference, and
    if it loses at most `max_drop` points of accuracy. If `limit` is given, its outputs must also
    not differ by more than `limit`.

    Args:
        path: The file: `.tflite`, `.keras`, or a SavedModel folder.
        against: The reference file, in one of the same formats.
        data: Labeled rows in the range that both files expect: a data spec, the `Splits` of
            `data.load`, a `tf.data.Dataset` of (x, y), or (x, y).
        split: The split of a spec.
        samples: Maximum number of rows, evenly spaced. If None, all.
        max_drop: Maximum loss of accuracy, in percentage points. If None, 1 point.
        limit: Maximum difference of outputs, as a fraction of the range of the reference's outputs.
            Required if accuracy cannot be measured. If None, differences are not judged.
        data_dir: Folder of prepared data sets.
        imports: Modules that register custom layers of `.keras` files.

    Returns:
        The record. `verification.verdict` is "passed" or "failed". It is "not verified on data" if
        there are too few rows to show a loss of `max_drop`.

    Raises:
        InputError: If an argument is not valid, a file cannot be run, the two files have different
            inputs or outputs, or the reference is far more accurate on `data` scaled to another
            range.

    Example:
        >>> import keras, tempfile, keras_distill as kd
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> data = x, model.predict(x, verbose=0).argmax(1)
        >>> folder = Path(tempfile.mkdtemp())
        >>> model.save(folder / "m.keras")
        >>> _ = kd.export_tflite(model, folder / "m.tflite", data=data)
        >>> record = verify_tflite(folder / "m.tflite", folder / "m.keras", data)
        >>> record.verification.verdict, record.verification.outputs[0].agreement
        ('passed', 1.0)
    """
    check_choice("split", split, _SPLITS)
    if samples is not None:
        check_count("samples", samples)
    if max_drop is not None:
        check_number("max_drop", max_drop, at_least=0, at_most=100)
    if limit is not None:
        check_number("limit", limit, above=0)
    reference, file = _model("against", against, imports), _model("path", path, imports)
    if not same_inputs(reference.inputs, file.inputs):
        raise InputError(
            f"{path} takes {shown_inputs(file.inputs)}, but {against} takes"
            f" {shown_inputs(reference.inputs)}. Compare files that take the same input."
        )
    rows = take("data", data, reference.inputs, samples, split=split, data_dir=data_dir)
    expected = _finite(reference.predict(rows.x), against)
    truths = _metric.truths_by_output(rows.y, expected, rows.x)
    if not truths and limit is None:
        raise InputError(
            "Accuracy cannot be measured: `data` has no labels for the outputs. Give labeled"
            " rows, or judge by differences: limit=0.01 (--limit 0.01)."
        )
    if not truths and max_drop is not None:
        raise InputError("`max_drop` needs `data` with labels of the outputs: (x, y).")
    produced = _matched(file.predict(rows.renamed(file.inputs).x), expected, path, against)
    warnings = rows.warnings
    if truths:
        layers = not isinstance(reference, TFLiteSource)
        own = measure_own_accuracy(
            reference, rows, expected, truths, what=str(against), layers=layers
        )
        warnings += own.warnings
    verification = judge(
        expected,
        produced,
        Rule(limit, max_drop, _ADVICE, _LOST),
        name=str(against),
        truths=truths,
        source=rows.source,
    )
    return VerifyRecord(
        file=_compared(path),
        against=_compared(against),
        verification=verification,
        warnings=warnings,
        versions=_machine.versions(),
        created=_machine.now(),
    )


def _model(name: str, path: PathLike, imports: Sequence[str]) -> Predictor:
    takes = (models.KERAS, models.SAVED_MODEL, models.TFLITE)
    found = models.model_file(path, takes, name=name)
    if found.kind == models.TFLITE:
        return TFLiteSource(found.path)
    return resolve(found.path, imports=imports)


def _finite(outputs: dict[str, Array], path: PathLike) -> dict[str, Array]:
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"{path}: output {name!r} is NaN or infinite on the given rows, so nothing can be"
                " compared with it."
            )
    return outputs


def _matched(
    produced: dict[str, Array], expected: Mapping[str, Array], path: PathLike, against: PathLike
) -> dict[str, Array]:
    """Returns the outputs of the file under the names of the reference's outputs."""
    if set(produced) == set(expected):
        return produced
    if len(produced) == len(expected) == 1:
        return dict(zip(expected, produced.values(), strict=True))
    raise InputError(
        f"{path} has the outputs {sorted(produced)}, but {against} has {sorted(expected)}. Several"
        " outputs are compared by name."
    )


def _compared(path: PathLike) -> ComparedModel:
    path = Path(path)
    if path.is_dir():
        return ComparedModel(path=str(path), bytes=None, sha256=None)
    return ComparedModel(path=str(path), bytes=path.stat().st_size, sha256=_files.sha256(path))
