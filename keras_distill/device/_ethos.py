"""Compiles a `.tflite` file for an Arm Ethos-U NPU with Vela, and reads the result."""

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, require_extra
from keras_distill._internal._child import Child, ChildError
from keras_distill._internal._device_targets import ETHOS
from keras_distill._internal._machine import physical_memory
from keras_distill._internal._temporary import temporary_folder
from keras_distill.litert import Graph, read_graph
from keras_distill.records import EthosResult

_SERVICE = "keras_distill.device._services:VelaService"
_SECONDS = 1800.0
_NPU = "ethos-u"  # the custom operator for the part that Vela has compiled
_REASON, _REASONS = "Reason: ", 20


def compile_for_npu(path: Path, target: str, clock_mhz: float | None = None) -> EthosResult:
    """Compiles a file with Vela, in a child process, and reads its estimates.

    The operators that stay on the CPU are read from the compiled file. Cycles are Vela's estimate
    for the NPU part; nothing is run.

    Args:
        path: The file.
        target: A name of `ETHOS`.
        clock_mhz: The clock, in MHz, to compute milliseconds. If None, the clock of Vela's system
            configuration.

    Raises:
        InputError: If `path` is not a `.tflite` file.
        MissingExtraError: If ethos-u-vela is not installed.
    """
    require_extra("ethosu", "micro")
    graph, config = read_graph(path), ETHOS[target]
    facts: dict[str, Any] = {
        "target": target,
        "operators": sum(graph.ops.values()),
        "system_config": config.system_config,
        "memory_mode": config.memory_mode,
    }
    with temporary_folder() as folder:
        network = Path(folder, "network.tflite")  # Vela names its output after this file
        network.write_bytes(graph.content)
        log = Path(folder, "log")
        arguments = [str(network), "--accelerator-config", target, "--output-dir", folder]
        arguments += ["--config", "Arm/vela.ini", "--system-config", config.system_config]
        arguments += ["--memory-mode", config.memory_mode]
        try:
            with Child(_SERVICE, log=log, memory=physical_memory()) as child:
                child.ask("compile", arguments=arguments, timeout=_SECONDS)
            compiled = read_graph(Path(folder, "network_vela.tflite"))
            numbers = _summary(Path(folder))
        except (ChildError, InputError) as error:
            reason = f"Vela {error.reason}" if isinstance(error, ChildError) else "no result"
            return EthosResult(runs=False, reason=f"{reason:.200}", **facts)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return _result(graph, compiled, numbers, lines, clock_mhz, facts)


def _result(
    graph: Graph,
    compiled: Graph,
    numbers: Mapping[str, float],
    lines: Iterable[str],
    clock_mhz: float | None,
    facts: Mapping[str, Any],
) -> EthosResult:
    on_cpu = {name: count for name, count in compiled.ops.items() if name != _NPU}
    found = EthosResult(
        runs=True,
        on_cpu=on_cpu,
        multiply_adds=graph.multiply_adds,
        multiply_adds_on_cpu=compiled.multiply_adds,
        reasons=_reasons(lines),
        **facts,
    )
    cycles = round(numbers["cycles_total"])
    if _NPU not in compiled.ops or not cycles:
        return found
    clock = numbers["core_clock"] if clock_mhz is None else 1e6 * clock_mhz
    flash = ("on_chip_flash_memory_used", "off_chip_flash_memory_used")
    return found.model_copy(
        update={
            "sram_bytes": _bytes(numbers["sram_memory_used"]),
            "dram_bytes": _bytes(numbers["dram_memory_used"]),
            "flash_bytes": sum(_bytes(numbers[name]) for name in flash),
            "cycles": cycles,
            "clock_hz": clock,
            "milliseconds": 1000 * cycles / clock,
        }
    )


def _bytes(kibibytes: float) -> int:
    return round(1024 * kibibytes)


def _summary(folder: Path) -> dict[str, float]:
    """Reads the numbers in the summary that Vela has written.

    Raises:
        InputError: If there is no summary.
    """
    tables = list(folder.glob("*_summary_*.csv"))
    if not tables:
        raise InputError("Vela has written no summary.")
    with tables[0].open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    numbers: dict[str, float] = {}
    for name, text in row.items():
        with contextlib.suppress(ValueError):
            numbers[name] = float(text)
    return numbers


def _reasons(lines: Iterable[str]) -> dict[str, int]:
    """Counts the reasons that Vela prints, without tensor names, so that equal reasons match."""
    found: Counter[str] = Counter()
    for line in lines:
        if line.startswith(_REASON):
            found[re.sub(r" \(.*", "", line.removeprefix(_REASON)).strip()[:200]] += 1
    return dict(found.most_common(_REASONS))
