"""Combines a generalist and its specialists into one teacher."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill import models
from keras_distill._internal import InputError, _checks, _files, bad
from keras_distill._internal._probabilities import floors
from keras_distill.export import export_tflite
from keras_distill.records import EnsembleManifest, EnsemblePart, ExportRecord
from keras_distill.specialists._class_sets import ClassSets
from keras_distill.specialists._inference import active_by_top, check_tol, combine
from keras_distill.teachers import ONLY, KerasTeacher, Teacher, as_teacher, plain_outputs

MANIFEST = "ensemble.json"
GENERALIST = "generalist.keras"


class SpecialistEnsemble(Teacher):
    """A teacher whose logits are the logarithm of the result of `combine`.

    A specialist runs only on the examples for which it is active. With disjoint sets, an example
    therefore costs two forward passes, whatever the number of specialists. Source: Hinton 2015,
    section 5.

    Args:
        generalist: Anything `teachers.as_teacher` accepts, with logits `(B, N)`.
        specialists: One per class set, with logits `(B, |S_m|+1)`. The last logit is the dustbin's
            and is corrected for oversampling.
        class_sets: `ClassSets`, or a list of lists of class ids (N is then the generalist's).
        top: A specialist is active if it covers one of the `top` best classes of the generalist. If
            None, all specialists are always active.
        tol: See `combine`.
        corrections: The corrections that the dustbin logits contain, saved with the ensemble.

    Raises:
        InputError: If the parts do not fit together.

    Example:
        >>> import keras
        >>> from keras_distill.specialists import build_specialist
        >>> generalist = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        >>> sets = ClassSets(([0, 1], [2, 3]), 5)
        >>> parts = [build_specialist(generalist, ids) for ids in sets.sets]
        >>> ensemble = SpecialistEnsemble(generalist, parts, sets)
        >>> ensemble.predict(np.zeros((3, 4), "float32")).shape
        (3, 5)
    """

    def __init__(
        self,
        generalist: Any,
        specialists: Sequence[Any],
        class_sets: ClassSets | Sequence[Sequence[int]],
        *,
        top: int | None = 1,
        tol: float = 1e-8,
        corrections: Sequence[float | None] | None = None,
    ) -> None:
        self.generalist = as_teacher(generalist)
        self.specialists = [as_teacher(part) for part in specialists]
        if not isinstance(class_sets, ClassSets):
            class_sets = ClassSets(tuple(map(np.asarray, class_sets)), _classes_of(self.generalist))
        self.class_sets = class_sets
        if not self.specialists or len(self.specialists) != len(class_sets):
            raise InputError(
                "`specialists` and `class_sets` must have the same length >= 1."
                f" Received: {len(self.specialists)} and {len(class_sets)}"
            )
        self._check_widths()
        self.top = top if top is None else _checks.check_count("top", top)
        if top is not None and top > class_sets.num_classes:
            raise bad("top", f"be at most the number of classes, {class_sets.num_classes}", top)
        self.tol = check_tol(tol)
        self.corrections = list(corrections or [None] * len(self.specialists))
        if len(self.corrections) != len(self.specialists):
            raise bad(
                "corrections", f"have one entry per specialist ({len(specialists)})", corrections
            )
        self.name = f"generalist and {len(self.specialists)} specialists"
        self.output_shapes = {ONLY: (None, class_sets.num_classes)}
        self.input_shapes = self.generalist.input_shapes
        self._function = tf.function(self.logits, reduce_retracing=True)

    def _check_widths(self) -> None:
        wanted = [self.class_sets.num_classes, *(len(ids) + 1 for ids in self.class_sets.sets)]
        for number, (part, width) in enumerate(
            zip([self.generalist, *self.specialists], wanted, strict=True)
        ):
            shape = part.output_shapes and plain_outputs(part.output_shapes)
            if shape is not None and (isinstance(shape, dict) or shape[1:] != (width,)):
                name = "generalist" if number == 0 else f"specialists[{number - 1}]"
                raise InputError(
                    f"`{name}` must give {width} logits per example, one per class"
                    f"{'' if number == 0 else ' of its set and the dustbin'}. Received: {shape}"
                )

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """Returns log q, float32 `(B, N)`; see `Teacher.outputs`. Layers are not supported."""
        if layers:
            raise self.no_layers(layers)
        generalist = _softmax(self.generalist.logits(x))
        active = self._active(generalist)
        parts = [
            self._where_active(number, x, active[:, number])
            for number in range(len(self.specialists))
        ]
        probs = combine(generalist, parts, self.class_sets.sets, active, tol=self.tol)
        logits = tf.math.log(tf.maximum(probs, floors(np.float64)[0]))
        return {ONLY: tf.cast(logits, tf.float32)}, {}

    def _active(self, generalist: tf.Tensor) -> tf.Tensor:
        if self.top is None:
            return tf.ones([tf.shape(generalist)[0], len(self.specialists)], tf.bool)
        return active_by_top(generalist, self.class_sets.sets, self.top)

    def _where_active(self, number: int, x: Any, active: tf.Tensor) -> tf.Tensor:
        """Returns the probabilities of one specialist; rows where it is inactive are uniform."""
        width = len(self.class_sets.sets[number]) + 1
        even = tf.fill([tf.shape(active)[0], width], tf.constant(1 / width, tf.float64))
        rows = tf.where(active)

        def some() -> tf.Tensor:
            few = tf.nest.map_structure(lambda part: tf.gather_nd(part, rows), x)
            probs = _softmax(self.specialists[number].logits(few))
            return tf.tensor_scatter_nd_update(even, rows, probs)

        return tf.cond(tf.reduce_any(active), some, lambda: even)

    def predict(self, x: Any) -> np.ndarray:
        """Returns log q of a NumPy batch, float32 `(B, N)`."""
        return self._function(tf.nest.map_structure(tf.convert_to_tensor, x)).numpy()

    def fingerprint(self) -> str | None:
        """Returns a SHA-256 of all parts, sets, and settings; None if a part has no fingerprint."""
        prints = [part.fingerprint() for part in [self.generalist, *self.specialists]]
        if None in prints:
            return None
        text = str([prints, self.class_sets.lists(), self.top, self.tol])
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes a folder: `ensemble.json`, `generalist.keras`, `specialist-00.keras`, …

        Args:
            path: The folder to write.
            overwrite: Whether to replace an existing folder.

        Raises:
            InputError: If a part is not a Keras model, or `path` cannot be written.
        """
        models_ = [_keras_model(part) for part in [self.generalist, *self.specialists]]
        with _files.atomic_path(path, overwrite=overwrite, folder=True) as folder:
            folder.mkdir()
            files = [folder / GENERALIST]
            files += [folder / f"specialist-{m:02d}.keras" for m in range(len(models_) - 1)]
            for model, file in zip(models_, files, strict=True):
                models.save(model, file)
            write_manifest(folder, files[1:], self.class_sets, self.top, self.corrections)
        return Path(path)

    @classmethod
    def load(
        cls, path: str | os.PathLike, *, imports: Sequence[str] = (), tol: float = 1e-8
    ) -> "SpecialistEnsemble":
        """Loads a folder that `save` or `train` wrote, and checks every file.

        Args:
            path: The folder.
            imports: Modules that register the parts' custom layers.
            tol: See `combine`.

        Raises:
            InputError: If `path` is not such a folder, or a file is missing or was changed.
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            raise InputError(f"{path} is not a folder of specialists: it has no {MANIFEST}.")
        manifest = EnsembleManifest.load(path / MANIFEST)
        sums = {
            GENERALIST: manifest.generalist_sha256,
            **{p.file: p.sha256 for p in manifest.parts},
        }
        for name, wanted in sums.items():
            if not (path / name).is_file() or _files.sha256(path / name) != wanted:
                raise InputError(
                    f"{path / name} is missing or was changed. Train the specialists again."
                )
        return cls(
            models.load(path / GENERALIST, imports=imports),
            [models.load(path / part.file, imports=imports) for part in manifest.parts],
            ClassSets(
                tuple(np.asarray(part.class_ids) for part in manifest.parts), manifest.num_classes
            ),
            top=manifest.top,
            tol=tol,
            corrections=[part.correction for part in manifest.parts],
        )

    def export(
        self, path: str | os.PathLike, *, quantization: str = "float32", **options: Any
    ) -> list[ExportRecord]:
        """Exports every part as a `.tflite` file in folder `path`, the generalist first.

        `combine` itself runs on the host, in NumPy.

        Args:
            path: The folder; created if it does not exist.
            quantization: See `export_tflite`.
            **options: Other arguments of `export_tflite`: `calibration`, `overwrite`, …

        Raises:
            InputError: If a part is not a Keras model, or `export_tflite` does not support it.
            VerificationError: If a file differs too much from its model.
        """
        names = ["generalist", *(f"specialist-{m:02d}" for m in range(len(self.specialists)))]
        return [
            export_tflite(
                _keras_model(part),
                Path(path) / f"{name}.tflite",
                quantization=quantization,
                **options,
            )
            for name, part in zip(names, [self.generalist, *self.specialists], strict=True)
        ]


def write_manifest(
    folder: Path,
    files: Sequence[Path],
    class_sets: ClassSets,
    top: int | None,
    corrections: Sequence[float | None],
) -> Path:
    """Writes `ensemble.json` for the models in `folder`."""
    parts = [
        EnsemblePart(
            file=file.name,
            sha256=_files.sha256(file),
            class_ids=tuple(ids.tolist()),
            correction=correction,
        )
        for file, ids, correction in zip(files, class_sets.sets, corrections, strict=True)
    ]
    manifest = EnsembleManifest(
        num_classes=class_sets.num_classes,
        top=top,
        generalist_sha256=_files.sha256(folder / GENERALIST),
        parts=tuple(parts),
    )
    return manifest.save(folder / MANIFEST, overwrite=True)


def _softmax(logits: Any) -> tf.Tensor:
    return tf.nn.softmax(tf.cast(logits, tf.float64))


def _classes_of(generalist: Teacher) -> int:
    shapes = generalist.output_shapes
    shape = shapes and plain_outputs(shapes)
    if not isinstance(shape, tuple) or shape[-1] is None:
        raise InputError(
            "`class_sets` must be a ClassSets if the generalist's number of classes is unknown."
            f" Received: a list, and {generalist.name!r} of output shape {shape}"
        )
    return shape[-1]


def _keras_model(part: Teacher) -> Any:
    if not isinstance(part, KerasTeacher):
        raise InputError(
            f"Only Keras models can be saved or exported. {part.name!r} is a {type(part).__name__}."
        )
    return part.model
