"""A child process that times ways to train: one JSON request a line in, one JSON answer a line out.

A child of its own, because oneDNN is switched on or off when TensorFlow is imported.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras_distill
from keras_distill._internal import InputError

SETTINGS = ("onednn", "tf-default")
# keras_distill first switches oneDNN on; TensorFlow first leaves it as TensorFlow has it.
_IMPORTS = {
    "onednn": "import keras_distill",
    "tf-default": "import warnings; warnings.simplefilter('ignore'); import tensorflow",
}
_RUN = "from keras_distill.benchmarks._cost_worker import serve; serve()"


class Worker:
    """The parent's end of one child.

    Use as a context manager; leaving it ends the child.

    Args:
        setting: One of `SETTINGS`.
        folder: As of `Ways`.
        batch_size: As of `Ways`.
        imports: As of `Ways`.

    Raises:
        InputError: From any request that the child cannot answer; the message has its last line.
    """

    def __init__(
        self, setting: str, folder: Path, batch_size: int, imports: tuple[str, ...] = ()
    ) -> None:
        root = str(Path(keras_distill.__file__).parents[1])
        environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [root, environment.get("PYTHONPATH")])
        )
        environment["TF_CPP_MIN_LOG_LEVEL"] = "2"
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by __exit__)
        self._child = subprocess.Popen(
            [sys.executable, "-c", f"{_IMPORTS[setting]}; {_RUN}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        self.ways = self.ask(
            do="prepare", folder=str(folder), batch_size=batch_size, imports=list(imports)
        )

    def ask(self, **request: Any) -> Any:
        """Sends a request and waits for its answer."""
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
            answer = self._child.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._child.wait()
            self._errors.seek(0)
            lines = [line for line in self._errors.read().splitlines() if line.strip()]
            reason = lines[-1] if lines else f"exit code {self._child.returncode}"
            raise InputError(f"The process that measures ended: {reason}")
        return json.loads(answer)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self._child.stdin.close()
        self._child.terminate()
        self._child.wait()
        self._child.stdout.close()
        self._errors.close()


def serve() -> None:
    """Answers requests until standard input ends. What others print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from keras_distill.benchmarks._cost_ways import Ways

    ways = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")
        if what == "prepare":
            ways = Ways(Path(request["folder"]), request["batch_size"], tuple(request["imports"]))
            answer = ways.available()
        else:
            answer = getattr(ways, what)(**request)
        print(json.dumps(answer), file=answers, flush=True)
