"""The results of checking a `.tflite` file for runtimes and chips."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._export import RANDOM, TensorRecord

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class DifferenceRecord(Record):
    """The outputs of two runtimes on the same rows.

    Attributes:
        equal: Share of rows on which the output is byte-identical.
        largest: Largest difference: in steps of a quantized output, else in its own unit; None if
            one of them is not finite.
    """

    equal: _Share
    largest: Measured


class DeviceOutput(Record):
    """One output on the device, compared with LiteRT's.

    Attributes:
        name: Its name.
        unit: What `largest` counts: "steps" of a quantized output, or "value".
        litert: The difference to LiteRT as it runs by default.
        reference: The difference to LiteRT's reference kernels, without a delegate.
        agreement: Share of rows whose largest entry is that of LiteRT; None for a single entry.
    """

    name: str
    unit: Literal["steps", "value"]
    litert: DifferenceRecord
    reference: DifferenceRecord
    agreement: Measured = None


class ArenaRecord(Record):
    """The memory that TensorFlow Lite for Microcontrollers took, in bytes.

    Attributes:
        total: Head and tail.
        head: Activations and scratch buffers, which share memory over time.
        tail: What stays: structures of the runtime.
        needed: The smallest arena in which the file was loaded and run, in steps of 256 bytes; more
            than the total where preparing takes more than running. None: not found.
    """

    total: _Count
    head: _Count
    tail: _Count
    needed: int | None


class _Result(Record):
    """The fields that all targets have in common.

    Attributes:
        target: Its name, as given.
        runs: Whether the target takes the file.
        operator: The first operator that it does not take; None if there is none, or it is unknown.
        reason: Why it does not take the file; None if it does.
        operators: Number of operators of the file.
    """

    target: str
    runs: bool
    operator: str | None = None
    reason: str | None = None
    operators: _Count

    def refusal(self) -> str:
        """Says why the target does not take the file."""
        what = f"{self.operator} is not supported" if self.operator else "does not take the file"
        return what if self.reason is None else f"{what} ({self.reason})"

    @property
    def refused(self) -> str:
        """The operator that is not supported, or the reason."""
        return f"{self.operator} is not supported" if self.operator else str(self.reason)

    @property
    def statement(self) -> str:
        """Everything in one line, without its full stop."""
        return "; ".join(self.facts()) if self.runs else self.refusal()

    def facts(self) -> list[str]:
        """Returns what was found, each in some words, of a target that takes the file."""
        raise NotImplementedError


class TFLMResult(_Result):
    """TensorFlow Lite for Microcontrollers, on this machine.

    Attributes:
        kind: Always "tflm".
        arena: The memory; None if the file does not run.
        outputs: The outputs, compared with LiteRT's; empty if the file does not run.
    """

    kind: Literal["tflm"] = "tflm"
    arena: ArenaRecord | None = None
    outputs: tuple[DeviceOutput, ...] = ()

    def facts(self) -> list[str]:
        """Returns operators, arena, and outputs in words."""
        every = "all its operators" if self.operators > 1 else "its operator"
        found = [f"runs {every} ({self.operators})" if self.operators > 1 else f"runs {every}"]
        if self.arena is not None:
            found.append(f"{kibibytes(self.arena.needed or self.arena.total)} arena")
        return found + [_output_words(output) for output in self.outputs]


class EthosResult(_Result):
    """An Arm Ethos-U NPU, as the compiler Vela estimates it. Nothing runs on a chip.

    Attributes:
        kind: Always "ethos-u".
        system_config: Vela's system configuration: clock and memories.
        memory_mode: Vela's memory mode: where constants and activations are.
        on_cpu: Operators of the file that stay on the CPU, with their counts.
        multiply_adds: Of the file; None if unknown.
        multiply_adds_on_cpu: Of the operators that stay on the CPU; None if unknown.
        sram_bytes: Memory for activations; None if nothing runs on the NPU.
        dram_bytes: Likewise, in DRAM.
        flash_bytes: Constants in flash.
        cycles: Estimated cycles of one inference, of the NPU's part alone.
        clock_hz: The clock for `milliseconds`.
        milliseconds: `cycles` at that clock.
        reasons: Why operators stay on the CPU, in Vela's words, with the number of operators.
    """

    kind: Literal["ethos-u"] = "ethos-u"
    system_config: str
    memory_mode: str
    on_cpu: dict[str, _Count] = Field(default={}, max_length=1000)
    multiply_adds: int | None = None
    multiply_adds_on_cpu: int | None = None
    sram_bytes: int | None = None
    dram_bytes: int | None = None
    flash_bytes: int | None = None
    cycles: int | None = None
    clock_hz: float | None = None
    milliseconds: Measured = None
    reasons: dict[str, _Count] = Field(default={}, max_length=1000)

    @property
    def on_npu(self) -> int:
        """Number of the file's operators that run on the NPU."""
        return max(0, self.operators - sum(self.on_cpu.values())) if self.runs else 0

    def facts(self) -> list[str]:
        """Returns operators, memory, and time in words."""
        found = [f"{self.on_npu} of {self.operators} operators on the NPU"]
        if self.on_cpu:
            found.append(f"on the CPU: {counted(self.on_cpu)}")
        if self.sram_bytes is not None:
            found.append(f"{kibibytes(self.sram_bytes)} SRAM")
        if self.dram_bytes:
            found.append(f"{kibibytes(self.dram_bytes)} DRAM")
        if self.flash_bytes:
            found.append(f"{kibibytes(self.flash_bytes)} flash")
        if self.milliseconds is not None:
            found += [f"{self.milliseconds:.3g} ms {self.clock_words}", "outputs not checked"]
        return found

    @property
    def clock_words(self) -> str:
        """The cycles and the clock, in words."""
        return f"({self.cycles or 0:,} cycles at {(self.clock_hz or 0) / 1e6:g} MHz)"


