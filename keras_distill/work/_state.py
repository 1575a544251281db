"""Stores the state of a training in one file of variables, for Keras and for tf_keras."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_distill._internal import InputError, _archives, _files

_HEADER = "header"


class Variable(Protocol):
    """The part of a Keras or tf_keras variable that `TrainingState` uses."""

    @property
    def shape(self) -> Any: ...
    def numpy(self) -> np.ndarray: ...
    def assign(self, value: Any) -> Any: ...


class TrainingState:
    """An `.npz` file (without pickles) with the values of variables, and JSON values about them.

    Args:
        path: The file, which may be missing.

    Attributes:
        path: The file.

    Example:
        >>> import keras, tempfile
        >>> state = TrainingState(Path(tempfile.mkdtemp(), "state.npz"))
        >>> variable = keras.Variable([1.0, 2.0])
        >>> state.restore([variable]) is None
        True
        >>> state.save([variable], {"epoch": 3})
        >>> _ = variable.assign([0.0, 0.0])
        >>> state.restore([variable]), variable.numpy().tolist()
        ({'epoch': 3}, [1.0, 2.0])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def save(self, variables: Sequence[Variable], about: dict[str, Any]) -> None:
        """Writes the file atomically; an existing file is replaced.

        Args:
            variables: The variables, which are identified by their order.
            about: JSON values to store with them.
        """
        values = [np.asarray(v.numpy()) for v in variables]
        header = {"about": about, "dtypes": [value.dtype.name for value in values]}
        arrays: dict[str, Any] = {f"v{i}": _plain(value) for i, value in enumerate(values)}
        arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        with (
            _files.atomic_path(self.path, overwrite=True) as temporary,
            open(temporary, "wb") as file,
        ):
            np.savez(file, **arrays)

    def restore(self, variables: Sequence[Variable]) -> dict[str, Any] | None:
        """Assigns the stored values to the variables. If one does not match, none is assigned.

        Args:
            variables: The variables, in the order in which they were saved.

        Returns:
            The JSON values saved with them, or None if the file does not exist.

        Raises:
            InputError: If the file is damaged, or the number of variables, a shape, or a dtype
                differs.
        """
        if not self.path.exists():
            return None
        about, values = self._read()
        wanted = [(tuple(v.shape), v.numpy().dtype.name) for v in variables]
        found = [(value.shape, value.dtype.name) for value in values]
        if found != wanted:
            differs = next(
                (
                    f"variable {i} is {a}, expected {b}"
                    for i, (a, b) in enumerate(zip(found, wanted, strict=False))
                    if a != b
                ),
                f"{len(found)} variables, expected {len(wanted)}",
            )
            raise InputError(
                f"{self.path} is the state of another model ({differs}). Remove it to train again."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return about

    def _read(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        try:
            _archives.check_archive(self.path)
            with np.load(self.path, allow_pickle=False) as file:
                header = json.loads(file[_HEADER].tobytes())
                values = [
                    file[f"v{i}"].view(np.dtype(name)) for i, name in enumerate(header["dtypes"])
                ]
                return header["about"], values
        except (OSError, ValueError, LookupError, TypeError, EOFError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}). Remove it to train again."
            ) from error


def _plain(value: np.ndarray) -> np.ndarray:
    """Returns a value that NumPy can store: a dtype such as bfloat16 becomes unsigned integers."""
    return value.view(f"u{value.itemsize}") if value.dtype.kind == "V" else value
