"""Holds back the log lines that C++ code writes to standard error."""

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

from keras_distill._internal import _verbosity
from keras_distill._internal._verbosity import Verbosity

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def held_stderr(shown: Callable[[bytes], bool] = lambda line: False) -> Iterator[None]:
    """Holds back everything that is written to file descriptor 2 during the block.

    TensorFlow and LiteRT write log lines from C++, some of which no setting turns off. With `-v`,
    nothing is held back.

    Args:
        shown: A function that returns whether a line is written at the end of the block. If the
            block raises an `Exception`, all lines are written.

    Example:
        >>> with held_stderr():
        ...     _ = os.write(2, b"not seen")
    """
    if _verbosity.current() is Verbosity.VERBOSE:
        yield
        return
    with _one_at_a_time:
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or None
            sys.stderr.flush()
        try:
            stderr = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            try:
                yield
            except Exception:
                shown = _everything
                raise
            finally:
                os.dup2(stderr, 2)
                log.seek(0)
                _write(stderr, b"".join(line for line in log if shown(line)))
                os.close(stderr)


def _everything(line: bytes) -> bool:
    return True


def _write(file: int, content: bytes) -> None:
    with contextlib.suppress(OSError):  # a closed pipe
        while content:
            content = content[os.write(file, content) :]
