"""Writes and reads TFLite Metadata, which the Android and MediaPipe task libraries use.

The metadata are a separate FlatBuffer (`ModelMetadata`, identifier M001) in a buffer of the model.
The label file is in a zip archive at the end of the `.tflite` file. Fields are written by their
numbers in the published schema (tensorflow/tflite-support, metadata_schema.fbs), because the
package that wraps the schema has no builds for current Python versions.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from keras_distill.litert._interpreter import TensorSpec
from keras_distill.litert._parser import Graph, read_graph, refuses_damage

LABELS = "labels.txt"
_MEMBERS, _LABEL_BYTES = 100, 1 << 20  # limits for untrusted archives
_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_NORMALIZATION = 1  # ProcessUnitOptions.NormalizationOptions
_IMAGE = 2  # ContentProperties.ImageProperties
_COLORS = {3: 1, 1: 2}  # channels -> ColorSpaceType RGB, GRAYSCALE
_PARSER = "1.0.0"


def add_metadata(
    path: str | os.PathLike[str],
    *,
    name: str,
    description: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    ranges: dict[str, tuple[float, float]],
    class_names: Sequence[str],
) -> None:
    """Adds metadata to a `.tflite` file, in place.

    The metadata declare that inputs need no normalization (mean 0, standard deviation 1).

    Args:
        path: A `.tflite` file with a signature.
        name: The name of the model.
        description: The description of the model.
        inputs: The inputs of the model.
        outputs: The outputs of the model.
        ranges: The smallest and the largest value of an input, by input name, where known.
        class_names: The class names. They are added as a label file for each output whose last axis
            has that many entries.

    Raises:
        InputError: If the path is not a `.tflite` file, or the file is damaged.
    """
    path = Path(path)
    model: Any = unpacked(read_graph(path))
    inputs, outputs = _in_graph_order(model, inputs, outputs)
    builder = _Builder()
    tensors = [builder.input(spec, ranges.get(spec.name)) for spec in inputs]
    results = [builder.output(spec, class_names) for spec in outputs]
    packed = builder.finish(name, description, tensors, results)
    buffer: Any = schema.BufferT()
    buffer.data = np.frombuffer(packed, np.uint8)
    model.buffers.append(buffer)
    entry: Any = schema.MetadataT()
    entry.name, entry.buffer = _NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    out = flatbuffers.Builder(1024)
    out.Finish(model.Pack(out), file_identifier=b"TFL3")
    labeled = any(_is_labeled(spec, class_names) for spec in outputs)
    path.write_bytes(bytes(out.Output()) + (_label_archive(class_names) if labeled else b""))


@refuses_damage
def unpacked(graph: Graph) -> Any:
    """Converts a parsed file to mutable objects, with all constants inline.

    Writing the file again would invalidate the offsets of constants stored after the FlatBuffer.

    Raises:
        InputError: If the file is damaged.
    """
    model: Any = schema.ModelT.InitFromPackedBuf(graph.content, 0)
    for number in graph.external_buffers():
        buffer = model.buffers[number]
        buffer.data = graph.buffer(number)
        buffer.offset = buffer.size = 0
    return model


def _in_graph_order(
    model: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Sorts inputs and outputs in graph order, as metadata requires; a signature may differ."""
    signature, graph = model.signatureDefs[0], model.subgraphs[0]

    def ordered(
        specs: Sequence[TensorSpec], maps: Sequence[Any], indices: Sequence[int]
    ) -> list[TensorSpec]:
        index = {entry.name.decode(): entry.tensorIndex for entry in maps}
        return sorted(specs, key=lambda spec: list(indices).index(index[spec.name]))

    return (
        ordered(inputs, signature.inputs, graph.inputs),
        ordered(outputs, signature.outputs, graph.outputs),
    )


def _is_labeled(spec: TensorSpec, class_names: Sequence[str]) -> bool:
    return bool(class_names) and bool(spec.shape) and spec.shape[-1] == len(class_names)


