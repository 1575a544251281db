"""Files without metadata and names run as before."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.litert import LiteRTModel, add_metadata, read_graph, strip_file

FILES = Path(__file__).parents[1] / "golden/tflite"


def _rows(model):
    random = np.random.default_rng(0)
    return {i.name: random.normal(size=(1, *i.shape[1:])).astype("float32") for i in model.inputs}


@pytest.mark.parametrize("name", ["float", "int8", "two", "open_batch", "uint8"])
def test_a_stripped_file_is_smaller_and_gives_the_same(name, tmp_path):
    path = Path(shutil.copy(FILES / f"{name}.tflite", tmp_path))
    before = LiteRTModel(path)
    specs = before.inputs, before.outputs
    x = _rows(before)
    expected = before.predict(x)
    names = [str(i) for i in range(before.outputs[0].shape[-1])]
    facts = {"name": "net", "description": "x", "ranges": {}, "class_names": names}
    add_metadata(path, inputs=specs[0], outputs=specs[1], **facts)
    size, ops = path.stat().st_size, read_graph(path).ops
    strip_file(path)
    after = LiteRTModel(path)
    assert (after.inputs, after.outputs) == specs and read_graph(path).ops == ops
    np.testing.assert_equal(after.predict(x), expected)
    assert path.stat().st_size < size - 400
    content = path.read_bytes()
    assert b"TFLITE_METADATA" not in content and b"labels.txt" not in content
    strip_file(path)
    assert path.read_bytes() == content


def test_a_damaged_file_is_left_as_it_is(tmp_path):
    path = tmp_path / "damaged.tflite"
    path.write_bytes((FILES / "int8.tflite").read_bytes()[:300])
    with pytest.raises(InputError):
        strip_file(path)
    assert path.stat().st_size == 300 and list(tmp_path.iterdir()) == [path]
