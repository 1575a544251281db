"""The soft-target store: run the teacher once, then train at the cost of plain training."""

import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill._internal import (
    InputError,
    _files,
    bad,
    check_batch_size,
    check_count,
)
from keras_distill._internal._checks import MAX_INT
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._progress import Report, reporting
from keras_distill.data import Augmentation
from keras_distill.records import (
    TARGETS_FORMAT,
    TARGETS_VERSION,
    TargetsBuild,
    TargetsInfo,
    TargetsManifest,
)
from keras_distill.targets import _keys, _read, _verify
from keras_distill.targets._build import StoreBuilder
from keras_distill.targets._info import describe
from keras_distill.targets._logits import LogitsSource
from keras_distill.targets._memory import RecordsInMemory
from keras_distill.targets._settings import (
    MANIFEST,
    build_settings,
    checked_target,
    partial_path,
)


class SoftTargetStore:
    """A folder of soft targets: `manifest.json` and binary records that `tf.data` reads natively.

    Run the teacher once (`build`), then train any number of students, at any temperature, on
    `batches` or `attach`. No Python runs in the read path. Every example has a key, which is a hash
    of its x. If the examples, their order, or their number differ from the build, the first epoch
    raises an error.

    Attributes:
        path: The folder.
        manifest: Its contents and origin.
        built: Measurements of `build`: rows per second, and the accuracy of the teacher on the
            labels of the data. None for a store that was opened or reused.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> x = np.arange(6, dtype="float32").reshape(6, 1)
        >>> data = tf.data.Dataset.from_tensor_slices((x, np.arange(6) % 2))
        >>> path = tempfile.mkdtemp() + "/targets"
        >>> store = SoftTargetStore.build(lambda x: np.concatenate([x, -x], 1), data, path)
        >>> for x, y in store.batches(data, batch_size=3, shuffle=False).take(1):
        ...     print(y.labels.numpy(), y.teacher.numpy().tolist())
        [0 1 0] [[0.0, -0.0], [1.0, -1.0], [2.0, -2.0]]
    """

    def __init__(self, path: Path, manifest: TargetsManifest):
        self.path = path
        self.manifest = manifest
        self._augment = _augmentation(path, manifest)
        self.built: TargetsBuild | None = None
        self._verified = False
        self._in_memory = RecordsInMemory(path, manifest)

    def __repr__(self) -> str:
        manifest = self.manifest
        outputs = [
            (f"{output.name}: " if output.name else "")
            + (f"{output.top_k} of " if output.top_k else "")
            + f"{output.shape[-1]:,} classes, {output.dtype}"
            for output in manifest.outputs
        ]
        views = f"{manifest.views} view{'s' if manifest.views > 1 else ''}"
        facts = [f"{manifest.examples:,} examples", *outputs, views]
        return f"SoftTargetStore({str(self.path)!r}, {', '.join(facts)})"

    @classmethod
    def build(
        cls,
        teacher: Any,
        dataset: tf.data.Dataset,
        path: str | os.PathLike,
        *,
        top_k: int | None = None,
        views: int = 1,
        augment: Augmentation | None = None,
        batch_size: int = 128,
        from_probabilities: Declared = None,
        dtype: str = "float16",
        shard_batches: int | None = None,
        overwrite: bool = False,
        reuse: bool = False,
        progress: bool | Report | None = None,
    ) -> "SoftTargetStore":
        """Runs the teacher over the data once and stores its logits.

        The build is in `<path>.partial` until it is complete; one process at a time writes to it.
        If a build is killed or interrupted, at most one shard is lost. Run the same call again to
        resume; the result is byte-identical. Memory use does not grow with the data.

        Args:
            teacher: A Keras model, a list of them, a `Teacher`, a `.keras` or `.tflite` file, a
                function from a NumPy batch to logits, an array of logits `(n, ..., N)`, or a dict
                of arrays by output name.
            dataset: A data set of `(x, y)`, `(x, y, sample_weight)`, or only x. It must be
                unbatched, finite, and in the same order each time it is read, so pass it before any
                shuffle and any random augmentation.
            path: The folder to create.
            top_k: The number of logits to store per row, together with four statistics of the
                other logits, so that the record is valid at every temperature. None stores all
                logits.
            views: Number of augmented views per example. The teacher runs on each view.
            augment: The augmentation that creates the views.
            batch_size: Number of examples per batch of the teacher.
            from_probabilities: Whether the teacher gives probabilities and its graph does not show
                it: None, False, True, "softmax", or "sigmoid"; see `teachers.as_teacher`. With
                None, an error is raised if all values of the first batch are in 0..1. The store
                always contains logits.
            dtype: "float16", or "float32" for logits beyond 65504.
            shard_batches: Number of batches per file. None means 4,096 examples or 64 MiB,
                whichever is less.
            overwrite: Whether a store at `path`, or an unfinished one, may be replaced.
            reuse: Whether to return a finished store at `path` if it has this teacher, these data,
                and these settings.
            progress: Whether to show a progress bar, or a function `(done, total)`. None shows a
                bar if stderr is a terminal.

        Returns:
            The opened store.

        Raises:
            InputError: If an argument is invalid, `path` exists, another process builds the store,
                the data do not match the description, or the logits cannot be stored.
        """
        settings = build_settings(top_k, dtype, views, augment, batch_size, shard_batches)
        dataset = _keys.as_pairs(dataset)
        _keys.x_spec(dataset)
        path = checked_target(path, overwrite or reuse)
        source = LogitsSource(teacher, from_probabilities)
        if source.arrays is not None and augment is not None:
            raise bad("augment", "be left out for an array, which knows no views", augment)
        with reporting("soft targets", progress) as report:
            builder = StoreBuilder(source, dataset, path, settings, report)
            measured = builder.run(overwrite=overwrite, reuse=reuse)
        store = cls.open(path)
        store.built = measured
        return store

    @classmethod
    def open(cls, path: str | os.PathLike) -> "SoftTargetStore":
        """Opens a store and checks the sizes of its files.

        Args:
            path: The folder.

        Raises:
            InputError: If the store does not exist, is unfinished, has another version, or is
                damaged.
        """
        path = Path(path)
        if not (path / MANIFEST).exists() and (partial_path(path) / MANIFEST).exists():
            raise InputError(
                f"{path} is not finished: {partial_path(path)} holds an interrupted build. Run the"
                " same build again to resume it."
            )
        manifest = TargetsManifest.parse(_read_manifest(path), source=str(path / MANIFEST))
        if manifest.examples is None:
            raise InputError(f"{path} is not finished.")
        if damage := _verify.wrong_sizes(path, manifest):
            raise InputError(f"{damage[0]} Build the store again.")
        return cls(path, manifest)

    def __len__(self) -> int:
        """Returns the number of examples, n."""
        return self.manifest.examples

    def batches(
        self,
        dataset: tf.data.Dataset,
        batch_size: int,
        shuffle: bool | int = True,
        seed: int = 0,
        *,
        first_epoch: int = 0,
        drop_remainder: bool = False,
        temperature: float | None = None,
        augment: Augmentation | None = None,
    ) -> _read.PeekableDataset:
        """Returns batches `(x, Targets(labels, teacher, labeled), …)` for `fit`: the fast path.

        Records are shuffled as strings and decoded one batch at a time. Each new iteration over the
        result is the next epoch. The order of an epoch depends only on (seed, epoch), and equals
        the order of `data.batches` with the same seed. Starting an iteration takes some tens of
        milliseconds; if the data have only a few batches, use `repeat()` and longer epochs. If the
        store has V views, epoch e uses view e mod V.

        The result is a `tf.data.Dataset` with an additional method `peek()`, which returns a first
        batch without starting an epoch.

        Args:
            dataset: The data the store was built from, unbatched, in the same order. Labels and
                sample weights may differ.
            batch_size: Number of examples in a batch.
            shuffle: True to shuffle with a buffer of up to 512 MiB, a number for the size of the
                shuffle buffer in examples, or False to keep the order.
            seed: Seed of the order.
            first_epoch: Number of the first epoch, to resume a training.
            drop_remainder: Whether to drop the last batch if it is not full.
            temperature: The temperature of the loss. Required only if the store is valid at one
                temperature (an arithmetic mean); it is then checked.
            augment: The expected augmentation, which is compared with the store's augmentation.
                None uses the store's augmentation.

        Raises:
            InputError: If the data do not match the store, or a file is damaged.
        """
        batch_size = check_batch_size(batch_size)
        seed = check_count("seed", seed, at_least=0, at_most=MAX_INT)
        first_epoch = check_count("first_epoch", first_epoch, at_least=0)
        reader = self._reader(dataset, temperature, augment, first_epoch)
        if shuffle is True:
            size = _read.buffer_size(dataset.element_spec, len(self))
        else:
            size = check_count("shuffle", int(shuffle), at_least=0, at_most=MAX_INT)
            size = min(size, len(self))
        return reader.batches(batch_size, size, seed, drop_remainder)

    def attach(
        self,
        dataset: tf.data.Dataset,
        *,
        temperature: float | None = None,
        augment: Augmentation | None = None,
    ) -> tf.data.Dataset:
        """Returns single elements `(x, Targets(labels, teacher, labeled), …)`, not batched.

        A store with V views gives V·n elements: all of view 0, then all of view 1, and so on.
        `batches` is faster.

        Args:
            dataset: The data, see `batches`.
            temperature: Temperature of the loss, see `batches`.
            augment: The augmentation, see `batches`.

        Raises:
            InputError: If the data do not match the store, or a file is damaged.
        """
        return self._reader(dataset, temperature, augment, 0).attach()

    def verify(self, dataset: tf.data.Dataset | None = None, teacher: Any = None) -> dict[str, str]:
        """Checks every byte; with the data every example; with the teacher its fingerprint.

        With both, the teacher also recomputes the logits of the first batch.

        Args:
            dataset: The data the store was built from.
            teacher: The teacher, see `build`.

        Returns:
            The result of each check, as text.

        Raises:
            VerificationError: If something differs from the manifest; the message says what.
        """
        dataset = _keys.as_pairs(dataset)
        return _verify.verify(self.path, self.manifest, self._augment, dataset, teacher)

    def info(self, examples: int = 512) -> TargetsInfo:
        """Returns sizes, and the KL error of storing only k logits, for several k and T.

        Args:
            examples: Number of records to measure the error on, spread evenly over the store.
        """
        found = describe(self.path, self.manifest, check_count("examples", examples))
        return found.model_copy(update={"build": self.built})

    def _reader(
        self,
        dataset: tf.data.Dataset,
        temperature: float | None,
        augment: Augmentation | None,
        first_epoch: int,
    ) -> _read.StoreReader:
        self._check_temperature(temperature)
        self._check_augment(augment)
        dataset = _keys.as_pairs(dataset)
        spec = _keys.x_spec(dataset)
        _read.refuse_targets(dataset)
        inputs = _keys.describe(spec)
        if inputs != self.manifest.inputs:
            raise InputError(
                "`dataset` must have the x the store was built from,"
                f" {', '.join(self.manifest.inputs)}. Received: {', '.join(inputs)}. Preprocess"
                " inside the model, or build the store from the preprocessed data."
            )
        known = int(dataset.cardinality())
        if known >= 0 and known != len(self):
            raise InputError(
                f"`dataset` must have the {len(self)} examples the store was built from. Received:"
                f" {known} examples."
            )
        if not self._verified:
            if damage := _verify.wrong_bytes(self.path, self.manifest):
                raise InputError(f"{damage[0]} Build the store again.")
            self._verified = True
        records = self._in_memory.of(dataset)
        return _read.StoreReader(
            str(self.path), self.manifest, self._augment, dataset, first_epoch, records
        )

    def _check_temperature(self, temperature: float | None) -> None:
        only = self.manifest.teacher.temperature
        if only is None or temperature == only:
            return
        raise bad(
            "temperature",
            f"be {only:g}: the store holds an arithmetic mean of probabilities softened there",
            temperature,
            "For any temperature, build the store from the geometric mean.",
        )

    def _check_augment(self, augment: Augmentation | None) -> None:
        if augment is None or augment == self._augment:
            return
        if self._augment is None:
            raise InputError(
                "`augment` needs a store with views: the teacher of this store saw the examples"
                " without augmentation, so its logits do not fit augmented ones. Build the store"
                f" with views=V and augment={augment}."
            )
        raise InputError(
            f"`augment` must be the augmentation of the store's views, {self._augment}. Received:"
            f" {augment}. Leave it out, or build a store with that augmentation."
        )


def _augmentation(path: Path, manifest: TargetsManifest) -> Augmentation | None:
    """Returns the augmentation of the views, checked to be that of the build."""
    if manifest.augment is None:
        return None
    augment = Augmentation.from_settings(manifest.augment)
    if augment.fingerprint() != manifest.augment_fingerprint:
        raise InputError(
            f"{path} was built with another augmentation than its manifest says, or by another"
            " version of it. Build the store again."
        )
    return augment


def _read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest as JSON, of this version."""
    if not os.path.lexists(path / MANIFEST):
        raise InputError(f"{path} is not a soft-target store: it has no {MANIFEST}.")
    found = _files.read_json(path / MANIFEST)
    if not isinstance(found, dict) or found.get("format") != TARGETS_FORMAT:
        raise InputError(f"{path / MANIFEST} is not the manifest of a soft-target store.")
    if found.get("version") != TARGETS_VERSION:
        raise InputError(
            f"{path} has version {found.get('version')} of the format; this program reads version"
            f" {TARGETS_VERSION}. Build the store again."
        )
    return found
