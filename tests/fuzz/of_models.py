"""Hostile model files: `.keras`, SavedModel folders, `.tflite`, and files of other formats."""

import io
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import good
from tests.fuzz.kinds import Case, Maker, damaged, edited, kind


def read_with(m: Maker, model: Path, *, sure: bool) -> list[str]:
    """A command line that reads a model; one that converts or trains only if it is bad for sure."""
    quick = ["targets", "build", str(model), "-o", f"{m.out}/store", "--data", m.data]
    if not sure:
        return quick
    return m.pick(
        quick,
        ["export", str(model), "-o", f"{m.out}/file.tflite"],
        ["benchmark", str(model), "--runs", "2"],
        ["device", str(model), "-o", f"{m.out}/device.json", "--c-array", f"{m.out}/c"],
        ["compress", str(model), "--steps", "prune:0.5", "--data", m.data, "--alpha", "0",
         "-o", f"{m.out}/small"],
        ["specialists", "train", "--generalist", str(model), "--data", m.data,
         "-o", f"{m.out}/parts"],
        ["run", "--teacher", str(model), "--student", "mlp:2", "--data", m.data, "--output",
         f"{m.out}/run"],
    )  # fmt: skip


def device(m: Maker, model: Path) -> list[str]:
    """A command line that tries a file, and writes only what holds of every file."""
    target = m.pick("tflm", "xnnpack", "ethos-u55-128")
    return ["device", str(model), "--target", target, "--samples", "3"]


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: dict[str, bytes], compressed: bool = False) -> bytes:
    packed = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


@kind
def keras_damaged(m: Maker) -> Case:
    model = m.write("model.keras", damaged(m.good.model.read_bytes(), m.random))
    return Case(read_with(m, model, sure=False))


@kind
def keras_cut(m: Maker) -> Case:
    content = m.good.model.read_bytes()
    model = m.write("model.keras", content[: m.random.randrange(len(content) - 30)])
    return Case(read_with(m, model, sure=True), refused=True)


@kind
def kerasmembers_of(m: Maker) -> Case:
    members = members_of(m.good.model)
    name = m.pick(*members)
    how = m.random.randrange(5)
    if how == 0:
        del members[name]
    elif how == 1:
        members[name] = damaged(members[name], m.random)
    elif how == 2:
        members[name] = m.pick(b"", b"null", b"[]", b"{}", b'"x"', b"\x89HDF\r\n\x1a\n" + bytes(99))
    elif how == 3:
        members[m.pick("../out.txt", "/abs.txt", "a/../../b", "C:\\x", "..\\x", "\\\\host\\x")] = (
            b""
        )
    else:
        members["assets/" + "d/" * m.pick(1, 50, 200) + "x"] = b"x"
    model = m.write("model.keras", zipped(members))
    return Case(read_with(m, model, sure=False), refused=how in (0, 3) and name != "metadata.json")


@kind
def keras_declared_size(m: Maker) -> Case:
    content = bytearray(m.good.model.read_bytes())
    entry = content.find(b"PK\x01\x02")
    for _ in range(m.random.randrange(3)):
        entry = max(entry, content.find(b"PK\x01\x02", entry + 4))
    size = m.pick(2**32 - 2, 2**31, 10**9, 0)
    struct.pack_into("<II", content, entry + 20, m.pick(size, len(content)), size)
    return Case(read_with(m, m.write("model.keras", bytes(content)), sure=True), refused=True)


