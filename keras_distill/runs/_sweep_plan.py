"""Plans a sweep: points, students, teachers, and their settings. Does not need TensorFlow."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_distill._internal import InputError, _files
from keras_distill.records import Recipe, SchedulePart, SweepPart
from keras_distill.runs._load_recipe import smoke_recipe

DISTILLED = "distilled"
WEIGHTS, RESULT = "student.npz", "result.json"
"""Files that the jobs leave in their folders."""

Asked = tuple[Mapping[str, Any], tuple[int, ...]]
"""A point as asked for: its changes of the recipe, and its seeds."""

# Parts of a recipe that affect neither students nor teachers.
_NO_RESULT = dict.fromkeys(
    [
        "name",
        "summary",
        "budget",
        "variants",
        "seeds",
        "sweep",
        "export",
        "compress",
        "benchmark",
    ],
    True,
)
# Parts that affect only students, or only students and assistants.
_STUDENT = dict.fromkeys(["student", "training", "generations"], True)
_LESSON = {"alpha", "temperature", "losses"}
# Settings that affect neither the teacher nor its store, unless there are assistants.
_NOT_STORE: dict[str, Any] = {
    **_STUDENT,
    "assistant": True,
    "data": {"data_dir", "labels"},
    "distillation": _LESSON,
}
# Settings that do not affect the teacher.
_NOT_TEACHER: dict[str, Any] = {
    **_NOT_STORE,
    "data": {"data_dir", "labels", "omit_classes", "unlabeled"},
    "distillation": True,
}
# Settings that do not affect students trained without a teacher.
_NOT_ALONE: dict[str, Any] = {
    "teacher": True,
    "assistant": True,
    "generations": True,
    "distillation": {*_LESSON, "top_k"},
}
_STORE, _ENSEMBLE = "manifest.json", "ensemble.json"


@dataclass
class Point:
    """The settings of one student, to be trained with some seeds.

    Attributes:
        name: The name of the point; it depends on the settings that determine the weights.
        variant: `distilled`, or the variant of a reference.
        recipe: The recipe of the point, at the scale of the sweep.
        seeds: The seeds, in the order in which they were requested.
        reference: The name of the point with which it is compared; None without one.
    """

    name: str
    variant: str
    recipe: Recipe
    seeds: dict[int, None] = field(default_factory=dict)
    reference: str | None = None

    @property
    def taught(self) -> bool:
        """Whether its students learn from a teacher."""
        return self.variant == DISTILLED

    @property
    def teacher(self) -> str | None:
        """The name of its teacher; None if it needs no teacher, or the recipe names a store."""
        if is_store(self.recipe) or not (self.taught or _is_shrunk(self.recipe)):
            return None
        return _named("teacher", teacher_settings(self.recipe))

    @property
    def store(self) -> str | None:
        """The name of the store that the sweep builds for it; None without one."""
        if not self.taught or (is_store(self.recipe) and not self.recipe.assistant):
            return None
        return _named("store", store_settings(self.recipe))

    @property
    def trainer(self) -> str:
        """Identifies the compiled trainer, shared by points with equal values."""
        part = self.recipe.distillation
        given = {"alpha": part.alpha, "temperature": part.temperature}
        numbers = {name for name, v in given.items() if not isinstance(v, SchedulePart)}
        exclude = {"data": {"data_dir"}, "distillation": numbers}
        return digest([self.variant, _settings(self.recipe, exclude)])

    @property
    def stack(self) -> str | None:
        """Identifies the points whose students may be stacked with its own; None if none may.

        Such points differ only in alpha and temperature, which are numbers. They use the default
        loss and the same store, and end at the same step.
        """
        recipe, training, augment = self.recipe, self.recipe.training, self.recipe.data.augment
        part = recipe.distillation
        alone = [
            not self.taught,
            part.losses,
            isinstance(part.alpha, SchedulePart) or isinstance(part.temperature, SchedulePart),
            recipe.generations > 1,
            augment is not None and (augment.mixup or augment.cutmix),
            _is_shrunk(recipe),
            training.clip_norm,
            training.patience,
            training.budget,
            training.precision != "float32",
        ]
        return None if any(alone) else digest([self.trainer, self.store])

    def student(self, seed: int) -> str:
        """Returns the name of the job of a student."""
        return f"{self.name}-s{seed}"


def plan(recipe: Recipe, scale: str, earlier: Iterable[Asked] = ()) -> list[Point]:
    """Plans a sweep: the points in the order in which they were requested, then references.

    Args:
        recipe: The recipe, with `[sweep]`.
        scale: `full` or `smoke`.
        earlier: The points of earlier commands, which remain in the sweep.

    Raises:
        InputError: If there are no points, the recipe of a point is not valid, or the recipe has a
            budget.
    """
    if recipe.budget is not None:
        raise InputError(
            "A sweep trains the students that its points name: leave out [budget], which searches"
            " for one. Received: [budget] in the recipe. Give --grid student.model=…"
        )
    part = recipe.sweep or SweepPart()
    asked = [(changes, at_scale(recipe, scale).seeds) for changes in part.expanded()]
    if not asked:
        raise InputError(
            "A sweep needs points: --grid KEY=VALUE,VALUE (may be repeated), or [sweep] with"
            " `grid`, `points`, or `random` in the recipe."
        )
    points: dict[str, Point] = {}

    def add(made: Recipe, variant: str, seeds: Iterable[int]) -> Point:
        name = _named(variant.partition(":")[0], student_settings(made, variant))
        point = points.setdefault(name, Point(name, variant, made))
        point.seeds.update(dict.fromkeys(seeds))
        return point

    for changes, seeds in [*earlier, *asked]:
        add(at_scale(recipe.with_changes(changes), scale), DISTILLED, seeds)
    distilled = list(points.values())
    if isinstance(part.reference, dict):
        made = at_scale(recipe.with_changes(part.reference), scale)
        seeds = {seed for point in distilled for seed in point.seeds}
        reference = add(made, DISTILLED, sorted(seeds))
        for point in distilled:
            point.reference = None if point is reference else reference.name
    elif part.reference != "none":
        for point in distilled:
            point.reference = add(point.recipe, part.reference, point.seeds).name
    return list(points.values())


def matters(variant: str, key: str) -> bool:
    """Returns whether a setting, given by its dotted key, affects students of a variant."""
    first, _, rest = key.partition(".")
    ignored = _NOT_ALONE.get(first, False)
    return variant == DISTILLED or not (
        ignored is True or (ignored and rest.partition(".")[0] in ignored)
    )


def at_scale(recipe: Recipe, scale: str) -> Recipe:
    """Returns the recipe as it is trained at the given scale."""
    return smoke_recipe(recipe) if scale == "smoke" else recipe


def base_settings(recipe: Recipe, scale: str) -> dict[str, Any]:
    """Returns the settings that all commands of a sweep must share: those its points inherit."""
    return {"scale": scale, **_settings(recipe, {"data": {"data_dir"}})}


def student_settings(recipe: Recipe, variant: str) -> dict[str, Any]:
    """Returns the settings that determine the weights of a student, except the seed."""
    files = [recipe.student.model, recipe.student.pretrained or ""]
    exclude: dict[str, Any] = {"data": {"data_dir"}}
    if variant == DISTILLED:
        files += [*recipe.teacher.models, *(part.model for part in recipe.assistant)]
    else:
        exclude |= _NOT_ALONE
    values = {"variant": variant, **_settings(recipe, exclude), "files": _checksums(files)}
    if variant != DISTILLED and _is_shrunk(recipe):
        values["teacher"] = teacher_settings(recipe)
    return values


def teacher_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns the settings that determine the teacher."""
    models, exclude = recipe.teacher.models, _NOT_TEACHER
    trained = [name for name in models if not (name.startswith("py:") or Path(name).exists())]
    if not trained or recipe.teacher.augment is not None:
        exclude = {**exclude, "data": {*exclude["data"], "augment"}}
    values = {**_settings(recipe, exclude), "files": _checksums(models)}
    if trained:  # it also depends on the settings of the student's training
        values["training"] = recipe.teacher_training.model_dump(mode="json")
    return values


