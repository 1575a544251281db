"""Shows the devices on which files were checked: microcontrollers, NPUs, and a CPU delegate."""

from collections.abc import Sequence

from keras_distill.records import (
    DeviceResult,
    EntryRecord,
    EthosResult,
    TFLMResult,
    XNNPACKResult,
    device_notes,
)
from keras_distill.report._cells import EMPTY, Cell, Table

_COLUMNS = {
    "file": "",
    "target": "tflm: TensorFlow Lite for Microcontrollers. ethos-u: an Arm NPU. xnnpack: LiteRT's"
    " delegate on a CPU.",
    "operators": "How many operators of the file the target takes.",
    "not taken": "Operators that the target does not support, or that stay on the CPU.",
    "RAM, KiB": "tflm: the arena that was needed. ethos-u: SRAM for activations.",
    "flash, KiB": "Constants that an NPU reads from flash.",
    "time, ms": "One inference on the NPU, as Vela estimates it.",
    "equal rows, %": "Rows on which the output is that of LiteRT, byte by byte.",
    "off by": "Largest difference on the other rows. One LSB is one step of the output.",
}


def devices(entries: Sequence[EntryRecord]) -> Table | None:
    """Creates the table of every file on every target; None if no file was checked."""
    rows = [(entry.name, *_cells(result)) for entry in entries for result in entry.devices]
    if not rows:
        return None
    titles = list(_COLUMNS)
    kept = [n for n in range(len(titles)) if any(row[n] != EMPTY for row in rows)]
    terms = {titles[n]: _COLUMNS[titles[n]] for n in kept if _COLUMNS[titles[n]]}
    return Table(
        "Where the files run",
        tuple(titles[n] for n in kept),
        [tuple(row[n] for n in kept) for row in rows],
        terms,
    )


def _cells(result: DeviceResult) -> tuple[Cell | str, ...]:
    """Returns the cells that follow the file name."""
    if not result.runs:
        bad = Cell(result.refused, hint=result.refusal(), badge="bad")
        return (result.target, EMPTY, bad, *[EMPTY] * 5)
    if isinstance(result, TFLMResult):
        needed = None if result.arena is None else result.arena.needed or result.arena.total
        worst = min(result.outputs, key=lambda one: one.litert.equal, default=None)
        equal, off = EMPTY, EMPTY
        if worst is not None:
            equal = Cell(f"{100 * worst.litert.equal:.1f}", worst.litert.equal)
            far = worst.litert.largest
            unit = " LSB" if worst.unit == "steps" else ""
            off = Cell("not finite" if far is None else f"{far:.2g}{unit}", far)
        taken = _taken(result.operators, result.operators)
        return (result.target, taken, EMPTY, _kibibytes(needed), EMPTY, EMPTY, equal, off)
    if isinstance(result, XNNPACKResult):
        taken = _taken(result.taken, result.operators)
        return (result.target, taken, _named(result.left), *[EMPTY] * 5)
    return (result.target, *_npu(result), EMPTY, EMPTY)


def _npu(result: EthosResult) -> tuple[Cell | str, ...]:
    time = EMPTY
    if result.milliseconds is not None:
        time = Cell(f"{result.milliseconds:.3g}", result.milliseconds, result.clock_words)
    return (
        _taken(result.on_npu, result.operators),
        _named(result.on_cpu),
        _kibibytes(result.sram_bytes),
        _kibibytes(result.flash_bytes or None),
        time,
    )


def _taken(count: int, every: int) -> Cell:
    return Cell(f"{count} of {every}", count / every if every else 0.0)


def _named(ops: dict[str, int]) -> Cell | str:
    return ", ".join(name if n == 1 else f"{n} {name}" for name, n in ops.items()) or EMPTY


def _kibibytes(count: int | None) -> Cell:
    return EMPTY if count is None else Cell(f"{count / 1024:,.1f}", count, f"{count:,} bytes")


def notes(entries: Sequence[EntryRecord], rows: str) -> list[str]:
    """Explains the numbers of the table, and what was not checked."""
    return device_notes([result for entry in entries for result in entry.devices], rows)


def arena(entry: EntryRecord) -> int | None:
    """Returns the arena size, in bytes, of a file on a microcontroller; None if not measured."""
    found = (r.arena for r in entry.devices if isinstance(r, TFLMResult) and r.arena)
    return next((one.needed or one.total for one in found), None)
