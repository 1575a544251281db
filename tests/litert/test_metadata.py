import shutil
import zipfile
from pathlib import Path

import flatbuffers.table
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from keras_distill.litert import LiteRTModel, add_metadata

FILES = Path(__file__).parents[1] / "golden/tflite"
X = np.array([[1, 2, 3, -1], [0.5, 0, 0, 1]], np.float32)


class Table:
    """Reads a FlatBuffer by field numbers, as the metadata schema numbers them."""

    def __init__(self, data, position=None):
        start = flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0)
        self.t = flatbuffers.table.Table(data, start if position is None else position)

    def _at(self, number):
        return self.t.Pos + self.t.Offset(4 + 2 * number)

    def text(self, number):
        return self.t.String(self._at(number)).decode()

    def byte(self, number):
        return self.t.Get(flatbuffers.number_types.Uint8Flags, self._at(number))

    def floats(self, number):
        start = self.t.Vector(self.t.Offset(4 + 2 * number))
        length = self.t.VectorLen(self.t.Offset(4 + 2 * number))
        return np.frombuffer(self.t.Bytes, "<f4", length, start).tolist()

    def table(self, number):
        return Table(self.t.Bytes, self.t.Indirect(self._at(number)))

    def tables(self, number):
        offset = self.t.Offset(4 + 2 * number)
        start, length = self.t.Vector(offset), self.t.VectorLen(offset)
        return [Table(self.t.Bytes, self.t.Indirect(start + 4 * i)) for i in range(length)]


def _metadata(path):
    model = schema.Model.GetRootAs(path.read_bytes())
    for i in range(model.MetadataLength()):
        if model.Metadata(i).Name() == b"TFLITE_METADATA":
            data = bytes(model.Buffers(model.Metadata(i).Buffer()).DataAsNumpy())
            assert data[4:8] == b"M001"
            return Table(data)
    raise AssertionError("no metadata")


def _attach(path, **settings):
    model = LiteRTModel(path)
    given = {"name": "net", "description": "x * 2", "ranges": {}, "class_names": ()} | settings
    add_metadata(path, inputs=model.inputs, outputs=model.outputs, **given)


@pytest.fixture
def copy(tmp_path):
    return lambda name: Path(shutil.copy(FILES / f"{name}.tflite", tmp_path / "net.tflite"))


@pytest.mark.parametrize("name", ["float", "int8", "open_batch"])
def test_the_file_computes_what_it_did(copy, name):
    path = copy(name)
    before = LiteRTModel(path)
    y = before.predict(X)
    _attach(path, class_names=("a", "b", "c"))
    after = LiteRTModel(path)
    np.testing.assert_array_equal(after.predict(X), y)
    assert (after.inputs, after.outputs, after.ops) == (before.inputs, before.outputs, before.ops)


def test_what_is_written_can_be_read(copy):
    path = copy("float")
    _attach(path, ranges={"image": (0.0, 255.0)}, class_names=("cat", "dog", "ün"))
    root = _metadata(path)
    assert (root.text(0), root.text(1)) == ("net", "x * 2")
    (graph,) = root.tables(3)
    ((entry,), (out,)) = graph.tables(2), graph.tables(3)
    assert (entry.text(0), out.text(0)) == ("image", "logits")
    unit = entry.tables(4)[0]
    assert unit.byte(0) == 1  # NormalizationOptions
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])
    assert (entry.table(5).floats(0), entry.table(5).floats(1)) == ([255.0], [0.0])
    (label_file,) = out.tables(6)
    assert (label_file.text(0), label_file.byte(2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode() == "cat\ndog\nün\n"


def test_tensors_are_in_the_order_of_the_graph(copy):
    path = copy("two")
    assert [spec.name for spec in LiteRTModel(path).inputs] == ["left", "right"]
    _attach(path)
    graph = _metadata(path).tables(3)[0]
    assert [t.text(0) for t in graph.tables(2)] == ["right", "left"]
    assert [t.text(0) for t in graph.tables(3)] == ["sum", "difference"]


def test_labels_that_do_not_fit_the_output_are_left_out(copy):
    path = copy("float")
    _attach(path, class_names=("a", "b"))
    assert not zipfile.is_zipfile(path)


def test_equal_files_stay_equal(copy):
    path = copy("float")
    _attach(path, class_names=("a", "b", "c"))
    first = path.read_bytes()
    _attach(copy("float"), class_names=("a", "b", "c"))
    assert path.read_bytes() == first
