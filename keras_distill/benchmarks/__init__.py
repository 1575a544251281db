"""Size, latency and quality of models side by side; the price of distilling."""

from keras_distill.benchmarks._benchmark import benchmark
from keras_distill.benchmarks._latency import measure_latency
from keras_distill.benchmarks._plot import figure
from keras_distill.benchmarks._quality import measure_quality
from keras_distill.benchmarks._size import measure_size

__all__ = ["benchmark", "figure", "measure_latency", "measure_quality", "measure_size"]
