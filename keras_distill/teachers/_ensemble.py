"""Several teachers as one."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill._internal import InputError, bad, check_choice, check_number
from keras_distill._internal._files import atomic_path, write_json
from keras_distill.records import ENSEMBLE_FORMAT as SPECIALISTS
from keras_distill.teachers._base import Teacher, map_outputs
from keras_distill.teachers._keras_teacher import KerasTeacher

SETTINGS = "ensemble.json"


class TeacherEnsemble(Teacher):
    """The mean of several teachers.

    Geometric: the weighted mean of the logits, exact at every temperature (softmax of the mean
    logits is the normalized geometric mean of the softened probabilities). Arithmetic: the
    weighted mean of the probabilities softened at T₀, given as logits T₀·log Σ w_i softmax(t_i/T₀),
    which are good for the temperature T₀ only. Source: Hinton, Vinyals, Dean 2015
    (arXiv:1503.02531), section 2: "either an arithmetic or geometric mean".

    Args:
        models: Teachers, or anything `as_teacher` takes; at least one.
        weights: A weight >= 0 per member, scaled to the sum 1; None: all the same.
        mean: "geometric" or "arithmetic".
        temperature: T₀ > 0, for the arithmetic mean only.

    Raises:
        InputError: If the members' outputs differ in shape, or a setting breaks its rule.

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
        from keras_distill.teachers._source import as_teacher

        if not isinstance(models, list | tuple) or not models:
            raise bad("models", "be a list of one or more teachers", models)
        self.members = [as_teacher(model) for model in models]
        self.mean = check_choice("mean", mean, ("geometric", "arithmetic"))
        self.weights = _shares(weights, len(self.members))
        self.temperature = _temperature(self.mean, temperature, self.members)
        self.on_host = any(member.on_host for member in self.members)
        self.name = f"ensemble of {len(self.members)}"
        self.output_shapes = _common("output", [m.output_shapes for m in self.members])
        self.input_shapes = _common("input", [m.input_shapes for m in self.members])

    def outputs(self, x: Any, layers: Sequence[str] = ()) -> tuple[Any, dict[str, Any]]:
        """The mean logits; see `Teacher.outputs`. An ensemble has no layers."""
        if layers:
            raise self.no_layers(layers)
        first, *others = [member.logits(x) for member in self.members]
        return map_outputs(lambda *logits: self._mean(logits), first, *others), {}

    @property
    def uncertain(self) -> bool:
        """Whether a member is; see `Teacher.uncertain`."""
        return any(member.uncertain for member in self.members)

    def look(self, x: Any) -> Any:
        """The logits of a batch, once every member was looked at; see `Teacher.look`."""
        for member in self.members:
            member.look(x)
        return self.logits(x)

    def save(self, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Writes the members as .keras files, and how they are averaged, to a folder.

        `as_teacher(folder)` and `TeacherEnsemble.load(folder)` read it.

        Args:
            folder: Written as a whole or not at all.
            overwrite: Whether one that is there may be replaced.

        Raises:
            InputError: If a member is no Keras model, or the folder is there.
        """
        models = [member.model for member in self.members if isinstance(member, KerasTeacher)]
        if len(models) < len(self.members):
            kinds = ", ".join(type(member).__name__ for member in self.members)
            raise bad("members", "all be Keras models to be saved", kinds)
        with atomic_path(folder, overwrite=overwrite) as temporary:
            temporary.mkdir()
            for i, model in enumerate(models):
                model.save(temporary / f"member-{i}.keras")
            settings = {
                "members": len(models),
                "weights": self.weights,
                "mean": self.mean,
                "temperature": self.temperature,
            }
            write_json(temporary / SETTINGS, settings)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "TeacherEnsemble":
        """Reads what `save` wrote.

        Args:
            folder: The folder.

        Raises:
            InputError: If it is not there, or holds something else.
        """
        path = Path(folder) / SETTINGS
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            if settings.get("format") == SPECIALISTS:
                raise InputError(
                    f"{folder} holds a generalist with specialists. Open it with"
                    " `specialists.SpecialistEnsemble.load`, or distil it with `keras-distill"
                    " specialists distill`."
                )
            count = settings.pop("members")
            members = [Path(folder) / f"member-{i}.keras" for i in range(count)]
            return cls(members, **settings)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: no ensemble that `save` wrote ({error}).") from error

    def fingerprint(self) -> str | None:
        """sha256 of the members' fingerprints, weights and mean; None if one member has none."""
        prints = [member.fingerprint() for member in self.members]
        if None in prints:
            return None
        text = f"{prints}{self.weights}{self.mean}{self.temperature}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _mean(self, logits: Sequence[Any]) -> tf.Tensor:
        # A member of weight 0 is left out: 0 times a logit of -inf would be NaN.
        parts = [
            (w, tf.cast(t, tf.float32)) for w, t in zip(self.weights, logits, strict=True) if w > 0
        ]
        if self.mean == "geometric":
            return tf.add_n([w * t for w, t in parts])
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
    """The only temperature the mean is good for, None for any; members may have one already."""
    only = {member.temperature for member in members} - {None}
    if mean == "geometric" and temperature is not None:
        raise bad("temperature", "be left out for the geometric mean", temperature)
    if mean == "arithmetic":
        if temperature is None:
            raise bad(
                "temperature",
                "be given for the arithmetic mean, which is good for one temperature",
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


def _common(side: str, shapes: list[Any]) -> Any:
    """The shape that all members with a known shape share, an axis known if one member knows it."""
    known = [shape for shape in shapes if shape is not None]
    common = known[0] if known else None
    for shape in known[1:]:
        try:
            common = _merged(common, shape)
        except ValueError:
            raise InputError(
                f"The teachers of an ensemble must have the same {side} shape."
                f" Received: {known[0]} and {shape}."
            ) from None
    return common


def _merged(a: Any, b: Any) -> Any:
    """Two shapes, or structures of them, as one; None is what is not known.

    Raises:
        ValueError: If they differ.
    """
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return {name: _merged(shape, b[name]) for name, shape in a.items()}
    if isinstance(a, list | tuple) and type(a) is type(b) and len(a) == len(b):
        return type(a)(_merged(x, y) for x, y in zip(a, b, strict=True))
    if a != b:
        raise ValueError
    return a
