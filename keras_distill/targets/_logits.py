"""Float32 logits of a batch by output, from a teacher of any kind or from arrays."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_choice
from keras_distill._internal._probabilities import (
    DECLARATIONS,
    Declared,
    are_probabilities,
    probabilities_to_logits,
)
from keras_distill._internal._types import Array
from keras_distill.records import MAX_RANK, TargetsOutput, TargetsTeacher
from keras_distill.teachers import Declaration, as_teacher

_CHUNK = 1 << 22
_LOOK = 4096  # rows of arrays that are read to detect probabilities


def log_probabilities(p: np.ndarray, first: int = 0) -> np.ndarray:
    """Returns log p in float32, after checking p; see `probabilities_to_logits`.

    Args:
        p: `(B, ..., N)`, rows that sum to 1.
        first: Index of the batch's first example, for messages.

    Raises:
        InputError: If a row has a negative value or does not sum to 1 within 0.01.

    Example:
        >>> log_probabilities(np.array([[1.0, 0.0]])).round(1).tolist()
        [[0.0, -87.30000305175781]]
    """
    stored, p = np.asarray(p), np.asarray(p, np.float32)
    off = ~are_probabilities(p)
    if off.any():
        i = int(np.argwhere(off)[0][0])
        row = p[i].reshape(-1, p.shape[-1])[np.argwhere(off[i : i + 1])[0][-1] if p.ndim > 2 else 0]
        raise InputError(
            "`from_probabilities` needs rows >= 0 that sum to 1. Received: a row from"
            f" {row.min():.3g} to {row.max():.3g} of sum {row.sum():.3g} at example {first + i}."
            " Logits need no from_probabilities."
        )
    return probabilities_to_logits(stored if stored.dtype == np.float16 else p)


class LogitsSource:
    """A teacher, or arrays of its logits, behind one method.

    Args:
        teacher: Any value that `teachers.as_teacher` accepts, an array `(n, ..., N)`, or a dict of
            arrays by output name.
        from_probabilities: Whether the values are probabilities; see `teachers.as_teacher`.

    Raises:
        InputError: If arrays look like probabilities but are not declared as such, or are declared
            as probabilities but are not.
    """

    def __init__(self, teacher: Any, from_probabilities: Declared = None):
        check_choice("from_probabilities", from_probabilities, DECLARATIONS)
        self._declared = from_probabilities
        self.arrays = _arrays(teacher)
        if self.arrays is None:
            self._teacher = as_teacher(teacher, from_probabilities=from_probabilities)
            return
        self._declaration = Declaration(from_probabilities, "The arrays of the teacher")
        self._declaration.check({str(k): v[:_LOOK] for k, v in self.arrays.items() if len(v)})

    def describe(self) -> TargetsTeacher:
        """Returns name, fingerprint, and T₀, for the manifest."""
        if self.arrays is not None:
            return TargetsTeacher(
                name="array",
                fingerprint=_array_fingerprint(self.arrays),
                from_probabilities=self._declared or False,
            )
        return TargetsTeacher(
            name=self._teacher.name,
            fingerprint=self._teacher.fingerprint(),
            temperature=self._teacher.temperature,
            from_probabilities=self._declared or self._teacher.from_probabilities or False,
        )

    def row_bytes(self) -> int:
        """Returns the bytes of the logits of one example; 0 if unknown."""
        if self.arrays is not None or self._teacher.output_shapes is None:
            return 0
        shapes = self._teacher.output_shapes.values()
        return 4 * sum(math.prod(size or 1 for size in shape[1:]) for shape in shapes)

    def length(self) -> int | None:
        """Returns the number of examples in the arrays; None for a teacher."""
        return None if self.arrays is None else len(next(iter(self.arrays.values())))

    def __call__(self, x: Any, first: int, count: int) -> dict[str | None, np.ndarray]:
        """Returns the logits of one batch by output name; None names a single output.

        Args:
            x: The batch as NumPy, padded to the full batch size.
            first: Index of the first example of the batch.
            count: Number of examples in the batch that are not padding.

        Raises:
            InputError: If the teacher fails on the batch, or its values are not probabilities.
        """
        if self.arrays is not None:
            values = {k: np.asarray(v[first : first + count]) for k, v in self.arrays.items()}
            short = min(len(v) for v in values.values())
            if short < count:
                raise InputError(
                    f"The teacher's array holds {self.length()} rows; the data have more examples."
                )
            return {k: self._as_logits(k, v, first) for k, v in values.items()}
        given = self._predict(x, first)
        given = given if isinstance(given, Mapping) else {None: given}
        values = {k: np.asarray(v, np.float32) for k, v in given.items()}
        self._check_batch(values, x)
        return {k: v[:count] for k, v in values.items()}

    def _predict(self, x: Any, first: int) -> Any:
        try:
            return self._teacher.predict(x)
        except InputError:
            raise
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"The teacher fails at example {first}: {reason}") from error

    def _check_batch(self, values: dict, x: Any) -> None:
        part = x
        while isinstance(part, Mapping | tuple | list):
            part = next(iter(part.values() if isinstance(part, Mapping) else part))
        for value in values.values():
            if value.ndim < 2 or len(value) != len(part):
                raise InputError(
                    f"The teacher must give logits ({len(part)}, ..., N) for {len(part)} examples."
                    f" Received: {value.shape}."
                )

    def _as_logits(self, name: str | None, values: Array, first: int) -> Array:
        if self._declared is True and values.shape[-1] > 1:
            kind = self._declaration.kind(str(name), values)
            if kind == "softmax":
                return log_probabilities(values, first)
        return np.asarray(self._declaration.logits({str(name): values})[str(name)], np.float32)


def _arrays(teacher: Any) -> dict[str | None, np.ndarray] | None:
    if isinstance(teacher, np.ndarray):
        found = {None: teacher}
    elif isinstance(teacher, Mapping):
        found = dict(teacher)
    else:
        return None
    for name, array in found.items():
        if not isinstance(array, np.ndarray) or array.ndim < 2 or array.dtype.kind != "f":
            received = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else array
            raise bad("teacher" if name is None else name, "be a float array (n, ..., N)", received)
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) != 1:
        raise bad("teacher", "be arrays of one length", lengths)
    return found


def _array_fingerprint(arrays: dict[str | None, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        step = max(1, _CHUNK // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            digest.update(np.ascontiguousarray(array[start : start + step]).tobytes())
    return digest.hexdigest()


def outputs_of(
    values: dict[str | None, np.ndarray], dtype: str, top_k: int | None
) -> tuple[TargetsOutput, ...]:
    """Returns the layout of a record, determined from the first batch.

    Raises:
        InputError: If an output has too many dimensions or none of some size, or `top_k` keeps
            every class.
    """
    found = []
    for name, logits in values.items():
        if 0 in logits.shape[1:]:
            raise bad("teacher", "give one or more logits for each example", logits.shape[1:])
        if logits.ndim - 1 > MAX_RANK:
            raise bad("teacher", f"give logits of at most {MAX_RANK} dimensions", logits.shape[1:])
        if top_k is not None and top_k >= logits.shape[-1]:
            raise bad(
                "top_k", f"be less than the {logits.shape[-1]} classes", top_k, "Leave it out."
            )
        found.append(TargetsOutput(name=name, shape=logits.shape[1:], dtype=dtype, top_k=top_k))
    return tuple(found)
