"""Prepares an export: the model as a source, and the rows and outputs that all precisions share."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill import models
from keras_distill._internal import InputError, KerasDistillWarning, check_batch_size
from keras_distill._internal._types import Array
from keras_distill.export import _calibration, _metric
from keras_distill.export._options import ExportOptions
from keras_distill.export._own_accuracy import measure_own_accuracy
from keras_distill.export._samples import Samples, take
from keras_distill.export._sources import KerasSource, Source, refuse_text
from keras_distill.metrics import Truth
from keras_distill.records import RANDOM
from keras_distill.training import Distiller

_RANDOM_SAMPLES = 64


def resolve(model: Any, *, imports: Sequence[str] = ()) -> Source:
    """Returns the source that presents a model to the exporter.

    Args:
        model: A Keras model, a Distiller (its student), the path of a `.keras` file or of a
            SavedModel folder, or a source.
        imports: Modules that register custom layers of a `.keras` file.

    Raises:
        InputError: If `model` is none of these, or cannot be loaded.
    """
    if isinstance(model, KerasSource | models.SavedModel):
        return model
    if isinstance(model, Distiller):
        return KerasSource(model.student)
    if isinstance(model, keras.Model):
        return KerasSource(model)
    if isinstance(model, str | os.PathLike):
        found = models.model_file(model, (models.KERAS, models.SAVED_MODEL))
        if found.kind == models.SAVED_MODEL:
            return models.SavedModel(found.path)
        return KerasSource(models.load(found.path, imports=imports))
    kind, remedy = type(model).__name__, ""
    if type(model).__module__.partition(".")[0] == "tf_keras":
        kind = f"a {kind} of tf_keras (Keras 2)"
        remedy = ". Save a SavedModel, model.export(folder), and give its folder"
    elif callable(model):
        kind = "a function"
        remedy = ". A function can only be a teacher: train a Keras student on it, and export that"
    raise InputError(
        "`model` must be a Keras model, a .keras file, a SavedModel folder, or a Distiller."
        f" Received: {kind}{remedy}"
    )


class Prepared(NamedTuple):
    """What all precisions of one export share.

    Attributes:
        source: The model.
        options: The settings.
        calibration: Calibration rows, if given.
        samples: The rows on which the verification compares outputs.
        outputs: The model's outputs on these rows.
        reference: The outputs of the reference model on these rows. If None, `outputs`.
        truths: Labels of these rows by output, see `truths_by_output`.
        warnings: The warnings so far.
    """

    source: Source
    options: ExportOptions
    calibration: Samples | None
    samples: Samples
    outputs: dict[str, Array]
    reference: dict[str, Array] | None
    truths: dict[str, Truth]
    warnings: tuple[str, ...]

    def warned(self, text: str) -> "Prepared":
        """Issues a warning, and returns a copy that also has this warning for the records."""
        warnings.warn(text, KerasDistillWarning, stacklevel=4)
        return self._replace(warnings=(*self.warnings, text))

    @property
    def on_data(self) -> bool:
        """Whether the rows come from the user and show what the file has to keep.

        Comparing outputs is enough to show that a file equals the model it was converted from. Only
        labels show whether a compressed model is as good as its reference.
        """
        return self.samples.source != RANDOM and (self.reference is None or bool(self.truths))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes: the given names, or those of the data spec."""
        if self.options.class_names is not None:
            return tuple(self.options.class_names)
        if self.samples.class_names or self.calibration is None:
            return self.samples.class_names
        return self.calibration.class_names


def prepare(source: Source, options: ExportOptions, *, integer: bool) -> Prepared:
    """Collects the rows, and runs the model on the verification rows.

    Args:
        source: The model.
        options: The settings.
        integer: Whether a precision needs calibration.

    Raises:
        InputError: If the model takes text, rows or labels do not fit, or the model's outputs are
            not finite.
    """
    refuse_text(source)
    model = source.model if isinstance(source, KerasSource) else None
    calibration = _take("calibration", source, options)
    notes: list[str] = []
    if calibration is not None and integer:
        notes = _calibration.check_calibration(calibration, model, options.batch_size)
    samples = _take("data", source, options)
    if samples is not None and calibration is not None and integer:
        _calibration.check_covers(calibration.x, samples.x)
    if samples is None and calibration is not None:
        samples = calibration._replace(y=None, source="calibration")
    if samples is None:
        samples = _calibration.random_samples(model, source.inputs, _RANDOM_SAMPLES)
        unverified = "the file is not verified on your data: give --data SPEC (in Python, data=)"
        warnings.warn(unverified, KerasDistillWarning, stacklevel=5)
    outputs = _outputs(source, samples)
    row = [*samples.x.values(), *outputs.values()]
    check_batch_size(options.batch_size or 1, sum(values[:1].nbytes for values in row))
    truths = _metric.truths_by_output(samples.y, outputs, samples.x)
    if options.max_drop is not None and not truths:
        raise InputError("`max_drop` needs `data` with labels of the outputs: (x, y).")
    reference = None
    if options.reference is not None:
        reference = _reference(options, samples, outputs)
    elif truths:
        own = measure_own_accuracy(source, samples, outputs, truths, what="the Keras model")
        notes += own.warnings
        if options.report is not None:
            options.report(own.text)
    for text in notes:
        warnings.warn(text, KerasDistillWarning, stacklevel=5)
    skipped = [text for part in (calibration, samples) if part for text in part.warnings]
    notes += dict.fromkeys(skipped)  # `data.load` has already warned about these
    return Prepared(source, options, calibration, samples, outputs, reference, truths, tuple(notes))


def _reference(
    options: ExportOptions, samples: Samples, outputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Returns the outputs of `options.reference` by the names of the model's own outputs.

    Raises:
        InputError: If the reference has other inputs or outputs.
    """
    reference = resolve(options.reference, imports=options.imports)
    if len(reference.outputs) != len(outputs):
        raise InputError(
            f"`reference` must have the outputs of the model: {list(outputs)}. Received:"
            f" {list(reference.outputs)}"
        )
    found = _outputs(reference, samples.renamed(reference.inputs))
    return dict(zip(outputs, found.values(), strict=True))


def _outputs(source: Source, samples: Samples) -> dict[str, Array]:
    outputs = source.predict(samples.x)
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise InputError(
                f"The outputs of a model must be finite. Model {source.name!r} returns NaN or"
                f" infinity for output {name!r}: train it again, or check the rows given."
            )
    return outputs


def _take(name: str, source: Source, options: ExportOptions) -> Samples | None:
    """Returns the rows of `calibration` or `data`, if given."""
    calibrating = name == "calibration"
    given = options.calibration if calibrating else options.data
    if given is None:
        return None
    return take(
        name,
        given,
        source.inputs,
        options.calibration_samples if calibrating else options.verification_samples,
        split="train" if calibrating else "validation",
        data_dir=options.data_dir,
    )
