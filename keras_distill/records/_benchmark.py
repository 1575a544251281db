"""What a benchmark measured, file by file."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Record


class RatioRecord(Record):
    """A ratio of median latencies with its 95 % bootstrap interval over paired runs.

    Attributes:
        value: This one's median over the reference's: below 1 is faster.
        low: Lower end.
        high: Upper end.
        n: Paired runs.
        reference: The name of the entry it is compared with.
    """

    value: float
    low: float
    high: float
    n: int
    reference: str


class SizeRecord(Record):
    """What it costs to store and to hold.

    Attributes:
        parameters: Number of weights.
        multiply_adds: Multiply-add pairs for one row, counted over the `.tflite` graph's
            convolutions and matrix products; None where a loop's length is not in the graph.
        bytes: Of the file; None for a Keras model in memory.
        gzip_bytes: Of the file compressed by gzip -9; None likewise.
        peak_memory_bytes: What loading the file and running one row adds to the resident memory of
            a fresh process, at its peak; None where the system does not tell.
    """

    parameters: int
    multiply_adds: int | None
    bytes: int | None
    gzip_bytes: int | None
    peak_memory_bytes: int | None = None


class LatencyRecord(Record):
    """How long a call takes, at one number of threads.

    Attributes:
        threads: Threads of the interpreter; a Keras model runs on all that TensorFlow has.
        runs: Timed calls at batch 1, taken in turn with the other entries.
        cold_start_ms: From opening the file to the end of the first call, in a fresh process, the
            import of the interpreter left out; None for a Keras model in memory.
        median_ms: Median of the timed calls.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        throughput: Rows per second at batch 1.
        batch_size: Rows per call of the batched measurement.
        batched_throughput: Rows per second at that batch; None where the file's graph is bound to
            another one.
        ratio: To the first entry of the same runtime; None for that entry itself.
    """

    threads: int
    runs: int
    cold_start_ms: float | None
    median_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float
    batch_size: int
    batched_throughput: float | None
    ratio: RatioRecord | None = None


class QualityRecord(Record):
    """How good the outputs are on labeled rows.

    Attributes:
        samples: Number of rows.
        accuracy: Share of rows whose label comes first, 0..1.
        top5: Share of rows whose label is among the first five; None below 6 classes.
        agreement: Share of rows on which the first class is the first entry's; None for that one.
        expected_calibration_error: Mean gap between confidence and accuracy over 15 equal bins.
        negative_log_likelihood: Mean, in nats.
    """

    samples: int
    accuracy: float
    top5: float | None
    agreement: float | None
    expected_calibration_error: float
    negative_log_likelihood: float


class EntryRecord(Record):
    """One model in one runtime.

    Attributes:
        name: As the user named it, or the file's name; a Keras model's own `.tflite` conversion
            has " as .tflite" added.
        file: The file measured; None for a model in memory.
        runtime: Keras on TensorFlow, or LiteRT.
        precision: Of the input and of the weights as the file declares them: "float32", "int8".
        size: What it costs to store.
        latency: One entry for each number of threads.
        quality: How good it is; None without labeled data.
        notes: What else is worth knowing.
    """

    name: str
    file: str | None
    runtime: Literal["keras", "litert"]
    precision: str
    size: SizeRecord
    latency: tuple[LatencyRecord, ...]
    quality: QualityRecord | None = None
    notes: tuple[str, ...] = ()


class BenchmarkRecord(Record):
    """A benchmark: entries in the order given, the first is the one compared with (the teacher).

    Attributes:
        entries: One for each model and runtime.
        data: Data spec or "data given"; None: made-up rows.
        split: The split of a spec.
        machine: Processor and cores.
        versions: Of the packages involved.
        created: UTC, ISO 8601.
    """

    entries: tuple[EntryRecord, ...] = Field(min_length=1, max_length=1000)
    data: str | None
    split: str | None
    machine: str
    versions: dict[str, str]
    created: str

    def entry(self, name: str) -> EntryRecord:
        """The entry of that name.

        Raises:
            KeyError: If there is none.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)
