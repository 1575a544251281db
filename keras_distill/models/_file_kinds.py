"""Detects the kind of a model file from its content, and reports what to do if it is not usable.

Every command and function that takes the path of a model uses this module, so that all of them
recognize the same files and show the same messages.
"""

import json
import os
import shlex
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from keras_distill._internal import InputError, _files
from keras_distill._internal._types import PathLike

KERAS, TFLITE, SAVED_MODEL, ENSEMBLE = "keras", "tflite", "saved_model", "ensemble"
TEACHERS = (KERAS, TFLITE, SAVED_MODEL, ENSEMBLE)

_NAMES = {
    KERAS: "a .keras file",
    TFLITE: "a .tflite file",
    SAVED_MODEL: "a SavedModel folder",
    ENSEMBLE: "the folder of a saved ensemble",
}
# For error messages: other uses of a file that cannot be used here.
_USES = {
    KERAS: "",
    TFLITE: " A .tflite file has no weights to train or convert: use it as a teacher, or benchmark"
    " it.",
    SAVED_MODEL: " A SavedModel has no layers to change: use it as a teacher, export it, or"
    " benchmark it.",
    ENSEMBLE: " An ensemble can be a teacher.",
}
_CHECKPOINTS = (".index", ".ckpt")
_FOREIGN = (".onnx", ".pt", ".pth", ".safetensors", ".torchscript", ".mlmodel", ".pkl", ".joblib")
_HDF5 = (".h5", ".hdf5")
_SUFFIXES = (".keras", ".tflite", ".pb", *_HDF5, *_CHECKPOINTS, *_FOREIGN)
_HDF5_MARK = b"\x89HDF\r\n\x1a\n"
_METADATA = "metadata.json"


@dataclass(frozen=True)
class ModelFile:
    """A model stored in a file or a folder.

    Attributes:
        path: The file or folder.
        kind: `KERAS`, `TFLITE`, `SAVED_MODEL`, or `ENSEMBLE`.
    """

    path: Path
    kind: str


def names_a_file(text: PathLike) -> bool:
    """Returns whether a text is the path of a model instead of a spec.

    Example:
        >>> names_a_file("model.h5"), names_a_file("no/such"), names_a_file("resnet:20")
        (True, True, False)
    """
    if not isinstance(text, str):
        return True
    path = Path(text).expanduser()
    return path.suffix.lower() in _SUFFIXES or os.sep in text.partition("?")[0] or _exists(path)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):
        return False


def model_file(path: PathLike, takes: Collection[str], *, name: str = "model") -> ModelFile:
    """Detects the kind of a model's file or folder.

    Args:
        path: The file or folder.
        takes: The kinds that the caller supports.
        name: The name of the argument, for errors.

    Raises:
        InputError: If the file does not exist, is not a model, or is of a kind that the caller does
            not support. The message has the kind and what to do.
    """
    path = Path(path).expanduser()
    if not _exists(path):
        raise InputError(f"{name}: no such file: {str(path)[:300]}.")
    kind = _kind_of_folder(path) if path.is_dir() else _kind_of_file(path)
    if kind not in takes:
        wanted = " or ".join(_NAMES[kind] for kind in takes)
        raise InputError(f"{name}: must be {wanted}. {path} is {_NAMES[kind]}.{_USES[kind]}")
    return ModelFile(path, kind)


def _kind_of_folder(path: Path) -> str:
    if (path / "ensemble.json").is_file():
        return ENSEMBLE
    if os.path.lexists(path / "saved_model.pb"):
        return SAVED_MODEL
    inside = sorted(p.name for p in path.iterdir() if p.suffix in (".keras", ".tflite"))
    remedy = f"It contains {', '.join(inside[:5])}: give one of them." if inside else ""
    raise InputError(
        f"{path} is a folder without a model: it has no saved_model.pb. {remedy}".rstrip()
    )


