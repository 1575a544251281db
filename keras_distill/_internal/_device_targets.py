"""The devices that a file can be tried for: names, and what they stand for."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_distill._internal import InputError, check_choice

TFLM, XNNPACK, ARM = "tflm", "xnnpack", "arm"


class EthosConfig(NamedTuple):
    """What Vela is told besides the NPU: names in its own configuration file, `Arm/vela.ini`."""

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
    """Returns the targets that names stand for, each once and in the order given.

    Args:
        names: Names of `TARGETS`, or "arm" for one Ethos-U of each series; none: tflm,
            ethos-u55-128, and xnnpack.
        name: The name of the argument, for errors.

    Raises:
        InputError: If a name is unknown.

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
