"""Pydantic models of everything written to disk. They are the only way folders meet on disk."""

from keras_distill.records._base import Record
from keras_distill.records._benchmark import BenchmarkRecord
from keras_distill.records._compress import CompressRecord
from keras_distill.records._cost import CostRecord
from keras_distill.records._export import ExportRecord, ExportSet
from keras_distill.records._targets import TargetsInfo, TargetsManifest

__all__ = [
    "BenchmarkRecord",
    "CompressRecord",
    "CostRecord",
    "ExportRecord",
    "ExportSet",
    "Record",
    "TargetsInfo",
    "TargetsManifest",
]
