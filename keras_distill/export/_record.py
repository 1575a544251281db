"""The record of one exported file."""

import gzip
from pathlib import Path

import keras

from keras_distill._internal import _files, _machine
from keras_distill.export import _calibration
from keras_distill.export._options import NEED_CALIBRATION
from keras_distill.export._process import Converted
from keras_distill.export._sources import KerasSource, Source
from keras_distill.export._work import Work
from keras_distill.litert._isolated import Probe
from keras_distill.records._export import (
    CalibrationRecord,
    ExportRecipe,
    ExportRecord,
    ModelRecord,
    TensorRecord,
    VerificationRecord,
)


def make_record(
    work: Work,
    name: str,
    path: Path,
    made: Converted,
    probe: Probe,
    verification: VerificationRecord,
) -> ExportRecord:
    """The record of the file `made`, which is to stand at `path`."""
    content = made.path.read_bytes()
    return ExportRecord(
        file=path.name,
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        sha256=_files.sha256(made.path),
        ops=probe.ops,
        inputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.inputs),
        outputs=tuple(TensorRecord(**spec._asdict()) for spec in probe.outputs),
        model=_model(work.source),
        recipe=_recipe(work, name),
        verification=verification,
        class_names=work.class_names,
        preprocessing=preprocessing(work.source),
        warnings=work.said,
        seconds=made.seconds,
        versions=_machine.versions(),
        created=_machine.now(),
    )


def _recipe(work: Work, name: str) -> ExportRecipe:
    integer = name in NEED_CALIBRATION
    calibration = None
    if integer:
        calibration = CalibrationRecord(
            source=work.calibration.source,
            samples=work.calibration.count,
            ranges=_calibration.ranges(work.calibration.x),
        )
    return ExportRecipe(
        quantization=name,
        io=work.options.io if integer else "float32",
        batch_size=work.options.batch_size,
        sparse=work.options.sparse,
        calibration=calibration,
    )


def _model(source: Source) -> ModelRecord:
    if isinstance(source, KerasSource):
        return ModelRecord(
            name=source.name, parameters=source.parameters, fingerprint=source.fingerprint
        )
    return ModelRecord(name=source.name)


def raw_ranges(source: Source) -> dict[str, tuple[float, float]]:
    """The raw values that a first `Rescaling` is known to be made for, by the only input."""
    rescaling = _first_rescaling(source)
    found = _calibration.declared_range(rescaling)
    return {} if found is None else {source.inputs[0].name: found}


def _first_rescaling(source: Source) -> keras.layers.Rescaling | None:
    if not isinstance(source, KerasSource) or len(source.inputs) != 1:
        return None
    return _calibration.first_rescaling(source.model)


def preprocessing(source: Source) -> str | None:
    """What the model does to its raw input first, in words, where a `Rescaling` says it."""
    rescaling = _first_rescaling(source)
    if rescaling is None:
        return None
    found = _calibration.declared_range(rescaling)
    values = "raw values" if found is None else f"raw values of {found[0]:g}..{found[1]:g}"
    return f"inside the file: x * {rescaling.scale} + {rescaling.offset}; feed {values}"
