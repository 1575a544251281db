"""Hostile data: NumPy files, IDX files, images, and specs."""

import gzip
import io
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import good
from tests.fuzz.kinds import Case, Maker, damaged, kind
from tests.fuzz.of_models import members_of, zipped


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


def read_data(m: Maker, spec: str, *, refused: bool = True, expect: str = "") -> Case:
    verbs = [["targets", "verify", str(m.good.store), "--data", spec]]
    if refused:
        verbs += [
            ["targets", "build", str(m.good.model), "-o", f"{m.out}/store", "--data", spec],
            ["run", "--data", spec, "--teacher", "mlp:4", "--student", "mlp:2", "--output",
             f"{m.out}/run"],
            ["compress", str(m.good.model), "--steps", "prune:0.5", "--data", spec, "--alpha", "0",
             "-o", f"{m.out}/small"],
            ["export", str(m.good.model), "--quantization", "int8", "--calibration", spec, "-o",
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
    return read_data(m, f"npz:{m.write('data.npz', file.getvalue())}")


@kind
def npz_damaged(m: Maker) -> Case:
    content = damaged(m.good.data.read_bytes(), m.random)
    return read_data(m, f"npz:{m.write('data.npz', content)}", refused=False)


@kind
def npzmembers_of(m: Maker) -> Case:
    """Archives whose members lie, are pickles, are none, or unpack to far more."""
    members = members_of(m.good.data)
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
    spec = f"npz:{m.write('data.npz', zipped(members, compressed=how == 3))}"
    alone = how == 5 and name != "x_train.npy"  # inputs without labels make a store
    return read_data(m, spec, refused=how in (1, 2) or alone)


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
    return read_data(m, f"npz:{m.write('data.npz', file.getvalue())}")


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
    return read_data(m, f"idx:{m.files}/idx")


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
    return read_data(m, f"images:{folder}", refused=False)


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
    return read_data(m, f"images:{folder}", refused=how != 0)


@kind
def image_options(m: Maker) -> Case:
    folder = _image_folder(m)
    option = m.pick(
        "size=100000x100000", "size=1x1000000000", "size=0x0", "size=-1x4", "size=4", "size=xx",
        "size=" + "9" * 5000 + "x1", "channels=2", "channels=10000000000", "size=4x4&size=4x4", "&&",
        "=", "a=b", "size=1e3x1e3", "size=٣x٣", "size=30000x30000",
    )  # fmt: skip
    return read_data(m, f"images:{folder}?{option}")


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
    return read_data(m, spec)
