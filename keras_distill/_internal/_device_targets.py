"""Defines the target devices for which a file can be tested."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_distill._internal import InputError, check_choice

TFLM, XNNPACK, ARM = "tflm", "xnnpack", "arm"


class EthosConfig(NamedTuple):
    """The Vela settings of an Ethos-U NPU, as names in Vela's configuration file `Arm/vela.ini`.

    Attributes:
        system_config: The name of the system configuration.
        memory_mode: The name of the memory mode.
    """

    system_config: str
    memory_mode: str


_U55 = EthosConfig("Ethos_U55_High_End_Embedded", "Shared_Sram")
_U65 = EthosConfig("Ethos_U65_High_End", "Dedicated_Sram_384KB")
_U85 = EthosConfig("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")

ETHOS: dict[str, EthosConfig] = {
    **{f"ethos-u55-{macs}": _U55 for macs in (32, 64, 128, 256)},
    **{f"ethos-u65-{macs}": _U65 for macs in (256, 512)},
    **{f"ethos-u85-{macs}": _U85 for macs in (128, 256, 512, 1024, 2048)},
}

TARGETS = (TFLM, XNNPACK, *ETHOS)

_ARM = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
_DEFAULT = (TFLM, "ethos-u55-128", XNNPACK)


def parse_targets(names: Sequence[str], *, name: str = "targets") -> tuple[str, ...]:
    """Expands names to targets, without duplicates and in the given order.

    Args:
        names: Names in `TARGETS`, or "arm" for one Ethos-U of each series. If empty, tflm,
            ethos-u55-128, and xnnpack.
        name: The name of the argument, for error messages.

    Raises:
        InputError: If a name is unknown, or `names` is a string.

    Example:
        >>> parse_targets(["tflm", "arm", "tflm"])
        ('tflm', 'ethos-u55-128', 'ethos-u65-256', 'ethos-u85-256')
    """
    if isinstance(names, str):
        raise InputError(f"`{name}` must be a list of targets. Received: {name}={names!r:.80}")
    found: dict[str, None] = {}
    for text in names or _DEFAULT:
        check_choice(name, text, (*TARGETS, ARM))
        found |= dict.fromkeys(_ARM if text == ARM else (text,))
    return tuple(found)
