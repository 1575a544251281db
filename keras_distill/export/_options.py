"""What every precision of one export has in common."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from keras_distill._internal import InputError, check_choice, check_count, check_number
from keras_distill.export._verification import LIMITS

QUANTIZATIONS = tuple(LIMITS)


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Settings of an export, checked.

    Attributes:
        calibration: Typical rows that int8 and int16x8 ranges are measured on: a data spec (its
            train split), the `Splits` of `data.load`, a `tf.data.Dataset`, arrays.
        calibration_samples: The most of them to use, evenly spaced.
        batch_size: Rows per call of the file; None leaves it open.
        io: What an integer file takes and gives: "integer" or "float32".
        sparse: Leave zeros out of a float32 or float16 file.
        data: Labeled rows for the verification: a data spec (its validation split), `Splits`, a
            `tf.data.Dataset` of (x, y), or (x, y). Without it, verification compares outputs on
            the calibration rows, or on random rows where there are none.
        verification_samples: The most of them to use, evenly spaced.
        max_drop: The most accuracy points that the file may lose against the model on `data`.
        limits: By precision, instead of `LIMITS`: how far outputs may be from the model's.
        class_names: Names of the classes for record and metadata; None: those of the data spec.
        data_dir: Folder of prepared data sets, for specs.
        imports: Modules that register custom layers of a `.keras` file.
        keep_failed: Keep a file that fails verification; its record says so.
        overwrite: Whether existing files may be replaced.
        timeout: Seconds that the conversion to one precision may take.

    Raises:
        InputError: If one does not fit.
    """

    calibration: Any = None
    calibration_samples: int = 200
    batch_size: int | None = 1
    io: str = "integer"
    sparse: bool = False
    data: Any = None
    verification_samples: int = 1000
    max_drop: float | None = None
    limits: Mapping[str, float] | None = None
    class_names: Sequence[str] | None = None
    data_dir: str | os.PathLike | None = None
    imports: Sequence[str] = ()
    keep_failed: bool = False
    overwrite: bool = False
    timeout: float = 900.0

    def __post_init__(self) -> None:
        check_count("calibration_samples", self.calibration_samples)
        check_count("verification_samples", self.verification_samples)
        check_number("timeout", self.timeout, above=0)
        check_choice("io", self.io, ("integer", "float32"))
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        if self.max_drop is not None:
            check_number("max_drop", self.max_drop, at_least=0, at_most=100)
            if self.data is None:
                raise InputError("`max_drop` needs labeled rows: pass `data` (--data) as well.")
        for name, value in (self.limits or {}).items():
            check_choice("limits", name, QUANTIZATIONS)
            check_number(f"limits[{name!r}]", value, above=0)

    def check_precisions(self, names: Sequence[str]) -> None:
        """Refuses precisions that do not go with the other settings.

        Raises:
            InputError: If one is unknown, integer without calibration, or sparse and not float.
        """
        for name in names:
            check_choice("quantization", name, QUANTIZATIONS)
            if self.sparse and name not in ("float32", "float16"):
                raise InputError(
                    f"`sparse` must go with float32 or float16: a sparse {name} file does not load"
                    " under the default delegate."
                )
            if name in NEED_CALIBRATION and self.calibration is None:
                raise InputError(
                    f"{name} needs `calibration` (--calibration): a data spec, a tf.data.Dataset or"
                    " arrays of typical rows, to measure ranges on."
                )


NEED_CALIBRATION = ("int8", "int16x8")
