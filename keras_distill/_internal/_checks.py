"""Defines the errors of the package, and argument checks with uniform messages.

Every invalid argument or file raises one of these errors, so that the command line can report it
with one line and an exit code.
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


_TINY = 2.0**-126  # smallest normal float32; dividing by a smaller number is not safe
MAX_COUNT = 1_000_000  # of anything that takes time or memory per item
MAX_BATCH = 1 << 16
MAX_BATCH_BYTES = 1 << 30
MAX_THREADS = 1024
_MAX_DEPTH = 100
MAX_SEED = 2**32 - 1  # the largest that NumPy and Keras support
MAX_INT = 2**63 - 1  # the largest that NumPy and TensorFlow support


class InputError(ValueError):
    """An argument or a file is invalid. The command line exits with code 2."""


class VerificationError(RuntimeError):
    """A result failed its verification. The command line exits with code 1.

    Args:
        message: The message.
        record: See the attribute.

    Attributes:
        record: The record with the measured values, or None.
    """

    def __init__(self, message: str, *, record: Any = None) -> None:
        super().__init__(message)
        self.record = record


class KerasDistillWarning(UserWarning):
    """The category of all warnings of the package."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed. The message contains the pip command.

    The command line exits with code 2.
    """


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict, _REPR.maxset = 4, 50, 50, 50, 50
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 400


def shown(value: object) -> str:
    """Returns `repr(value)`, shortened for a long value without reading all of it.

    Example:
        >>> shown([1, "a", 2.5]), len(shown(list(range(10**6))))
        ("[1, 'a', 2.5]", 195)
    """
    try:
        return _REPR.repr(value)
    except ValueError:  # an integer with too many digits
        return f"a {type(value).__name__} of many digits"


def bad(name: str, rule: str, value: object, remedy: str = "") -> InputError:
    """Returns (does not raise) the error for an argument that violates a rule.

    Args:
        name: The name of the argument, as the user wrote it.
        rule: The text after "must" in the message, such as "be > 0".
        value: The received value. A long value is truncated.
        remedy: A separate sentence with what the user can do.

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
    """Returns a question that suggests the most similar name in `known`, or "".

    The text starts with a space, so that it can follow a sentence. `value` may also be the
    beginning of a name.

    Args:
        value: The unknown name.
        known: The known names. Values that are not strings are ignored.

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
    """Returns whether `value` is a finite real number. A bool does not count as a number."""
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

    Args:
        name: The name of the argument, for the error message.
        value: The value.
        above: The value must be greater than this.
        at_least: The value must be at least this.
        at_most: The value must be at most this.

    Raises:
        InputError: If the value is not such a number.

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

    The default upper limit, a million, is for counts that cost time or memory. Use
    `at_most=MAX_INT` for a value that is limited elsewhere.

    Args:
        name: The name of the argument, for the error message.
        value: The value. A bool is not a whole number.
        at_least: The smallest valid value.
        at_most: The largest valid value.

    Raises:
        InputError: If the value is not such a number.
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
        row_bytes: The size of an example in bytes, if a whole batch is allocated even for fewer
            examples. 0 means that the size of a batch is not checked.

    Raises:
        InputError: If the value is not a whole number in 1..65536, or a batch of more than one
            example takes more than 1 GiB.

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
        InputError: If it is not. The message lists the choices and suggests the most similar one.
    """
    if value not in choices:
        near = did_you_mean(value, choices)
        raise bad(name, f"be one of {', '.join(map(str, choices))}", value, near)
    return value


def check_identifier(name: str, value: str) -> str:
    """Returns `value` if it is safe as one path component.

    It may have up to 100 letters, digits, and ``._-``, and must start with a letter or digit.

    Raises:
        InputError: If the value is not such a name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise bad(
            name, "be letters, digits, '.', '_' or '-', and start with a letter or digit", value
        )
    return value


def shallow(value: T) -> T:
    """Returns nested lists and dicts from a file if they are not nested too deeply.

    Later code may then process them recursively.

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
        extra: The extra of `keras-distill` that installs the module.

    Raises:
        MissingExtraError: If the module is not installed. The message contains the pip command.
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise MissingExtraError(
            f"{module!r} is not installed. Run: pip install 'keras-distill[{extra}]'"
        )
    return importlib.import_module(module)
