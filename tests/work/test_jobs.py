import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from keras_distill._internal import InputError, KerasDistillWarning, MissingExtraError
from keras_distill.records import JobRecord
from keras_distill.work import Job, JobPool, finished_job, job_failures, run_jobs
from keras_distill.work.jobs import _processes, _ray

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: keras-distill[ray]")

WORK = """
import os, signal, time
from pathlib import Path
from keras_distill._internal import InputError

def double(number, trace=None):
    print("doubling", number)
    if trace:
        with open(trace, "a") as file:
            file.write(f"{number} {os.getpid()}\\n")
    return {"double": 2 * number}

def refuse(number):
    raise InputError(f"number {number}\\nis not wanted")

def crash():
    return 1 / 0

def unserializable():
    return object()

def die():
    print("about to die", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def die_once(mark):
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"

def quit():
    raise SystemExit(4)

def leave():
    os._exit(3)

def threads():
    return os.environ["TF_NUM_INTRAOP_THREADS"]

def wait_for(mark):
    Path(mark).touch()
    time.sleep(60)
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module of job functions that this process and its children find."""
    name = f"work_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@pytest.fixture(scope="module")
def ray_cluster():
    """A real local Ray cluster."""
    import ray

    _ray.start_local_ray(2)
    yield
    ray.shutdown()


