"""Runs the converter in a child process and turns each end it can have into words."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_distill.export._options import NEED_CALIBRATION
from keras_distill.litert._isolated import environment

_POLL_SECONDS = 0.05


class Converted(NamedTuple):
    """What became of one precision: a file, or the reason why there is none."""

    path: Path | None
    error: str | None
    seconds: float


def run_converter(
    request: dict, quantizations: Sequence[str], *, timeout: float
) -> dict[str, Converted]:
    """Makes every precision asked for, in as few child processes as it takes.

    One child makes all of them. If it dies or hangs, the precision under way is the one that
    failed, and another child goes on with the rest.

    Args:
        request: What `_convert.convert` takes, without `quantizations`; `out` is an empty folder.
        quantizations: The precisions.
        timeout: Seconds that one precision may take.
    """
    folder = Path(request["out"])
    results: dict[str, Converted] = {}
    # Those that can crash the converter come last, so that a crash seldom costs another child.
    left = sorted(quantizations, key=lambda name: name in NEED_CALIBRATION)
    while left:
        end = _run_child({**request, "quantizations": left}, folder, left, timeout)
        for name in list(left):
            answer = folder / f"{name}.json"
            if answer.exists():
                found = json.loads(answer.read_text(encoding="utf-8"))
                words = found["error"] and explain(name, found["error"], request["batch_size"])
                file = None if words else folder / f"{name}.tflite"
                results[name] = Converted(file, words, found["seconds"])
                left.remove(name)
        if left and end is not None:
            name = left.pop(0)
            results[name] = Converted(None, _death(name, end, folder / "log"), 0.0)
    return {name: results[name] for name in quantizations}


def _run_child(request: dict, folder: Path, names: list[str], timeout: float) -> str | None:
    """Starts the child and waits; returns how it died, or None if it ended well."""
    job = folder / "request.json"
    job.write_text(json.dumps(request), encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler"]
    command += ["-m", "keras_distill.export._convert", str(job)]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
        )
        try:
            done, since = 0, time.monotonic()
            while child.poll() is None:
                now = sum((folder / f"{name}.json").exists() for name in names)
                if now > done:
                    done, since = now, time.monotonic()
                if time.monotonic() - since > timeout:
                    return f"took longer than {timeout:g} s and was ended"
                time.sleep(_POLL_SECONDS)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
    if child.returncode == 0:
        return None
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        if name == "SIGKILL":
            return "was killed (SIGKILL), most likely for lack of memory"
        return f"crashed ({name})"
    return f"failed with exit code {child.returncode}"


def _death(name: str, end: str, log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    remedy = ""
    if name in ("int8", "int16x8") and "crashed" in end:
        remedy = (
            " The converter cannot calibrate the loop of an LSTM or GRU layer: use dynamic or"
            " float16, or build the layer with unroll=True."
        )
    fatal = [place for place, line in enumerate(lines) if line.startswith("Fatal Python error")]
    shown = lines[fatal[0] : fatal[0] + 3] if fatal else lines[-3:]
    tail = " | ".join(line[-160:] for line in shown)
    return f"the converter {end} while making {name}.{remedy} End of its log: {tail}"


def explain(name: str, error: str, batch_size: int | None) -> str:
    """A converter's message in words: what cannot be had, and the way out."""
    if "TensorList" in error and batch_size is None:
        return (
            "an LSTM or GRU layer needs a fixed batch: pass batch_size=1 (leave out"
            " --dynamic-batch), or build it with unroll=True"
        )
    missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex", error)))
    if missing:
        return (
            f"TFLite has no builtin for {', '.join(missing)}; replace the layer that needs it"
            " (an exact GELU by approximate=True, for example)"
        )
    kernels = sorted(set(re.findall(r"not yet supported for op: '(\w+)'", error)))
    if kernels:
        why = {"NEG": " (layer normalization)", "HARD_SWISH": " (try ReLU6 in its place)"}
        named = ", ".join(kernel + why.get(kernel, "") for kernel in kernels)
        return f"int16x8 has no kernel for {named}: use int8, dynamic or float16"
    if name == "int16x8" and "min/max" in error:
        return (
            "int16x8 needs the range of every tensor, and the converter measures none for"
            " whole-number inputs (tokens): use int8, dynamic or float16"
        )
    return "the converter refuses: " + " ".join(error.split())[:400]
