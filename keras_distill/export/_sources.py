"""Presents a Keras model to export and verification with flat, named inputs and outputs."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError
from keras_distill._internal._keras_private import is_functional, sublayers
from keras_distill._internal._signatures import SIGNATURE, InputInfo, signature_name
from keras_distill._internal._types import Array

_BATCH = 128  # rows per reference call
_TENSOR_FLOAT_32 = threading.RLock()  # the setting is one for the whole process


def in_dtype(rows: Array, info: InputInfo) -> Array:
    """Returns rows in the dtype of an input. Text is returned unchanged."""
    return rows if info.dtype == "string" else rows.astype(info.dtype)


def refuse_text(source: "Source") -> None:
    """Rejects a model that takes text.

    Raises:
        InputError: If an input is text. The message says what to export instead.
    """
    for info in source.inputs:
        if info.dtype == "string":
            raise InputError(
                f"Model {source.name!r} takes text (input {info.name!r}), which the operators of"
                " TFLite cannot process. Export the layers after TextVectorization as a model of"
                " their own, which takes the token ids: inputs = keras.Input((length,),"
                " dtype='int32'). Vectorize the text outside of the file."
            )


class Predictor(Protocol):
    """A model with flat, named inputs and outputs."""

    name: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]

    def predict(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Returns the outputs on all of `x` by name, in float32."""
        ...


