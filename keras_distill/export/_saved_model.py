"""A SavedModel folder as a source. TensorFlow loads it in a child process only.

python -m keras_distill.export._saved_model REQUEST.json
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from keras_distill._internal import InputError
from keras_distill.export._convert import SIGNATURE
from keras_distill.export._sources import InputInfo, signature_name
from keras_distill.litert._isolated import environment

# Operations that reach beyond the model: files, and Python code.
_UNSAFE = frozenset(
    {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles"}
)
_SECONDS = 900.0


class SavedModelSource:
    """A SavedModel folder with one serving signature.

    Args:
        path: The folder.

    Raises:
        InputError: If it is not a SavedModel, has no usable signature, or operations that read or
            write files or run Python code.
    """

    def __init__(self, path: str | os.PathLike):
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

    def _parse(self) -> Any:
        message = saved_model_pb2.SavedModel()
        try:
            message.ParseFromString((self.path / "saved_model.pb").read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path} is a folder without saved_model.pb, so not a SavedModel."
            ) from error
        except (OSError, DecodeError) as error:
            raise InputError(f"{self.path}: damaged SavedModel ({error}).") from error
        if not message.meta_graphs:
            raise InputError(f"{self.path}: a SavedModel without a graph.")
        return message.meta_graphs[0]

    def _check_safe(self, graph: Any) -> None:
        nodes = list(graph.graph_def.node)
        for function in graph.graph_def.library.function:
            nodes += function.node_def
        unsafe = sorted(_UNSAFE & {node.op for node in nodes})
        if unsafe:
            raise InputError(
                f"{self.path}: has operations that reach files or run Python: {', '.join(unsafe)}."
                " Such a model is not loaded."
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
            f"{self.path}: needs a signature named {SIGNATURE!r}."
            f" It has: {', '.join(sorted(usable)) or 'none'}."
        )

    def save(self, folder: Path, batch_size: int | None) -> None:
        """Writes a SavedModel of the same signature for `batch_size` rows."""
        self._child(do="save", out=str(folder), batch_size=batch_size)

    def predict(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs the signature on all of `x`."""
        with tempfile.TemporaryDirectory(prefix="keras-distill-") as folder:
            np.savez(
                Path(folder, "x.npz"), **{i.name: x[i.name].astype(i.dtype) for i in self.inputs}
            )
            self._child(do="predict", folder=folder)
            with np.load(Path(folder, "y.npz")) as arrays:
                return {name: arrays[name] for name in self.outputs}

    def _child(self, **request: Any) -> None:
        request |= {
            "path": str(self.path),
            "key": self._key,
            "inputs": dict(zip(self._input_keys, self.inputs, strict=True)),
            "outputs": dict(zip(self._output_keys, self.outputs, strict=True)),
        }
        with tempfile.TemporaryDirectory(prefix="keras-distill-") as folder:
            job, answer = Path(folder, "request.json"), Path(folder, "answer.json")
            job.write_text(json.dumps({**request, "answer": str(answer)}), encoding="utf-8")
            command = [sys.executable, "-m", "keras_distill.export._saved_model", str(job)]
            try:
                done = subprocess.run(
                    command, capture_output=True, timeout=_SECONDS, env=environment(), check=False
                )
            except subprocess.TimeoutExpired as error:
                raise InputError(f"{self.path}: took longer than {_SECONDS:g} s.") from error
            if not answer.exists():
                tail = " ".join(done.stderr.decode(errors="replace").split())[-300:]
                raise InputError(
                    f"{self.path}: TensorFlow died of it (exit code {done.returncode}): {tail}"
                )
            if error := json.loads(answer.read_text(encoding="utf-8")):
                raise InputError(f"{self.path}: {error}")


def _input(path: Path, key: str, info: Any) -> InputInfo:
    if info.tensor_shape.unknown_rank or not info.tensor_shape.dim:
        raise InputError(f"{path}: input {key!r} has no known shape with a batch first.")
    shape = tuple(None if d.size < 0 else int(d.size) for d in info.tensor_shape.dim)
    dtype = tf.dtypes.as_dtype(info.dtype)
    if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise InputError(f"{path}: input {key!r} is {dtype.name}; only numbers can be exported.")
    return InputInfo(signature_name(key), shape, dtype.name)


def _answer(request: dict) -> None:
    """What the child does: loads the folder, then saves or runs its signature."""
    loaded = tf.saved_model.load(request["path"])
    run = loaded.signatures[request["key"]]
    infos = [InputInfo(*info) for info in request["inputs"].values()]

    def serve(*flat: Any) -> dict[str, Any]:
        y = run(**dict(zip(request["inputs"], flat, strict=True)))
        named = {request["outputs"][key]: value for key, value in y.items()}
        return {k: tf.cast(v, tf.float32) if v.dtype.is_floating else v for k, v in named.items()}

    if request["do"] == "save":
        specs = [
            tf.TensorSpec((request["batch_size"], *i.shape[1:]), i.dtype, name=i.name)
            for i in infos
        ]
        module = tf.Module()
        module.loaded = loaded
        module.serve = tf.function(serve, input_signature=specs)
        tf.saved_model.save(module, request["out"], signatures={SIGNATURE: module.serve})
        return
    with np.load(Path(request["folder"], "x.npz")) as arrays:
        x = [arrays[i.name] for i in infos]
    size, parts = infos[0].shape[0] or 64, []
    for start in range(0, len(x[0]), size):
        parts.append(serve(*(tf.convert_to_tensor(a[start : start + size]) for a in x)))
    y = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    np.savez(Path(request["folder"], "y.npz"), **y)


def _main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    error = None
    try:
        _answer(request)
    except Exception as raised:  # TensorFlow's own, told in words by the parent
        error = f"{type(raised).__name__}: " + " ".join(str(raised).split())[:300]
    Path(request["answer"]).write_text(json.dumps(error), encoding="utf-8")


if __name__ == "__main__":
    _main()
