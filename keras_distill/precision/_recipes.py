"""Lists the files to try: plain precisions first, then mixed precisions."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_distill.litert import Operator, Rule
from keras_distill.records import QuantizationRule

INT8, INT4, BLOCKS = "int8", "weight-only-int4", "dynamic-int4-blocks"
WEIGHTS = "weight-only-int8"
_OTHERS = {INT8: (WEIGHTS, "int16x8"), INT4: (WEIGHTS,), WEIGHTS: ("float16",)}
"""What the operators that a mixture keeps more precise are in."""
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_BLOCKWISE, _BLOCK = ("FULLY_CONNECTED",), 32
_SHARES = (
    0.06,
    0.12,
    0.25,
    0.5,
)  # fractions of groups that a mixture keeps more precise


class Recipe(NamedTuple):
    """A file to try.

    Attributes:
        name: Its name in tables.
        family: The precision of most operators, which also sets the limit of differences.
        rules: Rules for LiteRT Quantizer; empty for the TFLite converter.
        ranges: How ranges of activations are determined.
        kept: Layers that are more precise than the others.
        integer: Whether calibration rows are needed.
    """

    name: str
    family: str
    rules: tuple[Rule, ...] = ()
    ranges: str = "min-max"
    kept: tuple[str, ...] = ()
    integer: bool = False

    @property
    def recorded(self) -> tuple[QuantizationRule, ...]:
        """The rules in the form of the record."""
        return tuple(QuantizationRule(**rule._asdict()) for rule in self.rules)


class Group(NamedTuple):
    """Neighboring operators that are measured together and kept more precise together."""

    operators: tuple[Operator, ...]

    @property
    def scopes(self) -> tuple[str, ...]:
        """Their scopes."""
        return tuple(op.scope for op in self.operators)

    @property
    def layers(self) -> tuple[str, ...]:
        """Their layers, each once."""
        return tuple(dict.fromkeys(op.layer for op in self.operators))

    @property
    def operations(self) -> tuple[str, ...]:
        """Their kinds, each once."""
        return tuple(dict.fromkeys(op.operation for op in self.operators))


CONVERTED = (
    Recipe("float32", "float32"),
    Recipe("float16", "float16"),
    Recipe("dynamic", "dynamic"),
    Recipe("int8", "int8", integer=True),
    Recipe("int16x8", "int16x8", integer=True),
)
"""By the TFLite converter."""


def plain(operators: Sequence[Operator]) -> list[Recipe]:
    """Returns the recipes for LiteRT Quantizer that do not depend on the data.

    Args:
        operators: The operators of the float32 file.

    Example:
        >>> dense = Operator("d/MatMul;", "FULLY_CONNECTED", "d", 64)
        >>> [recipe.name for recipe in plain([dense])][:2]
        ['weight-only-int8', 'weight-only-int4']
        >>> len(plain([dense])) - len(plain([Operator("c/conv;", "CONV_2D", "c")]))
        2
    """
    found = [
        Recipe(WEIGHTS, WEIGHTS, (Rule(WEIGHTS),)),
        Recipe(INT4, INT4, (Rule(INT4),)),
        Recipe("weight-only-int4, OCTAV", INT4, (Rule(INT4, algorithm="OCTAV"),)),
        Recipe("dynamic-int4", INT4, (Rule("dynamic-int8"), Rule("dynamic-int4"))),
    ]
    kinds = {op.operation for op in operators}
    wide = tuple(
        op.scope
        for op in operators
        if op.operation in _BLOCKWISE and op.width and op.width % _BLOCK == 0
    )
    if wide:
        rotated = Rule("dynamic-int4", wide, algorithm="Hadamard")
        found += [
            Recipe("dynamic-int4 in blocks", INT4, (Rule("dynamic-int8"), Rule(BLOCKS, wide))),
            Recipe("dynamic-int4, rotated", INT4, (Rule("dynamic-int8"), rotated)),
        ]
    found.append(
        Recipe("int8, OCTAV", INT8, (Rule(INT8), *octav(operators)), integer=True),
    )
    found.append(
        Recipe("int8, moving average", INT8, (Rule(INT8),), "moving-average", integer=True)
    )
    four = [Rule("int8-weights-int4", operation=n) for n in ("CONV_2D", "FULLY_CONNECTED")]
    found.append(
        Recipe(
            "int8, int4 weights",
            INT4,
            (Rule(INT8), *(rule for rule in four if rule.operation in kinds)),
            integer=True,
        )
    )
    return found


def octav(operators: Sequence[Operator], algorithm: str = "OCTAV") -> list[Rule]:
    """Returns the rules for other scales of the weights of an int8 file."""
    kinds = {op.operation for op in operators}
    return [Rule(INT8, operation=n, algorithm=algorithm) for n in _WEIGHTED if n in kinds]


def mixtures(family: str, ranked: Sequence[Group]) -> list[Recipe]:
    """Returns recipes that keep the most sensitive groups more precise.

    Args:
        family: The precision of the other groups. "int8": activations of the sensitive groups stay
            float32 or have 16 bits; "weight-only-int4": their weights have 8 bits;
            "weight-only-int8": 16 bits.
        ranked: The measured groups, most sensitive first.

    Example:
        >>> groups = [Group((Operator(f"c{n}/conv;", "CONV_2D", f"c{n}"),)) for n in range(8)]
        >>> [recipe.name for recipe in mixtures("weight-only-int4", groups)][:2]
        ['weight-only-int4, 1 group in weight-only-int8', 'weight-only-int4, 2 groups in \
weight-only-int8']
    """
    counts = sorted({max(1, round(share * len(ranked))) for share in _SHARES})
    found = []
    for other in _OTHERS[family]:
        for count in counts:
            if count >= len(ranked):
                continue
            kept = ranked[:count]
            scopes = tuple(scope for group in kept for scope in group.scopes)
            first = [Rule(family)]
            if family == INT8 and other == WEIGHTS:
                # Operators without weights compute in float32; the others keep small weights.
                first.append(Rule("float32", scopes))
            found.append(
                Recipe(
                    f"{family}, {count} group{'s' * (count > 1)} in {_word(family, other)}",
                    family,
                    (*first, Rule(other, scopes)),
                    kept=tuple(dict.fromkeys(name for group in kept for name in group.layers)),
                    integer=family == INT8,
                )
            )
    return found


def _word(family: str, other: str) -> str:
    return "float32 with int8 weights" if family == INT8 and other != "int16x8" else other
