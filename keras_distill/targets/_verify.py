"""Verifies a store against its manifest, its data, and its teacher."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, VerificationError, _files
from keras_distill._internal._soft_targets import TopK
from keras_distill.data import Augmentation, MemoryDataset
from keras_distill.records import TargetsManifest
from keras_distill.targets import _keys, _layout
from keras_distill.targets._logits import LogitsSource
from keras_distill.targets._stream import keyed_batches, padded

_NOISE = 1e-3


def wrong_sizes(path: Path, manifest: TargetsManifest) -> list[str]:
    """Returns a message for each file that is missing or has the wrong size."""
    found = []
    for shard in manifest.shards + manifest.keys:
        file = path / shard.file
        if not file.is_file():
            found.append(f"{file} is missing.")
        elif file.stat().st_size != shard.bytes:
            found.append(f"{file} has {file.stat().st_size} bytes; {shard.bytes} were written.")
    return found


def wrong_bytes(path: Path, manifest: TargetsManifest) -> list[str]:
    """Returns a message for each file that is not byte-identical to the written file."""
    found = wrong_sizes(path, manifest)
    if found:
        return found
    return [
        f"{path / shard.file} is damaged: its checksum is not the one in the manifest."
        for shard in manifest.shards + manifest.keys
        if _files.sha256(path / shard.file) != shard.sha256
    ]


def verify(
    path: Path,
    manifest: TargetsManifest,
    augment: Augmentation | None,
    dataset: tf.data.Dataset | None,
    teacher: Any,
) -> dict[str, str]:
    """Computes the result of `SoftTargetStore.verify`."""
    if damage := wrong_bytes(path, manifest):
        raise VerificationError(" ".join(damage))
    size = sum(shard.bytes for shard in manifest.shards + manifest.keys)
    found = {"files": f"{len(manifest.shards + manifest.keys)} files, {size} bytes: as written"}
    if dataset is not None:
        found["data"] = _verify_data(path, manifest, dataset)
    if teacher is not None:
        source = LogitsSource(teacher, manifest.teacher.from_probabilities)
        found["teacher"] = _verify_teacher(manifest, source)
        if dataset is not None:
            found["logits"] = _verify_logits(path, manifest, augment, dataset, source)
    return found


def compare_keys(path: Path, manifest: TargetsManifest, dataset: MemoryDataset) -> None:
    """Compares examples in memory with the stored keys.

    Raises:
        InputError: If an example differs from the example that the store was built from.
    """
    stored = _stored_keys(path, manifest)
    keys = _keys.stacked_keys(dataset.tensors[0])
    if len(keys) != len(stored):
        raise InputError(
            f"soft-target store {path}: the data set has {len(keys)} examples; the store holds"
            f" {len(stored)}."
        )
    wrong = np.flatnonzero(keys != stored)
    if len(wrong):
        raise InputError(
            f"soft-target store {path}: example {wrong[0]} is not the one stored at this index."
            " Give the data set the store was built from: same order (no shuffle before the store),"
            " same preprocessing, no random augmentation."
        )


def _stored_keys(path: Path, manifest: TargetsManifest) -> np.ndarray:
    return np.concatenate([np.fromfile(path / shard.file, "<i8") for shard in manifest.keys])


def _verify_data(path: Path, manifest: TargetsManifest, dataset: tf.data.Dataset) -> str:
    inputs = _keys.describe(_keys.x_spec(dataset))
    if inputs != manifest.inputs:
        raise VerificationError(
            f"The data have x {', '.join(inputs)}; the store was built from"
            f" {', '.join(manifest.inputs)}."
        )
    stored = _stored_keys(path, manifest)
    keys = _keys.keys_of(dataset)
    first = 0
    for part in keys.as_numpy_iterator():
        there = stored[first : first + len(part)]
        wrong = np.flatnonzero(there != part[: len(there)])
        if len(wrong):
            raise VerificationError(
                f"Example {first + int(wrong[0])} is not the one stored at this index."
            )
        first += len(part)
        if first > len(stored):
            raise VerificationError(f"The data have more examples than the {len(stored)} stored.")
    if first < len(stored):
        raise VerificationError(f"The data have {first} examples; {len(stored)} are stored.")
    return f"{first} examples: the same, in the same order"


def _verify_teacher(manifest: TargetsManifest, source: LogitsSource) -> str:
    stored, given = manifest.teacher, source.describe()
    if stored.fingerprint is None or given.fingerprint is None:
        return "no fingerprint to compare"
    if stored.fingerprint != given.fingerprint:
        raise VerificationError(
            f"The store was built from another teacher: {stored.name!r},"
            f" {stored.fingerprint[:12]}…, not {given.name!r}, {given.fingerprint[:12]}…."
        )
    return f"{given.name!r}: the same fingerprint"


def _verify_logits(
    path: Path,
    manifest: TargetsManifest,
    augment: Augmentation | None,
    dataset: tf.data.Dataset,
    source: LogitsSource,
) -> str:
    batches = keyed_batches(dataset, manifest.batch_size, augment=augment)
    batch = next(padded(batches, manifest.batch_size))
    values = source(batch.x, 0, batch.count)
    size = batch.count * manifest.record_bytes
    with (path / manifest.shards[0].file).open("rb") as file:
        stored = _layout.decode_array(file.read(size), manifest.outputs)
    worst = 0.0
    for output, was in zip(manifest.outputs, stored, strict=True):
        if output.name not in values:
            raise VerificationError(f"The teacher has no output {output.name!r}.")
        now = values[output.name]
        if now.shape[1:] != output.shape:
            raise VerificationError(
                f"The teacher gives logits {now.shape[1:]}; {output.shape} are stored."
            )
        if isinstance(was, TopK):
            now = np.take_along_axis(now, was.indices, axis=-1)
            was = was.logits
        worst = max(worst, float(_gap(now, was)))
    rounding = 2.0**-10 if any(o.dtype == "float16" for o in manifest.outputs) else 1e-5
    if worst > rounding + _NOISE:
        raise VerificationError(
            f"The teacher's logits of the first batch differ by up to {worst:.2g} of the largest"
            " logit."
        )
    return f"first {batch.count} examples: the same to {worst:.1g} of the largest logit"


def _gap(now: np.ndarray, was: np.ndarray) -> float:
    finite = np.isfinite(was)
    if not np.array_equal(finite, np.isfinite(now)):
        return float("inf")
    scale = max(1.0, np.abs(was[finite]).max(initial=0.0))
    return np.abs(now[finite] - was[finite]).max(initial=0.0) / scale
