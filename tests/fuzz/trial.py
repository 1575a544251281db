"""Tries hostile inputs: `try_case` in this process, `python -m tests.fuzz.trial` in children.

    python -m tests.fuzz.trial --seed 1 --count 2000           every fault, and a table of kinds
    python -m tests.fuzz.trial --seed 1 --count 2000 --forks   each input in a process of its own
    python -m tests.fuzz.trial --seed 1 --only 17 --show       what one input answers

Each child has its address space limited, and is ended and replaced if it hangs or dies.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.forked import ForkServer
from tests.fuzz import (
    good,
    kinds,
    of_data,
    of_models,
    of_outputs,
    of_recipes,
    of_records,
    of_verbs,
    oracle,
)

MODULES = (
    of_data,
    of_models,
    of_outputs,
    of_recipes,
    of_records,
    of_verbs,
)  # importing them adds kinds

ADDRESS_SPACE = 4 << 30  # beyond what TensorFlow maps at its start
TENSORFLOW = 8 << 30  # what it maps at its start, at most
IMPORT = 10.0  # seconds of processor time for importing it
STARTING = 600.0  # seconds that the start of a process may take on a busy machine


class Trial(NamedTuple):
    """One hostile input, what was answered, and what is wrong with the answer."""

    number: int
    kind: str
    argv: list[str]
    code: int | None
    err: str
    seconds: float
    memory: int
    faults: list[str]


def kind_of(seed: int, number: int) -> str:
    """Each kind in turn, in an order of the seed."""
    names = sorted(kinds.KINDS)
    random.Random(seed).shuffle(names)
    return names[number % len(names)]


def try_case(
    seed: int,
    number: int,
    sound: good.Good,
    folder: Path,
    ask: Callable[[list[str], Path], oracle.Answer] = oracle.ask,
) -> Trial:
    """Makes input `number` in `folder`, runs the command line on it, and judges the answer."""
    name = kind_of(seed, number)
    maker = kinds.Maker(f"{seed}:{number}", folder, sound)
    scratch = folder / "scratch"
    scratch.mkdir()
    random.seed(f"{seed}:{number}")
    case = kinds.KINDS[name](maker)
    before, sums = oracle.snapshot(maker.files), oracle.snapshot(sound.folder)
    answer = ask(case.argv, scratch)
    left = [f"out/{path.name}" for path in maker.out.iterdir()]
    left += [
        f"tmp/{path.name}"
        for path in (scratch / "tmp").iterdir()
        if not path.name.startswith("__autograph_generated_file")  # TensorFlow's own
    ]
    found = oracle.faults(answer, refused=case.refused, expect=case.expect, left=left)
    for label, old, new in (
        ("input", before, oracle.snapshot(maker.files)),
        ("sound", sums, oracle.snapshot(sound.folder)),
    ):
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if changed:
            found.append(f"changed: {label} {', '.join(changed[:5])}")
    return Trial(
        number, name, case.argv, answer.code, answer.err, answer.seconds, answer.memory, found
    )


def try_process(seed: int, number: int, sound: good.Good, folder: Path) -> Trial:
    """Tries an input like `try_case`, in a process of its own under `ulimit -v`."""
    return try_case(seed, number, sound, folder, _ask_process)


def _ask_process(argv: list[str], scratch: Path) -> oracle.Answer:
    temporary = scratch / "tmp"
    temporary.mkdir()
    limit = (ADDRESS_SPACE + TENSORFLOW) >> 10
    command = f'ulimit -v {limit}; exec "$@"'
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            ["bash", "-c", command, "-", sys.executable, "-m", "keras_distill", *_printable(argv)],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=oracle.HANGS + STARTING,
            env={**os.environ, "TMPDIR": str(temporary)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return oracle.Answer(None, "", "", time.monotonic() - start, 0, "took too long")
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - IMPORT
    return oracle.Answer(done.returncode, out, err, max(0.0, seconds), 0)


def run_forks(seed: int, numbers: list[int], log: Path | None) -> list[Trial]:
    """Tries every input in a forked process of its own, under `ulimit -v`.

    Args:
        seed: Of the inputs.
        numbers: Which inputs.
        log: A file of the trials so far, which are not tried again.
    """
    known: dict[int, Trial] = {}
    if log is not None and log.exists():
        known = {t.number: t for t in (Trial(*json.loads(line)) for line in log.open())}
    with ForkServer() as server, tempfile.TemporaryDirectory(prefix="hostile-") as name:
        (sound_folder := Path(name, "sound")).mkdir()
        sound = good.make(sound_folder)
        for number in numbers:
            if number in known:
                continue
            place = Path(name, f"case{number}")
            trial = try_case(seed, number, sound, place, lambda *case: _ask_fork(server, *case))
            shutil.rmtree(place, ignore_errors=True)
            known[number] = trial
            print(*_lines(trial), sep="\n", end="\n" if trial.faults else "", flush=True)
            if log is not None:
                with log.open("a") as file:
                    file.write(json.dumps(trial) + "\n")
    return [known[number] for number in numbers]


def _ask_fork(server: ForkServer, argv: list[str], scratch: Path) -> oracle.Answer:
    out, err, temporary = scratch / "out", scratch / "err", scratch / "tmp"
    temporary.mkdir()
    process = server.start(_printable(argv), out, err, temporary, ADDRESS_SPACE)
    code, raised, memory = None, "", 0
    deadline = time.monotonic() + oracle.HANGS + STARTING
    while (code := process.poll()) is None:
        memory = max(memory, _peak(process.pid))
        if time.monotonic() > deadline:
            process.kill()
            process.wait(60)
            raised = "took too long"
            break
        time.sleep(0.02)
    text = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    return oracle.Answer(code, *text, process.seconds, memory, raised)


def _peak(pid: int) -> int:
    """Returns the largest anonymous memory of a process so far as seen now, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0