def _kind_of_file(path: Path) -> str:
    _files.check_file(path)
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_files.reason(error)}).") from error
    if start[4:8] == b"TFL3" or suffix == ".tflite":
        return TFLITE
    if start == _HDF5_MARK or (suffix in _HDF5 and start):
        raise _hdf5(path)
    if start[:4] == b"PK\x03\x04" and suffix not in _FOREIGN:
        if (version := _old_version(path)) is not None:
            raise _of_keras_2(path, version)
        return KERAS
    if suffix == ".keras":
        return KERAS
    raise _no_model(path, suffix, empty=not start)


def _old_version(path: Path) -> str | None:
    """Returns the version of Keras 2 that wrote a `.keras` file; None for any other file."""
    content: Any = None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_METADATA).file_size < 1 << 16:
                content = json.loads(archive.read(_METADATA))
    except Exception:  # a damaged file, which `load` reports
        return None
    version = content.get("keras_version") if isinstance(content, dict) else None
    return version if isinstance(version, str) and version.startswith("2.") else None


def _of_keras_2(path: Path, version: str) -> InputError:
    return InputError(
        f"{path} was saved by Keras 2 ({version:.20}), whose .keras files Keras 3 does not read."
        f" Convert it to a SavedModel folder: {_exported(path)} .{_USES[SAVED_MODEL]}"
    )


def _exported(path: Path) -> str:
    """Returns the command that converts a file of Keras 2 to a SavedModel."""
    return _command("tf_keras", path, "", f"export({_quoted(path.stem)})")


def _command(package: str, path: Path, options: str, then: str) -> str:
    """Returns a shell command that loads a model and calls a method of it.

    Args:
        package: The package that loads the model.
        path: The file.
        options: Additional arguments of `load_model`, as code.
        then: The call of the method, as code.
    """
    model = f"k.models.load_model({_quoted(str(path))}{options})"
    return f"python -c {shlex.quote(f'import {package} as k; {model}.{then}')}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _hdf5(path: Path) -> InputError:
    """Returns the error for an HDF5 file, which is never loaded as a model."""
    try:
        with h5py.File(path, "r") as file:
            whole, version = "model_config" in file.attrs, str(file.attrs.get("keras_version", ""))
            weights = "layer_names" in file.attrs or "layers" in file
    except (OSError, RuntimeError, ValueError, LookupError, TypeError) as error:
        return InputError(f"{path}: not a readable HDF5 file ({_files.reason(error):.100}).")
    stem = path.name.removesuffix(".h5").removesuffix(".weights")
    if whole:
        convert = _command("keras", path, ", compile=False", f"save({_quoted(stem + '.keras')})")
        other = f" If Keras 3 cannot load it: {_exported(path)}" if version[:2] == "2." else ""
        return InputError(
            f"{path} is a model in HDF5 (Keras {version[:20] or 'of unknown version'}), which is"
            f" not read because it may contain code. If you trust it, convert it: {convert}{other}"
        )
    if weights:
        return InputError(
            f"{path} has weights alone, without a model (HDF5). Build the model in Python, load"
            f" them with model.load_weights, and save it: model.save({_quoted(stem + '.keras')})."
        )
    return InputError(f"{path} is an HDF5 file without a Keras model.")


def _no_model(path: Path, suffix: str, *, empty: bool) -> InputError:
    if empty:
        return InputError(f"{path} is empty.")
    if path.name == "saved_model.pb":
        return InputError(f"{path} is part of a SavedModel. Give its folder: {path.parent}")
    if suffix == ".pb":
        return InputError(
            f"{path} is a graph without signatures. Save a SavedModel folder: tf.saved_model.save,"
            " or model.export of a Keras model."
        )
    if suffix in _CHECKPOINTS or path.name == "checkpoint" or ".data-" in path.name:
        return InputError(
            f"{path} has weights alone, without a model (a TensorFlow checkpoint). Build the model"
            " in Python, load the weights, and save it with model.save('model.keras')."
        )
    if suffix in _FOREIGN:
        return InputError(
            f"{path} is not a Keras model. Use it as a teacher through a function from a NumPy"
            " batch to logits: Distiller(function, student), or store its logits as an .npy file"
            " for keras-distill targets build."
        )
    return InputError(
        f"{path} is not a model: neither a .keras nor a .tflite file, nor a SavedModel folder."
    )