class TakenRecord(Record):
    """How many operators of one precision there are, and how many the delegate takes."""

    operators: _Count
    taken: _Count


class XNNPACKResult(_Result):
    """XNNPACK, the default delegate of LiteRT on a CPU, on this machine.

    Attributes:
        kind: Always "xnnpack".
        taken: Number of operators of the main graph that it takes.
        left: Operators that it leaves to LiteRT's own kernels, with their counts.
        by_precision: The same by the precision that an operator computes in.
    """

    kind: Literal["xnnpack"] = "xnnpack"
    taken: _Count = 0
    left: dict[str, _Count] = Field(default={}, max_length=1000)
    by_precision: dict[str, TakenRecord] = Field(default={}, max_length=100)

    def facts(self) -> list[str]:
        """Returns the operators taken and left, in words."""
        parts = [f"{p.taken} of {p.operators} {name}" for name, p in self.by_precision.items()]
        found = [f"takes {', '.join(parts) or 'none'}"]
        return [*found, f"leaves {counted(self.left)}"] if self.left else found


DeviceResult = Annotated[TFLMResult | EthosResult | XNNPACKResult, Field(discriminator="kind")]


class DeviceRecord(Record):
    """The result of trying a `.tflite` file for one or more targets.

    Attributes:
        file: Its path as given.
        bytes: Its size.
        sha256: Its hash.
        precision: The precision of most weights.
        ops: Operators and their counts.
        inputs: Inputs of the file.
        outputs: Outputs of the file.
        class_names: Names of the classes, if known.
        samples: Number of rows that the outputs were compared on; 0 if none were.
        source: Origin of the rows: a data spec, "data given", or "random".
        results: One for each target.
        snippets: Code that loads this file, by language.
        machine: Processor and cores.
        versions: Versions of the packages involved.
        created: Time in UTC, ISO 8601.
    """

    file: str
    bytes: int
    sha256: str
    precision: str
    ops: dict[str, int] = Field(max_length=1000)
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]
    class_names: tuple[str, ...] = ()
    samples: _Count
    source: str
    results: tuple[DeviceResult, ...] = Field(max_length=100)
    snippets: dict[str, str] = Field(default={}, max_length=20)
    machine: str
    versions: dict[str, str]
    created: str

    @property
    def failures(self) -> list[str]:
        """Says of each target that does not take the file, why."""
        return [f"{r.target}: {r.refusal()}" for r in self.results if not r.runs]

    def notes(self) -> list[str]:
        """Returns sentences that say what the numbers are, and what was not checked."""
        rows = "random rows" if self.source == RANDOM else self.source
        return device_notes(self.results, f"{self.samples} rows ({rows})")

    def result(self, target: str) -> TFLMResult | EthosResult | XNNPACKResult:
        """Returns the result of a target.

        Raises:
            KeyError: If it was not tried.
        """
        for result in self.results:
            if result.target == target:
                return result
        raise KeyError(target)

    def summary_rows(self) -> list[tuple[str, str]]:
        """Returns a row for each target."""
        return [(result.target, result.statement) for result in self.results]


def device_notes(results: Iterable[_Result], rows: str) -> list[str]:
    """Returns sentences that say what the numbers of results are, and what was not checked.

    Args:
        results: The results.
        rows: The rows on which outputs were compared, in words.
    """
    kinds = {type(result) for result in results}
    lines: list[str] = []
    if TFLMResult in kinds:
        lines.append(
            f"tflm: run on this machine; outputs compared with LiteRT's on {rows}. Not run on a"
            " chip: tuned kernels may need more memory."
        )
    if EthosResult in kinds:
        lines.append(
            "ethos-u: Vela's estimate of the NPU's part; nothing was run, and operators on the CPU"
            " are not in the time."
        )
    if XNNPACKResult in kinds:
        lines.append("xnnpack: of the main graph, on this machine; a processor may differ.")
    return lines


def kibibytes(count: int) -> str:
    """Formats bytes as KiB.

    Example:
        >>> kibibytes(55760), kibibytes(1008)
        ('54.5 KiB', '1.0 KiB')
    """
    return f"{count / 1024:,.1f} KiB"


def counted(ops: dict[str, int]) -> str:
    """Lists operators with their counts.

    Example:
        >>> counted({"GELU": 1, "BATCH_MATMUL": 2})
        'GELU, 2 BATCH_MATMUL'
    """
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in ops.items())


def _output_words(output: DeviceOutput) -> str:
    found = output.litert
    if found.largest is None:
        return "outputs not finite"
    text = f"outputs identical on {found.equal:.1%} of the rows"
    if found.largest == 0:
        return text
    if output.unit == "steps":
        return f"{text}, on the others off by at most {found.largest:.0f} LSB"
    return f"{text}, on the others off by at most {found.largest:.1e}"
