import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_distill._internal import InputError, KerasDistillWarning, _files
from keras_distill.work import WorkFolder

MARKER = ".keras-distill"


def _make(out, settings=None, text="new", **options):
    with WorkFolder(out, settings or {"seed": 0}, **options) as folder:
        (folder.path / "result.txt").write_text(text)
        folder.finish()


def test_the_folder_appears_when_it_is_finished(tmp_path):
    out = tmp_path / "deep" / "small"
    with WorkFolder(out, {"seed": 0}) as folder:
        assert folder.path == tmp_path / "deep" / "small.unfinished"
        assert folder.scratch == folder.path / "work" and folder.scratch.is_dir()
        assert not folder.resumed
        (folder.scratch / "state.npz").touch()
        (folder.path / "result.txt").write_text("done")
        assert not out.exists()
        assert folder.finish() == out
    assert sorted(p.name for p in out.iterdir()) == [MARKER, "result.txt"]
    assert json.loads((out / MARKER).read_text()) == {"what": "run"}
    assert list(out.parent.iterdir()) == [out]


def test_unfinished_work_is_resumed_and_adds_up_the_time(tmp_path):
    with pytest.raises(KeyboardInterrupt), WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        (folder.scratch / "state.npz").touch()
        folder._since -= 100  # as if the session had taken that long
        raise KeyboardInterrupt
    started = folder.started
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        assert folder.resumed and (folder.scratch / "state.npz").exists()
        assert folder.started == started
        assert 100 <= folder.seconds < 200
        folder._since -= 100
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        assert 200 <= folder.seconds < 300
        folder.finish()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(KerasDistillWarning, match=r"has no locks \(.*only one process") as warned:
        _make(tmp_path / "a")
    assert len(warned) == 1 and (tmp_path / "a" / "result.txt").exists()


def test_another_error_of_the_lock_is_not_hidden(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="broken"):
        _make(tmp_path / "a")


def test_settings_are_compared_as_json(tmp_path):
    with WorkFolder(tmp_path / "a", {"names": ("x", "y"), "b": 1}) as folder:
        (folder.path / "x").touch()
    with WorkFolder(tmp_path / "a", {"b": 1, "names": ["x", "y"]}) as folder:
        assert folder.resumed
    with pytest.raises(InputError, match="`settings` must be JSON values"):
        WorkFolder(tmp_path / "b", {"x": object()})


def test_unfinished_work_with_other_settings_is_kept_unless_it_may_be_discarded(tmp_path):
    with WorkFolder(tmp_path / "a", {"seed": 0, "width": 1}, what="compression") as folder:
        (folder.path / "x").touch()
    message = r"unfinished compression with other settings \(they differ in: seed, steps\)"
    with pytest.raises(InputError, match=message):
        WorkFolder(tmp_path / "a", {"seed": 1, "width": 1, "steps": 2}, what="compression")
    assert (folder.path / "x").exists()
    with WorkFolder(tmp_path / "a", {"seed": 1}, overwrite=True) as folder:
        assert not folder.resumed and not (folder.path / "x").exists()


def test_a_session_that_made_nothing_leaves_nothing(tmp_path):
    for out in (tmp_path / "a", tmp_path / "deep" / "er" / "a"):
        with pytest.raises(ValueError), WorkFolder(out, {"seed": 0}):
            raise ValueError
    assert list(tmp_path.iterdir()) == []
    with WorkFolder(tmp_path / "a", {"seed": 1}):
        pass


def test_an_existing_folder_is_replaced_only_on_demand(tmp_path):
    _make(tmp_path / "a", text="old")
    with pytest.raises(InputError, match=r"a exists\. Pass overwrite=True"):
        WorkFolder(tmp_path / "a", {"seed": 0})
    with WorkFolder(tmp_path / "a", {"seed": 0}, overwrite=True) as folder:
        assert (folder.out / "result.txt").read_text() == "old"  # until the new one is complete
        (folder.path / "result.txt").write_text("new")
        folder.finish()
    assert (tmp_path / "a" / "result.txt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["a", "a.unfinished"])
def test_what_is_not_ours_is_never_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="was not made by keras-distill"):
        WorkFolder(tmp_path / "a", {"seed": 0}, overwrite=True)
    assert [p.name for p in (tmp_path / name).iterdir()] == ["thesis.tex"]


def test_a_file_is_never_replaced(tmp_path):
    (tmp_path / "a").write_text("years of work")
    with pytest.raises(InputError, match="was not made by keras-distill"):
        WorkFolder(tmp_path / "a", {"seed": 0}, overwrite=True)


def test_what_appears_during_the_work_is_not_replaced(tmp_path):
    for overwrite, message in ((False, "exists"), (True, "was not made by keras-distill")):
        out = tmp_path / str(overwrite)
        with WorkFolder(out, {"seed": 0}, overwrite=overwrite) as folder:
            (folder.path / "result.txt").write_text("new")
            out.mkdir()
            (out / "thesis.tex").write_text("years of work")
            with pytest.raises(InputError, match=message):
                folder.finish()
        assert [p.name for p in out.iterdir()] == ["thesis.tex"]
        assert (folder.path / "result.txt").exists()


