"""Teachers and data named by text, which any process can open."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill import data, teachers
from keras_distill._internal import InputError, _arrays, check_choice
from keras_distill._internal._probabilities import Declared
from keras_distill.targets._keys import as_pairs

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class StoreSource:
    """A teacher and a data set, named by text.

    Attributes:
        teacher: Text that `teachers.as_teacher` accepts, or the path of a `.npy` file of logits.
            Several teachers form an ensemble.
        data: A data spec, such as "digits" or "tfds:mnist".
        data_dir: Folder of prepared TFDS data sets; None: TFDS's own default.
        split: train, validation, or test.
        mean: Mean of an ensemble: geometric or arithmetic.
        temperature: Temperature of an arithmetic mean.
        from_probabilities: See `SoftTargetStore.build`.
        imports: Modules that register custom layers.
        threads: Threads of `.tflite` files; see `teachers.TFLiteTeacher`.
    """

    teacher: tuple[str, ...]
    data: str
    data_dir: str | None = None
    split: str = "train"
    mean: str = "geometric"
    temperature: float | None = None
    from_probabilities: Declared = None
    imports: tuple[str, ...] = ()
    threads: int | None = None

    def values(self) -> dict[str, Any]:
        """Returns the fields as JSON values, for `of`."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "StoreSource":
        """Creates a source from the result of `values`."""
        lists = {name: tuple(values[name]) for name in ("teacher", "imports")}
        return cls(**{**values, **lists})

    def open(self) -> tuple[Any, tf.data.Dataset]:
        """Returns the teacher, as `SoftTargetStore.build` takes it, and the data set.

        Raises:
            InputError: If one of them cannot be opened.
        """
        check_choice("split", self.split, _SPLITS)
        splits = data.load(self.data, data_dir=self.data_dir, reads=(self.split,))
        return self.open_teacher(), as_pairs(getattr(splits, self.split))

    def open_teacher(self) -> Any:
        """Returns the teacher alone."""
        check_choice("mean", self.mean, ("geometric", "arithmetic"))
        found = [self._one(path) for path in self.teacher]
        if len(found) == 1:
            return found[0]
        if any(path.endswith(".npy") for path in self.teacher):
            raise InputError("An ensemble takes models that run, no .npy files.")
        return teachers.TeacherEnsemble(found, mean=self.mean, temperature=self.temperature)

    def _one(self, path: str) -> Any:
        if path.endswith(".npy"):
            return _arrays.read_npy(Path(path))
        return teachers.as_teacher(path, imports=self.imports, threads=self.threads)


@functools.lru_cache(maxsize=1)
def opened(source: StoreSource) -> tuple[Any, tf.data.Dataset]:
    """Returns what `source.open()` returns; the jobs of one process share it."""
    return source.open()
