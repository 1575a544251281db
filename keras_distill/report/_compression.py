"""Makes the table of the compression of a run, step by step."""

from collections.abc import Sequence

from keras_distill.records import ExportRecord, KernelCount, KernelState, RunRecord
from keras_distill.report._cells import Cell, Table
from keras_distill.report._summary import compressed_of, precision_of

_TERMS = {
    "step": "",
    "epochs": "Epochs trained in this step.",
    "accuracy before, %": "Validation accuracy before the step.",
    "after, %": "Validation accuracy after the step.",
    "zeros": "Share of the weights of all kernels that are 0.",
    "values per kernel": "Largest number of distinct values in one kernel.",
    "bytes": "Size of the .tflite file.",
    "gzipped": "Size of the file after gzip -9.",
}


def table(record: RunRecord) -> Table | None:
    """Makes a row for the student, each step, and the file; None if nothing was compressed."""
    compressed = compressed_of(record)
    if compressed is None:
        return None
    chosen = next(s for s in record.variant("distilled").seeds if s.seed == record.chosen_seed)
    accuracy = _share(chosen.validation_accuracy)
    plain = record.exports.exports.get("float32")
    lines: list[tuple[Cell | str, ...]] = [
        ("distilled student", "", "", accuracy, "", "", *_sizes(plain))
    ]
    for step in compressed.steps:
        after = _share(step.logs["val_accuracy"][-1])
        title = step.step if step.scheme is None else f"{step.step} ({step.scheme})"
        # Quantizing does not change the kernels in Keras; the row of the file shows the result.
        weights = ("", "") if step.step == "quantize" else _weights(step.kernels)
        lines.append((title, str(step.epochs), accuracy, after, *weights, "", ""))
        accuracy = after
    verification = compressed.export.verification.outputs[0]
    before, after = (
        "" if v is None else _share(v)
        for v in (verification.accuracy_converted, verification.accuracy)
    )
    title = f"file {precision_of(compressed.export.file)}"
    weights = _in_file(compressed.kernels)
    lines.append((title, "", before, after, *weights, *_sizes(compressed.export)))
    terms = {name: text for name, text in _TERMS.items() if text}
    return Table("Compression, step by step", tuple(_TERMS), lines, terms, (len(lines) - 1,))


def note(record: RunRecord) -> str:
    """Explains the numbers of `table`; empty without compression."""
    compressed, training = compressed_of(record), record.recipe.compress_training
    if compressed is None or training is None:
        return ""
    plain = " The bytes of the student are those of its float32 file."
    return (
        f"Accuracy on {record.data.validation} validation examples, of the file on"
        f" {compressed.export.verification.samples} of them. Every step trains on the run's"
        f" stored soft targets, from a learning rate of {training.learning_rate:g}. Zeros and"
        " values are counted in the kernels of the model: the largest number of distinct values in"
        " one kernel. The last line is counted in the file: the largest number in one output"
        " channel."
        f"{plain if 'float32' in record.exports.exports else ''}"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _sizes(export: ExportRecord | None) -> tuple[str, str]:
    return ("", "") if export is None else (f"{export.bytes:,}", f"{export.gzip_bytes:,}")


def _weights(kernels: Sequence[KernelState]) -> tuple[str, str]:
    return _zeros(kernels), f"{max((kernel.values for kernel in kernels), default=0):,}"


def _in_file(kernels: Sequence[KernelCount]) -> tuple[str, str]:
    """Returns the same for a file: by channel, without depthwise kernels, which no step changes."""
    kept = [kernel for kernel in kernels if kernel.op != "DEPTHWISE_CONV_2D"]
    return _zeros(kept), f"{max((kernel.values_per_channel for kernel in kept), default=0):,}"


def _zeros(kernels: Sequence[KernelState] | Sequence[KernelCount]) -> str:
    size = sum(kernel.size for kernel in kernels)
    return f"{100 * sum(kernel.zeros for kernel in kernels) / max(1, size):.1f} %"
