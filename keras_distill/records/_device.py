"""The results of checking a `.tflite` file for runtimes and devices."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._export import RANDOM, TensorRecord

_Count = Annotated[int, Field(ge=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class DifferenceRecord(Record):
    """The difference between the outputs of two runtimes on the same rows.

    Attributes:
        equal: Fraction of rows on which the output is byte-identical.
        largest: Largest difference, in quantization steps for a quantized output and otherwise in
            the unit of the output; None if an output is not finite.
    """

    equal: _Share
    largest: Measured


class DeviceOutput(Record):
    """One output on the device, compared with the output of LiteRT.

    Attributes:
        name: The name of the output.
        unit: The unit of `largest`: "steps" of a quantized output, or "value".
        litert: The difference from LiteRT with default settings.
        reference: The difference from LiteRT's reference kernels, without a delegate.
        agreement: Fraction of rows with the same largest entry as LiteRT; None for outputs with a
            single entry.
    """

    name: str
    unit: Literal["steps", "value"]
    litert: DifferenceRecord
    reference: DifferenceRecord
    agreement: Measured = None


class ArenaRecord(Record):
    """The memory that TensorFlow Lite for Microcontrollers uses, in bytes.

    Attributes:
        total: Sum of head and tail.
        head: Activations and scratch buffers, which share memory over time.
        tail: Persistent structures of the runtime.
        needed: The smallest arena in which the file was loaded and run, in steps of 256 bytes. It
            exceeds the total if preparation needs more memory than inference. None if it was not
            found.
    """

    total: _Count
    head: _Count
    tail: _Count
    needed: int | None


class _Result(Record):
    """The fields that the results of all targets have in common.

    Attributes:
        target: The name of the target, as given.
        runs: Whether the target supports the file.
        operator: The first operator that is not supported; None if there is none, or it is unknown.
        reason: The reason why the file is not supported; None if it is supported.
        operators: Number of operators of the file.
    """

    target: str
    runs: bool
    operator: str | None = None
    reason: str | None = None
    operators: _Count

    def refusal(self) -> str:
        """Returns the reason why the target does not support the file."""
        what = f"{self.operator} is not supported" if self.operator else "does not take the file"
        return what if self.reason is None else f"{what} ({self.reason})"

    @property
    def refused(self) -> str:
        """The operator that is not supported, or the reason."""
        return f"{self.operator} is not supported" if self.operator else str(self.reason)

    @property
    def statement(self) -> str:
        """The whole result in one line, without a period."""
        return "; ".join(self.facts()) if self.runs else self.refusal()

    def facts(self) -> list[str]:
        """Returns the findings as short phrases, for a target that supports the file."""
        raise NotImplementedError


class TFLMResult(_Result):
    """The result of running the file in TensorFlow Lite for Microcontrollers on this machine.

    Attributes:
        kind: Always "tflm".
        arena: The memory; None if the file does not run.
        outputs: The outputs, compared with those of LiteRT; empty if the file does not run.
    """

    kind: Literal["tflm"] = "tflm"
    arena: ArenaRecord | None = None
    outputs: tuple[DeviceOutput, ...] = ()

    def facts(self) -> list[str]:
        """Describes operators, arena, and outputs."""
        every = "all its operators" if self.operators > 1 else "its operator"
        found = [f"runs {every} ({self.operators})" if self.operators > 1 else f"runs {every}"]
        if self.arena is not None:
            found.append(f"{kibibytes(self.arena.needed or self.arena.total)} arena")
        return found + [_output_words(output) for output in self.outputs]


class EthosResult(_Result):
    """The estimate of the compiler Vela for an Arm Ethos-U NPU. Nothing runs on a device.

    Attributes:
        kind: Always "ethos-u".
        system_config: Vela's system configuration: clock and memories.
        memory_mode: Vela's memory mode: the memories for constants and activations.
        on_cpu: Operators of the file that stay on the CPU, with their counts.
        multiply_adds: Multiply-add pairs of the file; None if unknown.
        multiply_adds_on_cpu: Multiply-add pairs of the operators on the CPU; None if unknown.
        sram_bytes: SRAM for activations; None if nothing runs on the NPU.
        dram_bytes: DRAM for activations; None if nothing runs on the NPU.
        flash_bytes: Flash for constants.
        cycles: Estimated cycles of one inference, only for the part on the NPU.
        clock_hz: The clock frequency used for `milliseconds`.
        milliseconds: Time of `cycles` at that frequency.
        reasons: Vela's reasons for keeping operators on the CPU, with the number of operators.
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
        """Describes operators, memory, and time."""
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
        """The cycles and the clock frequency, as text."""
        return f"({self.cycles or 0:,} cycles at {(self.clock_hz or 0) / 1e6:g} MHz)"


class TakenRecord(Record):
    """The number of operators of one precision, and how many of them the delegate runs."""

    operators: _Count
    taken: _Count


class XNNPACKResult(_Result):
    """The result for XNNPACK, the default delegate of LiteRT on a CPU, on this machine.

    Attributes:
        kind: Always "xnnpack".
        taken: Number of operators of the main graph that XNNPACK runs.
        left: Operators left to LiteRT's own kernels, with their counts.
        by_precision: The numbers by the precision in which an operator computes.
    """

    kind: Literal["xnnpack"] = "xnnpack"
    taken: _Count = 0
    left: dict[str, _Count] = Field(default={}, max_length=1000)
    by_precision: dict[str, TakenRecord] = Field(default={}, max_length=100)

    def facts(self) -> list[str]:
        """Describes the operators that XNNPACK runs, and those left to LiteRT."""
        parts = [f"{p.taken} of {p.operators} {name}" for name, p in self.by_precision.items()]
        found = [f"takes {', '.join(parts) or 'none'}"]
        return [*found, f"leaves {counted(self.left)}"] if self.left else found


DeviceResult = Annotated[TFLMResult | EthosResult | XNNPACKResult, Field(discriminator="kind")]


class DeviceRecord(Record):
    """The result of checking a `.tflite` file for one or more targets.

    Attributes:
        file: The path of the file, as given.
        bytes: Size of the file.
        sha256: Hash of the file.
        precision: The precision of most weights.
        ops: Operators and their counts.
        inputs: Inputs of the file.
        outputs: Outputs of the file.
        class_names: Names of the classes, if known.
        samples: Number of rows on which the outputs were compared; 0 if none were.
        source: Origin of the rows: a data spec, "data given", or "random".
        results: One result for each target.
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
        """The reason of each target that does not support the file."""
        return [f"{r.target}: {r.refusal()}" for r in self.results if not r.runs]

    def notes(self) -> list[str]:
        """Returns sentences on what the numbers mean and what was not checked."""
        rows = "random rows" if self.source == RANDOM else self.source
        return device_notes(self.results, f"{self.samples} rows ({rows})")

    def result(self, target: str) -> TFLMResult | EthosResult | XNNPACKResult:
        """Returns the result of a target.

        Raises:
            KeyError: If the target was not checked.
        """
        for result in self.results:
            if result.target == target:
                return result
        raise KeyError(target)

    def summary_rows(self) -> list[tuple[str, str]]:
        """Returns a row for each target."""
        return [(result.target, result.statement) for result in self.results]


def device_notes(results: Iterable[_Result], rows: str) -> list[str]:
    """Returns sentences on what the numbers of results mean and what was not checked.

    Args:
        results: The results.
        rows: Description of the rows on which outputs were compared.
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