BACKENDS = ["in-turn", "processes", pytest.param("ray", marks=needs_ray)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return request.param


def test_one_failure_does_not_lose_the_others(backend, work, tmp_path):
    jobs = [
        Job("a", f"{work}:double", {"number": 1}),
        Job("b", f"{work}:refuse", {"number": 2}),
        Job("c", f"{work}:crash"),
        Job("d", f"{work}:unserializable"),
        Job("e", "no_such_module:f"),
        Job("f", f"{work}:double", {"number": 5}),
    ]
    seen = []
    records = run_jobs(
        jobs, tmp_path / "out", backend=backend, workers=2, report=lambda r, k: seen.append((r, k))
    )
    assert [r.name for r in records] == list("abcdef")
    assert [r.status for r in records] == ["done", "failed", "failed", "failed", "failed", "done"]
    assert records[0].result == {"double": 2} and records[5].result == {"double": 10}
    assert records[1].error == "number 2 is not wanted"
    assert records[2].error == "ZeroDivisionError: division by zero"
    assert "ModuleNotFoundError" in records[4].error
    assert all(r.attempts == 1 for r in records)
    assert [line.split(":")[0] for line in job_failures(records)] == list("bcde")
    assert sorted(r.name for r, kept in seen if not kept) == list("abcdef")
    for record in records:
        assert JobRecord.load(tmp_path / "out" / record.name / "job.json") == record


def test_done_jobs_are_kept_and_failed_or_changed_ones_run_again(backend, work, tmp_path):
    trace = str(tmp_path / "trace")

    def jobs(last):
        return [
            Job("a", f"{work}:double", {"number": 1, "trace": trace}),
            Job("b", f"{work}:double", {"number": last, "trace": trace}),
            Job("c", f"{work}:crash"),
        ]

    run_jobs(jobs(2), tmp_path / "out", backend=backend)
    kept = []
    records = run_jobs(
        jobs(3), tmp_path / "out", backend=backend, report=lambda r, k: kept.append((r.name, k))
    )
    assert records[1].result == {"double": 6}
    assert sorted(kept) == [("a", True), ("b", False), ("c", False)]
    ran = [line.split()[0] for line in Path(trace).read_text().splitlines()]
    assert ran == ["1", "2", "3"]


def test_a_job_stays_done_when_places_change(work, tmp_path):
    def job(trace):
        return Job("a", f"{work}:double", {"number": 3}, places={"trace": str(tmp_path / trace)})

    run_jobs([job("one")], tmp_path / "out")
    assert (tmp_path / "one").read_text().startswith("3 ")
    kept = []
    (record,) = run_jobs([job("two")], tmp_path / "out", report=lambda r, k: kept.append(k))
    assert kept == [True] and record.result == {"double": 6}


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_a_killed_job_is_tried_again_then_reported(backend, work, tmp_path, request):
    if backend == "ray":
        request.getfixturevalue("ray_cluster")
    jobs = [
        Job("once", f"{work}:die_once", {"mark": str(tmp_path / "mark")}),
        Job("always", f"{work}:die"),
        Job("fine", f"{work}:double", {"number": 4}),
    ]
    once, always, fine = run_jobs(jobs, tmp_path / "out", backend=backend, workers=2, retries=1)
    assert (once.status, once.result, once.attempts) == ("done", "survived", 2)
    assert (always.status, always.attempts) == ("failed", 2)
    assert ("SIGKILL" if backend == "processes" else "worker died") in always.error
    assert (fine.status, fine.result) == ("done", {"double": 8})
    if backend == "processes":
        assert "the log ends: about to die" in always.error


def test_a_job_that_exits_does_not_end_the_others(work, tmp_path, capsys):
    jobs = [
        Job("exits", f"{work}:quit"),
        Job("refuses", f"{work}:refuse", {"number": 1}),
        Job("fine", f"{work}:double", {"number": 2}),
    ]
    exits, refuses, fine = run_jobs(jobs, tmp_path / "out")
    assert (exits.status, exits.error) == ("failed", "SystemExit: 4")
    assert refuses.error == "number 1 is not wanted" and fine.status == "done"
    assert "InputError" not in capsys.readouterr().err  # a user's mistake has no traceback


def test_leaving_without_an_answer_is_a_failure(work, tmp_path):
    (record,) = run_jobs([Job("a", f"{work}:leave")], tmp_path, backend="processes", retries=0)
    assert record.status == "failed" and "exit code 3" in record.error


def test_each_job_has_its_own_log_and_shares_processes_with_others(work, tmp_path):
    trace = str(tmp_path / "trace")
    jobs = [Job(f"n{i}", f"{work}:double", {"number": i, "trace": trace}) for i in range(5)]
    with JobPool("processes", 2) as pool:
        pool.run(jobs[:3], tmp_path / "out")
        pool.run(jobs[3:], tmp_path / "out")
    pids = {line.split()[1] for line in Path(trace).read_text().splitlines()}
    assert 1 <= len(pids) <= 2 and str(os.getpid()) not in pids
    for i in range(5):
        assert (tmp_path / "out" / f"n{i}" / "log.txt").read_text() == f"doubling {i}\n"
    assert sorted(p.name for p in (tmp_path / "out" / "n0").iterdir()) == ["job.json", "log.txt"]
    deadline = time.monotonic() + 60
    for pid in pids:  # the pool ends its processes
        while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_pool_starts_nothing_before_a_job_has_to_run(work, tmp_path, monkeypatch):
    job = Job("a", f"{work}:double", {"number": 1})
    run_jobs([job], tmp_path)
    monkeypatch.setattr(_processes, "Child", None)
    with JobPool("processes") as pool:
        (record,) = pool.run([job], tmp_path)
    assert record.result == {"double": 2}


def test_threads_reach_the_job(work, tmp_path):
    (record,) = run_jobs([Job("a", f"{work}:threads")], tmp_path, backend="processes", threads=3)
    assert record.result == "3"


def test_a_killed_run_leaves_no_orphan_and_goes_on(work, tmp_path):
    """SIGKILL of the whole run: done jobs are kept, the running child ends by itself."""
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from keras_distill.work import Job, run_jobs
        run_jobs([Job("a", "{work}:double", {{"number": 1}}),
             Job("b", "{work}:wait_for", {{"mark": {str(tmp_path / "mark")!r}}})],
            {str(tmp_path / "out")!r}, backend="processes")
    """)
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 180
    while not (tmp_path / "mark").exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    pids = [int(pid) for pid in _children(parent.pid)] if children.parent.exists() else []
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert finished_job(Job("a", f"{work}:double", {"number": 1}), tmp_path / "out") is not None
    assert not (tmp_path / "out" / "b" / "job.json").exists()
    kept = []
    jobs = [Job("a", f"{work}:double", {"number": 1}), Job("b", f"{work}:double", {"number": 2})]
    records = run_jobs(jobs, tmp_path / "out", report=lambda r, k: kept.append(k))
    assert [r.status for r in records] == ["done", "done"] and kept == [True, False]


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_damaged_record_is_named(work, tmp_path):
    job = Job("a", f"{work}:double", {"number": 1})
    run_jobs([job], tmp_path)
    (tmp_path / "a" / "job.json").write_text(json.dumps({"name": "a"}))
    with pytest.raises(InputError, match=r"job\.json"):
        run_jobs([job], tmp_path)


@pytest.mark.parametrize(
    ("name", "function", "arguments", "message"),
    [
        ("../a", "math:sqrt", {}, "`name` must"),
        ("a", "math.sqrt", {}, "`function` must"),
        ("a", "__main__:f", {}, "importable from anywhere"),
        ("a", "math:sqrt", {"x": object()}, "JSON"),
        ("a", "math:sqrt", {"x": float("nan")}, "JSON"),
    ],
)
def test_bad_jobs_are_named(name, function, arguments, message):
    with pytest.raises(InputError, match=message):
        Job(name, function, arguments)


def test_bad_settings_are_named(tmp_path):
    job = Job("a", "math:sqrt")
    for settings, message in [
        ({"backend": "threads"}, "in-turn, processes, ray"),
        ({"workers": 0}, "`workers`"),
        ({"threads": 0}, "`threads`"),
        ({"retries": -1}, "`retries`"),
    ]:
        with pytest.raises(InputError, match=message):
            run_jobs([job], tmp_path, **settings)
    with pytest.raises(InputError, match="different names"):
        run_jobs([job, job], tmp_path)


def test_without_ray_the_pip_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'keras-distill\[ray\]'"):
        run_jobs([Job("a", "math:sqrt")], tmp_path, backend="ray")


@needs_ray
def test_ray_that_starts_slowly_is_started_again(monkeypatch):
    import ray

    calls = []

    def slow(**settings):
        calls.append(settings["num_cpus"])
        if len(calls) < 3:
            raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", slow)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    _ray.start_local_ray(2)
    assert calls == [2, 2, 2]
    calls[:] = []
    monkeypatch.setattr(ray, "init", lambda **settings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _ray.start_local_ray(2)


@needs_ray
def test_a_named_cluster_is_never_replaced_by_a_local_one(tmp_path, monkeypatch):
    import ray

    def init(**settings):
        raise ConnectionError("Failed to connect to Ray cluster") from RuntimeError("no token")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(_ray, "start_local_ray", lambda cores: 1 / 0)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(InputError, match=r"RAY_ADDRESS=10\.0\.0\.1:6379 \(no token\)\. Check"):
        run_jobs([Job("a", "math:sqrt")], tmp_path, backend="ray")
    monkeypatch.delenv("RAY_ADDRESS")
    with (
        pytest.warns(KerasDistillWarning, match="Failed to connect .* a local Ray cluster is used"),
        pytest.raises(ZeroDivisionError),
    ):
        run_jobs([Job("a", "math:sqrt")], tmp_path, backend="ray")
