"""Parts of CIFAR-100 that no source provides: ten of its classes, and fewer coarse images.

The folder of prepared TFDS data sets is TFDS_DATA_DIR.
"""

from typing import Any

import numpy as np

from keras_distill import data

TEN = (
    "bicycle", "bus", "motorcycle", "pickup_truck", "train", "lawn_mower", "rocket", "streetcar",
    "tank", "tractor",
)  # fmt: skip
_FEW = 10_000


def ten() -> dict[str, Any]:
    """Returns the ten vehicles of the 100 fine classes."""
    splits = data.load("tfds:cifar100")
    ids = np.array([splits.class_names.index(name) for name in TEN])
    parts: dict[str, Any] = {"class_names": TEN}
    for split in splits.sizes:
        x, y = _arrays(getattr(splits, split))
        kept = np.isin(y, ids)
        parts[split] = x[kept], np.searchsorted(np.sort(ids), y[kept])
    order = np.argsort(ids)
    parts["class_names"] = tuple(TEN[i] for i in order)
    return parts


def coarse() -> dict[str, Any]:
    """Returns the 20 coarse classes with the first 10,000 training images."""
    splits = data.load("tfds:cifar100?label=coarse_label")
    parts: dict[str, Any] = {s: _arrays(getattr(splits, s)) for s in splits.sizes}
    x, y = parts["train"]
    return {**parts, "train": (x[:_FEW], y[:_FEW]), "class_names": splits.class_names}


def _arrays(ds: Any) -> tuple[np.ndarray, np.ndarray]:
    parts = list(ds.batch(1024).as_numpy_iterator())
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
