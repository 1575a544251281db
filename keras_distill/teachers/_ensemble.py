"""Ensembles of teachers of any kind, and `as_teacher`, which accepts every kind."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import Self

from keras_distill import models
from keras_distill._internal import InputError, _user_code, bad, check_choice, check_number
from keras_distill._internal._files import atomic_path, read_json, write_json
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Outputs, PathLike, Shape, Tensor
from keras_distill.losses import known_differ
from keras_distill.records import ENSEMBLE_FORMAT as SPECIALISTS
from keras_distill.teachers._base import Teacher
from keras_distill.teachers._callable_teacher import CallableTeacher
from keras_distill.teachers._heads import Head
from keras_distill.teachers._keras_teacher import KerasTeacher
from keras_distill.teachers._outputs import plain_outputs
from keras_distill.teachers._saved_model import SavedModelTeacher
from keras_distill.teachers._tflite import TFLiteTeacher

SETTINGS = "ensemble.json"


class TeacherEnsemble(Teacher):
    """The mean of several teachers.

    The geometric mean is the weighted mean of the logits. It is exact at every temperature: the
    softmax of the mean logits is the normalized geometric mean of the softened probabilities. The
    arithmetic mean is the weighted mean of the probabilities softened at T₀. Its logits
    T₀·log Σ w_i softmax(t_i/T₀) are valid only at the temperature T₀. Source: Hinton, Vinyals, Dean
    2015 (arXiv:1503.02531), section 2: "either an arithmetic or geometric mean".

    Args:
        models: One or more teachers, or any values that `as_teacher` accepts.
        weights: A weight >= 0 per member, scaled to the sum 1; None for equal weights.
        mean: "geometric" or "arithmetic".
        temperature: T₀ > 0, only for the arithmetic mean.

    Raises:
        InputError: If the shapes of the members' outputs differ, or a setting is invalid.

    Example:
        >>> import numpy as np
        >>> from keras_distill.teachers import CallableTeacher
        >>> one = CallableTeacher(lambda x: np.array([[2.0, 0.0]]), name="one")
        >>> two = CallableTeacher(lambda x: np.array([[0.0, 2.0]]), name="two")
        >>> TeacherEnsemble([one, two], weights=[3, 1]).predict(np.zeros((1, 4))).tolist()
        [[1.5, 0.5]]
    """

    def __init__(
        self,
        models: Sequence[Any],
        weights: Sequence[float] | None = None,
        mean: str = "geometric",
        *,
        temperature: float | None = None,
    ) -> None:
        if not isinstance(models, list | tuple) or not models:
            raise bad("models", "be a list of one or more teachers", models)
        self.members = [as_teacher(model) for model in models]
        self.mean = check_choice("mean", mean, ("geometric", "arithmetic"))
        self.weights = _shares(weights, len(self.members))
        self.temperature = _temperature(self.mean, temperature, self.members)
        self.on_host = any(member.on_host for member in self.members)
        self.name = f"ensemble of {len(self.members)}"
        self.output_shapes = _common("output", [m.output_shapes for m in self.members])
        inputs = [m.input_shapes for m in self.members]
        common = _common("input", [None if i is None else dict(enumerate(i)) for i in inputs])
        self.input_shapes = None if common is None else list(common.values())

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Outputs, Outputs]:
        """Computes the mean logits; see `Teacher.outputs`. An ensemble has no layers."""
        if layers:
            raise self.no_layers(layers)
        return self._means([member.read(x)[0] for member in self.members]), {}

    @property
    def needs_check(self) -> bool:
        """Whether a member needs a check; see `Teacher.needs_check`."""
        return any(member.needs_check for member in self.members)

    def checked_logits(self, x: Any, values: Collection[str] = ()) -> Outputs:
        """Returns the mean logits after checking every member; see `Teacher.checked_logits`."""
        return self._means([member.checked_logits(x, values) for member in self.members])

    def declared(self, from_probabilities: Declared) -> Self:
        """Returns the ensemble of the declared members; see `Teacher.declared`."""
        changed = super().declared(from_probabilities)
        if changed is not self:
            changed.from_probabilities = None  # the members convert their outputs
            changed.members = [member.declared(from_probabilities) for member in self.members]
        return changed

    def head(self, name: str) -> Head | None:
        """Returns the head of an output if all members have the same head, else None."""
        heads = [member.head(name) for member in self.members]
        kinds = {"unknown" if head is None else head.kind for head in heads}
        return heads[0] if len(kinds) == 1 else None

    def save(self, folder: PathLike, *, overwrite: bool = False) -> Path:
        """Writes the members as .keras files, and the settings of the mean, to a folder.

        `as_teacher(folder)` and `TeacherEnsemble.load(folder)` load the folder.

        Args:
            folder: The folder to write, atomically.
            overwrite: Whether to replace an existing one.

        Raises:
            InputError: If a member is not a Keras model, or the folder exists.
        """
        found = [member.model for member in self.members if isinstance(member, KerasTeacher)]
        if len(found) < len(self.members):
            kinds = ", ".join(type(member).__name__ for member in self.members)
            raise bad("members", "all be Keras models to be saved", kinds)
        with atomic_path(folder, overwrite=overwrite, folder=True) as temporary:
            temporary.mkdir()
            for i, model in enumerate(found):
                models.save(model, temporary / f"member-{i}.keras")
            settings = {
                "members": len(found),
                "weights": self.weights,
                "mean": self.mean,
                "temperature": self.temperature,
            }
            write_json(temporary / SETTINGS, settings)
        return Path(folder)

    @classmethod
    def load(cls, folder: PathLike) -> "TeacherEnsemble":
        """Loads an ensemble that `save` wrote.

        Args:
            folder: The folder.

        Raises:
            InputError: If the folder does not exist, or is not a saved ensemble.
        """
        path = Path(folder) / SETTINGS
        try:
            settings: Any = read_json(path)
        except InputError as error:
            raise InputError(f"{path}: no ensemble that `save` wrote ({error}).") from error
        try:
            if settings.get("format") == SPECIALISTS:
                raise InputError(
                    f"{folder} holds a generalist with specialists. Open it with"
                    " `specialists.SpecialistEnsemble.load`, or distill it with `keras-distill"
                    " specialists distill`."
                )
            count = settings.pop("members")
            members = [Path(folder) / f"member-{i}.keras" for i in range(count)]
            return cls(members, **settings)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: no ensemble that `save` wrote ({error}).") from error

    def fingerprint(self) -> str | None:
        """Returns the SHA-256 of the members' fingerprints, weights, and mean.

        Returns None if a member has no fingerprint.
        """
        prints = [member.fingerprint() for member in self.members]
        if None in prints:
            return None
        text = f"{prints}{self.weights}{self.mean}{self.temperature}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _means(self, outputs: Sequence[Outputs]) -> Outputs:
        names = list(outputs[0])
        if any(set(part) != set(names) for part in outputs):
            found = ", ".join(str(sorted(part)) for part in outputs)
            raise InputError(
                f"The teachers of an ensemble must have the same outputs. Received: {found}."
            )
        return {name: self._mean([part[name] for part in outputs]) for name in names}

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        # A member of weight 0 is skipped: 0 times a logit of -inf would be NaN.
        parts = [
            (w, tf.cast(t, tf.float32)) for w, t in zip(self.weights, logits, strict=True) if w > 0
        ]
        if self.mean == "geometric":
            return tf.add_n([w * t for w, t in parts])
        assert self.temperature is not None  # the arithmetic mean has one
        shares = [tf.nn.log_softmax(t / self.temperature) + tf.math.log(w) for w, t in parts]
        return self.temperature * tf.reduce_logsumexp(tf.stack(shares), axis=0)


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0 / count] * count
    if len(weights) != count:
        raise bad("weights", f"have one value per model ({count})", list(weights))
    values = [check_number(f"weights[{i}]", w, at_least=0) for i, w in enumerate(weights)]
    if sum(values) == 0:
        raise bad("weights", "not all be 0", list(weights))
    return [value / sum(values) for value in values]


def _temperature(mean: str, temperature: float | None, members: Sequence[Teacher]) -> float | None:
    """Returns the only temperature at which the mean is valid; None for any temperature."""
    given = [member.temperature for member in members]
    only = {value for value in given if value is not None}
    if mean == "geometric" and temperature is not None:
        raise bad("temperature", "be left out for the geometric mean", temperature)
    if mean == "arithmetic":
        if temperature is None:
            raise bad(
                "temperature",
                "be given for the arithmetic mean, which is valid at one temperature",
                temperature,
                "Give the temperature of the loss, or use mean='geometric'.",
            )
        only.add(check_number("temperature", temperature, above=0))
    if len(only) > 1:
        raise InputError(
            "The arithmetic ensembles among the teachers must all be of one temperature."
            f" Received: {', '.join(f'{value:g}' for value in sorted(only))}."
        )
    return only.pop() if only else None


def _common(side: str, members: Sequence[Mapping[Any, Shape] | None]) -> dict[Any, Shape] | None:
    """Returns the shapes that all members with known shapes share.

    An axis is known if at least one member knows its size.
    """
    known = [shapes for shapes in members if shapes is not None]
    if not known:
        return None
    common = dict(known[0])
    for shapes in known[1:]:
        if not _agree(common, shapes):
            first, other = (plain_outputs(part) for part in (known[0], shapes))
            raise InputError(
                f"The teachers of an ensemble must have the same {side} shape."
                f" Received: {first} and {other}."
            )
        for key, shape in shapes.items():
            pairs = zip(common[key], shape, strict=True)
            common[key] = tuple(b if a is None else a for a, b in pairs)
    return common


def _agree(a: Mapping[Any, Shape], b: Mapping[Any, Shape]) -> bool:
    if a.keys() != b.keys():
        return False
    ranks = all(len(a[key]) == len(b[key]) for key in a)
    return ranks and not any(known_differ(a[key], b[key]) for key in a)


def as_teacher(
    source: Any,
    *,
    from_probabilities: Declared = None,
    imports: Sequence[str] = (),
    threads: int | None = None,
) -> Teacher:
    """Returns `source` as a `Teacher`.

    If the graph of a Keras model or of a `.tflite` file shows a softmax or sigmoid at its end, the
    activation is removed exactly. Otherwise, declare probabilities with `from_probabilities`.

    Args:
        source: A `Teacher`; a Keras 3 model; a list of sources (their geometric mean); the path of
            a .keras or .tflite file, of a SavedModel folder, or of a saved ensemble; a function
            from a NumPy batch to logits; or `py:package.module:function`, which returns one of
            these.
        from_probabilities: Whether the source gives probabilities. With None, an error is raised if
            all values of the first batch are in 0..1. False means logits. True means
            probabilities, which are converted with log p if rows sum to 1, otherwise with
            log(p / (1 - p)). "softmax" or "sigmoid" selects one of these two conversions.
        imports: Modules that register custom layers of .keras files.
        threads: Threads of .tflite files; None: see `TFLiteTeacher`.

    Raises:
        InputError: If `source` is not one of these. For a file, the message names its kind and what
            to do.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> type(as_teacher([model, model])).__name__
        'TeacherEnsemble'
    """
    return _as_teacher(source, imports, threads).declared(from_probabilities)


def _as_teacher(source: Any, imports: Sequence[str], threads: int | None) -> Teacher:
    if isinstance(source, Teacher):
        if not isinstance(source.output_shapes, Mapping | None):
            raise bad(
                "output_shapes",
                'be a dict of shapes by output name, "" for a single output',
                source.output_shapes,
            )
        return source
    if isinstance(source, keras.Model):
        return KerasTeacher(source)
    if isinstance(source, list | tuple):
        return TeacherEnsemble([_as_teacher(part, imports, threads) for part in source])
    if isinstance(source, str) and source.startswith("py:"):
        return _as_teacher(_user_code.call("teacher", source), imports, threads)
    if isinstance(source, str | os.PathLike):
        return _of_file(source, imports, threads)
    if callable(source) and not isinstance(source, type):
        return CallableTeacher(source)
    raise bad(
        "teacher",
        "be a Keras 3 model, a list of them, a Teacher, a .keras or .tflite file, or a function",
        source,
    )


def _of_file(path: PathLike, imports: Sequence[str], threads: int | None) -> Teacher:
    found = models.model_file(path, models.TEACHERS, name="teacher")
    if found.kind == models.ENSEMBLE:
        return TeacherEnsemble.load(found.path)
    if found.kind == models.SAVED_MODEL:
        return SavedModelTeacher(found.path)
    if found.kind == models.TFLITE:
        return TFLiteTeacher(found.path, threads=threads)
    return KerasTeacher(models.load(found.path, imports=imports))
