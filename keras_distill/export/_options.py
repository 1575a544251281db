"""The settings of an export, shared by all of its precisions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from keras_distill._internal import (
    InputError,
    check_batch_size,
    check_choice,
    check_count,
    check_number,
)
from keras_distill._internal._types import PathLike
from keras_distill.export._verification import LIMITS
from keras_distill.records import ProbabilityRecord

QUANTIZATIONS = tuple(LIMITS)
NEED_CALIBRATION = ("int8", "int16x8")
INSTEAD = ("dynamic", "float16")
"""What is made of a recurrent network whose loops the converter cannot calibrate."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Validates and holds the settings of an export.

    Attributes:
        calibration: Typical rows that set the ranges of int8 and int16x8: a data spec (its train
            split), the `Splits` of `data.load`, a `tf.data.Dataset`, arrays, an iterator, or a
            function that returns one of these, such as a representative data set of TFLite.
        calibration_samples: Maximum number of calibration rows, evenly spaced.
        batch_size: Rows per call of the file. If None, any number.
        io: Input and output type of an integer file: "integer" or "float32".
        sparse: Whether to store the weights of a float32 or float16 file without their zeros.
        strip: Whether to remove metadata, labels, and the names of inner tensors, which no
            interpreter reads. This saves about 1.4 kB.
        data: Labeled rows for the verification: a data spec (its validation split), `Splits`, a
            `tf.data.Dataset` of (x, y), or (x, y). If it is not given, outputs are compared on the
            calibration rows. If these are not given either, outputs are compared on random rows,
            and the verdict is "not verified on data".
        verification_samples: Maximum number of verification rows, evenly spaced.
        max_drop: Maximum loss of accuracy on `data` compared with `reference`, in percentage
            points. If None, 1 point.
        min_agreement: Minimum fraction of predictions that are equal to those of `reference`,
            between 0 and 1. If None, agreement is not judged.
        reference: The model from which the loss of accuracy is measured, with the same inputs and
            outputs as the exported model. If None, the exported model. For a compressed model, pass
            the original.
        limits: Maximum difference of the outputs by precision, instead of `LIMITS`.
        class_names: Names of the classes, for the record and the metadata. If None, those of the
            data spec.
        data_dir: Folder of prepared TFDS data sets, for specs.
        imports: Modules that register custom layers of a `.keras` file.
        keep_failed: Whether to keep a file that fails verification; its record says so.
        overwrite: Whether to replace existing files.
        timeout: Time limit of the conversion to one precision, in seconds.
        probabilities: The temperature that was folded into the last layer, for the record.
        report: Function that receives the accuracy of the model itself on `data`, as a line of
            text, before the conversion.

    Raises:
        InputError: If a setting is not valid.
    """

    calibration: Any = None
    calibration_samples: int = 200
    batch_size: int | None = 1
    io: Literal["integer", "float32"] = "integer"
    sparse: bool = False
    strip: bool = False
    data: Any = None
    verification_samples: int = 1000
    max_drop: float | None = None
    min_agreement: float | None = None
    reference: Any = None
    limits: Mapping[str, float] | None = None
    class_names: Sequence[str] | None = None
    data_dir: PathLike | None = None
    imports: Sequence[str] = ()
    keep_failed: bool = False
    overwrite: bool = False
    timeout: float = 900.0
    probabilities: ProbabilityRecord | None = None
    report: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        check_count("calibration_samples", self.calibration_samples)
        check_count("verification_samples", self.verification_samples)
        check_number("timeout", self.timeout, above=0)
        check_choice("io", self.io, ("integer", "float32"))
        if self.batch_size is not None:
            check_batch_size(self.batch_size)
        if self.max_drop is not None:
            check_number("max_drop", self.max_drop, at_least=0, at_most=100)
            if self.data is None:
                raise InputError("`max_drop` needs labeled rows: pass `data` (--data) as well.")
        if self.min_agreement is not None:
            check_number("min_agreement", self.min_agreement, at_least=0, at_most=1)
        for name, value in (self.limits or {}).items():
            check_choice("limits", name, QUANTIZATIONS)
            check_number(f"limits[{name!r}]", value, above=0)

    def check_precisions(self, names: Sequence[str]) -> None:
        """Checks precisions against the other settings.

        Raises:
            InputError: If a precision is unknown, needs calibration rows but has none, or cannot be
                sparse.
        """
        for name in names:
            check_choice("quantization", name, QUANTIZATIONS)
            if self.sparse and name not in ("float32", "float16"):
                raise InputError(
                    f"`sparse` needs float32 or float16: a sparse {name} file does not load"
                    " under the default delegate."
                )
            if name in NEED_CALIBRATION and self.calibration is None:
                raise InputError(
                    f"{name} needs `calibration` (--calibration): a data spec, a tf.data.Dataset,"
                    " or arrays of typical rows that set its ranges."
                )
