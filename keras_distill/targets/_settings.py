"""The settings of a build, checked, and the paths that it writes."""

import os
from pathlib import Path
from typing import NamedTuple

from keras_distill._internal import _files, bad, check_batch_size, check_choice, check_count
from keras_distill.data import Augmentation
from keras_distill.records import MAX_VIEWS
from keras_distill.work import settle

MANIFEST = "manifest.json"


class BuildSettings(NamedTuple):
    """The checked settings of `SoftTargetStore.build`."""

    top_k: int | None
    dtype: str
    views: int
    augment: Augmentation | None
    batch_size: int
    shard_batches: int | None


def partial_path(path: Path) -> Path:
    """Returns the folder of an unfinished build of the store `path`."""
    return path.with_name(path.name + ".partial")


def build_settings(
    top_k: int | None,
    dtype: str,
    views: int,
    augment: Augmentation | None,
    batch_size: int,
    shard_batches: int | None,
) -> BuildSettings:
    """Returns the settings of `SoftTargetStore.build` after checking them.

    Raises:
        InputError: If a setting is invalid.
    """
    views = check_count("views", views, at_most=MAX_VIEWS)
    if augment is not None and not isinstance(augment, Augmentation):
        raise bad("augment", "be a keras_distill.data.Augmentation", augment)
    if views > 1 and augment is None:
        raise bad("views", "be 1 without `augment`: all views would be the same", views)
    return BuildSettings(
        top_k=None if top_k is None else check_count("top_k", top_k),
        dtype=check_choice("dtype", dtype, ("float16", "float32")),
        views=views,
        augment=augment,
        batch_size=check_batch_size(batch_size),
        shard_batches=None
        if shard_batches is None
        else check_count("shard_batches", shard_batches),
    )


def checked_target(path: str | os.PathLike, overwrite: bool) -> Path:
    """Returns `path` if a store may be written there; existing paths must be stores."""
    settle(Path(path))
    path = _files.check_output(path, overwrite=overwrite)
    if path.exists() and not (path / MANIFEST).is_file():
        raise bad(
            "path",
            "be a new path, or a store",
            str(path),
            "The existing path is not a soft-target store.",
        )
    return path
