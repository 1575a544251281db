"""Parses spec strings for data sources and models: `kind:argument?key=value&key=value`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_distill._internal import _checks, bad, did_you_mean

MAX_PIXELS = 1 << 24  # of one image, 4096 x 4096


@dataclass(frozen=True)
class Spec:
    """A parsed spec string.

    Attributes:
        name: The name of the argument, for error messages.
        text: The whole string.
        kind: The part before the first colon, or before `?` if there is no colon.
        argument: The part between the first colon and the last `?`, or "".
        options: The options after the last `?`, by key.
    """

    name: str
    text: str
    kind: str
    argument: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, text: object) -> "Spec":
        """Parses a spec string, without a check of kinds and options, which the caller does.

        Args:
            name: The name of the argument, for error messages.
            text: `kind` or `kind:argument`, optionally followed by `?key=value&key=value`.

        Raises:
            InputError: If `text` is not a string or is empty, or an option is not `key=value` or
                is repeated.

        Example:
            >>> spec = Spec.parse("student", "mlp:30x30?dropout=0.5")
            >>> spec.kind, spec.argument, spec.options
            ('mlp', '30x30', {'dropout': '0.5'})
        """
        if not isinstance(text, str) or not text.strip():
            raise bad(name, "be a spec such as kind:argument?option=value", text)
        head, mark, tail = text.strip().rpartition("?")
        if not mark:
            head, tail = tail, ""
        options: dict[str, str] = {}
        for part in tail.split("&") if tail else []:
            key, equals, value = part.partition("=")
            if not (key and equals and value) or key in options:
                raise bad(name, "give each option once, as key=value, separated by &", text)
            options[key] = value
        kind, _, argument = head.partition(":")
        return cls(name, text.strip(), kind, argument, options)

    def read(self, **readers: Callable[[str, str], Any]) -> dict[str, Any]:
        """Converts the options of the spec with a reader for each.

        Args:
            **readers: The readers, by option. A reader is a function (name for error messages,
                text) that returns the value.

        Returns:
            The values of the options that are in the spec.

        Raises:
            InputError: If an option has no reader, or its reader rejects the text.
        """
        for key in self.options:
            if key not in readers:
                known = ", ".join(sorted(readers)) or "none"
                raise bad(
                    self.name,
                    f"have known options only (of {self.kind}: {known})",
                    self.text,
                    did_you_mean(key, readers),
                )
        return {
            key: readers[key](f"{self.name} option {key}", value)
            for key, value in self.options.items()
        }

    def refuse_argument(self) -> None:
        """Checks that the spec has no argument after the colon.

        Raises:
            InputError: If it has one.
        """
        if self.argument:
            raise bad(self.name, f"have nothing after {self.kind!r} but options", self.text)


def number(**bounds: float) -> Callable[[str, str], float]:
    """Creates a reader of finite numbers, with bounds as for `_checks.check_number`.

    Example:
        >>> number(at_least=0)("width", "0.5")
        0.5
    """

    def read(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise bad(name, "be a number", text) from error
        return _checks.check_number(name, value, **bounds)

    return read


def count(at_least: int = 1, at_most: int = 10**9) -> Callable[[str, str], int]:
    """Creates a reader of whole numbers in `at_least`..`at_most`.

    Example:
        >>> count()("length", "8000")
        8000
    """

    def read(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise bad(name, f"be a whole number in {at_least}..{at_most}", text)
        return _checks.check_count(name, int(text), at_least=at_least, at_most=at_most)

    return read


def size(name: str, text: str) -> tuple[int, int]:
    """Parses `HEIGHTxWIDTH`, in pixels.

    Example:
        >>> size("size", "32x48")
        (32, 48)
    """
    height, mark, width = text.partition("x")
    if not mark:
        raise bad(name, "be HEIGHTxWIDTH, such as 32x32", text)
    found = count()(name, height), count()(name, width)
    if found[0] * found[1] > MAX_PIXELS:
        raise bad(name, f"have at most {MAX_PIXELS} pixels", text)
    return found


def flag(name: str, text: str) -> bool:
    """Parses 0 or 1.

    Example:
        >>> flag("minimalistic", "1")
        True
    """
    if text not in ("0", "1"):
        raise bad(name, "be 0 or 1", text)
    return text == "1"


def text(name: str, value: str) -> str:
    """Returns any text unchanged."""
    return value
