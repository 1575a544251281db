"""Makes the record of one exported file."""

from pathlib import Path
from typing import cast

import keras

from keras_distill._internal import _files, _machine
from keras_distill.export import _calibration
from keras_distill.export._options import NEED_CALIBRATION
from keras_distill.export._prepare import Prepared
from keras_distill.export._sources import KerasSource, Source
from keras_distill.litert import Probe
from keras_distill.records import (
    CalibrationRecord,
    ExportRecipe,
    ExportRecord,
    ModelRecord,
    Precision,
    TensorRecord,
    VerificationRecord,
)


def make_record(
    prepared: Prepared,
    name: str,
    path: Path,
    file: Path,
    seconds: float,
    probe: Probe,
    verification: VerificationRecord,
    *,
    asked: str | None = None,
    unrolled: bool = False,
) -> ExportRecord:
    """Returns the record of a converted file that will be written to `path`."""
    size, packed = _files.sizes(file)
    return ExportRecord(
        file=path.name,
        bytes=size,
        gzip_bytes=packed,
        sha256=_files.sha256(file),
        ops=probe.ops,
        inputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.inputs),
        outputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.outputs),
        model=_model(prepared.source),
        recipe=_recipe(prepared, name).model_copy(update={"asked": asked, "unrolled": unrolled}),
        verification=verification,
        probabilities=prepared.options.probabilities,
        class_names=prepared.class_names,
        preprocessing=preprocessing(prepared.source),
        warnings=prepared.warnings,
        seconds=seconds,
        versions=_machine.versions(),
        created=_machine.now(),
    )


def _recipe(prepared: Prepared, name: str) -> ExportRecipe:
    integer = name in NEED_CALIBRATION
    calibration = None
    if integer and prepared.calibration is not None:
        calibration = CalibrationRecord(
            source=prepared.calibration.source,
            samples=prepared.calibration.rows,
            ranges=_calibration.ranges(prepared.calibration.x),
        )
    return ExportRecipe(
        quantization=cast(Precision, name),
        io=prepared.options.io if integer else "float32",
        batch_size=prepared.options.batch_size,
        sparse=prepared.options.sparse,
        calibration=calibration,
    )


def _model(source: Source) -> ModelRecord:
    if isinstance(source, KerasSource):
        return ModelRecord(
            name=source.name, parameters=source.parameters, fingerprint=source.fingerprint
        )
    return ModelRecord(name=source.name)


def raw_ranges(source: Source) -> dict[str, tuple[float, float]]:
    """Returns the raw value range that a first `Rescaling` layer expects, by input name.

    The result is empty for a model with several inputs or without such a layer.
    """
    rescaling = _first_rescaling(source)
    found = _calibration.declared_range(rescaling)
    return {} if found is None else {source.inputs[0].name: found}


def _first_rescaling(source: Source) -> keras.layers.Rescaling | None:
    if not isinstance(source, KerasSource) or len(source.inputs) != 1:
        return None
    return _calibration.first_rescaling(source.model)


def preprocessing(source: Source) -> str | None:
    """Describes what a first `Rescaling` layer does to the raw input; None if there is none."""
    rescaling = _first_rescaling(source)
    if rescaling is None:
        return None
    found = _calibration.declared_range(rescaling)
    values = "raw values" if found is None else f"raw values of {found[0]:g}..{found[1]:g}"
    return f"inside the file: x * {rescaling.scale} + {rescaling.offset}; feed {values}"
