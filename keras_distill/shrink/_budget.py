"""Budgets: "params=100k", "macs=2.5M", "bytes=98k:int8", "latency=0.2"."""

from dataclasses import dataclass

from keras_distill._internal import bad, check_choice
from keras_distill._internal._quantity import parse_quantity
from keras_distill.export import QUANTIZATIONS

_KINDS = ("params", "macs", "bytes", "latency")
_RULE = (
    "be params=NUMBER, macs=NUMBER, bytes=NUMBER[:PRECISION], or latency=RATIO, with k, M, or G for"
    " thousand, million, or billion"
)


@dataclass(frozen=True)
class Budget:
    """The maximum cost of a narrower model.

    Attributes:
        kind: "params", "macs" (multiply-accumulate operations per example), "bytes" (size of the
            `.tflite` file), or "latency" (of the float32 `.tflite` file, relative to the model's).
        limit: The maximum.
        precision: The precision of the file whose size is limited.
        text: The budget as given.
    """

    kind: str
    limit: float
    precision: str
    text: str

    @property
    def is_measured(self) -> bool:
        """Whether the budget can only be checked by measuring an exported file."""
        return self.kind in ("bytes", "latency")

    @classmethod
    def parse(cls, text: str, name: str = "budget") -> "Budget":
        """Parses a budget.

        Args:
            text: The budget, such as "params=100k".
            name: The name of the argument, for errors.

        Raises:
            InputError: If `text` is not a budget.

        Example:
            >>> Budget.parse("bytes=98k:int8")
            Budget(kind='bytes', limit=98000.0, precision='int8', text='bytes=98k:int8')
        """
        if not isinstance(text, str):
            raise bad(name, _RULE, text)
        kind, _, rest = text.strip().partition("=")
        number, colon, precision = rest.partition(":")
        if kind not in _KINDS or (colon and kind != "bytes"):
            raise bad(name, _RULE, text)
        if colon:
            check_choice(f"{name} precision", precision, QUANTIZATIONS)
        limit = parse_quantity(name, number, _RULE)
        if kind == "latency" and limit > 1:
            raise bad(name, "have a latency ratio <= 1", text)
        return cls(kind, limit, precision or "float32", text.strip())