class Source(Predictor, Protocol):
    """A model that can be exported."""

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel of the inference pass for `batch_size` rows (None: any number)."""


class KerasSource:
    """A Keras model in memory. The model is not changed.

    Args:
        model: A built model: functional, sequential, or a subclass with a known input shape.

    Raises:
        InputError: If the model is not built, or has weights that are not finite.
    """

    def __init__(self, model: keras.Model) -> None:
        self._original = model
        self.model = as_float32(model)
        self.name = model.name
        check_weights(self.model)
        self._structure, tensors, names = _inputs_of(self.model)
        self.inputs = tuple(
            InputInfo(signature_name(n), tuple(t.shape), keras.backend.standardize_dtype(t.dtype))
            for n, t in zip(names, tensors, strict=True)
        )
        self.outputs = _outputs_of(self.model, self._structure)

    def call(self, *flat: Any) -> dict[str, Any]:
        """Returns the outputs of a batch by name, in float32. A subclass may override it."""
        x = keras.tree.pack_sequence_as(self._structure, list(flat))
        y = self.model(x, training=False)
        flat_y = keras.tree.flatten(y)
        values = [tf.cast(v, "float32") if v.dtype.is_floating else v for v in flat_y]
        return dict(zip(self.outputs, values, strict=True))

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel with the input and output names of the model."""
        signature = [
            tf.TensorSpec((batch_size, *i.shape[1:]), i.dtype, name=i.name) for i in self.inputs
        ]
        archive: Any = keras.export.ExportArchive()
        archive.track(self.model)
        archive.add_endpoint(SIGNATURE, self.call, input_signature=signature)
        with _quiet_tensorflow():
            archive.write_out(str(folder), verbose=False)

    def predict(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the model in inference mode, in batches."""
        rows = len(next(iter(x.values())))
        size = self.inputs[0].shape[0] or models.rows_at_once(self.model, _BATCH)
        parts: list[dict[str, Any]] = []
        for start in range(0, rows, size):
            flat = [
                tf.convert_to_tensor(in_dtype(x[i.name][start : start + size], i))
                for i in self.inputs
            ]
            try:
                with _full_float32():
                    y = self.call(*flat)
            except (ValueError, TypeError, tf.errors.OpError) as error:
                raise InputError(
                    f"Model {self.name!r} fails on the given rows:"
                    f" {' '.join(str(error).split())[:300]}"
                ) from error
            parts.append({k: keras.ops.convert_to_numpy(v) for k, v in y.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return int(self.model.count_params())

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model; see `models.fingerprint`."""
        return models.fingerprint(self._original)


@contextlib.contextmanager
def _full_float32() -> Iterator[None]:
    """Computes products on a GPU in float32, as the file does, not in TensorFloat-32."""
    settings = tf.config.experimental
    with _TENSOR_FLOAT_32:
        before = settings.tensor_float_32_execution_enabled()
        settings.enable_tensor_float_32_execution(False)
        try:
            yield
        finally:
            settings.enable_tensor_float_32_execution(before)


@contextlib.contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Hides TensorFlow's log message about written assets."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _inputs_of(model: keras.Model) -> tuple[Any, list[keras.KerasTensor], list[str]]:
    """Returns the input structure, its flat tensors, and their names."""
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise _unbuilt(model)
        return model.inputs[0], list(model.inputs), [model.inputs[0].name]
    if is_functional(model):
        structure = model.input
        names = [t.name for t in model.inputs]
        if isinstance(structure, dict) and len(structure) == len(names):
            names = sorted(structure)
        return structure, list(model.inputs), names
    shape = (model.get_build_config() or {}).get("input_shape") if model.built else None
    if shape is None:
        raise _unbuilt(model)
    structure = keras.tree.map_shape_structure(
        lambda s: keras.KerasTensor((None, *s[1:]), dtype=model.input_dtype), shape
    )
    tensors = keras.tree.flatten(structure)
    if isinstance(structure, dict):
        return structure, tensors, sorted(structure)
    if len(tensors) == 1:
        return structure, tensors, ["input"]
    return structure, tensors, [f"input_{i}" for i in range(len(tensors))]


def _unbuilt(model: keras.Model) -> InputError:
    return InputError(
        f"Model {model.name!r} has no input shape yet. Before you export it, call it on a"
        " batch or add an Input."
    )


def _outputs_of(model: keras.Model, inputs: Any) -> tuple[str, ...]:
    """Names the flat outputs by the keys of a dict, by the output layers, or by numbers."""
    if isinstance(model, keras.Sequential):
        return (signature_name(model.layers[-1].name),)
    functional = is_functional(model)
    structure = model.output if functional else _symbolic_output(model, inputs)
    count = len(keras.tree.flatten(structure))
    if isinstance(structure, dict) and len(structure) == count:
        return tuple(signature_name(name) for name in sorted(structure))
    if functional:
        names = tuple(signature_name(name) for name in model.output_names)
        if len(set(names)) == count:
            return names
    return ("output",) if count == 1 else tuple(f"output_{i}" for i in range(count))


def _symbolic_output(model: keras.Model, inputs: Any) -> Any:
    try:
        return model.compute_output_spec(inputs)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Model {model.name!r} cannot be called with its first argument alone:"
            f" {' '.join(str(error).split())[:300]}"
        ) from error


def check_weights(model: keras.Model) -> None:
    """Raises an `InputError` that lists the variables with NaN or infinite weights."""
    broken: list[str] = []
    for weight in model.weights:
        values: Any = keras.ops.convert_to_numpy(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            broken.append(weight.path)
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise InputError(
            f"Model {model.name!r} has weights that are NaN or infinite:"
            f" {', '.join(broken[:3])}{more}. Train the model again before you export it."
        )


def as_float32(model: keras.Model) -> keras.Model:
    """Returns the model, or a float32 copy if it computes in half precision.

    The converter does not support float16 or bfloat16 arithmetic. A `float16` file stores its
    weights in half precision and computes in float32.
    """
    if all(layer.compute_dtype not in ("float16", "bfloat16") for layer in sublayers(model)):
        return model

    def in_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return as_float32(layer)
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    try:
        copy = keras.models.clone_model(model, clone_function=in_float32)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Model {model.name!r} computes in half precision and cannot be rebuilt in float32"
            f" ({error}). Build it with dtype='float32' and copy the weights."
        ) from error
    models.copy_weights(model, copy)
    return copy
