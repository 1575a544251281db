"""Loads `.keras` files without running code that they contain."""

import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_distill._internal import InputError, _archives, _keras_private, _user_code, bad
from keras_distill._internal._types import PathLike
from keras_distill.models._file_kinds import KERAS, model_file
from keras_distill.models._inspection import walk_layers
from keras_distill.models._registration import missing_class, registered_later, serialized_objects
from keras_distill.models._weights_file import FREE_BYTES, MAX_RATIO, check_weights

_CONFIG = "config.json"
_MAX_CONFIG = 16 << 20
_MAX_ENTRIES = 1 << 28  # the most numbers in an output of a layer for one example


def load(path: PathLike, *, imports: Sequence[str] = (), compiled: bool = False) -> keras.Model:
    """Loads a model that `model.save("….keras")` wrote.

    No code in the file is run. The safe mode of Keras is always on, even if the process has turned
    it off. Only Keras classes and registered classes are created.

    Args:
        path: The file.
        imports: Modules to import first, also from the current folder, which register custom
            classes with `@keras.saving.register_keras_serializable()`.
        compiled: Whether to restore the compiled state, including the state of the optimizer.

    Returns:
        The model.

    Raises:
        InputError: If the file does not exist, is not a `.keras` file, is damaged, contains code (a
            Lambda layer) or unknown classes, or would need too much memory.

    Example:
        >>> import tempfile
        >>> file = tempfile.mkdtemp() + "/small.keras"
        >>> keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(file)
        >>> load(file).output_shape
        (None, 2)
    """
    path = model_file(path, (KERAS,)).path
    if isinstance(imports, str):
        raise bad("imports", "be a list of module names", imports)
    _archives.check_archive(path)
    config = _config(path)
    for module in imports:
        _user_code.import_module("import", module)
    late: dict[str, Any] = {}
    for part in serialized_objects(config, f"{path}: {_CONFIG}"):
        _check_object(path, part)
        if (found := registered_later(part)) is not None:
            late[str(part.get("registered_name") or part["class_name"])] = found
    _check_variables(path, config)
    check_weights(path)
    try:
        model = keras.models.load_model(path, late, compile=compiled, safe_mode=True)
    except Exception as error:  # Keras, h5py, and TensorFlow raise their own types
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: Keras cannot load it: {type(error).__name__}: {reason:.300}"
        ) from error
    if not isinstance(model, keras.Model):
        raise InputError(f"{path}: contains a {type(model).__name__}, not a model.")
    _check_outputs(path, model)
    return model


def _config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG:
                raise InputError(f"{path}: {_CONFIG} is too large.")
            return json.loads(archive.read(_CONFIG))
    except KeyError as error:
        raise InputError(
            f"{path}: not a .keras file: the archive has no {_CONFIG}. Write one with model.save."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {_CONFIG} is not JSON ({error}).") from error


def _check_variables(path: Path, config: Any) -> None:
    """Checks that a config does not declare far more weights than the file has.

    This check comes before the weights are created.
    """
    if not isinstance(config, dict):
        raise InputError(f"{path}: {_CONFIG} must be a JSON object.")
    with zipfile.ZipFile(path) as archive:
        stored = sum(member.file_size for member in archive.infolist())
    declared = 0
    for _, shape, dtype in _keras_private.declared_variables(config):
        declared += math.prod(shape) * (8 if "64" in dtype else 4)
    if declared > FREE_BYTES + MAX_RATIO * stored:
        raise InputError(
            f"{path}: {_CONFIG} declares {declared} bytes of weights, but the file has {stored}"
            " bytes in all. It is damaged; save the model again."
        )


def _check_outputs(path: Path, model: keras.Model) -> None:
    """Checks that no layer has an output that alone would fill the memory."""
    for place, layer in walk_layers(model):
        for shape in _keras_private.output_shapes(layer):
            entries = math.prod(size or 1 for size in shape[1:])
            if entries > _MAX_ENTRIES:
                raise InputError(
                    f"{path}: layer {place!r:.100} has an output of shape {shape}, {entries}"
                    f" numbers per example; at most {_MAX_ENTRIES} are supported."
                )


def _check_object(path: Path, part: dict[str, Any]) -> None:
    """Raises an error for code, and for a class that neither Keras defines nor anyone registers."""
    name, module = part["class_name"], part.get("module")
    if name in ("__lambda__", "Lambda"):
        raise InputError(
            f"{path}: contains Python code (a lambda), which is never run. Replace it"
            " by a layer class decorated with @keras.saving.register_keras_serializable(), save"
            " the model again, and name its module: --import MODULE (imports=[…])."
        )
    if (missing := missing_class(part)) is not None:
        module = "MODULE" if module in (None, "builtins", "__main__") else module
        raise InputError(
            f"{path}: needs {missing!r}, which is not registered. Decorate the class with"
            " @keras.saving.register_keras_serializable(), and name its module:"
            f" --import {module} (imports=[…])."
        )
