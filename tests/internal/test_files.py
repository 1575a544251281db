import os
import socket
import stat
import zipfile

import pytest

from keras_distill._internal import InputError, _archives, _files


def test_atomic_path_leaves_nothing_when_the_block_fails(tmp_path):
    out = tmp_path / "out.txt"
    with pytest.raises(RuntimeError), _files.atomic_path(out) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path):
    out = tmp_path / "out.txt"
    out.write_text("old")
    with pytest.raises(RuntimeError), _files.atomic_path(out, overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert out.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_atomic_path_refuses_to_overwrite(tmp_path):
    out = tmp_path / "out.txt"
    out.write_text("old")
    with pytest.raises(InputError, match="exists"), _files.atomic_path(out):
        pass
    assert out.read_text() == "old"


def test_atomic_path_replaces_a_folder_whole(tmp_path):
    out = tmp_path / "run"
    for name in ("old", "new"):
        with _files.atomic_path(out, overwrite=True) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert {p.name for p in out.iterdir()} == {"new", _files.MARKER}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").touch()
    with pytest.raises(InputError, match="was not made by keras-distill"):
        _files.check_output(tmp_path / "photos", overwrite=True)
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        _files.write_text(tmp_path / "photos", "x", overwrite=True)
    with _files.atomic_path(tmp_path / "store") as temporary:
        temporary.mkdir()
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="is a file; give the name of a folder"),
        _files.atomic_path(tmp_path / "file", overwrite=True) as temporary,
    ):
        temporary.mkdir()
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "store", "file"}
    assert (tmp_path / "photos" / "one.png").exists()


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "nothing"])
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/x")
        os.close(here)
        server.close()
    else:
        path.symlink_to("/dev/null" if kind == "device" else tmp_path / "y")
    before = path.lstat()
    with pytest.raises(InputError, match=f"is a {kind}, not a file|link to nothing"):
        _files.write_text(path, "x", overwrite=True)
    with pytest.raises(InputError, match=f"is a {kind}, not a file. Only|no such file"):
        _files.read_text(path)
    with pytest.raises(InputError, match=f"is a {kind}, not a file. Only|no such file"):
        _archives.check_archive(path)
    assert path.lstat() == before


def test_a_device_stays_a_device():
    with pytest.raises(InputError, match=r"/dev/null is a device, not a file\. It is never"):
        _files.check_output("/dev/null", overwrite=True)


def test_a_failed_write_leaves_no_folder_that_it_made(tmp_path):
    with pytest.raises(RuntimeError), _files.atomic_path(tmp_path / "a/b/c") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have_are_one_line(tmp_path, path):
    with pytest.raises(InputError, match="Cannot write"):
        _files.check_output(tmp_path / path)
    with pytest.raises(InputError, match="Cannot read"):
        _files.check_file(tmp_path / path)


def test_what_unpacks_to_far_more_than_it_takes_is_refused(tmp_path):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(65 << 20))
    with pytest.raises(InputError, match=r"unpacks to 68157440 bytes .* more than 100"):
        _archives.check_archive(path)


def test_atomic_path_keeps_the_suffix(tmp_path):
    with _files.atomic_path(tmp_path / "a.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.touch()


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Cannot write in"):
        _files.check_output(tmp_path / "file" / "out.txt")
    with pytest.raises(InputError, match="Cannot write in"):
        _files.check_output(tmp_path / "file" / "more" / "out.txt")


def test_a_check_makes_no_folder_and_a_write_makes_all(tmp_path):
    path = tmp_path / "a" / "b" / "out.txt"
    assert _files.check_output(path) == path
    assert not os.listdir(tmp_path)
    assert _files.write_text(path, "x").read_text() == "x"


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    written = _files.write_text(tmp_path / "written", "x")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_json_refuses_nan_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        _files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not os.listdir(tmp_path)


def test_sha256_of_known_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert _files.sha256(path).startswith("ba7816bf8f01cfea")


def _archive(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content " * 50)
    return path


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "C:\\x", "..\\evil"])
def test_archives_with_unsafe_names_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="unsafe name"):
        _archives.check_archive(_archive(tmp_path / "x.keras", ["config.json", name]))


def test_archives_with_links_are_refused(tmp_path):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="a link"):
        _archives.check_archive(path)


def test_archives_that_unpack_to_too_much_are_refused(tmp_path):
    with pytest.raises(InputError, match="unpacks to"):
        _archives.check_archive(_archive(tmp_path / "x.keras", ["a"]), max_bytes=10)


def test_flipped_and_cut_archives_are_refused(tmp_path):
    path = _archive(tmp_path / "x.keras", ["a"])
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
    with pytest.raises(InputError, match=r"x\.keras"):
        _archives.check_archive(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable zip archive"):
        _archives.check_archive(path)


@pytest.mark.parametrize("make", ["missing", "folder", "text"])
def test_what_is_no_archive_is_one_line(tmp_path, make):
    path = tmp_path / "x.keras"
    if make == "folder":
        path.mkdir()
    elif make == "text":
        path.write_text("hello")
    with pytest.raises(InputError, match=r"x\.keras"):
        _archives.check_archive(path)


def test_a_good_archive_passes(tmp_path):
    _archives.check_archive(_archive(tmp_path / "x.keras", ["config.json", "assets/a.txt"]))
