"""What a model costs to store."""

import gzip
import os
from pathlib import Path

from keras_distill.litert import read_graph
from keras_distill.records import SizeRecord


def file_bytes(path: str | os.PathLike) -> tuple[int, int]:
    """Bytes of a file, as it is and compressed by gzip -9 without a time stamp."""
    content = Path(path).read_bytes()
    return len(content), len(gzip.compress(content, 9, mtime=0))


def measure_size(path: str | os.PathLike) -> SizeRecord:
    """Weights, multiply-adds and bytes of a `.tflite` file, read from its tables.

    `peak_memory_bytes` is left None: it is measured by `measure_latency`, on a file that runs.

    Args:
        path: The file.

    Raises:
        InputError: If it is damaged.
    """
    facts = read_graph(path)
    raw, packed = file_bytes(path)
    return SizeRecord(
        parameters=facts.parameters,
        multiply_adds=facts.multiply_adds,
        bytes=raw,
        gzip_bytes=packed,
    )
