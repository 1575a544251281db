"""Creates the table of the compression of a run, step by step."""

from collections.abc import Sequence

from keras_distill.records import (
    CompressRecord,
    ExportRecord,
    KernelCount,
    KernelState,
    RunRecord,
    StepRecord,
)
from keras_distill.report._cells import Cell, Table
from keras_distill.report._summary import precision_of

_TERMS = {
    "step": "",
    "epochs": "Epochs trained in this step.",
    "accuracy before, %": "Validation accuracy before the step.",
    "after, %": "Validation accuracy after the step.",
    "lost in all, points": "Validation accuracy lost since the distilled student.",
    "zeros": "Share of the weights of all kernels that are 0.",
    "values per kernel": "Largest number of distinct values in one kernel.",
    "bytes": "Size of the .tflite file.",
    "gzipped": "Size of the file after gzip -9.",
}


def table(record: RunRecord) -> Table | None:
    """Returns a row for the student, each step, and the file; None if nothing was compressed.

    For a failed compression, the table shows what its steps lost.
    """
    compressed = None if record.compress is None else record.compress.record
    if compressed is None:
        return None
    plain = record.exports.exports.get("float32")
    given = ("distilled student", "", "", _share(compressed.accuracy), "", "", "", *_sizes(plain))
    lines: list[tuple[Cell | str, ...]] = [given]
    for step in compressed.steps:
        shares = (_share(step.accuracy_before), _share(step.accuracy), _points(step.drop))
        # Quantization does not change the Keras kernels; the row of the file shows the result.
        weights = ("", "") if step.step == "quantize" else _weights(step.kernels)
        lines.append((_title(step), str(step.epochs), *shares, *weights, "", ""))
    if compressed.export is not None:
        lines.append(_of_file(compressed.export, compressed))
    terms = {name: text for name, text in _TERMS.items() if text}
    return Table("Compression, step by step", tuple(_TERMS), lines, terms, (len(lines) - 1,))


def _of_file(export: ExportRecord, compressed: CompressRecord) -> tuple[str, ...]:
    worst = export.verification.worst
    shares = (
        ("", "", "")
        if worst is None
        else (_share(worst.judged.converted), _share(worst.judged.file), _points(worst.drop))
    )
    title = f"file {precision_of(export.file)}"
    if compressed.failed is not None:
        return (f"{title}, not written", "", *shares, "", "", "", "")
    return (title, "", *shares, *_in_file(compressed.kernels), *_sizes(export))


def _title(step: StepRecord) -> str:
    title = step.step if step.scheme is None else f"{step.step} ({step.scheme})"
    return title if step.asked is None else f"{title}, instead of {step.asked}"


def note(record: RunRecord) -> str:
    """Explains the numbers of `table`; empty without compression."""
    compressed = None if record.compress is None else record.compress.record
    training = record.recipe.compress_training
    if compressed is None or training is None:
        return ""
    plain = " The bytes of the student are those of its float32 file."
    tried = sum(len(step.attempts) for step in compressed.steps)
    recovered = f" Steps that lost too much were tried again: {tried} attempts." if tried else ""
    return (
        f"Accuracy on {compressed.samples} validation examples; the loss is counted from the"
        f" distilled student. Every step trains on the run's stored soft targets, from a learning"
        f" rate of {training.learning_rate:g}.{recovered} Zeros and values are counted in the"
        " kernels of the model: the largest number of distinct values in one kernel. The last line"
        " is counted in the file: the largest number in one output channel."
        f"{plain if 'float32' in record.exports.exports else ''}"
    )


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _sizes(export: ExportRecord | None) -> tuple[str, str]:
    return ("", "") if export is None else (f"{export.bytes:,}", f"{export.gzip_bytes:,}")


def _weights(kernels: Sequence[KernelState]) -> tuple[str, str]:
    return _zeros(kernels), f"{max((kernel.values for kernel in kernels), default=0):,}"


def _in_file(kernels: Sequence[KernelCount]) -> tuple[str, str]:
    """Returns the same counts for a file: by channel, without depthwise kernels (never changed)."""
    kept = [kernel for kernel in kernels if kernel.op != "DEPTHWISE_CONV_2D"]
    return _zeros(kept), f"{max((kernel.values_per_channel for kernel in kept), default=0):,}"


def _zeros(kernels: Sequence[KernelState] | Sequence[KernelCount]) -> str:
    size = sum(kernel.size for kernel in kernels)
    return f"{100 * sum(kernel.zeros for kernel in kernels) / max(1, size):.1f} %"
