"""Pydantic models of everything written to disk. They are the only way folders meet on disk."""

from keras_distill.records.base import Record
from keras_distill.records.benchmark import BenchmarkRecord
from keras_distill.records.compress import CompressRecord
from keras_distill.records.cost import CostRecord
from keras_distill.records.export import ExportRecord, ExportSet
from keras_distill.records.targets import TargetsInfo, TargetsManifest

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
