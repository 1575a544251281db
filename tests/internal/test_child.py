import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from keras_distill._internal import InputError
from keras_distill._internal._child import Child, ChildError, child_environment

SERVICE = """
import os, sys, time
from keras_distill._internal import InputError

class Service:
    total = 0

    def add(self, number):
        self.total += number
        print("adding", number)
        return {"total": self.total, "pid": os.getpid()}

    def refuse(self): raise InputError("`x` must be > 0")
    def fail(self): raise KeyError("lost\\nkey")
    def die(self, number):
        sys.stderr.write("about to die\\n\\n"); sys.stderr.flush()
        os.kill(os.getpid(), number)
    def die_while_answering(self):
        for file in range(3, 16):
            try: os.write(file, b'{"result": ')
            except OSError: pass
        os.kill(os.getpid(), 9)
    def leave(self): os._exit(3)
    def sleep(self, mark=None):
        if mark: open(mark, "w").write(str(os.getpid()))
        time.sleep(60)
    def spin(self, mark):
        open(mark, "w").write(str(os.getpid()))
        while True: pass
    def fill(self, size): return len(bytearray(size))
    def variable(self, name): return os.environ.get(name)
    def read(self): return sys.stdin.read()
    def flood(self): os.write(1, b"x" * 300000); return "done"
    def unserializable(self): return object()
"""


@pytest.fixture
def service(tmp_path, monkeypatch):
    name = f"service_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SERVICE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    return f"{name}:Service"


def test_a_child_keeps_its_state_between_requests(service):
    with Child(service) as child:
        assert child.ask("add", number=1)["total"] == 1
        second = child.ask("add", number=2)
    assert second["total"] == 3 and second["pid"] != os.getpid()


def test_an_exception_is_told_apart_from_a_death(service):
    with Child(service) as child:
        with pytest.raises(InputError, match="`x` must be > 0"):
            child.ask("refuse")
        with pytest.raises(ChildError, match="KeyError") as caught:
            child.ask("fail")
        assert caught.value.raised and caught.value.signal is None
        with pytest.raises(ChildError, match="TypeError: Object of type object"):
            child.ask("unserializable")
        assert child.ask("add", number=4)["total"] == 4


@pytest.mark.parametrize(
    ("number", "name", "reason"),
    [
        (signal.SIGSEGV, "SIGSEGV", "crashed (SIGSEGV)"),
        (signal.SIGKILL, "SIGKILL", "was killed (SIGKILL), most likely for lack of memory"),
    ],
)
def test_a_signal_is_named(service, number, name, reason):
    with Child(service) as child:
        with pytest.raises(ChildError) as caught:
            child.ask("die", number=int(number))
        assert caught.value.reason == reason and caught.value.signal == name
        assert not caught.value.raised and not caught.value.timed_out
        assert caught.value.last_line == "about to die"
        with pytest.raises(ChildError, match="SIG"):  # a dead child stays dead
            child.ask("add", number=1)


def test_a_death_in_the_middle_of_an_answer_is_a_death(service):
    with Child(service) as child, pytest.raises(ChildError, match=r"was killed \(SIGKILL\)"):
        child.ask("die_while_answering")


def test_an_exit_is_named(service):
    with Child(service) as child, pytest.raises(ChildError) as caught:
        child.ask("leave")
    assert caught.value.reason == caught.value.last_line == "failed with exit code 3"


def test_a_service_that_cannot_be_made_leaves_its_traceback():
    with Child("no_such_module:Service") as child, pytest.raises(ChildError) as caught:
        child.ask("add")
    assert "exit code 1" in caught.value.reason
    assert caught.value.last_line == "ModuleNotFoundError: No module named 'no_such_module'"


def test_a_request_that_takes_too_long_ends_the_child(service):
    with Child(service) as child:
        assert child.ask("add", number=1, timeout=60)["total"] == 1
        with pytest.raises(ChildError, match=r"took longer than 0\.5 s and was ended") as caught:
            child.ask("sleep", timeout=0.5)
    assert caught.value.timed_out and not caught.value.raised


def test_memory_is_limited(service):
    with Child(service, memory=1 << 30) as child:
        assert child.ask("fill", size=1 << 20) == 1 << 20
        with pytest.raises(ChildError, match="ran out of memory"):
            child.ask("fill", size=2 << 30)
        assert child.ask("add", number=1)["total"] == 1


def test_the_environment_is_changed_for_the_child_alone(service, monkeypatch):
    monkeypatch.setenv("KD_REMOVED", "1")
    with Child(service, environment={"KD_ADDED": "2", "KD_REMOVED": None}) as child:
        assert child.ask("variable", name="KD_ADDED") == "2"
        assert child.ask("variable", name="KD_REMOVED") is None
    assert "KD_ADDED" not in os.environ
    assert child_environment()["KD_REMOVED"] == "1"


def test_what_it_prints_goes_to_the_log_and_standard_input_is_empty(service, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("earlier\n")
    with Child(service, log=log) as child:
        child.ask("add", number=1)
        assert child.ask("read") == ""
        assert child.ask("flood") == "done"
        with pytest.raises(ChildError) as caught:
            child.ask("leave")
    text = log.read_text()
    assert text.startswith("earlier\nadding 1\n") and text.endswith("x" * 300000)
    assert caught.value.log.startswith("adding 1")  # its own part


def test_code_runs_before_the_package_is_imported(service):
    before = "import os, sys; os.environ['KD_FIRST'] = str('keras_distill' not in sys.modules)"
    with Child(service, before=before) as child:
        assert child.ask("variable", name="KD_FIRST") == "True"


def test_closing_ends_a_request_of_another_thread(service, tmp_path):
    found = []

    def ask():
        try:
            child.ask("sleep", mark=str(tmp_path / "mark"))
        except ChildError as error:
            found.append(error)

    child = Child(service)
    thread = threading.Thread(target=ask)
    thread.start()
    _wait_for((tmp_path / "mark").exists)
    child.close()
    thread.join(10)
    assert not thread.is_alive() and found[0].signal == "SIGKILL"


@pytest.mark.parametrize("method", ["sleep", "spin"])
def test_a_child_ends_with_its_killed_parent(service, tmp_path, method):
    mark = tmp_path / "mark"
    code = textwrap.dedent(f"""
        from keras_distill._internal._child import Child
        Child({service!r}).ask({method!r}, mark={str(mark)!r})
    """)
    parent = subprocess.Popen([sys.executable, "-c", code])
    _wait_for(lambda: mark.exists() and mark.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: _gone(int(mark.read_text())))


def _gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
