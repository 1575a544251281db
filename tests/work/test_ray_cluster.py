"""Jobs on a real Ray cluster of two nodes, started on this machine, of which parts are killed.

These tests take minutes: `pytest -m slow tests/work/test_ray_cluster.py`.
"""

import contextlib
import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from keras_distill.work import Job, run_jobs
from tests.kills import compare, trial, verbs

HAS_RAY = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: keras-distill[ray]"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

WAIT = 600.0  # seconds that anything may take on a busy machine
WORK = """
import os, time
from pathlib import Path

def work(number, folder, seconds):
    import ray
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
    mark = Path(folder, f"{number}-{os.getpid()}")
    mark.write_text(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    return {"square": number ** 2}
"""


class Cluster:
    """A head and a second node, with an address of their own.

    Args:
        folder: For the files of Ray. Its path must be short: Ray makes sockets in it.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._folder = folder
        port = self.address.rpartition(":")[2]
        self.head = self._start("--head", f"--port={port}", f"--temp-dir={folder}")
        self._wait_for(1)
        self.second = self._start(f"--address={self.address}")
        self._wait_for(2)

    def _start(self, *options: str) -> subprocess.Popen:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", *options, "--block"),
            *("--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"),
        ]
        if "--head" in options:
            command.append("--include-dashboard=false")
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        environment["RAY_AUTH_MODE"] = "disabled"
        with open(self._folder / "start.log", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def _wait_for(self, nodes: int) -> None:
        """Waits until so many nodes are alive."""
        code = (
            "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False);"
            "print(sum(node['Alive'] for node in ray.nodes()))"
        )
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            done = subprocess.run(
                [sys.executable, "-c", code, self.address],
                capture_output=True,
                text=True,
                env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            )
            if done.stdout.split()[-1:] == [str(nodes)]:
                return
            time.sleep(1)
        raise AssertionError(f"no {nodes} nodes: {done.stderr[-2000:]}")

    def stop(self, node: subprocess.Popen, sig: int = signal.SIGTERM) -> None:
        """Ends a node with all its processes, and nothing else."""
        pids = [node.pid, *trial._descendants(node.pid)]
        node.send_signal(sig)
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(30)
        for pid in trial._alive(pids, 10.0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait(30)

    def close(self) -> None:
        for node in (self.second, self.head):
            self.stop(node)


@pytest.fixture
def cluster(tmp_path_factory, monkeypatch):
    """Two nodes; Ray finds them by `RAY_ADDRESS`, and no other cluster."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="kd-ray-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # read when Ray is imported
        yield cluster
        cluster.close()


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    name = f"work_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(WORK)
    (tmp_path / "marks").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(seconds):
        places = {"folder": str(tmp_path / "marks"), "seconds": seconds}
        return [Job(f"job{i}", f"{name}:work", {"number": i}, places=places) for i in range(6)]

    return make


def _when(condition, action):
    """Starts a thread that waits for the condition's value, and calls `action` with it."""

    def watch():
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            if found := condition():
                action(found)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def _results(records):
    return [(r.name, r.status, r.result, r.fingerprint) for r in records]


def test_a_killed_worker_is_replaced_and_results_are_those_without_ray(cluster, jobs, tmp_path):
    marks = tmp_path / "marks"
    killed = []

    def kill(found):
        killed.append(found[0].name)
        os.kill(int(found[0].name.partition("-")[2]), signal.SIGKILL)

    watcher = _when(lambda: list(marks.glob("3-*")), kill)
    records = run_jobs(jobs(3.0), tmp_path / "ray", backend="ray", workers=2, threads=1)
    watcher.join(WAIT)
    nodes = {mark.read_text() for mark in marks.iterdir()}
    expected = run_jobs(jobs(0.0), tmp_path / "here")
    assert len(killed) == 1 and len(nodes) == 2  # both nodes worked
    assert _results(records) == _results(expected)
    assert [r.attempts for r in records] == [1, 1, 1, 2, 1, 1]


def test_a_node_that_dies_in_the_midst_loses_nothing(cluster, jobs, tmp_path):
    marks = tmp_path / "marks"

    def both_work():
        return len({mark.read_text() for mark in marks.iterdir() if mark.stat().st_size}) == 2

    watcher = _when(both_work, lambda _: cluster.stop(cluster.second, signal.SIGKILL))
    records = run_jobs(jobs(5.0), tmp_path / "ray", backend="ray", workers=2, threads=1)
    watcher.join(WAIT)
    assert _results(records) == _results(run_jobs(jobs(0.0), tmp_path / "here"))
    assert max(r.attempts for r in records) == 2


def test_specialists_trained_on_ray_are_byte_identical(cluster, tmp_path):
    """Also with a worker killed during its training."""
    inputs = verbs.make_inputs(tmp_path / "inputs")
    expected = _undisturbed("specialists", inputs, tmp_path)
    out = tmp_path / "ray" / "out"
    argv = verbs.command("specialists", inputs, out)
    command = [sys.executable, "-m", "keras_distill", *argv, "--backend", "ray", "--workers", "2"]
    source, done = random.Random(0), threading.Event()

    def kill(found):
        time.sleep(source.uniform(3, 6))
        pid = next(pid for pid in found if _works_on_job(pid))
        os.kill(pid, signal.SIGKILL)
        done.set()

    watcher = _when(lambda: [p for p in _workers(cluster) if _works_on_job(p)], kill)
    subprocess.run(command, check=True, capture_output=True)
    watcher.join(WAIT)
    assert done.is_set()
    assert compare.differences(out, expected) == []


def test_a_store_written_on_two_nodes_is_byte_identical(cluster, tmp_path):
    """Also with a worker killed while it writes a shard."""
    inputs = verbs.make_inputs(tmp_path / "inputs")
    expected = _undisturbed("targets", inputs, tmp_path)
    out = tmp_path / "ray" / "out"
    argv = verbs.command("targets", inputs, out)
    command = [sys.executable, "-m", "keras_distill", *argv, "--backend", "ray", "--workers", "2"]
    killed = []

    def writing():
        started = list(verbs.unfinished("targets", out).glob("*.tmp"))
        return [p for p in _workers(cluster) if _works_on_job(p)] if started else []

    def kill(found):
        os.kill(found[0], signal.SIGKILL)
        killed.append(found[0])

    watcher = _when(writing, kill)
    subprocess.run(command, check=True, capture_output=True)
    watcher.join(WAIT)
    assert len(killed) == 1
    assert compare.differences(out, expected) == []


def _undisturbed(verb, inputs, folder):
    """Runs a command without Ray, and returns its folder."""
    out = folder / "undisturbed"
    command = [sys.executable, "-m", "keras_distill", *verbs.command(verb, inputs, out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def _workers(cluster):
    nodes = (cluster.head.pid, cluster.second.pid)
    return [pid for node in nodes for pid in trial._descendants(node)]


def _works_on_job(pid):
    """Whether a process is a Ray worker that runs a job (Ray names it after the function)."""
    with contextlib.suppress(OSError):
        return b"ray::execute_logged" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
