"""Of all tests and doctests: quiets TensorFlow, shares the converter, finds prepared data sets."""

import gc
import os
import sys
from pathlib import Path

import pytest

# Read when TensorFlow is imported, so set before any test module is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core of its own; more threads would only compete.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

import keras_distill
from keras_distill._internal._child import Child, ChildError

# Collections took 8 % of the time of the tests: most of what they visit is TensorFlow itself.
gc.set_threshold(20_000)


class SharedConverter:
    """A child process of the converter that one export after another uses.

    A run of the package starts a child for each export. It takes seconds to import TensorFlow, and
    the tests export hundreds of times. As within one export, a child that failed is not used again.
    """

    _SERVICE = "keras_distill.export._convert:Service"
    _EXPORTS = 30  # then another child, so that its memory does not grow without end

    def __init__(self):
        self._child, self._exports, self._environment = None, 0, {}

    def __call__(self, service, **options):
        """Stands in for `Child` in `keras_distill.export._converter_process`."""
        if service != self._SERVICE:
            return Child(service, **options)
        environment = {name: v for name, v in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        if self._exports == self._EXPORTS or environment != self._environment:
            self.end()
        if self._child is None:
            self._child = Child(service, **options)
            self._exports, self._environment = 0, environment
        self._exports += 1
        self._child._start = self._child._log.seek(0, os.SEEK_END)  # the log of this export alone
        return self

    def ask(self, method, /, **arguments):
        try:
            return self._child.ask(method, **arguments)
        except ChildError as error:
            if not error.raised:
                self.end()
            raise
        except BaseException:
            self.end()
            raise

    @property
    def ended(self):
        return self._child is None or self._child.ended

    def close(self):
        """Leaves the child to the next export."""

    def end(self):
        if self._child is not None:
            self._child.close()
        self._child = None


_converter = SharedConverter()


_EXPORTING = "keras_distill.export._converter_process"


def pytest_configure():
    file = Path(keras_distill.__file__).parents[1] / (_EXPORTING.replace(".", "/") + ".py")
    assert "Child(" in file.read_text(), f"{file} starts no child: share the converter where it is"


def pytest_collection_finish():
    gc.freeze()  # what TensorFlow and the tests imported


def pytest_runtest_setup():
    if exporting := sys.modules.get(_EXPORTING):
        exporting.Child = _converter


def pytest_unconfigure():
    _converter.end()


@pytest.fixture(scope="session")
def tfds_dir() -> Path:
    """The folder of prepared TFDS data sets: mnist, cifar100, spoken_digit."""
    folder = os.environ.get("KERAS_DISTILL_TEST_DATA")
    if folder is None:
        pytest.skip("KERAS_DISTILL_TEST_DATA names no folder of prepared TFDS data sets")
    if not Path(folder).is_dir():
        pytest.fail(f"KERAS_DISTILL_TEST_DATA names {folder}, which is not a folder")
    return Path(folder).resolve()
