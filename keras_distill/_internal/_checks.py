"""The errors of the package, and checks of arguments with one form of message.

Every mistake of a user raises one of these errors, so that the command line can turn it into one
line and an exit code.
"""

import difflib
import importlib
import importlib.util
import math
import numbers
import re
import reprlib
from collections.abc import Collection, Iterable
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T")


_TINY = 2.0**-126  # float32 holds no smaller number that it can divide by
MAX_COUNT = 1_000_000  # of anything that takes time or memory each
MAX_BATCH = 1 << 16
MAX_BATCH_BYTES = 1 << 30
MAX_THREADS = 1024
_MAX_DEPTH = 100
MAX_SEED = 2**32 - 1  # what NumPy and Keras can take
MAX_INT = 2**63 - 1  # what NumPy and TensorFlow can take


class InputError(ValueError):
    """An argument or a file cannot be used. The command line exits with code 2."""


class VerificationError(RuntimeError):
    """A verification failed: the result is not good enough. The command line exits with code 1.

    Attributes:
        record: The record that shows by how much; None if there is none.
    """

    def __init__(self, message: str, *, record: Any = None) -> None:
        super().__init__(message)
        self.record = record


class KerasDistillWarning(UserWarning):
    """Something may not be what the user intended: the category of every warning of the package."""


class MissingExtraError(ImportError):
    """An optional dependency is missing; the message has the pip command. Exit code 2."""


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict, _REPR.maxset = 4, 50, 50, 50, 50
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 400


def shown(value: object) -> str:
    """Returns `repr(value)`; of a long value, its ends, without going through all of it.

    Example:
        >>> shown([1, "a", 2.5]), len(shown(list(range(10**6))))
        ("[1, 'a', 2.5]", 195)
    """
    try:
        return _REPR.repr(value)
    except ValueError:  # a whole number of too many digits
        return f"a {type(value).__name__} of many digits"


def bad(name: str, rule: str, value: object, remedy: str = "") -> InputError:
    """Returns (does not raise) the error for an argument that breaks its rule.

    Args:
        name: The argument, as the user wrote it.
        rule: What follows "must" in the message: "be > 0".
        value: What was received; long values are truncated.
        remedy: What to do, as a separate sentence.

    Example:
        >>> bad("temperature", "be > 0", -1)
        InputError('`temperature` must be > 0. Received: temperature=-1')
    """
    text = shown(value)
    if len(text) > 200:
        text = text[:200] + "…"
    message = f"`{name}` must {rule}. Received: {name}={text}"
    return InputError(f"{message}. {remedy.lstrip()}" if remedy else message)


def did_you_mean(value: object, known: Iterable[object]) -> str:
    """Returns a question with the name in `known` that a wrong one most resembles, or "".

    It starts with a space, as what follows a sentence. A name may be cut short.

    Example:
        >>> did_you_mean("mpl", ["mlp", "resnet"]), did_you_mean("x", ["mlp", "resnet"])
        (' Did you mean `mlp`?', '')
        >>> did_you_mean("temp", ["alpha", "temperature"])
        ' Did you mean `temperature`?'
    """
    names = [name for name in known if isinstance(name, str)]
    by_folded = {name.lower(): name for name in names}
    wrong = str(value)[:100].lower()
    near = difflib.get_close_matches(wrong, by_folded, 1)
    near = near or [name for name in by_folded if len(wrong) > 2 and name.startswith(wrong)]
    return f" Did you mean `{by_folded[near[0]]}`?" if near else ""


def is_number(value: object) -> TypeGuard[float]:
    """Returns whether `value` is a finite real number (bool is not one)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> float:
    """Returns `value` as a float if it is a finite number within the bounds.

    Raises:
        InputError: If it is not.

    Example:
        >>> check_number("alpha", 0.9, at_least=0, at_most=1)
        0.9
        >>> check_number("alpha", 1.5, at_least=0, at_most=1)
        Traceback (most recent call last):
        keras_distill.InputError: `alpha` must be in 0..1. Received: alpha=1.5
    """
    if at_least is not None and at_most is not None:
        rule = f"be in {at_least:g}..{at_most:g}"
    elif above is not None and at_most is not None:
        rule = f"be > {above:g} and <= {at_most:g}"
    elif above is not None:
        rule = f"be > {above:g}"
    elif at_least is not None:
        rule = f"be >= {at_least:g}"
    elif at_most is not None:
        rule = f"be <= {at_most:g}"
    else:
        rule = "be a finite number"
    if (
        is_number(value)
        and (above is None or value - above >= _TINY)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
    ):
        return float(value)
    raise bad(name, rule, value)


def check_count(name: str, value: Any, *, at_least: int = 1, at_most: int = MAX_COUNT) -> int:
    """Returns `value` as an int if it is a whole number in `at_least`..`at_most`.

    The default bound, a million, holds for whatever takes time or memory. A seed, or a number that
    another one bounds, has `at_most=MAX_INT`.

    Raises:
        InputError: If it is not.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < at_least:
        rule = f"be a whole number >= {at_least}"
        raise bad(
            name, rule if at_most in (MAX_COUNT, MAX_INT) else f"{rule} and <= {at_most}", value
        )
    count = int(value)
    if count > at_most:
        raise bad(name, f"be <= {at_most}", value)
    return count


def check_batch_size(value: Any, row_bytes: int = 0) -> int:
    """Returns a batch size as an int if a batch is not too large.

    Args:
        value: The batch size.
        row_bytes: Bytes of an example, if a whole batch is allocated however few examples there
            are.

    Raises:
        InputError: If it is not a whole number in 1..65536, or a batch takes more than 1 GiB.

    Example:
        >>> check_batch_size(10**9)
        Traceback (most recent call last):
        keras_distill.InputError: `batch_size` must be <= 65536. Received: batch_size=1000000000
    """
    size = check_count("batch_size", value, at_most=MAX_BATCH)
    if size > 1 and size * row_bytes > MAX_BATCH_BYTES:
        most = max(1, MAX_BATCH_BYTES // row_bytes)
        raise bad("batch_size", f"be <= {most} for examples of {row_bytes} bytes", size)
    return size


def check_choice(name: str, value: T, choices: Collection[T]) -> T:
    """Returns `value` if it is one of `choices`.

    Raises:
        InputError: If it is not; the message lists the choices and names the nearest.
    """
    if value not in choices:
        near = did_you_mean(value, choices)
        raise bad(name, f"be one of {', '.join(map(str, choices))}", value, near)
    return value


def check_identifier(name: str, value: str) -> str:
    """Returns `value` if it is safe as one path component (letters, digits, ``._-``).

    Raises:
        InputError: If it is not.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise bad(
            name, "be letters, digits, '.', '_' or '-', and start with a letter or digit", value
        )
    return value


def shallow(value: T) -> T:
    """Returns nested lists and dicts that were read from a file, if they are not nested too deep.

    Code that follows may recurse into them.

    Raises:
        ValueError: If they are nested more than 100 levels deep.

    Example:
        >>> shallow({"a": [1, {"b": 2}]})
        {'a': [1, {'b': 2}]}
    """
    level: list[Any] = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            part
            for parent in level
            if isinstance(parent, dict | list)
            for part in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return value
    raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")


def require_extra(module: str, extra: str) -> ModuleType:
    """Imports an optional dependency.

    Args:
        module: The module to import.
        extra: The extra of `keras-distill` that installs it.

    Raises:
        MissingExtraError: If it is not installed, with the pip command.
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(
            f"{module!r} is not installed. Run: pip install 'keras-distill[{extra}]'"
        )
    return importlib.import_module(module)
