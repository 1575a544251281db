"""Commands that are killed at random moments resume to the folder of an undisturbed one.

These tests take hours: `pytest -m slow tests/kills`. `python -m tests.kills.trial` does the same
with numbers of your own.
"""

import random
import sys

import pytest

from tests.forked import ForkServer
from tests.kills import compare, trial, verbs

SEED = 1
SIGNALS = ["SIGKILL"] * 20 + ["SIGTERM"] * 5 + ["SIGINT"] * 5

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return verbs.make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def server():
    with ForkServer() as found:
        yield found


@pytest.fixture(scope="module", params=verbs.VERBS)
def undisturbed(request, inputs, server, tmp_path_factory):
    """A command, and what it makes without a kill."""
    folder = tmp_path_factory.mktemp(request.param)
    command = trial.Command(request.param, inputs, server)
    return command, trial.reference(command, folder)


@on_linux
@pytest.mark.slow
def test_killed_commands_resume_to_byte_identical_folders(undisturbed, tmp_path):
    command, expected = undisturbed
    counts, faults = trial.kill(command, expected, tmp_path, SIGNALS, SEED)
    assert not faults, "\n".join(faults)
    assert {name: counts[name] for name in ("SIGKILL", "SIGTERM", "SIGINT")} == {
        "SIGKILL": 20,
        "SIGTERM": 5,
        "SIGINT": 5,
    }


@on_linux
@pytest.mark.slow
def test_of_two_processes_at_once_one_is_refused(undisturbed, tmp_path):
    command, expected = undisturbed
    source = random.Random(SEED)
    for _ in range(10):
        _, faults = trial.two_at_once(command, expected, tmp_path / "two", source)
        assert not faults, "\n".join(faults)


def test_the_comparison_sees_what_differs(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "x.bin").write_bytes(b"same")
        (tmp_path / name / "r.json").write_text(f'{{"seconds": "{name}", "loss": [1, 2]}}')
    assert compare.differences(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "a" / "part" / "x.bin").write_bytes(b"other")
    (tmp_path / "a" / "r.json").write_text('{"seconds": 1, "loss": [1, 3]}')
    (tmp_path / "a" / "more").touch()
    (tmp_path / "b" / ".lock").touch()
    assert compare.differences(tmp_path / "a", tmp_path / "b") == [
        ".lock: missing",
        "more: more than expected",
        "part/x.bin: differs",
        "r.json: differs",
    ]
