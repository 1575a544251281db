"""Creates the page and the plot of a benchmark."""

from collections.abc import Callable, Sequence

from keras_distill._internal import InputError
from keras_distill.records import BenchmarkRecord, EntryRecord, LatencyRecord
from keras_distill.report import _devices, _words
from keras_distill.report._cells import EMPTY, Cell, Table
from keras_distill.report._charts import Chart, picture
from keras_distill.report._colors import SERIES
from keras_distill.report._intervals import wilson
from keras_distill.report._plots import Point, Row, intervals, scatter
from keras_distill.report._template import render_template
from keras_distill.report._verdict import Banner

_QUALITY = {
    "model": "",
    "runtime": "Keras on TensorFlow, or LiteRT, which runs .tflite files.",
    "precision": "Precision of the input and of the weights.",
    "accuracy, %": "Share of the rows that is predicted right.",
    "top-5, %": "Share of the rows whose class is among the five most likely ones.",
    "agrees, %": "Share of the rows on which it predicts the same class as the first model.",
    "calibration error, %": "Mean gap between confidence and accuracy over 15 bins.",
    "NLL": "Negative log-likelihood: mean of -log of the probability of the class, in nats.",
}
_SIZE = {
    "model": "",
    "parameters": "Number of weights.",
    "multiply-adds": "For one row, counted in the .tflite graph.",
    "size, KiB": "Size of the file; 1 KiB is 1,024 bytes.",
    "gzipped, KiB": "Size of the file after gzip -9.",
    "memory, MiB": "Peak memory that opening the file and one call add to a new process.",
}
_LATENCY = {
    "model": "",
    "threads": "Threads of the interpreter; a Keras model uses all of TensorFlow.",
    "median, ms": "Median time of one call at batch size 1; the models take turns call by call.",
    "p90, ms": "90 % of the calls take at most this long.",
    "p99, ms": "99 % of the calls take at most this long.",
    "than the first": "Ratio of the medians to the first model of the same runtime, with its 95 %"
    " bootstrap interval over paired calls.",
    "first call, ms": "From opening the file to the end of the first call in a new process.",
    "rows/s": "Rows per second at batch size 1.",
    "rows/s batched": "Rows per second in batches; empty: the file has a fixed batch size.",
}


def render_benchmark(record: BenchmarkRecord) -> str:
    """Renders the page of a benchmark as HTML, without references to other files.

    Args:
        record: The result of `benchmark`.
    """
    return render_template(
        "benchmark.html",
        record=record,
        banner_list=_banners(record),
        sentences=_sentences(record),
        charts=_charts(record, 340),
        quality=_quality(record),
        size=_size(record),
        latency=_latency(record),
        devices=_devices.devices(record.entries),
        device_notes=_devices.notes(record.entries, "up to 200 rows"),
        raw=record.model_dump_json(indent=1),
    )


def benchmark_picture(record: BenchmarkRecord, kind: str) -> bytes:
    """Draws size and latency against accuracy as an image file.

    Args:
        record: The result of `benchmark`.
        kind: "png", "svg", or "pdf".

    Raises:
        InputError: If the record has no accuracies.
    """
    if all(entry.quality is None for entry in record.entries):
        raise InputError("A plot against accuracy needs labeled rows. Benchmark with `data`.")
    return picture(_charts(record, 460)[:2], kind)


def _banners(record: BenchmarkRecord) -> list[Banner]:
    if record.data is not None:
        return []
    text = "No quality was measured, and the latency is that of rows that were drawn at random."
    return [Banner("bad", "Random data.", text)]


def _sentences(record: BenchmarkRecord) -> list[str]:
    """Compares each model with the first model of its runtime."""
    found: list[str] = []
    for entry in record.entries:
        first = next(e for e in record.entries if e.runtime == entry.runtime)
        if entry is first:
            continue
        facts: list[str] = []
        if entry.size.bytes and first.size.bytes:
            ratio = first.size.bytes / entry.size.bytes
            facts.append(_words.times(ratio, "smaller", "larger"))
        ratio = entry.latency[0].ratio
        if ratio is not None:
            facts.append(_words.times(1 / ratio.value, "faster", "slower"))
        text = f"{entry.name} is {' and '.join(facts)} than {first.name}" if facts else entry.name
        if entry.quality is not None and first.quality is not None:
            change = _words.points(entry.quality.score - first.quality.score)
            text += f"; its {entry.quality.metric} is {change}"
        found.append(f"{text}.")
    return found


