"""Hostile inputs: one function per kind. Each makes files in a folder and says what to run."""

import dataclasses
import gzip
import io
import json
import os
import random
import shutil
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import good

HUGE = [10**6, 10**8, 10**9, 10**12, 2**31, 2**63, 10**30]
VALUES = [
    *HUGE, -1, 0, -(10**9), 0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), True, False, None,
    "", "x", "1", "../../etc/passwd", "/dev/zero", "x" * 100_000, "\x00", "é" * 300, "%s%n{0}", [],
    [[]], [None], {}, {"a": {}}, [0] * 10_000, [[1] * 3] * 3, {"": ""},
]  # fmt: skip


@dataclasses.dataclass
class Case:
    """One hostile input.

    Attributes:
        argv: Arguments of the command line.
        refused: Whether the input is bad for certain, so that exit code 0 is a fault.
        expect: A pattern that the message must match.
        writes: Whether something may be written in `out` although the input is fine.
    """

    argv: list[str]
    refused: bool = False
    expect: str = ""


class Maker:
    """What a kind gets.

    Attributes:
        random: Its source of randomness.
        files: The folder for its inputs.
        out: The folder for outputs.
        good: The sound inputs.
    """

    def __init__(self, seed: str, folder: Path, sound: good.Good) -> None:
        self.random = random.Random(seed)
        self.files, self.out = folder / "in", folder / "out"
        self.good = sound
        for path in (self.files, self.out):
            path.mkdir(parents=True)

    @property
    def data(self) -> str:
        """A sound data spec."""
        return f"npz:{self.good.data}"

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


Kind = Callable[[Maker], Case]
KINDS: dict[str, Kind] = {}


def kind(function: Kind) -> Kind:
    """Adds a kind."""
    KINDS[function.__name__] = function
    return function


def damaged(content: bytes, source: random.Random) -> bytes:
    """`content` with bytes changed, cut, repeated, or put in."""
    data = bytearray(content)
    for _ in range(source.choice([1, 1, 2, 8])):
        if not data:
            break
        place = source.randrange(len(data))
        how = source.randrange(5)
        if how == 0:
            data[place] ^= 1 << source.randrange(8)
        elif how == 1:
            data[place : place + 4] = struct.pack(
                "<I", source.choice([0, 1, 255, 2**31 - 1, 2**32 - 1, 2**24])
            )
        elif how == 2:
            del data[place:]
        elif how == 3:
            data[place:place] = bytes(source.randrange(256) for _ in range(source.randrange(64)))
        else:
            data[place : place + 16] = bytes(16)
    return bytes(data)


def places(value: Any, at: tuple = ()) -> list[tuple]:
    """The path to everything in a JSON value."""
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else []
    items = enumerate(value) if isinstance(value, list) else items
    for key, part in items:
        found += places(part, (*at, key))
    return found


def edited(value: Any, source: random.Random) -> tuple[Any, tuple]:
    """A JSON value with one part replaced, removed, repeated, or added; and the path to it."""
    value = json.loads(json.dumps(value))
    path = source.choice(places(value))
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    how, old = source.randrange(8), parent[path[-1]]
    new = source.choice(VALUES)
    if how == 0:
        del parent[path[-1]]
    elif how == 1 and isinstance(parent, dict):
        parent[source.choice(["extra", "", "x" * 3000, "__class__"])] = new
    elif how == 2 and isinstance(old, list):
        parent[path[-1]] = old * source.choice([0, 2, 5000])
    elif how == 3 and isinstance(old, int | float):
        parent[path[-1]] = old + source.choice([1, -1, 1000, 10**12])
    else:
        parent[path[-1]] = new
    return value, path


# Model files.


def _read_with(m: Maker, model: Path, *, sure: bool) -> list[str]:
    """A command line that reads a model; one that converts or trains only if it is bad for sure."""
    quick = ["targets", "build", str(model), "-o", f"{m.out}/store", "--data", m.data]
    if not sure:
        return quick
    return m.pick(
        quick,
        ["export", str(model), "-o", f"{m.out}/file.tflite"],
        ["benchmark", str(model), "--runs", "2"],
        ["compress", str(model), "--steps", "prune:0.5", "--data", m.data, "--alpha", "0",
         "-o", f"{m.out}/small"],
        ["specialists", "train", "--generalist", str(model), "--data", m.data,
         "-o", f"{m.out}/parts"],
        ["run", "--teacher", str(model), "--student", "mlp:2", "--data", m.data, "--out",
         f"{m.out}/run"],
    )  # fmt: skip


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: dict[str, bytes], compressed: bool = False) -> bytes:
    packed = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


@kind
def keras_damaged(m: Maker) -> Case:
    model = m.write("model.keras", damaged(m.good.model.read_bytes(), m.random))
    return Case(_read_with(m, model, sure=False))


@kind
def keras_cut(m: Maker) -> Case:
    content = m.good.model.read_bytes()
    model = m.write("model.keras", content[: m.random.randrange(len(content) - 30)])
    return Case(_read_with(m, model, sure=True), refused=True)


@kind
def keras_members(m: Maker) -> Case:
    members = _members(m.good.model)
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
    model = m.write("model.keras", _zip(members))
    return Case(_read_with(m, model, sure=False), refused=how in (0, 3) and name != "metadata.json")


