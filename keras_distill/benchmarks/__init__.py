"""Measures size, latency, and quality of models, and the cost of distilling them."""

from keras_distill._internal._machine import describe as describe_machine
from keras_distill._internal._machine import versions as describe_versions
from keras_distill._internal._stats import (
    holm,
    mean_interval,
    paired_difference,
    paired_p_value,
    paired_tests,
    ratio_of_means,
    ratio_of_medians,
    share_kept,
)
from keras_distill.benchmarks._benchmark import benchmark
from keras_distill.benchmarks._cost import cost
from keras_distill.benchmarks._cost_worker import SETTINGS, USUAL_VARIANTS, VARIANTS
from keras_distill.benchmarks._latency import measure_latency
from keras_distill.benchmarks._quality import measure_quality, measure_size
from keras_distill.benchmarks._tables import (
    TEXT_COLUMNS,
    benchmark_markdown,
    benchmark_notes,
    benchmark_sections,
    cost_sections,
)

__all__ = [
    "SETTINGS",
    "TEXT_COLUMNS",
    "USUAL_VARIANTS",
    "VARIANTS",
    "benchmark",
    "benchmark_markdown",
    "benchmark_notes",
    "benchmark_sections",
    "cost",
    "cost_sections",
    "describe_machine",
    "describe_versions",
    "holm",
    "mean_interval",
    "measure_latency",
    "measure_quality",
    "measure_size",
    "paired_difference",
    "paired_p_value",
    "paired_tests",
    "ratio_of_means",
    "ratio_of_medians",
    "share_kept",
]
