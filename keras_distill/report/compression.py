"""The compression of a run, step by step, as a table."""

from collections.abc import Sequence

from keras_distill.records.compress import KernelCount, KernelState
from keras_distill.records.export import ExportRecord
from keras_distill.records.run import RunRecord
from keras_distill.report.summary import compressed_of, precision_of

HEADER = (
    "step",
    "epochs",
    "accuracy before, %",
    "after, %",
    "zeros",
    "values per kernel",
    "bytes",
    "gzipped",
)


def table(record: RunRecord) -> list[tuple[str, ...]]:
    """A line for the student, for each step, for the file, with the columns of `HEADER`.

    Empty where nothing was compressed.
    """
    compressed = compressed_of(record)
    if compressed is None:
        return []
    chosen = next(s for s in record.arm("distilled").seeds if s.seed == record.chosen_seed)
    accuracy = _share(chosen.validation_accuracy)
    plain = record.exports.exports.get("float32")
    lines = [("distilled student", "", "", accuracy, "", "", *_sizes(plain))]
    for step in compressed.steps:
        after = _share(step.logs["val_accuracy"][-1])
        title = step.step if step.scheme is None else f"{step.step} ({step.scheme})"
        weights = _weights(step.kernels)
        lines.append((title, str(step.epochs), accuracy, after, *weights, "", ""))
        accuracy = after
    found = compressed.export.gate.outputs[0].accuracy
    after = "" if found is None else _share(found)
    weights = _weights(compressed.kernels)
    title = f"file {precision_of(compressed.export.file)}"
    lines.append((title, "", accuracy, after, *weights, *_sizes(compressed.export)))
    return lines


def note(record: RunRecord) -> str:
    """What the numbers of `table` are; empty without any."""
    compressed = compressed_of(record)
    if compressed is None or record.recipe.compress is None:
        return ""
    plain = " Bytes of the student are those of its float32 file."
    return (
        f"Accuracy on {record.data.validation} validation examples, of the file on"
        f" {compressed.export.gate.samples} of them. Every step trains on the run's stored soft"
        f" targets, from a learning rate of {record.recipe.compress.learning_rate:g}. Zeros and"
        " values are counted in the kernels of the model, in the last line in the file itself;"
        " values: the most that one kernel has."
        f"{plain if 'float32' in record.exports.exports else ''}"
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f}"


def _sizes(export: ExportRecord | None) -> tuple[str, str]:
    return ("", "") if export is None else (f"{export.bytes:,}", f"{export.gzip_bytes:,}")


def _weights(kernels: Sequence[KernelState] | Sequence[KernelCount]) -> tuple[str, str]:
    size = sum(kernel.size for kernel in kernels)
    zeros = sum(kernel.zeros for kernel in kernels)
    return (
        f"{100 * zeros / max(1, size):.1f} %",
        f"{max((kernel.values for kernel in kernels), default=0):,}",
    )