def _label_archive(class_names: Sequence[str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # The default date keeps equal exports byte-identical.
        archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{name}\n" for name in class_names))
    return packed.getvalue()


def label_file(path: str | os.PathLike[str], classes: int) -> tuple[str, ...]:
    """Reads the class names from the label file in a `.tflite` file with metadata.

    Args:
        path: The file, which may come from an untrusted source.
        classes: The number of classes. A label file with another number of lines is ignored.

    Returns:
        The names in the order of the class ids, or an empty tuple if there is no such label file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist()[:_MEMBERS]:
                if not member.filename.endswith(".txt") or member.file_size > _LABEL_BYTES:
                    continue
                with archive.open(member) as file:
                    lines = file.read(_LABEL_BYTES).decode("utf-8").splitlines()
                if len(lines) == classes:
                    return tuple(lines)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error):
        return ()
    return ()


class _Builder:
    """Writes the tables of the metadata schema. Fields are identified by their numbers."""

    def __init__(self) -> None:
        self._b = flatbuffers.Builder(1024)

    def _table(self, fields: int, *adders: Callable[[], None]) -> int:
        self._b.StartObject(fields)
        for add in adders:
            add()
        return self._b.EndObject()

    def _offset(self, number: int, value: int) -> Callable[[], None]:
        return lambda: self._b.PrependUOffsetTRelativeSlot(number, value, 0)

    def _byte(self, number: int, value: int) -> Callable[[], None]:
        return lambda: self._b.PrependUint8Slot(number, value, 0)

    def _vector(self, offsets: Sequence[int]) -> int:
        self._b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._b.PrependUOffsetTRelative(offset)
        return self._b.EndVector()

    def _floats(self, values: Sequence[float]) -> int:
        return self._b.CreateNumpyVector(np.asarray(values, np.float32))

    def input(self, spec: TensorSpec, limits: tuple[float, float] | None) -> int:
        """Writes the TensorMetadata of an input, and returns its offset."""
        normalization = self._table(
            2, self._offset(0, self._floats([0.0])), self._offset(1, self._floats([1.0]))
        )
        unit = self._table(2, self._byte(0, _NORMALIZATION), self._offset(1, normalization))
        fields = [
            self._offset(0, self._b.CreateString(spec.name)),
            self._offset(4, self._vector([unit])),
        ]
        if limits is not None:
            stats = self._table(
                2,
                self._offset(0, self._floats([limits[1]])),
                self._offset(1, self._floats([limits[0]])),
            )
            fields.append(self._offset(5, stats))
        if len(spec.shape) == 4 and spec.shape[-1] in _COLORS:
            image = self._table(2, self._byte(0, _COLORS[spec.shape[-1]]))
            content = self._table(3, self._byte(0, _IMAGE), self._offset(1, image))
            fields.append(self._offset(3, content))
        return self._table(7, *fields)

    def output(self, spec: TensorSpec, class_names: Sequence[str]) -> int:
        """Writes the TensorMetadata of an output, with the label file if the sizes match."""
        fields = [self._offset(0, self._b.CreateString(spec.name))]
        if _is_labeled(spec, class_names):
            name = self._b.CreateString(LABELS)
            file = self._table(5, self._offset(0, name), self._byte(2, _AXIS_LABELS))
            fields.append(self._offset(6, self._vector([file])))
        return self._table(7, *fields)

    def finish(self, name: str, description: str, inputs: list[int], outputs: list[int]) -> bytes:
        """Returns the finished ModelMetadata, with one subgraph."""
        graph = self._table(
            10, self._offset(2, self._vector(inputs)), self._offset(3, self._vector(outputs))
        )
        fields = [
            self._offset(0, self._b.CreateString(name)),
            self._offset(1, self._b.CreateString(description)),
            self._offset(3, self._vector([graph])),
            self._offset(7, self._b.CreateString(_PARSER)),
        ]
        self._b.Finish(self._table(8, *fields), file_identifier=_IDENTIFIER)
        return bytes(self._b.Output())
