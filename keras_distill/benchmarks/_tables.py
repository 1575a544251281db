"""Formats benchmark and cost records as tables, for the terminal and for Markdown."""

from collections.abc import Sequence

import numpy as np

from keras_distill.records import (
    BenchmarkRecord,
    CostRecord,
    LatencyRecord,
    WorstClass,
    device_notes,
    shown_score,
)

# (title, columns, rows).
Section = tuple[str, Sequence[str], list[tuple[str, ...]]]

TEXT_COLUMNS = frozenset({"#", "model", "runtime", "precision", "metric", "target", "result"})
MODEL_COLUMNS = ("#", "model", "runtime", "precision")
SIZE_COLUMNS = (
    "#",
    "parameters",
    "multiply-adds",
    "bytes",
    "gzip",
    "memory",
)
QUALITY_COLUMNS = (
    "#",
    "metric",
    "value",
    "worst class",
    "lost, points",
    "top-5",
    "agreement",
    "ECE",
    "NLL",
)
DEVICE_COLUMNS = ("#", "target", "result")
LATENCY_COLUMNS = (
    "#",
    "threads",
    "cold ms",
    "median ms",
    "p90 ms",
    "p99 ms",
    "ratio",
    "95 %",
    "rows/s",
    "rows/s batched",
)


def model_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """Returns a row of `MODEL_COLUMNS` per entry. The other tables refer to its number."""
    return [
        (str(number), entry.name, entry.runtime, entry.precision)
        for number, entry in enumerate(record.entries, 1)
    ]


def size_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """Returns a row of `SIZE_COLUMNS` per entry."""
    return [
        (
            str(number),
            _whole(entry.size.parameters),
            _whole(entry.size.multiply_adds),
            _whole(entry.size.bytes),
            _whole(entry.size.gzip_bytes),
            _whole(entry.size.peak_memory_bytes),
        )
        for number, entry in enumerate(record.entries, 1)
    ]


def quality_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """Returns a row of `QUALITY_COLUMNS` per entry with labeled data."""
    return [
        (
            str(number),
            entry.quality.metric,
            shown_score(entry.quality.metric, entry.quality.score),
            *_worst(entry.quality.worst_class),
            _share(entry.quality.top5),
            _share(entry.quality.agreement),
            _number(entry.quality.expected_calibration_error),
            _number(entry.quality.negative_log_likelihood),
        )
        for number, entry in enumerate(record.entries, 1)
        if entry.quality is not None
    ]


def latency_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """Returns a row of `LATENCY_COLUMNS` per entry and number of threads."""
    return [
        _latency(number, latency)
        for number, entry in enumerate(record.entries, 1)
        for latency in entry.latency
    ]


def device_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """Returns a row of `DEVICE_COLUMNS` per entry and target."""
    return [
        (str(number), result.target, result.statement)
        for number, entry in enumerate(record.entries, 1)
        for result in entry.devices
    ]


def _latency(number: int, latency: LatencyRecord) -> tuple[str, ...]:
    ratio = latency.ratio
    return (
        str(number),
        str(latency.threads),
        _milliseconds(latency.cold_start_ms),
        _milliseconds(latency.median_ms),
        _milliseconds(latency.p90_ms),
        _milliseconds(latency.p99_ms),
        "1" if ratio is None else f"{ratio.value:.3g}",
        "" if ratio is None else f"{ratio.low:.3g}..{ratio.high:.3g}",
        _whole(round(latency.throughput)),
        _whole(None if latency.batched_throughput is None else round(latency.batched_throughput)),
    )


def _worst(found: WorstClass | None) -> tuple[str, str]:
    return ("–", "–") if found is None else (str(found.label), f"{found.drop:.2f}")


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def benchmark_notes(record: BenchmarkRecord) -> list[str]:
    """Returns sentences that explain the numbers.

    Args:
        record: The result of `benchmark`.
    """
    first = record.entries[0]
    lines = [f"Measured on {record.machine}; the models took turns call by call."]
    if first.quality is not None:
        lines.append(f"Quality on {first.quality.samples:,} rows: {record.data}.")
        lines.append(f"Agreement is with {first.name}.")
    lines.append(
        "Ratios: median latency at one row relative to the first model of the same runtime, with a"
        " 95 % bootstrap interval."
    )
    lines.append("Memory: peak memory that opening the file and one call add to a new process.")
    if any(b.batched_throughput is None for e in record.entries for b in e.latency):
        lines.append("A dash under batched: the file has a fixed batch size.")
    rows = "up to 200 random rows" if record.data is None else "up to 200 of the rows"
    lines += device_notes([r for entry in record.entries for r in entry.devices], rows)
    lines += [f"{entry.name}: {note}" for entry in record.entries for note in entry.notes]
    return lines


def benchmark_sections(record: BenchmarkRecord) -> list[Section]:
    """Returns title, columns, and rows of each table that has rows.

    Args:
        record: The result of `benchmark`.
    """
    tables = [
        ("Models", MODEL_COLUMNS, model_rows(record)),
        ("Size", SIZE_COLUMNS, size_rows(record)),
        ("Quality", QUALITY_COLUMNS, quality_rows(record)),
        ("Latency", LATENCY_COLUMNS, latency_rows(record)),
        ("Devices", DEVICE_COLUMNS, device_rows(record)),
    ]
    return [table for table in tables if table[2]]


def benchmark_markdown(record: BenchmarkRecord) -> str:
    """Formats the whole benchmark as Markdown.

    Args:
        record: The result of `benchmark`.
    """
    parts = []
    for title, columns, rows in benchmark_sections(record):
        rule = "|".join("---" if column in TEXT_COLUMNS else "---:" for column in columns)
        lines = [f"**{title}**", "", f"| {' | '.join(columns)} |", f"|{rule}|"]
        lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
        parts.append("\n".join(lines))
    parts.append("\n".join(f"- {line}" for line in benchmark_notes(record)))
    return "\n\n".join(parts) + "\n"


def cost_sections(record: CostRecord) -> list[Section]:
    """Returns title, columns, and rows of each table.

    Args:
        record: The result of `cost`.
    """
    title = f"One step of {record.student}, teacher {record.teacher}"
    steps = [
        (
            one.setting,
            one.variant,
            f"{np.median(one.ms):.1f}",
            "{:.1f} .. {:.1f}".format(*np.percentile(one.ms, [10, 90])),
            str(len(one.ms)),
        )
        for one in record.steps
    ]
    fits = [
        (fit.setting, fit.variant, f"{fit.build:.1f}", f"{sum(fit.epochs):.1f}")
        for fit in record.fits
    ]
    ratios = [(r.name, f"{r.value:.3f}", _interval(r.low, r.high), str(r.n)) for r in record.ratios]
    epochs = len(record.fits[0].epochs) if record.fits else 0
    found: list[Section] = [
        (
            f"{title}, batch size {record.batch_size}",
            ("oneDNN", "variant", "median ms", "10 % .. 90 %", "steps"),
            steps,
        ),
        (
            f"Fit of {epochs} epochs of {record.examples} examples",
            ("oneDNN", "variant", "build s", "epochs s"),
            fits,
        ),
        ("Ratios", ("ratio of", "value", "95 % interval", "pairs"), ratios),
    ]
    return [section for section in found if section[2]]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} .. {high:.3f}"
