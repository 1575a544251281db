"""Parses numbers with a suffix, such as 100k, and formats counts with a noun, such as 3 epochs."""

from typing import Any

from keras_distill._internal import bad, check_number

_FACTORS = {"Ki": 2.0**10, "Mi": 2.0**20, "k": 1e3, "M": 1e6, "G": 1e9}


def parse_quantity(name: str, value: Any, rule: str = "") -> float:
    """Converts a number > 0, or text such as "100k", to a float.

    Args:
        name: The name of the argument, for error messages.
        value: A number, or a number as text. Text may end in k, M, or G (10^3, 10^6, 10^9), or in
            Ki or Mi (2^10, 2^20).
        rule: The text after "must" in the error message for unreadable text. If empty, a rule for a
            number > 0.

    Raises:
        InputError: If the value is not a finite number > 0, or not readable as one.

    Example:
        >>> parse_quantity("max_bytes", "100k"), parse_quantity("max_bytes", 512)
        (100000.0, 512.0)
    """
    rule = rule or "be a number > 0, such as 100000, 100k, or 2.5M"
    if isinstance(value, str):
        suffix = next((s for s in _FACTORS if value.endswith(s)), "")
        try:
            value = float(value.removesuffix(suffix)) * _FACTORS.get(suffix, 1.0)
        except ValueError as error:
            raise bad(name, rule, value) from error
    return check_number(name, value, above=0)


def number_of(count: int, noun: str) -> str:
    """Returns a count with its noun, in the singular or plural.

    Example:
        >>> number_of(1, "epoch"), number_of(10_000, "row")
        ('1 epoch', '10,000 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
