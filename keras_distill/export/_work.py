"""What all precisions share: rows for calibration and verification, Keras's own outputs."""

import warnings
from typing import NamedTuple

import numpy as np

from keras_distill._internal import InputError, KerasDistillWarning
from keras_distill.export import _calibration, _verification
from keras_distill.export._options import ExportOptions
from keras_distill.export._samples import Samples, take
from keras_distill.export._sources import KerasSource, Source

_RANDOM_SAMPLES = 64


class Work(NamedTuple):
    """Everything the precisions of one export have in common.

    Attributes:
        source: The model.
        options: The settings.
        calibration: Rows to measure ranges on, if given.
        judged_on: Rows the verification compares on.
        reference: The model's outputs on them.
        classes: Class ids of these rows by output, where there are any.
        said: Warnings given.
    """

    source: Source
    options: ExportOptions
    calibration: Samples | None
    judged_on: Samples
    reference: dict[str, np.ndarray]
    classes: dict[str, np.ndarray]
    said: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes: as given, else as the data spec has them."""
        if self.options.class_names is not None:
            return tuple(self.options.class_names)
        if self.judged_on.class_names or self.calibration is None:
            return self.judged_on.class_names
        return self.calibration.class_names


def prepare(source: Source, o: ExportOptions, integer: bool) -> Work:
    """Gathers the rows and runs the model on those of the verification.

    Args:
        source: The model.
        o: The settings.
        integer: Whether a precision needs calibration.

    Raises:
        InputError: If rows or labels do not fit, or the model itself gives NaN.
    """
    model = source.model if isinstance(source, KerasSource) else None
    calibration = _take_calibration(source, o)
    said = []
    if calibration is not None and integer:
        said = _calibration.check_calibration(calibration, model, o.batch_size)
    if o.data is not None:
        judged_on = _take_data(source, o)
        if calibration is not None and integer:
            _calibration.check_covers(calibration.x, judged_on.x)
    elif calibration is not None:
        judged_on = calibration._replace(y=None, source="calibration")
    else:
        judged_on = _calibration.random_samples(model, source.inputs, _RANDOM_SAMPLES)
        said.append("no data given: the verification compared outputs on random rows")
    reference = source.predict(judged_on.x)
    for name, values in reference.items():
        if not np.isfinite(values).all():
            raise InputError(f"Model {source.name!r} itself gives NaN or infinity ({name!r}).")
    classes = _verification.labeled_classes(judged_on.y, reference)
    if o.max_drop is not None and not classes:
        raise InputError("`max_drop` needs `data` with class labels: (x, y).")
    for text in said:
        warnings.warn(text, KerasDistillWarning, stacklevel=5)
    return Work(source, o, calibration, judged_on, reference, classes, tuple(said))


def _take_calibration(source: Source, o: ExportOptions) -> Samples | None:
    if o.calibration is None:
        return None
    return take(
        "calibration",
        o.calibration,
        source.inputs,
        o.calibration_samples,
        splits=("train",),
        data_dir=o.data_dir,
    )


def _take_data(source: Source, o: ExportOptions) -> Samples:
    return take(
        "data",
        o.data,
        source.inputs,
        o.verification_samples,
        splits=("validation",),
        data_dir=o.data_dir,
    )
