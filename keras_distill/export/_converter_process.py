"""Runs the converter in a child process and explains how it failed."""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_distill._internal._child import NO_GPU, Child, ChildError
from keras_distill._internal._sharing import Shared
from keras_distill.export._options import NEED_CALIBRATION

_SERVICE = "keras_distill.export._convert:Service"


class Converted(NamedTuple):
    """The outcome for one precision.

    Attributes:
        path: The converted file; None if the conversion failed.
        error: Why the conversion failed; None if it succeeded.
        seconds: Wall time of the conversion; 0 if the converter crashed.
        crashed: Whether the converter crashed.
    """

    path: Path | None
    error: str | None
    seconds: float
    crashed: bool = False


class _Converter:
    """A child process that converts models. If it has ended, the next request starts another."""

    def __init__(self) -> None:
        self._child: Child | None = None

    def convert(self, timeout: float, request: Mapping[str, Any]) -> None:
        """Converts to one precision; see `Child.ask`."""
        if self._child is not None and self._child.ended:  # e.g., out of memory
            self.close()
        if self._child is None:
            flags = ("-W", "ignore", "-X", "faulthandler")
            self._child = Child(_SERVICE, flags=flags, environment=NO_GPU)
        self._child.ask("convert", timeout=timeout, **request)

    def close(self) -> None:
        """Ends the child process, if it is running."""
        if self._child is not None:
            self._child.close()
        self._child = None


_kept = Shared("converter", _Converter)


def keep_converter() -> contextlib.AbstractContextManager[None]:
    """Lets all exports of this thread in the `with` block share one converter process.

    Starting the process imports TensorFlow, which takes longer than converting a small model.
    """
    return _kept.block()


def run_converter(
    request: Mapping[str, Any], quantizations: Sequence[str], *, timeout: float
) -> dict[str, Converted]:
    """Converts to every requested precision, in as few child processes as possible.

    One child process converts to all precisions. Inside `keep_converter`, it also converts other
    models. If it crashes or exceeds the time limit, only the current precision fails, and a new
    child process converts to the remaining precisions.

    Args:
        request: The arguments of `_convert.Service.convert` except `quantization`; `out` is an
            empty folder.
        quantizations: The precisions.
        timeout: Time limit per precision, in seconds.
    """
    results: dict[str, Converted] = {}
    kept = _kept.current()
    converter = kept or _Converter()
    try:
        # Precisions that can crash the converter come last, so that few child processes are lost.
        for name in sorted(quantizations, key=lambda name: name in NEED_CALIBRATION):
            start = time.monotonic()
            try:
                converter.convert(timeout, {"quantization": name, **request})
            except ChildError as error:
                if error.raised:
                    seconds = round(time.monotonic() - start, 2)
                    text = explain(name, error.reason, request["batch_size"])
                    results[name] = Converted(None, text, seconds)
                else:
                    died = error.signal not in (None, "SIGKILL")
                    results[name] = Converted(None, _death(name, error), 0.0, died)
                    converter.close()
            else:
                seconds = round(time.monotonic() - start, 2)
                path = Path(request["out"], f"{name}.tflite")
                results[name] = Converted(path, None, seconds)
    except BaseException:  # a request may have no answer yet
        converter.close()
        raise
    if kept is None:
        converter.close()
    return {name: results[name] for name in quantizations}


def _death(name: str, error: ChildError) -> str:
    remedy = ""
    if name in NEED_CALIBRATION and error.signal not in (None, "SIGKILL"):
        remedy = (
            " The converter cannot calibrate the loop of an LSTM or GRU layer: use dynamic or"
            " float16, or build the layer with unroll=True."
        )
    tail = " | ".join(line[-160:] for line in _shown(error.lines))
    return f"the converter {error.reason} while making {name}.{remedy} End of its log: {tail}"


def _shown(lines: list[str]) -> list[str]:
    """Returns the last lines of a log; for a crash, its kind and the Python stack lines."""
    fatal = [line for line in lines if line.startswith("Fatal Python error")]
    current = [place for place, line in enumerate(lines) if line.startswith("Current thread")]
    if fatal and current:
        return [fatal[0], *lines[current[0] + 1 :][:2]]
    return lines[-3:]


def explain(name: str, error: str, batch_size: int | None) -> str:
    """Explains a converter's message: what is not supported, and what to do instead.

    The converter has no error codes, so its message is the only information.
    """
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
    return "the converter failed: " + " ".join(error.split())[:400]
