"""Loads initial weights from a file, for the layers that the file shares with a model."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import PathLike
from keras_distill.models._copy_weights import copy_weights
from keras_distill.models._inspection import walk_layers
from keras_distill.models._load import load


def load_pretrained(model: keras.Model, path: PathLike, *, imports: Sequence[str] = ()) -> int:
    """Sets the weights of the layers that have the same name and shapes in a file.

    Args:
        model: A built model; it is changed.
        path: A `.keras` file, or a `.weights.h5` file that `model.save_weights` wrote.
        imports: Modules that register custom layers of a `.keras` file.

    Returns:
        The number of weight arrays that were set. For a `.weights.h5` file, only arrays whose
        values changed count.

    Raises:
        InputError: If the file cannot be read, or no weights were set.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"pretrained: no such file: {path}.")
    if path.suffix == ".keras":
        count = _from_model(model, load(path, imports=imports))
    elif path.name.endswith(".weights.h5"):
        count = _from_weights(model, path)
    else:
        raise bad("pretrained", "be a .keras or a .weights.h5 file", str(path))
    if not count:
        names = ", ".join(place for place, layer in walk_layers(model) if layer.weights)
        raise InputError(
            f"{path}: no layer has the name and the shapes of one of the model's ({names:.200})."
        )
    return count


def _from_model(model: keras.Model, other: keras.Model) -> int:
    given, count = dict(walk_layers(other)), 0
    for place, layer in walk_layers(model):
        found = given.get(place)
        same = found is not None and [w.shape for w in found.weights] == [
            w.shape for w in layer.weights
        ]
        if found is not None and same and layer.weights:
            copy_weights(found, layer)
            count += len(layer.weights)
    return count


def _from_weights(model: keras.Model, path: Path) -> int:
    before = model.get_weights()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns about every layer that does not match
            model.load_weights(path, skip_mismatch=True)
    except Exception as error:  # Keras and h5py raise their own types
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: Keras cannot load the weights: {reason:.300}") from error
    after = model.get_weights()
    return sum(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