@kind
def keras_bomb(m: Maker) -> Case:
    members = members_of(m.good.model)
    name = m.pick("config.json", "model.weights.h5", "metadata.json", "assets/x")
    fill = m.pick(b"[],", b" ", b"{},", b"\0")
    members[name] = b"[" + fill * (m.pick(20, 60) * 2**20 // len(fill)) + b"0]"
    model = m.write("model.keras", zipped(members, compressed=True))
    return Case(read_with(m, model, sure=name in ("config.json", "model.weights.h5")))


def _config(m: Maker, change: Callable[[Any], Any]) -> Path:
    members = members_of(m.good.model)
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    return m.write("model.keras", zipped(members))


@kind
def keras_huge_layers(m: Maker) -> Case:
    size = m.pick(10**6, 10**7, 10**8, 10**9, 10**12)

    def change(config: Any) -> Any:
        layers = config["config"]["layers"]
        dense, shape = layers[-1], layers[0]["config"]
        what = m.random.randrange(5)
        if what == 0:
            dense["config"]["units"] = size
        elif what == 1:
            shape["batch_shape"] = [None, size]
            dense["build_config"] = {"input_shape": [None, size]}
        elif what == 2:
            dense["config"]["units"] = 10**5
            layers.insert(1, json.loads(json.dumps(dense)))
            layers[1]["config"]["name"] = "before"
            for layer in layers[1:]:
                layer.pop("build_config", None)
        elif what == 3:
            repeat = {"name": "repeat", "trainable": True, "dtype": "float32", "n": size}
            layer = {"module": "keras.layers", "class_name": "RepeatVector", "config": repeat}
            layers.append(layer)
        else:
            embed = {"name": "embed", "input_dim": size, "output_dim": 1000}
            layers.insert(1, {"module": "keras.layers", "class_name": "Embedding", "config": embed})
        return config

    return Case(read_with(m, _config(m, change), sure=True), refused=True)


@kind
def keras_config_edited(m: Maker) -> Case:
    return Case(read_with(m, _config(m, lambda c: edited(c, m.random)[0]), sure=False))


@kind
def keras_code(m: Maker) -> Case:
    code = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {
            "name": "code",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": "4wEAAAA=", "defaults": None, "closure": None},
            },
        },
    }
    foreign = [
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
        {"module": "builtins", "class_name": "function", "config": "exec",
         "registered_name": "function"},
        {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}},
        {"module": "keras.src.utils.file_utils", "class_name": "function", "config": "get_file"},
        {"class_name": "__lambda__", "config": {"value": "x"}},
    ]  # fmt: skip

    def change(config: Any) -> Any:
        layers = config["config"]["layers"]
        if m.random.random() < 0.4:
            layers.insert(1, code)
        else:
            layers[-1]["config"][
                m.pick("activation", "kernel_initializer", "kernel_constraint")
            ] = m.pick(*foreign)
        return config

    return Case(read_with(m, _config(m, change), sure=True), refused=True)


@kind
def keras_nested(m: Maker) -> Case:
    depth = m.pick(50, 500, 3000, 100_000)
    text = m.pick(b"[", b'{"config":', b'{"class_name":"x","config":')
    close = b"]" if text == b"[" else b"}"
    members = members_of(m.good.model)
    members["config.json"] = text * depth + b"1" + close * depth
    return Case(read_with(m, m.write("model.keras", zipped(members)), sure=True), refused=True)


@kind
def keras_old(m: Maker) -> Case:
    """A Keras 2 file: other keys, other classes."""

    def change(config: Any) -> Any:
        layers = config["config"]["layers"]
        shape = layers[0]["config"].pop("batch_shape")
        layers[0]["config"] |= {"batch_input_shape": shape, "sparse": False, "ragged": False}
        layers[-1]["config"]["dtype"] = m.pick("float32", {"class_name": "Policy"})
        layers[-1]["module"] = m.pick("keras.layers", "tf_keras.src.layers.core.dense")
        return config

    return Case(read_with(m, _config(m, change), sure=False))


@kind
def keras_weights(m: Maker) -> Case:
    """HDF5 weights that lie: other shapes, huge empty data sets, links to other files, NaN."""
    import h5py

    members = members_of(m.good.model)
    file = io.BytesIO(members["model.weights.h5"])
    what = m.random.randrange(7)
    with h5py.File(file, "a") as weights:
        names: list[str] = []
        weights.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Dataset) else None)
        name = names[m.random.randrange(len(names))]
        shape = weights[name].shape
        if what != 6:
            del weights[name]
        if what == 0:
            weights.create_dataset(name, shape=(10**6, 10 ** m.pick(3, 6)), chunks=(100, 100))
        elif what == 1:
            weights[name] = h5py.ExternalLink("/etc/passwd", "x")
        elif what == 2:
            weights[name] = h5py.SoftLink("/" + name)
        elif what == 3:
            weights[name] = np.full(shape, m.pick(np.nan, np.inf, 1e38), np.float32)
        elif what == 4:
            weights[name] = np.array([m.pick("text", b"x" * 5)] * 3, dtype=object)
        elif what == 5:
            weights.create_dataset(name, shape=shape, dtype=m.pick("i8", "f8", "c16", "S7"))
        else:
            weights.create_group("layers/extra/vars").create_dataset(
                "0", data=np.zeros(m.pick(1, 9))
            )
    members["model.weights.h5"] = file.getvalue()
    model = m.write("model.keras", zipped(members))
    return Case(read_with(m, model, sure=what in (0, 1, 2, 4)), refused=what in (0, 1, 2, 4))


