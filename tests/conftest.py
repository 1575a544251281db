"""What every test shares: a quiet TensorFlow, and the folder of prepared data sets."""

import os
from pathlib import Path

import pytest

# Read when TensorFlow is imported, so set before any test module is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core of its own; more threads would only take turns.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TFDS data sets: mnist, cifar100, spoken_digit."""
    beside = Path(__file__).parents[1] / "../shared/data/tfds"
    folder = Path(os.environ.get("KERAS_DISTILL_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no prepared TFDS data sets in {folder} (set KERAS_DISTILL_TEST_DATA)")
    return folder.resolve()
