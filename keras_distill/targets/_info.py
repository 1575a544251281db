"""What a store says of itself: sizes, and what top-k loses."""

from pathlib import Path

import numpy as np

from keras_distill.records._targets import TargetsInfo, TargetsManifest
from keras_distill.targets import _fidelity, _layout


def sample(path: Path, manifest: TargetsManifest, examples: int) -> list:
    """Records spread evenly over view 0, decoded: per output logits or a `TopK`."""
    picks = np.unique(np.linspace(0, manifest.examples - 1, examples).astype(int))
    width, data = manifest.record_bytes, []
    for number, shard in enumerate(manifest.shards[: len(manifest.keys)]):
        first = number * manifest.shard_examples
        inside = picks[(picks >= first) & (picks < first + shard.examples)] - first
        with (path / shard.file).open("rb") as file:
            for index in inside:
                file.seek(int(index) * width)
                data.append(file.read(width))
    return _layout.decode_array(b"".join(data), manifest.outputs)


def describe(path: Path, manifest: TargetsManifest, examples: int) -> TargetsInfo:
    """See `SoftTargetStore.info`."""
    if manifest.outputs[0].top_k is None:
        values = sample(path, manifest, examples)
        errors = _fidelity.table(values)
        of = f"{len(values[0])} dense records of this store, as if only k logits had been kept"
    else:
        errors = manifest.topk_error
        of = f"the dense logits of the first {manifest.batch_size} examples, during the build"
    records = manifest.examples * manifest.views
    return TargetsInfo(
        path=str(path),
        manifest=manifest.model_copy(update={"shards": (), "keys": (), "seal": None}),
        files=len(manifest.shards) + len(manifest.keys),
        record_bytes=manifest.record_bytes,
        total_bytes=sum(shard.bytes for shard in manifest.shards),
        key_bytes=sum(shard.bytes for shard in manifest.keys),
        dense_bytes=records * sum(2 * o.rows * o.classes for o in manifest.outputs),
        topk_error=errors,
        topk_error_of=of,
    )
