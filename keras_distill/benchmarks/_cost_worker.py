"""A child process that times ways to train.

Each setting has its own child, because oneDNN is switched on or off when TensorFlow is imported.
"""

from pathlib import Path
from typing import Any

from typing_extensions import Self

from keras_distill._internal import InputError
from keras_distill._internal._child import Child, ChildError

SETTINGS = ("onednn", "tf-default")
# Importing keras_distill first switches oneDNN on; TensorFlow first keeps TensorFlow's default.
_BEFORE = {
    "onednn": "import keras_distill",
    "tf-default": "import warnings; warnings.simplefilter('ignore'); import tensorflow",
}
_SERVICE = "keras_distill.benchmarks._cost_worker:Service"


class CostWorker:
    """The parent's side of one child. Leaving the `with` block ends the child.

    Args:
        setting: One of `SETTINGS`.
        folder: As of `Ways`.
        batch_size: As of `Ways`.
        imports: As of `Ways`.

    Attributes:
        ways: The ways that can be timed.

    Raises:
        InputError: From any request that fails.
    """

    def __init__(
        self, setting: str, folder: Path, batch_size: int, imports: tuple[str, ...] = ()
    ) -> None:
        self._child = Child(
            _SERVICE, before=_BEFORE[setting], environment={"TF_ENABLE_ONEDNN_OPTS": None}
        )
        try:
            self.ways = self._request(
                "prepare", folder=str(folder), batch_size=batch_size, imports=list(imports)
            )
        except BaseException:
            self._child.close()
            raise

    def ask(self, method: str, **arguments: Any) -> Any:
        """Calls a method of `Ways` in the child."""
        return self._request("measure", method=method, arguments=arguments)

    def _request(self, name: str, /, **arguments: Any) -> Any:
        try:
            return self._child.ask(name, **arguments)
        except ChildError as error:
            reason = error.reason if error.raised else error.last_line
            raise InputError(f"The process that measures failed: {reason}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._child.close()


class Service:
    """The child's side."""

    def prepare(self, folder: str, batch_size: int, imports: list[str]) -> list[str]:
        """Makes the `Ways`; returns which can be timed."""
        from keras_distill.benchmarks._cost_ways import Ways

        self._ways = Ways(Path(folder), batch_size, tuple(imports))
        return self._ways.available()

    def measure(self, method: str, arguments: dict[str, Any]) -> Any:
        """Calls a method of the `Ways`."""
        return getattr(self._ways, method)(**arguments)
