import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from keras_distill._internal import _temporary

HOLD = (
    "import time; from keras_distill._internal._temporary import temporary_folder\n"
    "with temporary_folder() as folder: print(folder, flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def _age(folder):
    old = time.time() - 3600
    os.utime(folder, (old, old))


def test_a_folder_is_removed_at_the_end_and_after_a_failure(root):
    with pytest.raises(RuntimeError), _temporary.temporary_folder() as folder:
        Path(folder, "x").touch()
        raise RuntimeError
    assert list(root.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_stays(root):
    children = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, alive = (Path(child.stdout.readline().strip()) for child in children)
    children[0].send_signal(signal.SIGKILL)
    children[0].wait()
    (alive / "x").touch()
    stranger = root / "keras-distill-stranger"  # without a lock file: not one of these
    young, old = (root / f".keras-distill-{name}" for name in ("young", "old"))  # never locked
    for folder in (stranger, young, old):
        folder.mkdir()
    for folder in (alive, stranger, old):
        _age(folder)
    with _temporary.temporary_folder() as own:
        assert {path.name for path in root.iterdir()} == {
            Path(own).name,
            alive.name,
            stranger.name,
            young.name,
        }
        assert (alive / "x").exists() and not killed.exists()
    children[1].kill()
    children[1].wait()
