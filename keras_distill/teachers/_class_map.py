"""Maps from the classes of a student to those of its teacher: selections and sums."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, _files, bad
from keras_distill._internal._types import PathLike, Tensor, TensorLike

BY_NAME = "names"
_MAX_FILE = 64 << 20
_MAX_CLASSES = 1 << 20


@dataclass(frozen=True)
class ClassMap:
    """Maps the classes of a teacher to the classes of a student.

    Let p be the teacher's probabilities, and S_c the teacher's classes that make up class c of the
    student. The probability of class c is

        q_c = Σ_{k in S_c} p_k / Σ_{c'} Σ_{k in S_c'} p_k,

    which is renormalized over the selected classes. The logits are z_c = log Σ_{k in S_c} exp(z_k):
    the softmax of z_c is q, and the softmax of z_c/T is q softened at T. For a teacher whose logits
    are valid only at one temperature T₀, z_c = T₀ · log Σ exp(z_k/T₀).

    Attributes:
        groups: For each class of the student, the ids of the teacher's classes. Each id may occur
            only once.
        classes: Number of classes of the teacher.

    Raises:
        InputError: If a group is empty, or an id is out of range or used twice.

    Example:
        >>> animals_and_tools = ClassMap(((0, 2), (1,)), classes=4)
        >>> p = np.array([[0.4, 0.2, 0.2, 0.2]])
        >>> q = tf.nn.softmax(animals_and_tools.logits(np.log(p)))
        >>> q.numpy().round(3).tolist()
        [[0.75, 0.25]]
    """

    groups: tuple[tuple[int, ...], ...]
    classes: int

    def __post_init__(self) -> None:
        ids = [k for group in self.groups for k in group]
        if not self.groups or not all(self.groups):
            raise bad("classes", "have a class of the teacher for each of the student", self.groups)
        wrong = next((k for k in ids if not 0 <= k < self.classes), None)
        if wrong is not None:
            raise bad("classes", f"have ids in 0..{self.classes - 1}, the teacher's classes", wrong)
        if len(set(ids)) < len(ids):
            twice = next(k for k in ids if ids.count(k) > 1)
            raise bad("classes", "use each class of the teacher once", twice)

    @classmethod
    def of(
        cls,
        classes: Any,
        *,
        student: Sequence[str],
        teacher: Sequence[str] | None = None,
        count: int,
    ) -> "ClassMap":
        """Creates the map from a user's specification.

        Args:
            classes: One of the following: a list with an entry for each class of the student, where
                an entry is the id or name of a teacher's class, or a list of these, which are
                summed; a dict from the student's class names to such entries; `"names"` to match
                classes with the same name; or the path of a file (`.json` with a list or dict, or
                text with a line for each class of the student, with ids or names separated by
                tabs).
            student: Names of the student's classes, in the order of their ids.
            teacher: Names of the teacher's classes; None if only their ids are known.
            count: Number of the teacher's classes.

        Raises:
            InputError: If an entry is missing, or does not match a class of the teacher.

        Example:
            >>> ClassMap.of({"pet": ["cat", "dog"], "car": 2}, student=["car", "pet"],
            ...             teacher=["cat", "dog", "car"], count=3).groups
            ((2,), (0, 1))
        """
        if teacher is not None and len(teacher) != count:
            raise bad("class_names", f"name the teacher's {count} classes", len(teacher))
        if isinstance(classes, str) and classes != BY_NAME:
            classes = read_classes(classes)
        if isinstance(classes, str):
            classes = list(student)
        if isinstance(classes, Mapping):
            classes = _in_order(classes, student)
        if not isinstance(classes, list | tuple) or len(classes) != len(student):
            raise bad(
                "classes",
                f"have an entry for each of the student's {len(student)} classes",
                len(classes) if isinstance(classes, list | tuple) else classes,
            )
        names = None if teacher is None else {_plain(name): k for k, name in enumerate(teacher)}
        return cls(tuple(_group(entry, names) for entry in classes), count)

    def logits(self, logits: TensorLike, temperature: float = 1.0) -> Tensor:
        """Computes the student's logits from the teacher's.

        Args:
            logits: float `(..., N)`.
            temperature: T₀, the only temperature at which the logits are valid; 1 if they are valid
                at any temperature.

        Returns:
            float `(..., M)`.
        """
        z = tf.convert_to_tensor(logits)
        if all(len(group) == 1 for group in self.groups):
            return tf.gather(z, [group[0] for group in self.groups], axis=-1)
        widest = max(map(len, self.groups))
        padded = [[*group, *[0] * (widest - len(group))] for group in self.groups]
        there = [[i < len(group) for i in range(widest)] for group in self.groups]
        parts = tf.gather(z, padded, axis=-1) / tf.cast(temperature, z.dtype)
        nothing = tf.constant(-np.inf, z.dtype)
        summed = tf.reduce_logsumexp(tf.where(tf.constant(there), parts, nothing), axis=-1)
        return summed * tf.cast(temperature, z.dtype)


def read_classes(path: PathLike) -> Any:
    """Reads a map of classes, or names of classes, from a file.

    Args:
        path: The path of the file. A `.json` file gives its value. Any other file gives a list with
            an entry for each line; a line with tabs gives a list. Integers are ids.

    Raises:
        InputError: If the file cannot be read.
    """
    text = _files.read_text(path, max_bytes=_MAX_FILE)
    if Path(path).suffix == ".json":
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON: {error!s:.200}.") from error
    lines = text.splitlines()
    if len(lines) > _MAX_CLASSES:
        raise bad("classes", f"have at most {_MAX_CLASSES} lines", len(lines))
    entries = [[_entry(part) for part in line.split("\t")] for line in lines if line.strip()]
    return [entry[0] if len(entry) == 1 else entry for entry in entries]


def _entry(text: str) -> int | str:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _plain(name: str) -> str:
    """Returns a class name in its normalized form for comparisons."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def _in_order(classes: Mapping[str, Any], student: Sequence[str]) -> list[Any]:
    by_name = {_plain(str(name)): entry for name, entry in classes.items()}
    missing = [name for name in student if _plain(name) not in by_name]
    if missing or len(by_name) != len(student):
        rule = f"have a key for each of the student's classes ({', '.join(student):.200})"
        raise bad("classes", rule, list(classes), f"Missing: {', '.join(missing):.100}.")
    return [by_name[_plain(name)] for name in student]


def _group(entry: Any, names: Mapping[str, int] | None) -> tuple[int, ...]:
    parts = entry if isinstance(entry, list | tuple) else [entry]
    return tuple(_class_id(part, names) for part in parts)


def _class_id(part: Any, names: Mapping[str, int] | None) -> int:
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    if not isinstance(part, str):
        raise bad("classes", "have ids or names of the teacher's classes", part)
    if names is None:
        raise bad(
            "classes",
            "have ids, because the names of the teacher's classes are not known",
            part,
            "Or give its names: teacher.class_names.",
        )
    if _plain(part) not in names:
        some = ", ".join(list(names)[:10])
        raise bad("classes", f"name classes of the teacher ({some}, …)", part)
    return names[_plain(part)]