@kind
def keras_declared_size(m: Maker) -> Case:
    content = bytearray(m.good.model.read_bytes())
    entry = content.find(b"PK\x01\x02")
    for _ in range(m.random.randrange(3)):
        entry = max(entry, content.find(b"PK\x01\x02", entry + 4))
    size = m.pick(2**32 - 2, 2**31, 10**9, 0)
    struct.pack_into("<II", content, entry + 20, m.pick(size, len(content)), size)
    return Case(_read_with(m, m.write("model.keras", bytes(content)), sure=True), refused=True)


@kind
def keras_bomb(m: Maker) -> Case:
    members = _members(m.good.model)
    name = m.pick("config.json", "model.weights.h5", "metadata.json", "assets/x")
    fill = m.pick(b"[],", b" ", b"{},", b"\0")
    members[name] = b"[" + fill * (m.pick(20, 60) * 2**20 // len(fill)) + b"0]"
    model = m.write("model.keras", _zip(members, compressed=True))
    return Case(_read_with(m, model, sure=name in ("config.json", "model.weights.h5")))


def _config(m: Maker, change: Callable[[Any], Any]) -> Path:
    members = _members(m.good.model)
    members["config.json"] = json.dumps(change(json.loads(members["config.json"]))).encode()
    return m.write("model.keras", _zip(members))


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

    return Case(_read_with(m, _config(m, change), sure=True), refused=True)


@kind
def keras_config_edited(m: Maker) -> Case:
    return Case(_read_with(m, _config(m, lambda c: edited(c, m.random)[0]), sure=False))


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

    return Case(_read_with(m, _config(m, change), sure=True), refused=True)


@kind
def keras_nested(m: Maker) -> Case:
    depth = m.pick(50, 500, 3000, 100_000)
    text = m.pick(b"[", b'{"config":', b'{"class_name":"x","config":')
    close = b"]" if text == b"[" else b"}"
    members = _members(m.good.model)
    members["config.json"] = text * depth + b"1" + close * depth
    return Case(_read_with(m, m.write("model.keras", _zip(members)), sure=True), refused=True)


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

    return Case(_read_with(m, _config(m, change), sure=False))


@kind
def keras_weights(m: Maker) -> Case:
    """HDF5 weights that lie: other shapes, huge empty data sets, links to other files, NaN."""
    import h5py

    members = _members(m.good.model)
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
    model = m.write("model.keras", _zip(members))
    return Case(_read_with(m, model, sure=what in (0, 1, 2, 4)), refused=what in (0, 1, 2, 4))


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
    return Case(_read_with(m, model, sure=True), refused=True)


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
    return Case(_read_with(m, path, sure=True), refused=True)


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
        graph.write_bytes(content.replace(b"serving_default", b"serving_default"[::-1])
                          .replace(b"\nserve", b"\nserv3"))  # fmt: skip
        shutil.rmtree(folder / "variables")
    elif how == 4:
        graph.write_bytes(graph.read_bytes().replace(b"MatMul", m.pick(b"PyFunc", b"XxxXxx")))
        shutil.rmtree(folder / "variables")
    else:
        shutil.rmtree(folder / "variables")
        graph.write_bytes(graph.read_bytes()[:-50])
    verb = m.pick(
        ["export", str(folder), "-o", f"{m.out}/file.tflite"],
        ["benchmark", str(folder), "--runs", "2"],
    )
    return Case(verb, refused=True)


# .tflite files.


@kind
def tflite_damaged(m: Maker) -> Case:
    name = m.pick("float", "int8", "uint8", "open_batch", "two")
    content = (good.TFLITE / f"{name}.tflite").read_bytes()
    model = m.write("model.tflite", damaged(content, m.random))
    verb = m.pick("targets", "targets", "benchmark")
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
    return Case(["targets", "build", str(model), "-o", f"{m.out}/store", "--data", m.data])


# Arrays.


def npy(shape: Any = (3,), dtype: str = "'<f4'", body: bytes = b"", text: str = "") -> bytes:
    """An `.npy` file with any header."""
    text = text or f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape!r}, }}"
    header = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) & 0xFFFF) + header + body


def _lying_npy(m: Maker) -> bytes:
    shape = m.pick((10**12,), (10**6, 10**6), (2**63,), (-1,), (0,), (3, 0), (1,) * 70, (18, 3), ())
    dtype = m.pick("'<f4'", "'|O'", "'<U1000000000'", "'|V8'", "[('a','<f4')]", "'<M8[s]'", "'<c16'",
                   "'nonsense'", "1", "None", "'<f2'", "'|S5'")  # fmt: skip
    text = m.pick("", "", "", "(" * 3000 + ")" * 3000, "{}", "__import__('os')", "[" * 9000, "\x00",
                  "{'shape': " + "9" * 5000 + "}")  # fmt: skip
    body = bytes(m.pick(0, 12, 216, 1000))
    return npy(shape, dtype, body, text)


@kind
def npy_logits(m: Maker) -> Case:
    """Logits given as an array."""
    sound = io.BytesIO()
    np.save(sound, np.zeros((18, 3), np.float32))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], object), allow_pickle=True)
    content = m.pick(
        b"", b"\x93NUMPY", sound.getvalue()[:90], pickled.getvalue(), b"\x80\x04N.", b"text",
        damaged(sound.getvalue(), m.random), _lying_npy(m), _lying_npy(m), _lying_npy(m),
    )  # fmt: skip
    file = m.write("logits.npy", content)
    return Case(["targets", "build", str(file), "-o", f"{m.out}/store", "--data", m.data])


