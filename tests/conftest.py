"""One finished run for all tests that look at what a run leaves."""

import os
from pathlib import Path

import pytest

from keras_distill.records import RunRecord

RECIPE = Path(__file__).parent / "golden" / "small.toml"


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> tuple[Path, RunRecord]:
    """Runs `golden/small.toml` once, whatever the number of test processes: folder and record.

    The folder is shared: a test that changes it takes a copy.
    """
    import fcntl

    from keras_distill import runs
    from keras_distill.runs._run import run

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with open(folder / "finished_run.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = folder / "finished_run" / "small"
        if not out.exists():
            run(runs.load_recipe(str(RECIPE)), out)
    return out, RunRecord.load(out / "record.json")
