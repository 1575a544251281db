"""The results of a benchmark."""

from typing import Literal

from pydantic import Field

from keras_distill.records._base import Measured, Record
from keras_distill.records._device import DeviceResult
from keras_distill.records._export import WorstClass
from keras_distill.records._precision import Metric


class RatioRecord(Record):
    """A ratio of median latencies with its 95 % bootstrap interval over paired runs.

    Attributes:
        value: The median divided by that of the reference. A value below 1 is faster.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of paired runs.
        reference: Name of the entry that this entry is compared with.
    """

    value: float
    low: float
    high: float
    n: int
    reference: str


class SizeRecord(Record):
    """The size of a model on disk and in memory.

    Attributes:
        parameters: Number of parameters.
        multiply_adds: Multiply-add pairs for one row, counted over the `.tflite` graph's
            convolutions and matrix products; None if a loop's length is not in the graph.
        bytes: Size of the file; None for a Keras model in memory.
        gzip_bytes: Size of the file after gzip -9; None for a Keras model in memory.
        peak_memory_bytes: Peak resident memory that loading the file and running one row add to a
            new process. It contains the weights and the arena, but not LiteRT itself or the data.
            None if the system does not report it.
    """

    parameters: int
    multiply_adds: int | None
    bytes: int | None
    gzip_bytes: int | None
    peak_memory_bytes: int | None = None


class LatencyRecord(Record):
    """The latency at one number of threads.

    Attributes:
        threads: Threads of the interpreter; a Keras model uses all threads of TensorFlow.
        runs: Number of timed calls at batch size 1, interleaved with those of the other entries.
        cold_start_ms: Time from opening the file to the end of the first call, in a new process
            that has already loaded LiteRT; None for a Keras model in memory.
        median_ms: Median of the timed calls.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile.
        throughput: Rows per second at batch size 1.
        batch_size: Rows per call of the batched measurement.
        batched_throughput: Rows per second at that batch size; None if the file has a fixed batch
            size.
        ratio: Ratio to the first entry of the same runtime; None for that first entry.
    """

    threads: int
    runs: int
    cold_start_ms: Measured
    median_ms: float
    p90_ms: float
    p99_ms: float
    throughput: float
    batch_size: int
    batched_throughput: Measured
    ratio: RatioRecord | None = None


class QualityRecord(Record):
    """The quality of the outputs on labeled rows.

    Attributes:
        samples: Number of rows.
        accuracy: Top-1 accuracy, 0..1; None for outputs that are not classes.
        top5: Top-5 accuracy; None for fewer than 6 classes.
        agreement: Fraction of rows with the same top-1 class as the first entry; None for that
            first entry.
        expected_calibration_error: Mean gap between confidence and accuracy over 15 equal bins;
            None if it is not finite, or for outputs that are not classes.
        negative_log_likelihood: Mean over the rows, in nats; None if it is not finite, or for
            outputs that are not classes.
        metric: The metric for comparing models: the accuracy, or one of `measures`.
        measures: Other metrics by name: "mIoU"; "R2" and "MAE"; "AUC".
        worst_class: The class that loses the most accuracy against the first entry; None for that
            first entry, and for outputs that are not classes.
    """

    samples: int
    accuracy: Measured
    top5: Measured
    agreement: Measured
    expected_calibration_error: Measured
    negative_log_likelihood: Measured
    metric: Metric = "accuracy"
    measures: dict[str, Measured] = Field(default={}, max_length=100)
    worst_class: WorstClass | None = None

    @property
    def score(self) -> float:
        """The value of `metric`; 0 if it is not finite."""
        own = self.accuracy if self.metric == "accuracy" else self.measures.get(self.metric)
        return own or 0.0


class EntryRecord(Record):
    """The measurements of one model in one runtime.

    Attributes:
        name: The name that the user passed, or the name of the file. For the `.tflite` conversion
            of a Keras model, " as .tflite" is added.
        file: The measured file; None for a model in memory.
        runtime: Keras on TensorFlow, or LiteRT.
        precision: Precision of the input and of the weights in the file, such as "float32".
        size: Size on disk and in memory.
        latency: One record per number of threads.
        quality: Quality on the data; None without labeled data.
        devices: The results of checking the file for devices; empty if it was not checked.
        notes: Remarks.
    """

    name: str
    file: str | None
    runtime: Literal["keras", "litert"]
    precision: str
    size: SizeRecord
    latency: tuple[LatencyRecord, ...]
    quality: QualityRecord | None = None
    devices: tuple[DeviceResult, ...] = Field(default=(), max_length=100)
    notes: tuple[str, ...] = ()


class BenchmarkRecord(Record):
    """The results of a benchmark, in the order of the models; the first entry is the baseline.

    Attributes:
        entries: One entry per model and runtime.
        data: Data spec or "data given"; None for random rows.
        split: The split that was used, for a data spec.
        machine: Processor and cores.
        versions: Versions of the packages.
        created: Time in UTC, ISO 8601.
    """

    entries: tuple[EntryRecord, ...] = Field(min_length=1, max_length=1000)
    data: str | None
    split: str | None
    machine: str
    versions: dict[str, str]
    created: str

    def entry(self, name: str) -> EntryRecord:
        """Returns the entry with the given name.

        Raises:
            KeyError: If there is no such entry.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)