@kind
def model_renamed(m: Maker) -> Case:
    """Other files under a model's name, and models of formats that are not read."""
    suffix = m.pick(".keras", ".h5", ".hdf5", ".pb", ".tflite", ".onnx", ".pt", "", ".KERAS")
    content = m.pick(
        b"", b"\0", b"PK\x05\x06" + bytes(18), b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"GIF89a",
        b"\x1f\x8b", b"\x89HDF\r\n\x1a\n", b"xxxxTFL3", bytes(3) + b"\x10TFL3", b"not a model" * 99,
        m.good.data.read_bytes(),
    )  # fmt: skip
    model = m.write(f"model{suffix}", content)
    return Case(read_with(m, model, sure=True), refused=True)


@kind
def model_missing(m: Maker) -> Case:
    """Paths that are no files."""
    name = m.pick(
        "model.keras", "model.tflite", "model", "x" * 300 + ".keras", "a/b/c.keras", "\n.keras"
    )
    path = m.files / name
    if m.random.random() < 0.3 and len(name) < 100:
        path.mkdir(parents=True)
    elif m.random.random() < 0.3 and len(name) < 100:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(path)
    return Case(read_with(m, path, sure=True), refused=True)


@kind
def saved_model(m: Maker) -> Case:
    """SavedModel folders; their damage shows before TensorFlow loads them."""
    folder = m.files / "saved"
    shutil.copytree(m.good.saved_model, folder)
    graph = folder / "saved_model.pb"
    how = m.random.randrange(6)
    if how == 0:
        graph.unlink()
    elif how == 1:
        graph.write_bytes(graph.read_bytes()[: m.random.randrange(1, 200)])
    elif how == 2:
        graph.write_bytes(m.pick(b"", bytes(1000), b"\xff" * 1000, b"text"))
    elif how == 3:
        content = graph.read_bytes()
        graph.write_bytes(content + m.pick(b"\xff", b"\x0a\xff\xff\xff\xff\x0f"))
    elif how == 4:
        graph.write_bytes(graph.read_bytes().replace(b"MatMul", b"PyFunc"))
        shutil.rmtree(folder / "variables")
    else:
        shutil.rmtree(folder / "variables")
        graph.write_bytes(graph.read_bytes()[:-50])
    verb = m.pick(
        ["export", str(folder), "-o", f"{m.out}/file.tflite"],
        ["benchmark", str(folder), "--runs", "2"],
    )
    return Case(verb, refused=True)


@kind
def tflite_damaged(m: Maker) -> Case:
    name = m.pick("float", "int8", "uint8", "open_batch", "two")
    content = (good.TFLITE / f"{name}.tflite").read_bytes()
    model = m.write("model.tflite", damaged(content, m.random))
    verb = m.pick("targets", "targets", "benchmark", "device")
    if verb == "device":
        return Case(device(m, model))
    if verb == "benchmark":
        return Case(["benchmark", str(model), "--runs", "2"])
    return Case(["targets", "build", str(model), "-o", f"{m.out}/store", "--data", m.data])


@kind
def tflite_tables(m: Maker) -> Case:
    """Each 32-bit word of the file in turn points, or counts, anywhere."""
    name = m.pick("float", "int8", "open_batch", "two", "flex", "variable", "unsigned")
    content = bytearray((good.TFLITE / f"{name}.tflite").read_bytes())
    for _ in range(m.pick(1, 1, 3)):
        place = m.random.randrange(2, len(content) // 4) * 4
        struct.pack_into("<I", content, place, m.pick(0, 1, 2**31 - 1, 2**32 - 1, 2**20, 10**9))
    model = m.write("model.tflite", bytes(content))
    build = ["targets", "build", str(model), "-o", f"{m.out}/store", "--data", m.data]
    return Case(m.pick(build, device(m, model)))
