import io
import struct
import zipfile

import numpy as np
import pytest

from keras_distill._internal import InputError, _arrays


def npy(shape, dtype="<f4", body=b"", header=None):
    header = header or f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}}}"
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + body
    )


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


BAD = [
    (b"", "is empty or truncated|not a readable NumPy file"),
    (b"text", "not a readable NumPy file"),
    (npy((10**12,)), "declares 4000000000000 bytes of float32 in its header, but has 0"),
    (npy((3,), body=bytes(8)), "declares 12 bytes of float32 in its header, but has 8"),
    (npy((-1,)), "declares -4 bytes"),
    (npy((1,), header="(" * 3000), "not a readable NumPy file"),
    (pickled(), r"contains Python objects \(pickles\), which are never read"),
    (b"\x80\x04N.", r"contains Python objects \(pickles\), which are never read"),
    (npy((3,), "<f4", bytes(12))[:-30], "not a readable NumPy file|bytes"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_files_that_lie_are_refused_before_anything_is_allocated(tmp_path, content, message):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        _arrays.read_npy(path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(InputError, match=message):
        _arrays.read_npz(tmp_path / "x.npz")


def test_sound_files_are_read(tmp_path):
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.save(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(_arrays.read_npy(tmp_path / "x.npy"), array)
    np.savez_compressed(tmp_path / "x.npz", a=array, empty=array[:0], scalar=np.float32(2))
    found = _arrays.read_npz(tmp_path / "x.npz")
    np.testing.assert_array_equal(found["a"], array)
    assert found["empty"].shape == (0, 3) and found["scalar"] == 2


def test_another_member_is_named(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    with pytest.raises(InputError, match=r"may hold b\. It holds: a"):
        _arrays.read_npz(tmp_path / "x.npz", keys=("b",))
