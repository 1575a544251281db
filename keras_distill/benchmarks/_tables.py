"""A benchmark as rows of text: for the terminal and for Markdown."""

from keras_distill.records._benchmark import BenchmarkRecord, LatencyRecord

TEXT_COLUMNS = frozenset({"#", "model", "runtime", "precision"})
MODEL_COLUMNS = ("#", "model", "runtime", "precision")
SIZE_COLUMNS = (
    "#",
    "weights",
    "multiply-adds",
    "bytes",
    "gzip",
    "memory",
)
QUALITY_COLUMNS = ("#", "accuracy", "top-5", "agreement", "ECE", "NLL")
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
    """One row of `MODEL_COLUMNS` for each entry; the other tables go by its number."""
    return [
        (str(number), entry.name, entry.runtime, entry.precision)
        for number, entry in enumerate(record.entries, 1)
    ]


def size_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """One row of `SIZE_COLUMNS` for each entry."""
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
    """One row of `QUALITY_COLUMNS` for each entry with labeled data."""
    return [
        (
            str(number),
            _share(entry.quality.accuracy),
            _share(entry.quality.top5),
            _share(entry.quality.agreement),
            f"{entry.quality.expected_calibration_error:.3f}",
            f"{entry.quality.negative_log_likelihood:.3f}",
        )
        for number, entry in enumerate(record.entries, 1)
        if entry.quality is not None
    ]


def latency_rows(record: BenchmarkRecord) -> list[tuple[str, ...]]:
    """One row of `LATENCY_COLUMNS` for each entry and number of threads."""
    return [
        _latency(number, latency)
        for number, entry in enumerate(record.entries, 1)
        for latency in entry.latency
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


def _whole(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def notes(record: BenchmarkRecord) -> list[str]:
    """What the numbers mean, a sentence each."""
    first = record.entries[0]
    said = [f"Measured on {record.machine}; models took turns call by call."]
    if first.quality is not None:
        said.append(f"Quality on {first.quality.samples:,} rows: {record.data}.")
        said.append(f"Agreement is with {first.name}.")
    said.append(
        "Ratios are of median latency at one row, with a 95 % bootstrap interval, to the first"
        " model of the same runtime."
    )
    said.append("Memory is what opening the file and one call add to a fresh process, at its peak.")
    if any(b.batched_throughput is None for e in record.entries for b in e.latency):
        said.append("A dash under batched: the file's graph is bound to its own batch.")
    said += [f"{entry.name}: {note}" for entry in record.entries for note in entry.notes]
    return said


def sections(record: BenchmarkRecord) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of each table that has rows."""
    tables = [
        ("Models", MODEL_COLUMNS, model_rows(record)),
        ("Size", SIZE_COLUMNS, size_rows(record)),
        ("Quality", QUALITY_COLUMNS, quality_rows(record)),
        ("Latency", LATENCY_COLUMNS, latency_rows(record)),
    ]
    return [table for table in tables if table[2]]


def markdown(record: BenchmarkRecord) -> str:
    """The whole benchmark as Markdown.

    Args:
        record: What `benchmark` returned.
    """
    parts = []
    for title, columns, rows in sections(record):
        rule = "|".join("---" if column in TEXT_COLUMNS else "---:" for column in columns)
        lines = [f"**{title}**", "", f"| {' | '.join(columns)} |", f"|{rule}|"]
        lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows]
        parts.append("\n".join(lines))
    parts.append("\n".join(f"- {line}" for line in notes(record)))
    return "\n\n".join(parts) + "\n"