def store_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns the settings that determine the store from which students learn."""
    exclude: dict[str, Any] = {**_NOT_STORE, "teacher": True}
    if recipe.assistant:  # assistants are students themselves
        exclude = {"student": True, "generations": True, "data": {"data_dir"}, "teacher": True}
    elif recipe.teacher.mean == "arithmetic":  # the mean of probabilities at the temperature
        exclude["distillation"] = _LESSON - {"temperature"}
    return {"teacher": teacher_settings(recipe), **_settings(recipe, exclude)}


def is_store(recipe: Recipe) -> bool:
    """Returns whether the recipe names a store of soft targets as its teacher."""
    return any((Path(name) / _STORE).is_file() for name in recipe.teacher.models)


def _is_shrunk(recipe: Recipe) -> bool:
    """Returns whether the student is a narrower copy of the teacher."""
    return recipe.student.model.startswith("shrink:")


def digest(values: Any) -> str:
    """Returns 8 hexadecimal digits that identify JSON values."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _named(kind: str, settings: Mapping[str, Any]) -> str:
    return f"{kind}-{digest(settings)}"


def _settings(recipe: Recipe, exclude: Mapping[str, Any]) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={**_NO_RESULT, **exclude})


def _checksums(models: Iterable[str]) -> dict[str, str]:
    """Returns the checksums of models that are files or folders with a manifest, by path."""
    found: dict[str, str] = {}
    for name in models:
        path = Path(name)
        files = [path, path / _STORE, path / _ENSEMBLE]
        file = next((file for file in files if name and file.is_file()), None)
        if file is not None:
            found[name] = _files.sha256(file)
    return found
