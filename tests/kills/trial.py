"""Kills commands at random moments of their work, and resumes them.

    python -m tests.kills.trial --verb targets --kills 20 --seed 1

A chain starts a command in an empty folder, ends it by signals at random moments, and starts it
again until it is done. Its folder must then be that of a command that was never disturbed.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.forked import ForkServer
from tests.kills import compare, verbs

START, END = 600.0, 900.0  # seconds that a start, and the work after it, may take on a busy machine
CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}
LOGS = ("Traceback", "WARNING:", "I0000", "W0000", "E0000", "INFO:")


class Reference(NamedTuple):
    """An undisturbed command: its folder, and the processor time of its work in seconds."""

    out: Path
    seconds: float


class Command(NamedTuple):
    """A command that is started again and again.

    Attributes:
        verb: The command.
        inputs: What it reads.
        server: Starts its processes.
    """

    verb: str
    inputs: verbs.Inputs
    server: ForkServer

    def start(self, out: Path, temporary: Path) -> "Session":
        """Starts a process that writes to `out`, with a folder for its temporary files."""
        return Session(self, out, temporary)


class Session:
    """One process of a command.

    Args:
        command: The command.
        out: Its output.
        temporary: The folder of its temporary files.
    """

    def __init__(self, command: Command, out: Path, temporary: Path) -> None:
        self._out, self._folder = out, verbs.unfinished(command.verb, out)
        temporary.mkdir(exist_ok=True)
        self._log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115
        argv = verbs.command(command.verb, command.inputs, out)
        log = Path(self._log.name)
        self.process = command.server.start(argv, Path(os.devnull), log, temporary)

    def wait_for_work(self) -> bool:
        """Waits until the process has locked its folder; returns whether it did before its end."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                if (self._folder / ".lock").read_text() == str(self.process.pid):
                    return True
            time.sleep(0.01)
        raise AssertionError(f"no work within {START:g} s: {self.end('SIGKILL')}")

    def work_for(self, seconds: float) -> bool:
        """Lets it work for so much processor time; returns whether it still works then.

        Wall time says little on a machine that others use too.
        """
        start = _processor_time(self.process.pid)
        while self.process.poll() is None:
            if _processor_time(self.process.pid) - start >= seconds:
                return True
            time.sleep(0.01)
        return False

    def end(self, name: str) -> tuple[int, str, list[str]]:
        """Sends a signal and waits for the end; returns exit code, stderr, and what is wrong."""
        descendants = _descendants(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(getattr(signal, name))
        code, text = self.finish()
        wrong = [f"child {pid} outlives {name}" for pid in _alive(descendants, 20.0)]
        return code, text, wrong

    def finish(self) -> tuple[int, str]:
        """Waits for the end; returns the exit code and what was printed on stderr."""
        try:
            code = self.process.wait(END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._log.seek(0)
        return code, self._log.read()


def _processor_time(pid: int) -> float:
    """Returns the processor time of a process and of all its descendants, in seconds."""
    ticks = 0
    for one in (pid, *_descendants(pid)):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])  # its own, and of ended children
    return ticks / os.sysconf("SC_CLK_TCK")


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _alive(pids: list[int], seconds: float) -> list[int]:
    """Returns those that still run after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        left = []
        for pid in pids:
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                left += [pid] if state not in "ZX" else []
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)


def reference(command: Command, folder: Path) -> Reference:
    """Runs a command undisturbed."""
    out = folder / "out"
    session = command.start(out, folder / "tmp")
    assert session.wait_for_work(), session.finish()
    start = end = _processor_time(session.process.pid)
    while session.process.poll() is None:
        end = max(end, _processor_time(session.process.pid))
        time.sleep(0.05)
    code, text = session.finish()
    assert code == 0, text
    return Reference(out, end - start)


class Chain:
    """A command that is ended again and again, until it is done.

    Args:
        command: The command.
        expected: The undisturbed command.
        folder: The folder for its output and temporary files.

    Attributes:
        counts: How many sessions each signal ended; "late": ended by themselves before it.
        faults: Everything that was wrong.
    """

    def __init__(self, command: Command, expected: Reference, folder: Path) -> None:
        self._command, self._verb, self._expected = command, command.verb, expected
        self._out, self._temporary = folder / "work" / "out", folder / "tmp"
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, signals: list[str], source: random.Random) -> None:
        """Ends the command by each signal in turn; lets it finish after the last one.

        A command that is done before all signals are sent is finished: the rest is left in
        `signals`.
        """
        while signals:
            session = self._session()
            if not session.wait_for_work():
                self._judge_end(*session.finish())
                break
            if not session.work_for(source.uniform(0, self._expected.seconds)):
                self._judge_end(*session.finish())
                break
            name = signals[0]
            code, text, wrong = session.end(name)
            self.faults += wrong
            if code == 0 or self._was_done(name, code):
                self._judge_end(0, text)
                break
            signals.pop(0)
            self.counts[name] += 1
            self._judge_signal(name, code, text)
        else:
            self._judge_end(*self._session().finish())
        self._judge_folder()

    def _session(self) -> Session:
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._command.start(self._out, self._temporary)

    def _was_done(self, name: str, code: int) -> bool:
        """Returns whether the signal came while Python shut down, when it has no handlers."""
        there, working = self._out.exists(), verbs.unfinished(self._verb, self._out)
        locked = (working / ".lock").exists() if working == self._out else working.exists()
        return name != "SIGKILL" and code == -getattr(signal, name) and there and not locked

    def _judge_signal(self, name: str, code: int, text: str) -> None:
        if code != CODES[name]:
            self.faults.append(f"exit code {code} after {name}: {text[-500:]!r}")
        lines = [line for line in text.splitlines() if line.startswith("keras-distill: ")]
        lines = [line for line in lines if not line.startswith("keras-distill: warning: ")]
        wanted = []
        if name != "SIGKILL":
            wanted = [f"keras-distill: interrupted ({name}). Run the same command again to resume."]
            left = [path.name for path in self._temporary.glob("*keras-distill*")]
            self.faults += [f"left after {name}: {left}"] if left else []
        if lines != wanted or (wanted and not text.endswith(f"{wanted[0]}\n")):
            self.faults.append(f"printed after {name}: {text[-500:]!r}")
        self._judge_log(text)

    def _judge_end(self, code: int, text: str) -> None:
        self.counts["finished"] += 1
        # A process killed right after it moved its folder into place leaves nothing to resume.
        if code != 0 and not (code == 2 and "exists. Pass overwrite" in text):
            self.faults.append(f"exit code {code} at the end: {text[-500:]!r}")
        self._judge_log(text)

    def _judge_log(self, text: str) -> None:
        self.faults += [f"log: {word} in {text[-800:]!r}" for word in LOGS if word in text]

    def _judge_folder(self) -> None:
        beside = [path.name for path in self._out.parent.iterdir() if path != self._out]
        if beside:
            self.faults.append(f"left beside the output: {beside}")
        names = [path.name for path in self._temporary.iterdir()]
        left = [name for name in names if not name.startswith("__autograph_generated_file")]
        if left:
            self.faults.append(f"left among the temporary files: {left}")
        self.faults += compare.differences(self._out, self._expected.out)
        verbs.remove(self._out.parent)
        verbs.remove(self._temporary)


def kill(
    command: Command,
    expected: Reference,
    folder: Path,
    signals: list[str],
    seed: int,
) -> tuple[Counter[str], list[str]]:
    """Ends commands by all these signals; returns the counts and what was wrong."""
    source, left = random.Random(seed), list(signals)
    source.shuffle(left)
    counts: Counter[str] = Counter()
    faults = []
    while left:
        chain = Chain(command, expected, folder)
        chain.run(left, source)
        counts += chain.counts
        faults += chain.faults
        print(command.verb, dict(counts), *chain.faults, sep="\n    ", flush=True)
    return counts, faults


def two_at_once(
    command: Command, expected: Reference, folder: Path, source: random.Random
) -> tuple[str, list[str]]:
    """Starts two processes on one output; returns how the second ended, and what was wrong."""
    out, faults = folder / "work" / "out", []
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    sessions = []
    for _ in range(2):
        sessions.append(command.start(out, folder / "tmp"))
        time.sleep(source.choice([0, 0, source.uniform(0, expected.seconds)]))
    ends = sorted((session.finish() for session in sessions), key=lambda end: end[0])
    codes = [code for code, _ in ends]
    if command.verb == "sweep" and codes == [0, 0]:  # the second added nothing to a finished sweep
        return "finished", compare.differences(out, expected.out)
    if codes != [0, 2]:
        faults.append(f"exit codes {codes}: {ends}")
    text = ends[1][1]
    how = "in use" if "is in use by another process" in text else "exists"
    if how == "exists" and "exists. Pass overwrite" not in text:
        faults.append(f"the second printed {text!r}")
    if text.count("keras-distill: ") != 1:
        faults.append(f"not one line: {text!r}")
    faults += compare.differences(out, expected.out)
    beside = [path.name for path in out.parent.iterdir() if path != out]
    faults += [f"left beside the output: {beside}"] if beside else []
    verbs.remove(folder / "work")
    verbs.remove(folder / "tmp")
    return how, faults


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--verb", choices=verbs.VERBS, nargs="+", default=verbs.VERBS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=5)
    parser.add_argument("--ints", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="file of records, to add to")
    given = parser.parse_args()
    signals = ["SIGKILL"] * given.kills + ["SIGTERM"] * given.terms + ["SIGINT"] * given.ints
    with tempfile.TemporaryDirectory(prefix="kills-") as name, ForkServer() as server:
        inputs = verbs.make_inputs(Path(name, "inputs"))
        for verb in given.verb:
            (folder := Path(name, verb)).mkdir()
            command = Command(verb, inputs, server)
            expected = reference(command, folder)
            print(f"{verb}: {expected.seconds:.1f} s of processor time undisturbed", flush=True)
            counts, faults = kill(command, expected, folder / "kills", signals, given.seed)
            source, second = random.Random(given.seed), Counter()
            for _ in range(given.pairs):
                how, wrong = two_at_once(command, expected, folder / "two", source)
                second[how] += 1
                faults += wrong
                print(verb, "two at once:", how, *wrong, sep="\n    ", flush=True)
            print(f"{verb}: {dict(counts)}, two at once: {dict(second)}, {len(faults)} faults")
            print(*faults, sep="\n", flush=True)
            if given.record is not None:
                found = {"verb": verb, "ended": dict(counts), "two_at_once": dict(second)}
                found |= {"seconds": round(expected.seconds, 1), "faults": faults}
                before = json.loads(given.record.read_text()) if given.record.exists() else []
                given.record.write_text(json.dumps([*before, found], indent=2) + "\n")


if __name__ == "__main__":
    main()