def _charts(record: BenchmarkRecord, width: int) -> list[Chart]:
    """Plots size, latency, and memory against accuracy; without accuracy, only the latency."""
    entries = [entry for entry in record.entries if entry.quality is not None]
    if not entries:
        rows = [
            Row(
                e.name,
                color,
                e.latency[0].median_ms,
                detail=_words.duration(e.latency[0].median_ms),
            )
            for e, color in zip(record.entries, _colors(record.entries), strict=True)
        ]
        return [intervals(rows, x="median latency, ms", summary="Median latency of each model.")]
    wanted: list[tuple[str, Callable[[EntryRecord], float | None], float]] = [
        ("size of the file, KiB", lambda e: e.size.bytes, 1024),
        ("median latency, ms", lambda e: e.latency[0].median_ms, 1),
        ("peak memory, MiB", lambda e: e.size.peak_memory_bytes, 2**20),
    ]
    found: list[Chart] = []
    for axis, measure, unit in wanted:
        points = [
            _point(entry, (measure(entry) or 0) / unit, color)
            for entry, color in zip(entries, _colors(entries), strict=True)
            if measure(entry)
        ]
        if points:
            metric = _metric(entries)
            summary = f"{metric} against {axis.partition(',')[0]} of each model."
            found.append(scatter(points, x=axis, y=f"{metric}, %", summary=summary, width=width))
    return found


def _metric(entries: Sequence[EntryRecord]) -> str:
    return next((e.quality.metric for e in entries if e.quality is not None), "accuracy")


def _colors(entries: Sequence[EntryRecord]) -> list[str]:
    return [SERIES[number % len(SERIES)] for number in range(len(entries))]


def _point(entry: EntryRecord, x: float, color: str) -> Point:
    quality = entry.quality
    assert quality is not None
    y_range, between = None, ""
    if quality.metric == "accuracy":  # the interval of a share of rows
        low, high = wilson(quality.score, quality.samples)
        y_range, between = (100 * low, 100 * high), f" ({100 * low:.1f} to {100 * high:.1f})"
    details = (
        f"{entry.name}: {_words.percent(quality.score)}{between}",
        *([] if entry.size.bytes is None else [_words.size(entry.size.bytes)]),
        _words.duration(entry.latency[0].median_ms),
    )
    shape = "square" if entry.runtime == "keras" else "circle"
    return Point(
        entry.name, color, x, 100 * quality.score, ", ".join(details), None, y_range, shape
    )


def _quality(record: BenchmarkRecord) -> Table | None:
    rows: list[tuple[Cell | str, ...]] = []
    for entry in record.entries:
        quality = entry.quality
        if quality is not None:
            error, likelihood = (
                quality.expected_calibration_error,
                quality.negative_log_likelihood,
            )
            shares = (quality.accuracy, quality.top5, quality.agreement, error)
            rows.append(
                (
                    entry.name,
                    entry.runtime,
                    entry.precision,
                    *(EMPTY if v is None else Cell(f"{100 * v:.1f}", 100 * v) for v in shares),
                    EMPTY if likelihood is None else Cell(f"{likelihood:.3f}", likelihood),
                )
            )
    return _table("Quality", _QUALITY, rows) if rows else None


def _size(record: BenchmarkRecord) -> Table:
    rows: list[tuple[Cell | str, ...]] = [
        (
            entry.name,
            *map(_whole, (entry.size.parameters, entry.size.multiply_adds)),
            *(_unit(value, 1024) for value in (entry.size.bytes, entry.size.gzip_bytes)),
            _unit(entry.size.peak_memory_bytes, 2**20),
        )
        for entry in record.entries
    ]
    return _table("Size", _SIZE, rows)


def _table(label: str, columns: dict[str, str], rows: list[tuple[Cell | str, ...]]) -> Table:
    """Creates a table of the columns with values, without, for example, top-5 of few classes."""
    kept = [n for n in range(len(columns)) if any(row[n] != EMPTY for row in rows)]
    terms = {title: text for title, text in columns.items() if text}
    titles = tuple(list(columns)[n] for n in kept)
    shown = {title: terms[title] for title in titles if title in terms}
    return Table(label, titles, [tuple(row[n] for n in kept) for row in rows], shown)


def _latency(record: BenchmarkRecord) -> Table:
    rows = [_timing(e.name, latency) for e in record.entries for latency in e.latency]
    return _table("Latency", _LATENCY, rows)


def _timing(name: str, latency: LatencyRecord) -> tuple[Cell | str, ...]:
    ratio = EMPTY
    if latency.ratio is not None:
        found = latency.ratio
        words = _words.times(1 / found.value, "faster", "slower")
        ends = f"{found.low:.3g} to {found.high:.3g} times its latency"
        ratio = Cell(words, found.value, ends)
    return (
        name,
        str(latency.threads),
        *map(_milliseconds, (latency.median_ms, latency.p90_ms, latency.p99_ms)),
        ratio,
        _milliseconds(latency.cold_start_ms),
        _whole(round(latency.throughput)),
        EMPTY if latency.batched_throughput is None else _whole(round(latency.batched_throughput)),
    )


def _milliseconds(value: float | None) -> Cell:
    return EMPTY if value is None else Cell(f"{value:.3g}", value)


def _whole(value: int | None) -> Cell:
    return EMPTY if value is None else Cell(f"{value:,}", value)


def _unit(value: int | None, unit: int) -> Cell:
    if value is None:
        return EMPTY
    return Cell(f"{value / unit:,.{1 if value < 100 * unit else 0}f}", value, f"{value:,} bytes")