@kind
def npy_values(m: Maker) -> Case:
    """Logits of other shapes and values."""
    n = m.pick(18, 18, 18, 17, 0, 1000)
    array = m.pick(
        np.full((n, 3), np.nan, np.float32), np.full((n, 3), np.inf), np.full((n, 3), 1e30),
        np.zeros((n, 0)), np.zeros((n,)), np.zeros(()), np.zeros((n, 1)), np.zeros((n, 3), bool),
        np.zeros((n, 3), complex), np.array([["a"] * 3] * n), np.zeros((n, 3), "M8[s]"),
        np.zeros((n, 3), [("a", "f4")]), np.zeros((n, *(1,) * 20, 3)),
    )  # fmt: skip
    file = io.BytesIO()
    np.save(file, array)
    path = m.write("logits.npy", file.getvalue())
    options = m.pick([], ["--top-k", str(m.pick(1, 2, 3, 4, 10**9, 0, -1))], ["--dtype", "float32"])
    return Case(["targets", "build", str(path), "-o", f"{m.out}/store", "--data", m.data, *options])


def _read_data(m: Maker, spec: str, *, refused: bool = True, expect: str = "") -> Case:
    verbs = [["targets", "verify", str(m.good.store), "--data", spec]]
    if refused:
        verbs += [
            ["targets", "build", str(m.good.model), "-o", f"{m.out}/store", "--data", spec],
            ["run", "--data", spec, "--teacher", "mlp:4", "--student", "mlp:2", "--out",
             f"{m.out}/run"],
            ["compress", str(m.good.model), "--steps", "prune:0.5", "--data", spec, "--alpha", "0",
             "-o", f"{m.out}/small"],
            ["export", str(m.good.model), "-q", "int8", "--calibration", spec, "-o",
             f"{m.out}/f.tflite"],
        ]  # fmt: skip
    return Case(m.pick(*verbs), refused=refused, expect=expect)


