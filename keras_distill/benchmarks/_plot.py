"""Plots size and latency against accuracy, one point per model."""

from typing import Any

from keras_distill._internal import InputError
from keras_distill.records import BenchmarkRecord, EntryRecord

_COLORS = ("#0b6e99", "#c2571a", "#4d7c0f", "#7c3aed", "#b91c1c", "#0f766e", "#a16207", "#475569")


def figure(record: BenchmarkRecord) -> Any:
    """Draws two panels: file size and median latency (log axes) against accuracy.

    The latency is that of the first number of threads.

    Args:
        record: The result of `benchmark`.

    Raises:
        InputError: If the record has no accuracies.
    """
    from matplotlib.figure import Figure

    entries = [entry for entry in record.entries if entry.quality is not None]
    if not entries:
        raise InputError("A plot against accuracy needs labeled rows. Benchmark with `data`.")
    page = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = page.subplots(1, 2, sharey=True)
    for entry in entries:
        if entry.size.bytes is not None:
            _point(left, entries, entry, entry.size.bytes / 1024)
    for entry in entries:
        _point(right, entries, entry, entry.latency[0].median_ms)
    left.set(xlabel="file size, KiB", ylabel=f"accuracy, % ({record.data})", xscale="log")
    right.set(xlabel=f"median latency at one row, ms ({record.machine})", xscale="log")
    for axes in (left, right):
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(True, which="major", color="#e5e7eb")
        axes.set_axisbelow(True)
        axes.margins(x=0.15, y=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = right.get_legend_handles_labels()
    page.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return page


def _point(axes: Any, entries: list[EntryRecord], entry: EntryRecord, x: float) -> None:
    assert entry.quality is not None
    place = entries.index(entry)
    axes.plot(
        x,
        100 * entry.quality.accuracy,
        marker="s" if entry.runtime == "keras" else "o",
        markersize=9,
        linestyle="none",
        color=_COLORS[place % len(_COLORS)],
        label=f"{entry.name} ({entry.runtime}, {entry.precision})",
    )
