"""Quiets TensorFlow and provides the folder of prepared data sets."""

import os
from pathlib import Path

import pytest

# Read when TensorFlow is imported, so set before any test module is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core of its own; more threads would only compete.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is turned on)


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TFDS data sets: mnist, cifar100, spoken_digit."""
    folder = os.environ.get("KERAS_DISTILL_TEST_DATA")
    if folder is None:
        pytest.skip("KERAS_DISTILL_TEST_DATA names no folder of prepared TFDS data sets")
    if not Path(folder).is_dir():
        pytest.fail(f"KERAS_DISTILL_TEST_DATA names {folder}, which is not a folder")
    return Path(folder).resolve()