@kind
def npz_labels(m: Maker) -> Case:
    """Labels that would decide memory, or are none."""
    arrays = good.arrays()
    n = len(arrays["y_train"])
    arrays["y_train"] = m.pick(
        np.array([0] * (n - 1) + [10**12]), np.array([0, 1, 10**9] * (n // 3)),
        np.array([2**63 - 1] * n), np.array([2**64 - 1] * n, np.uint64), np.arange(n) - 1,
        np.full(n, 7), np.zeros(n), np.full(n, np.nan), np.array(["a"] * n), np.eye(n)[:, :3],
        np.zeros((n, 3, 3), int), np.zeros(0, int), np.int64(3), np.array([True] * n),
        np.array([0, 10**6, 10**7] * (n // 3)), np.array([1, 2, 3] * (n // 3)),
    )  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **arrays)
    return _read_data(m, f"npz:{m.write('data.npz', file.getvalue())}")


@kind
def npz_damaged(m: Maker) -> Case:
    content = damaged(m.good.data.read_bytes(), m.random)
    return _read_data(m, f"npz:{m.write('data.npz', content)}", refused=False)


@kind
def npz_members(m: Maker) -> Case:
    """Archives whose members lie, are pickles, are none, or unpack to far more."""
    members = _members(m.good.data)
    name = m.pick(*members)
    how = m.random.randrange(6)
    if how == 0:
        members[name] = _lying_npy(m)
    elif how == 1:
        file = io.BytesIO()
        np.save(file, np.array([print], object), allow_pickle=True)
        members[name] = file.getvalue()
    elif how == 2:
        members[name] = m.pick(b"", b"text", b"\x93NUMPY\x01\x00")
    elif how == 3:
        rows = m.pick(10**7, 2 * 10**7)
        members[name] = npy((rows, 4), body=bytes(16 * rows))
    elif how == 4:
        members[m.pick("z.npy", "../x.npy", "x_train", "class_names.npy")] = _lying_npy(m)
    else:
        members = {name: members[name]}
    spec = f"npz:{m.write('data.npz', _zip(members, compressed=how == 3))}"
    return _read_data(m, spec, refused=how in (1, 2, 5))


@kind
def npz_values(m: Maker) -> Case:
    """Examples of other kinds and values."""
    arrays = good.arrays()
    n = len(arrays["x_train"])
    arrays["x_train"] = m.pick(
        np.full((n, 4), np.nan, "f4"), np.full((n, 4), np.inf), np.full((n, 4), 1e300),
        np.zeros((n, 4), complex), np.array([["a"] * 4] * n), np.zeros((n,)), np.zeros((n, 0)),
        np.zeros((0, 4)), np.zeros((n, 4, 0, 3)), np.zeros((n + 1, 4)), np.zeros((n, 4), "M8[s]"),
        np.zeros(()),
    )  # fmt: skip
    file = io.BytesIO()
    np.savez(file, **arrays)
    return _read_data(m, f"npz:{m.write('data.npz', file.getvalue())}")


def idx(shape: tuple[int, ...], kind: int = 0x08, body: bytes = b"") -> bytes:
    """An IDX file with any header."""
    return (
        bytes([0, 0, kind, len(shape) & 255]) + b"".join(struct.pack(">I", n) for n in shape) + body
    )


@kind
def idx_files(m: Maker) -> Case:
    """IDX headers that lie, plain and gzipped."""
    images = m.pick(
        idx((2**32 - 1, 2**32 - 1)), idx((10**4, 10**3, 200)), idx((10**6, 28, 28)), idx((18, 4), 0x0E),
        idx((18, 4), 0x77), idx(()), idx((0, 28, 28)), b"", b"\0\0", b"text" * 9, idx((18, 4))[:7],
        idx((1,) * 200), idx((18, 2, 2), body=bytes(71)), idx((18, 2, 2), body=bytes(73)),
        idx((18, 2, 2), body=bytes(72)),
    )  # fmt: skip
    labels = m.pick(
        idx((18,), body=bytes(range(18))), idx((18,), 0x0C, struct.pack(">18i", *[2**31 - 1] * 18)),
        idx((17,), body=bytes(17)), idx((10**9,)), idx((18, 1), body=bytes(18)), b"",
    )  # fmt: skip
    if m.random.random() < 0.3:
        images = idx((10**5, 40, 40), body=bytes(160 * 10**6))
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        images = packer.compress(images) + packer.flush()
    elif m.random.random() < 0.3:
        images = gzip.compress(images)[: m.pick(None, -5, 15)]
    m.write("idx/train-images-idx3-ubyte", images)
    m.write("idx/train-labels-idx1-ubyte", labels)
    return _read_data(m, f"idx:{m.files}/idx")


# Images.


def png(width: int, height: int, body: bytes | None = None) -> bytes:
    """A gray PNG that declares any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content
            + struct.pack(">I", zlib.crc32(name + content))
        )  # fmt: skip

    if body is None:
        body = zlib.compress(bytes(height * (width + 1)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def _image_folder(m: Maker) -> Path:
    for label in "abc":
        for number in range(6):
            m.write(f"images/{label}/{number}.png", png(4, 4))
    return m.files / "images"


@kind
def image_files(m: Maker) -> Case:
    """A folder of images with one that is none, or declares any size."""
    folder = _image_folder(m)
    sound = png(4, 4)
    content = m.pick(
        b"", b"text", sound[:40], sound[:-20], b"\xff\xd8\xff\xe0" + bytes(50), b"BM" + bytes(60),
        b"GIF89a" + bytes(20), b"RIFF\0\0\0\0WEBP", b"<svg/>", png(100_000, 100_000, b""),
        png(2**31 - 1, 2**31 - 1, b""), png(30_000, 30_000, zlib.compress(bytes(10**7))), png(4, 5),
        damaged(sound, m.random), png(0, 0, b""),
    )  # fmt: skip
    m.write("images/b/3.png", content)
    return _read_data(m, f"images:{folder}", refused=False)


@kind
def image_folders(m: Maker) -> Case:
    """Folders with files that are no images, without images, without classes."""
    folder = _image_folder(m)
    how = m.random.randrange(7)
    if how == 0:
        m.write(
            m.pick("images/a/Thumbs.db", "images/a/x.txt", "images/a/noext"), b"\xd0\xcf\x11\xe0"
        )
    elif how == 1:
        shutil.rmtree(folder / "a")
        (folder / "a").mkdir()
    elif how == 2:
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == 3:
        (folder / "a" / "loop.png").symlink_to("loop.png")
    elif how == 4:
        (folder / "a" / "folder.png").mkdir()
    elif how == 5:
        os.mkfifo(folder / "a" / "fifo.png")
    else:
        (folder / "train" / "a").mkdir(parents=True)
    return _read_data(m, f"images:{folder}", refused=how != 0)


@kind
def image_options(m: Maker) -> Case:
    folder = _image_folder(m)
    option = m.pick(
        "size=100000x100000", "size=1x1000000000", "size=0x0", "size=-1x4", "size=4", "size=xx",
        "size=" + "9" * 5000 + "x1", "channels=2", "channels=10000000000", "size=4x4&size=4x4", "&&",
        "=", "a=b", "size=1e3x1e3", "size=٣x٣", "size=30000x30000",
    )  # fmt: skip
    return _read_data(m, f"images:{folder}?{option}")


@kind
def data_specs(m: Maker) -> Case:
    """Data specs that name nothing."""
    spec = m.pick(
        "", " ", ":", "?", "npz:", "npz:?", "digits?x=1", "digits:x", "idx:/dev/null", "npz:/dev/zero",
        "images:/proc/self/fd", "images:/dev", "py:os:getcwd", "py:os:_exit", "py:", "py:x", "py:..:x",
        "py:json:loads", "py:tests.fuzz.nothing:x", "tfds:", "tfds:../../x", "tfds:nothing", "x" * 10**5,
        "\n\n", "npz:\0", "npz:" + "a/" * 3000, "\ud800", "é:é", "digits?" + "a=b&" * 10**4, "mnist",
        "tfds:mnist?split=x", "npz:/etc/passwd", "npz:" + str(m.good.model), "idx:" + str(m.files),
        "images:" + str(m.files), "py:builtins:list", "py:sys:exit", "py:builtins:input",
    )  # fmt: skip
    return _read_data(m, spec)


# Recipes.

_RECIPE_KEYS = [
    ("seeds", [10**9, 10**30, 0, -1, True, [10**30], [-1], [], [0, 0], "x", 1.5, [True]]),
    ("name", ["", "../x", "x" * 10_000, 1, "a/b", "\n", "."]),
    ("distillation.temperature", [1e-320, 0, -1, "inf", "nan", "x", True, 1e308, 1e-30]),
    ("distillation.alpha", [-1, 1.1, "nan", "x", True, 10**30]),
    ("training.epochs", [True, 0, -1, 10**9, 10**30, 1.5, "x", "nan"]),
    ("training.batch_size", [True, 0, 10**9, 10**30, 2**31, "x"]),
    ("training.learning_rate", [0, -1, "nan", "inf", True, "x", 1e300]),
    ("training.optimizer", ["x", 1, True, "adam; rm"]),
    ("training.schedule", ["x", 1, True]),
    ("training.weight_decay", [-1, "nan", "inf", "x", True, 1e300]),
    ("training.momentum", [-1, 1, "nan", True]),
    ("training.steps_per_execution", [0, True, 10**12]),
    ("teacher.model", ["", "mlp:0", "mlp:1000000x1000000", "mlp:" + "9" * 5000, "resnet:10000000004",
                       "wrn:100000-100000", "x", "resnet:20?width=100000000", "mlp:" + "x".join("4" * 9999),
                       "applications:os", "resnet:20?weight_decay=nan", 1, True, "a.keras", "dscnn?width=1e9"]),
    ("student.model", ["", "mlp:-1", "mlp:1e3", "x.tflite", "dscnn?width=0", 7, "\n", "?", "mlp:4?a=b",
                       "mlp:4?dropout=nan"]),
    ("data.labels", [True, -1, 0, 1.5, "x", "nan", 10**30, 0.0]),
    ("export.quantizations", [[], ["x"], ["int8", "int8"], "int8", True, ["int8"] * 10**4]),
    ("export.calibration_samples", [0, True, 10**12, "x", 1.5]),
    ("export.max_drop", [-1, "nan", "inf", True, "x"]),
    ("benchmark.runs", [0, 10**30, 10**9, True, "x", 1]),
    ("compress.steps", [[], ["x"], ["cluster:100000000000"], ["cluster:1"], ["prune:2"], ["quantize", "prune"],
                        ["prune:nan"], "prune", ["prune:0.5"] * 10**4, [1], ["cluster:" + "9" * 5000],
                        ["prune:1e-320"]]),
]  # fmt: skip


def _toml(value: Any) -> str:
    if value in ("inf", "nan"):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def _with_key(text: str, key: str, value: Any) -> str:
    """A TOML text with one value changed."""
    table, _, name = key.rpartition(".")
    line = f"{name} = {_toml(value)}"
    if not table:
        lines = [row for row in text.splitlines() if not row.startswith(f"{name} =")]
        return "\n".join([line, *lines]) + "\n"
    rows, where, done = [], "", False
    for row in text.splitlines():
        if row.startswith("["):
            where = row.strip("[]")
        if where == table and row.startswith(f"{name} ="):
            continue
        rows.append(row)
        if row == f"[{table}]":
            rows.append(line)
            done = True
    return "\n".join(rows if done else [*rows, f"[{table}]", line]) + "\n"


def _run(m: Maker, text: str | bytes, expect: str = "") -> Case:
    file = m.write("recipe.toml", text)
    return Case(["run", str(file), "--out", f"{m.out}/run"], refused=True, expect=expect)


@kind
def recipe_values(m: Maker) -> Case:
    """One value without sense. The data do not exist, so a recipe that is accepted ends there."""
    key, values = m.pick(*_RECIPE_KEYS)
    text = _with_key(good.RECIPE.format(data="npz:nothing.npz"), key, m.random.choice(values))
    return _run(m, text, expect=key.rpartition(".")[2].rstrip("s"))


@kind
def recipe_text(m: Maker) -> Case:
    """Text that is no recipe."""
    sound = good.RECIPE.format(data="npz:nothing.npz")
    text = m.pick(
        "", "\0", "x", "[", "[[[[", "a = " + "[" * 5000 + "]" * 5000, "a" * 10**6, "\ufeff" + sound,
        sound + "".join(f"key{i} = 1\n" for i in range(300_000)), b"\xff\xfe" + sound.encode("utf-16"),
        "x = " + "9" * 10_000 + "\n" + sound, "a" + ".a" * 3000 + " = 1", "\n".join(["[a]"] * 2),
        "x = 99999-99-99", sound + "\n[training.epochs]\n", "data = 1\n", "[[data]]\n" * 10,
        sound + "[training]\n", "data.source = true\n" + "name='x'\n", "x = {" + "a={" * 2000,
        "'''" * 3, sound.replace("npz:", "\\ud800"), damaged(sound.encode(), m.random),
        "a = " + "{b=" * 900 + "1" + "}" * 900, "x = '" + "y" * 3 * 10**6 + "'",
        sound + "[" + "x" * 100_000 + "]\na = 1\n", "seeds = [" + "0," * 10**6 + "]\n" + sound[sound.find("[data]"):],
    )  # fmt: skip
    return _run(m, text)


@kind
def recipe_specialists(m: Maker) -> Case:
    sound = good.SPECIALISTS.format(generalist=m.good.model, data=m.data)
    key, values = m.pick(
        ("clusters", [0, True, 10**12, 4, "x", 1.5]), ("size", [1, True, 10**12, "x", 4]),
        ("top", [0, True, 10**12, "x"]), ("seed", [-1, True, 10**30, 2**64, "x"]),
        ("cluster_temperature", [0, 1e-320, "nan", "inf", True]), ("cluster_seed", [-1, 10**30, True]),
        ("training.epochs", [True, 0, 10**12, 1.5]), ("training.share", [0, 1, "nan", True]),
        ("training.alpha", [-1, 2, "nan", True]), ("training.temperature", [0, 1e-320, "nan", True]),
        ("training.crop", [-1, True, 10**12, 1.5]), ("training.flip", [2, "x"]),
        ("training.batch_size", [0, True, 10**12]), ("generalist", ["", "x.keras", 1, "/dev/zero"]),
        ("source", ["", "x", 1]),
    )  # fmt: skip
    file = m.write("recipe.toml", _with_key(sound, key, m.random.choice(values)))
    return Case(["specialists", "train", str(file), "-o", f"{m.out}/parts"], refused=True)


@kind
def options(m: Maker) -> Case:
    """Numbers without sense on the command line."""
    number = m.pick(
        "10" * 20, "-1", "0", "nan", "inf", "1e-320", "1e400", "x", "", "1" * 5000, "٣", "0x10"
    )
    whole = m.pick("1" + "0" * 30, "-1", "0", "1.5", "x", "", "1000000000000", "9" * 5000)
    data, model = m.data, str(m.good.model)
    logits = ["targets", "build", model, "-o", f"{m.out}/store", "--data", data]
    nowhere = ["run", "--data", "npz:nothing.npz", "--teacher", "mlp:4", "--student", "mlp:2",
               "--out", f"{m.out}/run"]  # fmt: skip
    argv, name = m.pick(
        ([*logits, "--top-k", whole], "top.k"),
        ([*logits, "--batch-size", m.pick("0", "-1", "x", "10" * 20)], "batch.size"),
        ([*logits, "--views", m.pick("2", "0", "-1", "10" * 20, "1000000000")], "view"),
        ([*logits, "--dtype", m.pick("float8", "", "object")], "dtype"),
        ([*logits, "--augment", m.pick("crop=1e9", "x", "flip=x", "=", "crop=nan", "rotate=inf", ",")],
         ""),
        ([*logits, "--mean", "x"], ""),
        ([*nowhere, "--temperature", m.pick("nan", "inf", "1e-320", "0", "-1", "x")], "temperature"),
        ([*nowhere, "--alpha", m.pick("nan", "inf", "2", "-1", "x")], "alpha"),
        ([*nowhere, "--epochs", whole], "epochs"),
        ([*nowhere, "--seeds", whole], "seeds"),
        ([*nowhere, "--batch-size", whole], "batch.size"),
        ([*nowhere, "--learning-rate", m.pick("nan", "inf", "0", "-1", "x")], "learning.rate"),
        ([*nowhere, "--labels", m.pick("nan", "inf", "0", "-1", "x", "1.5", "9" * 5000)], "labels"),
        ([*nowhere, "--quantization", m.pick("", "x", ",", "int8,int8")], "quantization"),
        ([*nowhere, "--compress", m.pick("", "x", ",", "cluster:100000000000")], "steps"),
        ([*nowhere, "--name", m.pick("", "../x", "x" * 3000, "\n")], "name"),
        ([*nowhere, "--import", m.pick("typo", "", "..x", "a b", "os.nothing")], "import"),
        ([*nowhere, "--scale", "x"], "scale"),
        (["targets", "info", str(m.good.store), "--examples", m.pick("0", "-1", "x", "10" * 20)], ""),
        (["benchmark", model, "--runs", m.pick("0", "-1", "1" + "0" * 30)], "runs"),
        (["benchmark", model, "--threads", m.pick("", "0", "-1", "x", "1,,2", "1000000000")], "threads"),
        (["benchmark", model, "--batch-size", m.pick("0", "-1", "1" + "0" * 30)], "batch.size"),
        (["export", model, "-o", f"{m.out}/f.tflite", "-q", m.pick("x", "", ",", "int8,x")], ""),
        (["export", model, "-o", f"{m.out}/f.tflite", "--batch-size", m.pick("0", "-1", "1" + "0" * 30)],
         "batch.size"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--io", "x"], "io"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--timeout", m.pick("0", "-1", "nan")], "timeout"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--limit", m.pick("-1", "nan", "inf")], "limit"),
        (["compress", model, "--data", data, "--alpha", "0", "-o", f"{m.out}/c", "--steps",
          m.pick("cluster:100000000000", "prune:nan", "", "x", "prune:0.5,prune:0.5")], "steps"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha",
          m.pick("nan", "2", "x", "-1")], "alpha"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--epochs", m.pick("0", "-1", "x", "1" + "0" * 30)], "epochs"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--batch-size", m.pick("0", "-1", "x", "1" + "0" * 30)], "batch.size"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--learning-rate", m.pick("nan", "0", "-1", "inf")], "learning.rate"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--targets",
          str(m.good.store), "--temperature", m.pick("nan", "0", "-1", "inf", "1e-320")], "temperature"),
        (["cost", "mlp:4", "mlp:2", "--data", data, "--rounds", number], ""),
    )  # fmt: skip
    return Case(argv, refused=True, expect=name and f"(?i){name.rstrip('s')}|import")


# What the program wrote and reads back.


def _store(m: Maker) -> Path:
    folder = m.files / "store"
    shutil.copytree(m.good.store, folder)
    return folder


def _read_store(m: Maker, folder: Path) -> list[str]:
    return m.pick(
        ["targets", "verify", str(folder)],
        ["targets", "verify", str(folder), "--data", m.data],
        ["targets", "info", str(folder)],
        ["targets", "verify", str(folder), "--data", m.data, "--teacher", str(m.good.model)],
    )


@kind
def store_manifest(m: Maker) -> Case:
    """A manifest with any part changed."""
    folder = _store(m)
    manifest = json.loads((folder / "manifest.json").read_text())
    changed, _ = edited(manifest, m.random)
    (folder / "manifest.json").write_text(json.dumps(changed))
    return Case(_read_store(m, folder), refused=changed != manifest)


@kind
def store_claims(m: Maker) -> Case:
    """A manifest that claims other than the files hold."""
    folder = _store(m)
    manifest = json.loads((folder / "manifest.json").read_text())
    output = manifest["outputs"][0]
    changes = [
        {"shards": []}, {"keys": []}, {"examples": 10**12}, {"views": 1000}, {"examples": 17},
        {"inputs": ["uint8[32,32,3]"]}, {"inputs": []}, {"outputs": [{**output, "shape": [10**9]}]},
        {"outputs": [{**output, "shape": [1] * 10_000}]}, {"outputs": [{**output, "shape": [3, 1]}]},
        {"outputs": [output] * 2}, {"outputs": [{**output, "top_k": 2}]}, {"batch_size": 10**12},
        {"outputs": [{**output, "dtype": "float32"}]}, {"shard_examples": 1}, {"shard_examples": 10**15},
        {"shards": manifest["shards"] * 2}, {"shards": manifest["shards"][::-1]}, {"views": 2},
        {"shards": manifest["shards"] * 10**4}, {"teacher": {**manifest["teacher"], "temperature": 3.0}},
        {"teacher": {**manifest["teacher"], "name": "another"}}, {"keys": manifest["shards"]},
        {"augment": {"crop": 10**9}}, {"augment": {"crop": 2}, "augment_fingerprint": None},
        {"topk_error": [{"top_k": 1, "temperature": 1.0, "rest": 0.0, "kl": 0.0, "kl_bins": 0.0}] * 10**4},
    ]  # fmt: skip
    manifest.update(m.random.choice(changes))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Case(_read_store(m, folder), refused=True)


@kind
def store_files(m: Maker) -> Case:
    """Files of records and keys that are missing, cut, longer, changed, or no files."""
    folder = _store(m)
    file = m.random.choice(sorted(folder.glob("*.bin")))
    how = m.random.randrange(7)
    content = file.read_bytes()
    if how == 0:
        file.unlink()
    elif how == 1:
        file.write_bytes(content[:-1])
    elif how == 2:
        file.write_bytes(content + b"\0")
    elif how == 3:
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        file.unlink()
        if how == 4:
            file.mkdir()
        elif how == 5:
            os.mkfifo(file)
        else:
            file.symlink_to("/dev/zero")
    argv = ["targets", "verify", str(folder)]
    return Case(argv, refused=True)


@kind
def json_text(m: Maker) -> Case:
    """Text in the place of a manifest or record."""
    text = m.pick(
        "", "null", "[]", "{}", "[" * 100_000, '{"a":' * 3000 + "1" + "}" * 3000, "NaN", "\0", '"x"',
        b"\xff\xfe", "9" * 100_000, '{"' + "x" * 10**6 + '": 1}', "1e999", "{}{}", "\ufeff{}",
        '{"format": "keras-distill soft targets", "version": 2}',
        '{"format": "keras-distill soft targets", "version": 1}',
        "{" + ",".join(f'"k{i}": 1' for i in range(300_000)) + "}", b" " * (80 << 20),
    )  # fmt: skip
    which = m.random.randrange(3)
    if which == 0:
        folder = _store(m)
        m.write("store/manifest.json", text)
        argv = ["targets", "info", str(folder)]
    elif which == 1:
        m.write("run/record.json", text)
        argv = ["report", f"{m.files}/run", "-o", f"{m.out}/page.html"]
    else:
        shutil.copytree(m.good.specialists, m.files / "parts")
        m.write("parts/ensemble.json", text)
        argv = ["specialists", "evaluate", f"{m.files}/parts", "-o", f"{m.out}/e.json"]
    return Case(argv, refused=True)


@kind
def run_record(m: Maker) -> Case:
    """The record of a run with any part changed."""
    record = json.loads((m.good.run / "record.json").read_text())
    for _ in range(m.pick(1, 1, 3)):
        record, _ = edited(record, m.random)
    m.write("run/record.json", json.dumps(record))
    return Case(["report", f"{m.files}/run", "-o", f"{m.out}/page.html"])


@kind
def run_record_long(m: Maker) -> Case:
    """The record of a run with far too much of something."""
    record = json.loads((m.good.run / "record.json").read_text())
    variant, n = record["variants"][0], m.pick(5000, 50_000)
    what = m.random.randrange(6)
    if what == 0:
        record["variants"] += [{**variant, "name": f"v{i}"} for i in range(n)]
    elif what == 1:
        variant["seeds"] = variant["seeds"] * n
    elif what == 2:
        record["benchmark"]["entries"] = record["benchmark"]["entries"] * n
    elif what == 3:
        record["exports"]["exports"] = {
            f"e{i}": next(iter(record["exports"]["exports"].values())) for i in range(n)
        }
    elif what == 4:
        record["variants"] = []
    else:
        record["versions"] = {f"p{i}": "x" * 99 for i in range(n)}
    m.write("run/record.json", json.dumps(record))
    return Case(["report", f"{m.files}/run", "-o", f"{m.out}/page.html"], refused=True)


@kind
def specialists_manifest(m: Maker) -> Case:
    """A folder of specialists with its manifest changed, or a file of it."""
    folder = m.files / "parts"
    shutil.copytree(m.good.specialists, folder)
    manifest = json.loads((folder / "ensemble.json").read_text())
    how = m.random.randrange(10)
    if how < 5:
        manifest, _ = edited(manifest, m.random)
    elif how == 5:
        manifest["parts"] = manifest["parts"] * 5000
    elif how == 6:
        manifest["parts"][0]["class_ids"] = m.pick([0], [0, 0], [0, 10**12], [-1, 0], [1, 0], [])
    elif how == 7:
        manifest["num_classes"] = m.pick(10**12, 2, 4)
    elif how == 8:
        manifest["top"] = m.pick(10**9, 0, True)
    else:
        file = m.random.choice(sorted(folder.glob("*.keras")))
        file.write_bytes(damaged(file.read_bytes(), m.random))
    (folder / "ensemble.json").write_text(json.dumps(manifest))
    argv = ["specialists", "evaluate", str(folder), "-o", f"{m.out}/e.json"]
    return Case(argv, refused=how >= 5)


# Things that are no files.


def _special(m: Maker, name: str) -> Path:
    """A FIFO, a socket, or a link to a device."""
    path = m.files / name
    path.parent.mkdir(parents=True, exist_ok=True)
    how = m.random.randrange(4)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(path.parent, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/{path.name}")  # a path of any length
            os.close(here)
    else:
        path.symlink_to(m.pick("/dev/null", "/dev/zero", "/dev/full"))
    return path


@kind
def special_inputs(m: Maker) -> Case:
    """A FIFO, a socket, or a device where a file is read."""
    which = m.random.randrange(9)
    if which == 0:
        argv = _read_with(m, _special(m, "model.keras"), sure=True)
    elif which == 1:
        path = _special(m, "model.tflite")
        argv = m.pick(
            ["targets", "build", str(path), "-o", f"{m.out}/store", "--data", m.data],
            ["benchmark", str(path)],
        )
    elif which == 2:
        argv = ["targets", "build", str(_special(m, "x.npy")), "-o", f"{m.out}/s", "--data", m.data]
    elif which == 3:
        argv = _read_data(m, f"npz:{_special(m, 'x.npz')}").argv
    elif which == 4:
        _special(m, "idx/train-images-idx3-ubyte")
        m.write("idx/train-labels-idx1-ubyte", idx((18,), body=bytes(18)))
        argv = _read_data(m, f"idx:{m.files}/idx").argv
    elif which == 5:
        argv = ["run", str(_special(m, "recipe.toml")), "--out", f"{m.out}/run"]
    elif which == 6:
        _special(m, "run/record.json")
        argv = ["report", f"{m.files}/run", "-o", f"{m.out}/page.html"]
    elif which == 7:
        folder = _store(m)
        (folder / "manifest.json").unlink()
        _special(m, "store/manifest.json")
        argv = ["targets", "info", str(folder)]
    else:
        argv = [
            "export",
            str(_special(m, "saved/saved_model.pb").parent),
            "-o",
            f"{m.out}/f.tflite",
        ]
    return Case(argv, refused=True)


@kind
def special_outputs(m: Maker) -> Case:
    """A FIFO, a socket, or a device where something is to be written: it stays what it is."""
    out = _special(m, "special")
    suffix = {0: "", 1: ".tflite", 2: ".json"}
    which = m.random.randrange(6)
    if which in (1, 2):
        out = out.rename(out.with_suffix(suffix[which]))
    argv = [
        ["report", str(m.good.run), "-o", str(out)],
        ["export", str(m.good.model), "-o", str(out)],
        ["specialists", "evaluate", str(m.good.specialists), "-o", str(out)],
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", str(out)],
        ["specialists", "train", "--generalist", str(m.good.model), "--data", m.data,
         "--clusters", "1", "--size", "2", "-o", str(out)],
        ["compress", str(m.good.model), "--data", m.data, "--alpha", "0", "--steps", "prune",
         "-o", str(out)],
    ][which]  # fmt: skip
    return Case([*argv, "--overwrite"], refused=True)


@kind
def foreign_outputs(m: Maker) -> Case:
    """Files and folders that are not ours where something is to be written: they stay."""
    m.write("precious/thesis.txt", "years")
    m.write("precious.json", "{}")
    m.write("precious.tflite/thesis.txt", "years")
    folder = str(m.files / "precious")
    argv = m.pick(
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", folder],
        ["report", str(m.good.run), "-o", folder],
        ["export", str(m.good.model), "-o", f"{folder}.tflite"],
        ["specialists", "train", "--generalist", str(m.good.model), "--data", m.data, "--clusters",
         "1", "--size", "2", "-o", folder],
        ["compress", str(m.good.model), "--data", m.data, "--alpha", "0", "--steps", "prune", "-o",
         m.pick(folder, f"{folder}.json")],
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", f"{folder}.json"],
        ["run", "--data", m.data, "--teacher", "mlp:4", "--student", "mlp:2", "--out", folder],
    )  # fmt: skip
    return Case([*argv, "--overwrite"], refused=True)
