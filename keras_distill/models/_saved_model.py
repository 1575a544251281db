"""Reads and runs SavedModel folders. TensorFlow loads them only in a child process."""

import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from keras_distill._internal import InputError, _files
from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._signatures import SIGNATURE, InputInfo, signature_name
from keras_distill._internal._temporary import temporary_folder
from keras_distill._internal._types import Array, PathLike, Shape

# Operations that access files or run Python code.
_UNSAFE = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}
)
_SECONDS = 900.0
_MAX_GRAPH = 512 << 20  # bytes; the weights are in other files


class SavedModel:
    """A SavedModel folder with one serving signature.

    A child process runs the model. It starts with the first call, and later calls reuse it.

    Args:
        path: The folder.

    Attributes:
        path: The folder, as given.
        name: The name of the folder.
        inputs: The inputs of the signature, in the order of their keys.
        outputs: The names of the outputs, in the order of their keys.
        output_shapes: The shapes of the outputs by name; None if the rank is unknown.

    Raises:
        InputError: If the folder is not a SavedModel, has no usable signature, or contains
            operations that access files or run Python code.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.name = self.path.name
        graph = self._parse()
        self._check_safe(graph)
        self._key, signature = self._choose(graph)
        self._input_keys = sorted(signature.inputs)
        self.inputs = tuple(
            _input(self.path, key, signature.inputs[key]) for key in self._input_keys
        )
        self._output_keys = sorted(signature.outputs)
        self.outputs = tuple(map(signature_name, self._output_keys))
        self.output_shapes = {
            signature_name(key): _shape(signature.outputs[key]) for key in self._output_keys
        }
        self._child: Child | None = None
        self._lock = threading.Lock()

    def fingerprint(self) -> str:
        """Computes the SHA-256 of the graph and of the files with the variables."""
        digest = hashlib.sha256()
        variables = sorted((self.path / "variables").glob("variables.*"))
        for file in [self.path / "saved_model.pb", *variables]:
            digest.update(f"{file.name} {_files.sha256(file)}\n".encode())
        return digest.hexdigest()

    def _parse(self) -> Any:
        message = saved_model_pb2.SavedModel()
        graph = self.path / "saved_model.pb"
        if not os.path.lexists(graph):
            raise InputError(f"{self.path} is not a SavedModel: it has no saved_model.pb.")
        content = _files.read_bytes(graph, max_bytes=_MAX_GRAPH)
        try:
            message.ParseFromString(content)
        except DecodeError as error:
            raise InputError(f"{self.path}: damaged SavedModel ({error}).") from error
        if not message.meta_graphs:
            raise InputError(f"{self.path}: the SavedModel has no graph.")
        return message.meta_graphs[0]

    def _check_safe(self, graph: Any) -> None:
        nodes = list(graph.graph_def.node)
        for function in graph.graph_def.library.function:
            nodes += function.node_def
        unsafe = sorted(_UNSAFE & {node.op for node in nodes})
        if unsafe:
            raise InputError(
                f"{self.path}: contains operations that access files or run Python, so it is not"
                f" loaded: {', '.join(unsafe)}."
            )

    def _choose(self, graph: Any) -> tuple[str, Any]:
        usable = {
            key: signature
            for key, signature in graph.signature_def.items()
            if signature.inputs and signature.outputs
        }
        if SIGNATURE in usable:
            return SIGNATURE, usable[SIGNATURE]
        if len(usable) == 1:
            return next(iter(usable.items()))
        raise InputError(
            f"{self.path}: must have a signature named {SIGNATURE!r}."
            f" It has: {', '.join(sorted(usable)) or 'none'}."
        )

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel with the same signature and a fixed batch size.

        Args:
            folder: The folder to write.
            batch_size: The number of rows; None for any number.

        Raises:
            InputError: If TensorFlow cannot load or save the model, or crashes.
        """
        self._ask("save", out=str(folder), batch_size=batch_size)

    def predict(self, x: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the signature on all rows.

        Args:
            x: The rows of each input, by name.

        Returns:
            The outputs by name.

        Raises:
            InputError: If TensorFlow cannot load or run the model, or crashes.
        """
        with temporary_folder() as folder:
            rows: dict[str, Any] = {i.name: x[i.name].astype(i.dtype) for i in self.inputs}
            np.savez(Path(folder, "x.npz"), **rows)
            self._ask("predict", folder=folder)
            with np.load(Path(folder, "y.npz")) as arrays:
                return {name: arrays[name] for name in self.outputs}

    def _ask(self, method: str, **arguments: Any) -> None:
        """Calls a method of `Service` in the child process, which loads the folder."""
        arguments |= {
            "path": str(self.path),
            "key": self._key,
            "inputs": dict(zip(self._input_keys, self.inputs, strict=True)),
            "outputs": dict(zip(self._output_keys, self.outputs, strict=True)),
        }
        with self._lock:
            if self._child is None:
                # A file may be compared with its outputs: no TensorFloat-32 on a GPU.
                full = {"NVIDIA_TF32_OVERRIDE": "0"}
                self._child = Child("keras_distill.models._saved_model:Service", environment=full)
                weakref.finalize(self, self._child.close)
            try:
                self._child.ask(method, timeout=_SECONDS, **arguments)
            except ChildError as error:
                if error.raised:
                    raise InputError(f"{self.path}: {' '.join(str(error).split())[:300]}") from None
                self._child.close()
                self._child = None
                raise InputError(
                    f"{self.path}: TensorFlow {error.reason} while loading or running it."
                    f" End of its log: {error.last_line[-300:]}"
                ) from error


def _input(path: Path, key: str, info: Any) -> InputInfo:
    if info.tensor_shape.unknown_rank or not info.tensor_shape.dim:
        raise InputError(f"{path}: input {key!r} has no known shape with a batch first.")
    shape = tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim)
    dtype = tf.dtypes.as_dtype(info.dtype)
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise InputError(f"{path}: input {key!r} is {dtype.name}; only numbers can be exported.")
    return InputInfo(signature_name(key), shape, dtype.name)


def _shape(info: Any) -> Shape | None:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim)


class Service:
    """Loads a SavedModel and saves or runs its signature; runs in a child process."""

    def save(self, *, out: str, batch_size: int | None, **signature: Any) -> None:
        """Writes a SavedModel with the same signature for `batch_size` rows."""
        module: Any = tf.Module()
        module.loaded, serve, infos = self._loaded(**signature)
        specs = [tf.TensorSpec((batch_size, *i.shape[1:]), i.dtype, name=i.name) for i in infos]
        module.serve = tf.function(serve, input_signature=specs)
        tf.saved_model.save(module, out, signatures={SIGNATURE: module.serve})

    _found: Any = None

    def _loaded(self, **signature: Any) -> tuple[Any, Callable[..., Any], list[InputInfo]]:
        """Loads the SavedModel at the first request; all requests are for the same model."""
        if self._found is None:
            self._found = _load(**signature)
        return self._found

    def predict(self, *, folder: str, **signature: Any) -> None:
        """Runs the signature in batches on `x.npz` in a folder, and writes `y.npz` there."""
        _, serve, infos = self._loaded(**signature)
        with np.load(Path(folder, "x.npz")) as arrays:
            x = [arrays[i.name] for i in infos]
        size = infos[0].shape[0] or 64
        parts: list[dict[str, Any]] = []
        for start in range(0, len(x[0]), size):
            parts.append(serve(*(tf.convert_to_tensor(a[start : start + size]) for a in x)))
        y: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        np.savez(Path(folder, "y.npz"), **y)


def _load(
    path: str, key: str, inputs: dict[str, Any], outputs: dict[str, str]
) -> tuple[Any, Callable[..., dict[str, Any]], list[InputInfo]]:
    """Loads a SavedModel.

    Returns:
        The loaded object, a function from its flat inputs to named outputs, and the inputs.
    """
    loaded = tf.saved_model.load(path)
    run = loaded.signatures[key]

    def serve(*flat: Any) -> dict[str, Any]:
        y = run(**dict(zip(inputs, flat, strict=True)))
        named = {outputs[name]: value for name, value in y.items()}
        return {k: tf.cast(v, tf.float32) if v.dtype.is_floating else v for k, v in named.items()}

    return loaded, serve, [InputInfo(*info) for info in inputs.values()]