def _printable(argv: list[str]) -> list[str]:
    """Arguments as a process can have them: without null characters, at most 100,000 long."""
    return [part.replace("\0", "0").encode(errors="replace").decode()[:100_000] for part in argv]


def _serve(seed: int, folder: Path, numbers: list[int]) -> None:
    """The child: tries the inputs and prints each trial as a line of JSON."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    (folder / "sound").mkdir()
    sound = good.make(folder / "sound")
    limit = oracle.memory_of("VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in numbers:
        lines.write(json.dumps(number) + "\n")
        lines.flush()
        place = folder / f"case{number}"
        trial = try_case(seed, number, sound, place)
        shutil.rmtree(place, ignore_errors=True)
        lines.write(json.dumps(trial) + "\n")
        lines.flush()


def run_trials(seed: int, numbers: list[int], *, seconds: float = 300.0) -> list[Trial]:
    """Tries inputs in a child process, and in another one when that has died.

    Args:
        seed: Of the inputs.
        numbers: Which inputs.
        seconds: After which a child that answers nothing is ended.
    """
    trials, left = [], list(numbers)
    while left:
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            command = [sys.executable, "-m", "tests.fuzz.trial", "--seed", str(seed), "--serve"]
            with subprocess.Popen(
                [*command, folder, *map(str, left)], stdout=subprocess.PIPE, text=True,
                stdin=subprocess.DEVNULL,
            ) as child:  # fmt: skip
                under_way = None
                while True:
                    wait = STARTING if under_way is None else seconds
                    timer = threading.Timer(wait, child.kill)
                    timer.start()
                    line = child.stdout.readline()
                    timer.cancel()
                    if not line:
                        break
                    value = json.loads(line)
                    if isinstance(value, int):
                        under_way = value
                    else:
                        trials.append(Trial(*value))
                        left.remove(trials[-1].number)
                        under_way = None
                        if trials[-1].faults:
                            print(*_lines(trials[-1]), sep="\n", flush=True)
                code = child.wait()
            if under_way is None and left:
                raise RuntimeError(f"the child failed before any input (exit code {code})")
            if under_way is not None:
                name = kind_of(seed, under_way)
                trial = Trial(
                    under_way, name, [], None, "", 0, 0, [f"died: {name}, exit code {code}"]
                )
                trials.append(trial)
                left.remove(under_way)
                print(*_lines(trial), sep="\n", flush=True)
    return trials


def _lines(trial: Trial) -> list[str]:
    command = " ".join(part[:80] for part in trial.argv)
    return [f"{trial.number} {trial.kind}: {fault}\n    {command[:300]}" for fault in trial.faults]


def table(trials: list[Trial]) -> str:
    """Inputs, answers, and faults by kind."""
    rows = [f"{'kind':22}{'inputs':>7}{'0':>5}{'1':>4}{'2':>5}{'faulty':>8}  faults"]
    for name in sorted({trial.kind for trial in trials}):
        own = [trial for trial in trials if trial.kind == name]
        codes = collections.Counter(trial.code for trial in own)
        faults = collections.Counter(f.partition(":")[0] for t in own for f in t.faults)
        faulty = sum(bool(trial.faults) for trial in own)
        words = ", ".join(f"{what} {count}" for what, count in faults.most_common())
        rows.append(f"{name:22}{len(own):7}{codes[0]:5}{codes[1]:4}{codes[2]:5}{faulty:8}  {words}")
    faulty = sum(bool(trial.faults) for trial in trials)
    rows.append(f"{'all':22}{len(trials):7}{'':14}{faulty:8}")
    rows.append(f"slowest {max(t.seconds for t in trials):.1f} s,"
                f" most memory {max(t.memory for t in trials) >> 20} MiB")  # fmt: skip
    return "\n".join(rows)


def record(path: Path, seed: int, trials: list[Trial], *, forks: bool) -> None:
    """Adds what was found to a file of records."""
    found = {
        "seed": seed,
        "inputs": len(trials),
        "process_for_each": forks,
        "kinds": len({trial.kind for trial in trials}),
        "answers": dict(sorted(collections.Counter(str(t.code) for t in trials).items())),
        "slowest_seconds": round(max(t.seconds for t in trials), 1),
        "most_memory_mib": max(t.memory for t in trials) >> 20,
        "faults": [f"{t.kind}: {fault:.100}" for t in trials for fault in t.faults],
    }
    before = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*before, found], indent=2) + "\n")


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--kinds", nargs="*")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--forks", action="store_true", help="a process for each input")
    parser.add_argument("--log", type=Path, help="with --forks: file of trials, to resume")
    parser.add_argument("--record", type=Path, help="file of records, to add to")
    parser.add_argument("--serve", nargs="*")
    given = parser.parse_args()
    if given.serve:
        _serve(given.seed, Path(given.serve[0]), [int(text) for text in given.serve[1:]])
        return
    numbers = given.only or list(range(given.count))
    if given.kinds:
        numbers = [n for n in numbers if kind_of(given.seed, n) in given.kinds]
    if given.forks:
        trials = run_forks(given.seed, numbers, given.log)
    else:
        trials = run_trials(given.seed, numbers)
    if given.show:
        for trial in trials:
            facts = f"{trial.code} {trial.seconds:.1f} s {trial.memory >> 20} MiB"
            print(
                f"{trial.number} {trial.kind} -> {facts}\n    {trial.argv}\n    {trial.err.strip()}"
            )
    print(table(trials))
    if given.record is not None:
        record(given.record, given.seed, trials, forks=given.forks)


if __name__ == "__main__":
    main()
