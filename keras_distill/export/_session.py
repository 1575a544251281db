"""Runs one export: stores the SavedModel and the rows, converts, and verifies the files."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import Array
from keras_distill.export._converter_process import Converted, run_converter
from keras_distill.export._prepare import Prepared
from keras_distill.export._record import preprocessing, raw_ranges
from keras_distill.export._verification import Rule, judge
from keras_distill.litert import Probe, Quantizer, add_metadata, probe_on, read_graph, strip_file
from keras_distill.records import VerificationRecord


class Session:
    """Converts one model to files in a temporary folder, and verifies them.

    Use it as a context manager, which removes the folder at the end.

    Args:
        prepared: The model and the rows.

    Attributes:
        prepared: As given.
        folder: The temporary folder.

    Raises:
        InputError: If the model cannot be traced.
    """

    folder: Path

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(temporary_folder()))
        try:
            self._save()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _save(self) -> None:
        options, source = self.prepared.options, self.prepared.source
        try:
            source.save(self.folder / "saved_model", options.batch_size)
        except (ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"Model {source.name!r} cannot be traced for batch_size={options.batch_size}:"
                f" {' '.join(str(error).split())[:300]}"
            ) from error
        self._calibration: Path | None = None
        if self.prepared.calibration is not None:
            self._calibration = self.folder / "calibration.npz"
            dtypes = {i.name: i.dtype for i in source.inputs}
            rows: dict[str, Any] = {
                name: a.astype(dtypes[name]) for name, a in self.prepared.calibration.x.items()
            }
            np.savez(self._calibration, **rows)
        (self.folder / "out").mkdir()

    def convert(self, names: Sequence[str]) -> dict[str, Converted]:
        """Converts to the given precisions with the TFLite converter."""
        options = self.prepared.options
        request = {
            "saved_model": str(self.folder / "saved_model"),
            "out": str(self.folder / "out"),
            "calibration": self._calibration and str(self._calibration),
            "batch_size": options.batch_size,
            "io": options.io,
            "sparse": options.sparse,
        }
        return run_converter(request, names, timeout=options.timeout)

    def quantizer(self, float32: Path) -> Quantizer:
        """Returns the quantizer for single operators of this session's float32 file."""
        options = self.prepared.options
        return Quantizer(
            float32, self._calibration, batch_size=options.batch_size, timeout=options.timeout
        )

    def run(self, file: Path, prepared: Prepared | None = None) -> tuple[Probe, dict[str, Array]]:
        """Runs a file on the rows in a child process, and adds its metadata, or strips its names.

        Args:
            file: The file.
            prepared: The same model with other rows. If None, the rows of the session.

        Returns:
            The properties of the file (shapes, types, …), and its outputs by name.

        Raises:
            InputError: If the file contains operators that are not builtin, cannot be loaded or
                run, crashes the interpreter, or has other outputs than the model.
        """
        if foreign := read_graph(file).custom_ops:
            raise InputError(
                f"{file}: contains operators that are not TFLite builtins: {', '.join(foreign)}"
            )
        prepared = prepared or self.prepared
        found, produced = probe_on(file, prepared.samples.x, threads=os.cpu_count() or 1)
        if prepared.options.strip:
            strip_file(file)
        else:
            add_metadata(
                file,
                name=prepared.source.name,
                description=preprocessing(prepared.source) or "",
                inputs=found.inputs,
                outputs=found.outputs,
                ranges=raw_ranges(prepared.source),
                class_names=prepared.class_names,
            )
        if set(produced) != set(prepared.outputs):
            raise InputError(
                f"{file}: has the outputs {sorted(produced)}, not {sorted(prepared.outputs)}"
            )
        return found, produced

    def verify(
        self,
        produced: Mapping[str, Array],
        rule: Rule,
        prepared: Prepared | None = None,
    ) -> VerificationRecord:
        """Compares the outputs of a file with those of its model.

        Args:
            produced: The outputs on the rows.
            rule: The conditions under which the file passes.
            prepared: The same model with other rows. If None, the rows of the session.
        """
        prepared = prepared or self.prepared
        return judge(
            prepared.outputs,
            produced,
            rule,
            reference=prepared.reference,
            reference_name=None if prepared.reference is None else "the model given",
            truths=prepared.truths,
            source=prepared.samples.source,
            on_data=prepared.on_data,
        )