def test_an_empty_folder_may_be_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    _make(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a" / "result.txt").exists()


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"what": "run", "unfinished": {"settings": {}}}']
)
def test_a_damaged_marker_is_named(tmp_path, text):
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        (folder.path / "x").touch()
    (folder.path / MARKER).write_text(text)
    with pytest.raises(InputError, match=r"\.keras-distill is damaged .* Remove .*unfinished"):
        WorkFolder(tmp_path / "a", {"seed": 0})


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        (folder.path / "part").mkdir()
        (folder.path / "part" / ".hidden-by-the-user").touch()
        with pytest.raises(ZeroDivisionError), _files.atomic_path(folder.path / "x") as temporary:
            name = temporary.name
            raise ZeroDivisionError
        (folder.path / name).touch()
        (folder.path / "part" / ".model-ab12_xyz.keras").mkdir()
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        assert not (folder.path / name).exists()
        (folder.path / "part" / ".model-ab12_xyz.keras").touch()
        folder.finish()
    names = {str(p.relative_to(folder.out)) for p in folder.out.rglob("*")}
    assert names == {MARKER, "part", "part/.hidden-by-the-user"}


def test_a_discarded_folder_is_of_no_concern_any_more(tmp_path):
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        folder.discard()
        assert not folder.path.exists()
        folder.path.mkdir()  # another process begins the same work
        (folder.path / "x").touch()
    assert [path.name for path in folder.path.iterdir()] == ["x"]


def test_a_second_writer_is_refused_at_once(tmp_path):
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        (folder.path / "x").touch()
        code = textwrap.dedent(f"""
            from keras_distill.work import WorkFolder
            with WorkFolder({str(tmp_path / "a")!r}, {{"seed": 0}}):
                print("entered")
        """)
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        message = f"a.unfinished is in use by another process (process ID {os.getpid()})."
        assert second.returncode == 1 and message in second.stderr
        with (
            pytest.raises(InputError, match="in use by another process"),
            WorkFolder(tmp_path / "a", {"seed": 1}, overwrite=True),
        ):
            pass
        assert (folder.path / "x").exists()
        folder.finish()
    assert (tmp_path / "a" / "x").exists()


@pytest.fixture
def killed(tmp_path):
    """Runs code that ends in waiting in another process; kills that one when it waits."""

    def run(code):
        mark = tmp_path / "mark"
        code = f"import pathlib, time\nfrom keras_distill.work import WorkFolder\n{code}"
        code = code.replace("WAIT", f"pathlib.Path({str(mark)!r}).touch(); time.sleep(60)")
        child = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 60
        while not mark.exists():
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        mark.unlink()

    return run


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, killed):
    killed(
        f"folder = WorkFolder({str(tmp_path / 'a')!r}, {{'seed': 0}})\n"
        "folder.__enter__()\n"
        "(folder.scratch / 'state.npz').touch()\n"
        "WAIT"
    )
    with WorkFolder(tmp_path / "a", {"seed": 0}) as folder:
        assert folder.resumed and (folder.scratch / "state.npz").exists()


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("moment", ["os.rename", "_files.remove"])
def test_a_kill_during_the_replacement_loses_nothing(tmp_path, killed, moment, exchange):
    """After any kill there is an `out`, old or new, and the new one is complete or resumed."""
    _make(tmp_path / "a", text="old")
    killed(
        "import os\n"
        "from keras_distill._internal import _files\n"
        f"if not {exchange}: _files._exchange = lambda first, second: False\n"
        f"folder = WorkFolder({str(tmp_path / 'a')!r}, {{'seed': 0}}, overwrite=True)\n"
        "folder.__enter__()\n"
        "(folder.path / 'result.txt').write_text('new')\n"
        "real = os.rename\n"
        "def rename(source, target):\n"
        "    real(source, target)\n"
        "    if 'replaced' in str(target): WAIT\n"
        "def remove(path):\n"
        "    if 'replaced' not in str(path) or not path.exists():\n"
        "        if path != folder.path: return\n"
        "    WAIT\n"
        + ("os.rename = rename\n" if moment == "os.rename" else "_files.remove = remove\n")
        + "folder.finish()\nWAIT"
    )
    with WorkFolder(tmp_path / "a", {"seed": 0}, overwrite=True) as folder:
        found = (tmp_path / "a" / "result.txt").read_text()
        assert found == "new" or (found == "old" and folder.resumed)
        (folder.path / "result.txt").write_text("newer")
        folder.finish()
    assert (tmp_path / "a" / "result.txt").read_text() == "newer"
    assert not (tmp_path / "a.unfinished").exists()


def test_a_kill_right_after_the_move_leaves_a_finished_folder(tmp_path, killed):
    killed(
        "from keras_distill.work import _folder\n"
        "def stop(path): WAIT\n"
        "_folder._write_final_marker = stop\n"
        f"with WorkFolder({str(tmp_path / 'a')!r}, {{'seed': 0}}) as folder:\n"
        "    (folder.path / 'result.txt').write_text('new')\n"
        "    folder.finish()\n"
    )
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [MARKER, ".lock", "result.txt"]
    with pytest.raises(InputError, match=r"a exists\. Pass overwrite=True"):
        WorkFolder(tmp_path / "a", {"seed": 0})
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [MARKER, "result.txt"]
    assert json.loads((tmp_path / "a" / MARKER).read_text()) == {"what": "run"}
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_was_moved_aside_comes_back(tmp_path):
    _make(tmp_path / "a", text="old")
    os.rename(tmp_path / "a", tmp_path / ".a.replaced")
    with pytest.raises(InputError, match="exists"):
        WorkFolder(tmp_path / "a", {"seed": 0})
    assert (tmp_path / "a" / "result.txt").read_text() == "old"
