"""What every answer to a hostile input must look like."""

import contextlib
import hashlib
import os
import re
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

SECONDS, MEMORY, LENGTH = 20.0, 2 << 30, 500
WARNINGS = 3  # lines that may come before the error
HANGS = 120.0  # seconds of wall time after which an answer is not awaited, on a busy machine
# What TensorFlow's C++ code logs where it was imported before the command line set its log level,
# and the line that LiteRT prints once per process.
_LOGS = re.compile(
    r"^(?:[IWE]\d{4} [^\n]*\.cc:\d+\][^\n]*\n(?:\t [^\n]*\n)*"
    r"|INFO: Created TensorFlow Lite[^\n]*\n)",
    re.MULTILINE,
)


class TookTooLong(BaseException):
    """Not an `Exception`, so that the program cannot take it for an error of the input."""


class Answer(NamedTuple):
    """What the program did.

    Attributes:
        code: Its exit code; None if an exception left `main`, or the time was over.
        out: What it printed on stdout.
        err: What it printed on stderr.
        seconds: How much processor time it took, with that of its children.
        memory: What its resident memory grew by at its peak, in bytes.
        raised: The exception that left `main`.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    memory: int
    raised: str = ""


def memory_of(field: str) -> int:
    """VmRSS, VmHWM, or VmSize of this process, in bytes."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _captured(folder: Path) -> Iterator[Callable[[], tuple[str, str]]]:
    """Both streams of this process into files, those of C++ code and of children too."""
    paths = [folder / "stdout", folder / "stderr"]
    files = [path.open("w+", encoding="utf-8", errors="replace") for path in paths]
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    try:
        for number, file in enumerate(files, start=1):
            os.dup2(file.fileno(), number)
        with contextlib.redirect_stdout(files[0]), contextlib.redirect_stderr(files[1]):
            yield lambda: tuple(p.read_text(encoding="utf-8", errors="replace") for p in paths)
            for file in files:
                file.flush()
    finally:
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for file in files:
            file.close()


def _late(*_: object) -> None:
    raise TookTooLong


def ask(argv: list[str], scratch: Path, *, seconds: float = HANGS) -> Answer:
    """Runs the command line in this process.

    Args:
        argv: Its arguments.
        scratch: A folder for what it prints; its temporary files go to `scratch / "tmp"`.
        seconds: After which it is interrupted.
    """
    from keras_distill.cli import main

    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    before = (tempfile.tempdir, os.environ.get("TMPDIR"), Path.cwd())
    tempfile.tempdir, os.environ["TMPDIR"] = str(temporary), str(temporary)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    held = memory_of("VmRSS")
    code, raised, start = None, "", sum(os.times()[:4])
    old = signal.signal(signal.SIGALRM, _late)
    try:
        with _captured(scratch) as printed:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            try:
                code = main(argv)
            except TookTooLong:
                raised = f"took longer than {seconds:g} s"
            except BaseException as error:
                raised = f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, old)
        tempfile.tempdir = before[0]
        os.chdir(before[2])
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]
    out, err = printed()
    err = _LOGS.sub("", err)
    grown = memory_of("VmHWM") - held
    return Answer(code, out, err, sum(os.times()[:4]) - start, grown, raised)


def snapshot(folder: Path) -> dict[str, tuple]:
    """The name, kind, and content of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        what: object = stat.S_IFMT(mode)
        if stat.S_ISREG(mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(mode):
            what = os.readlink(path)
        found[str(path.relative_to(folder))] = (stat.S_IFMT(mode), what)
    return found


def faults(answer: Answer, *, refused: bool, expect: str, left: list[str]) -> list[str]:
    """Everything that is wrong with an answer; the first word names the kind.

    Args:
        answer: What the program did.
        refused: Whether the input is bad for certain.
        expect: A pattern that the message must match.
        left: What was found in the output folder and among the temporary files.
    """
    found = []
    err = answer.err
    if answer.raised:
        found.append(f"raised: {answer.raised[:200]}")
    if answer.code == 130:
        found.append("interrupt: a failure is reported as Ctrl-C")
    elif answer.code not in (0, 1, 2, None):
        found.append(f"code: {answer.code}")
    if "Traceback" in err:
        found.append("traceback: on stderr")
    if re.search(r"\bunexpected\b [A-Z]", err):
        found.append(f"unexpected: {err[:300].strip()}")
    if answer.code in (1, 2):
        lines = err.splitlines()
        warnings = [line for line in lines if line.startswith("keras-distill: warning: ")]
        if (len(lines) - len(warnings) != 1 and not answer.out) or len(warnings) > WARNINGS:
            found.append(f"lines: {len(lines)} on stderr: {err[:300]!r}")
        if max(map(len, lines), default=0) > LENGTH:
            found.append(f"long: {len(err)} characters: {err[:100]!r}")
        if left:
            found.append(f"left: {', '.join(left)}")
        if expect and not re.search(expect, err):
            found.append(f"reason: {err[:300].strip()!r} does not match {expect!r}")
    elif answer.code == 0 and refused:
        found.append("accepted: exit code 0")
    if answer.seconds > SECONDS:
        found.append(f"slow: {answer.seconds:.0f} s")
    if answer.memory > MEMORY:
        found.append(f"memory: {answer.memory >> 20} MiB")
    return found
