"""Settings of `kd.shrink`, from its arguments or from a spec such as "shrink:0.5"."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from keras_distill._internal import (
    InputError,
    _spec,
    bad,
    check_choice,
    check_count,
    check_number,
)
from keras_distill._internal._spec import Spec
from keras_distill.shrink._budget import Budget

_MAX_MULTIPLE = 1024

NEED_DATA = ("taylor", "activation")
IMPORTANCES = ("l1", "l2", "bn", *NEED_DATA)


@dataclass(frozen=True)
class Settings:
    """The settings of `kd.shrink`; the attributes are its arguments.

    Attributes:
        width: The fraction of units to keep, or fractions by layer.
        depth: The fraction of residual blocks to keep.
        budget: The maximum cost of the result.
        importance: How units are ranked.
        multiple: Numbers of channels are rounded to multiples of this number.
        skip: Layers whose channels are kept.
    """

    width: float | Mapping[str, float] | None = None
    depth: float | None = None
    budget: Budget | None = None
    importance: str = "l2"
    multiple: int = 8
    skip: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        width: float | Mapping[str, float] | None = None,
        depth: float | None = None,
        budget: str | None = None,
        importance: str = "l2",
        multiple: int = 8,
        skip: Collection[str] = (),
    ) -> "Settings":
        """Checks the arguments of `kd.shrink`.

        Raises:
            InputError: If an argument is not valid, or arguments contradict each other.
        """
        if width is not None and budget is not None:
            raise InputError("Give `width` or `budget`, not both.")
        if width is None and budget is None and depth is None:
            raise InputError("Give `width`, `depth`, or `budget`. Received: none of them.")
        if depth is not None:
            check_number("depth", depth, above=0, at_most=1)
        if width is not None:
            width = _width(width)
        check_choice("importance", importance, IMPORTANCES)
        check_count("multiple", multiple, at_most=_MAX_MULTIPLE)
        if isinstance(skip, str):
            raise bad("skip", "be a list of names of layers", skip)
        limit = None if budget is None else Budget.parse(budget)
        return cls(width, depth, limit, importance, multiple, tuple(skip))

    @classmethod
    def parse(cls, text: str, name: str = "student") -> "Settings":
        """Parses a student spec: "shrink:0.5", "shrink:params=100k?importance=taylor", ….

        Args:
            text: `shrink:WIDTH`, `shrink:BUDGET`, or `shrink`, followed by the options `depth`,
                `importance`, `multiple`, and `skip` (names of layers, separated by commas).
            name: The name of the argument, for errors.

        Raises:
            InputError: If `text` is not such a spec.

        Example:
            >>> Settings.parse("shrink:0.5?depth=0.75").depth
            0.75
            >>> Settings.parse("shrink:bytes=98k:int8").budget.limit
            98000.0
        """
        spec = Spec.parse(name, text)
        options = spec.read(
            depth=_spec.number(above=0, at_most=1),
            importance=_spec.text,
            multiple=_spec.count(at_most=_MAX_MULTIPLE),
            skip=lambda _, value: tuple(value.split(",")),
        )
        if not spec.argument and "depth" not in options:
            raise bad(
                name,
                "be shrink:WIDTH or shrink:BUDGET, such as shrink:0.5, shrink:params=100k",
                text,
            )
        if "=" in spec.argument:
            return cls.of(budget=spec.argument, **options)
        width = _spec.number(above=0, at_most=1)(name, spec.argument) if spec.argument else None
        return cls.of(width=width, **options)

    @property
    def needs_data(self) -> str | None:
        """The argument that needs data; None if there is none."""
        if self.depth is not None:
            return f"depth={self.depth:g}"
        return f"importance={self.importance!r}" if self.importance in NEED_DATA else None


def is_shrink_spec(text: Any) -> bool:
    """Returns whether a student spec requests a narrower copy of the teacher.

    Example:
        >>> is_shrink_spec("shrink:0.5"), is_shrink_spec("resnet:8")
        (True, False)
    """
    head = text.strip().partition("?")[0] if isinstance(text, str) else ""
    return head.partition(":")[0] == "shrink"


def _width(width: float | Mapping[str, float]) -> float | Mapping[str, float]:
    if not isinstance(width, Mapping):
        return check_number("width", width, above=0, at_most=1)
    if not width:
        raise bad("width", "be a share, or shares by layer", width)
    return {
        name: check_number(f"width[{name!r}]", share, above=0, at_most=1)
        for name, share in width.items()
    }
