"""The job of a sweep that trains a stack of small students in one graph."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_distill.records import Curve, Recipe
from keras_distill.runs._context import RunContext
from keras_distill.runs._students import soft_lesson
from keras_distill.runs._sweep_jobs import context_of, finish_student, targets_of
from keras_distill.runs._sweep_kept import KEPT, SweepPupil, numbers_of
from keras_distill.runs._sweep_plan import DISTILLED, RESULT, student_settings
from keras_distill.runs._targets import SoftTargets
from keras_distill.training import rounds_of
from keras_distill.work import WorkFolder, fit_resumable


def train_stack(
    *,
    names: Sequence[str],
    seed: int,
    fingerprint: str | None,
    trainer: str,
    recipes: Mapping[str, dict[str, Any]],
    scale: str,
    imports: list[str],
    teacher: str | None,
    store: str | None,
    students: str,
    out: str,
) -> dict[str, Any]:
    """Trains a stack of students with one seed, or resumes its training.

    Args:
        names: The names of the jobs that would train the students separately, and that will find
            the results.
        seed: Seed of the initial weights, the order of the data, and the labels that are kept.
        fingerprint: The fingerprint of the students' teacher; None without a teacher.
        trainer: Identifies the compiled trainer; see `Point.trainer`.
        recipes: The recipe of each student's point, by name.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        teacher: The folder of the teacher; None without a teacher.
        store: The folder that `make_store` wrote; None without a store.
        students: The folder of the students' folders.
        out: The folder of unfinished work.

    Returns:
        `trained`, the names of the trained students (none if such students cannot be stacked), and
        `error`, the reason if the training failed.
    """
    places = [Path(students) / name for name in names]
    made: dict[str, Any] = {"trained": list(names), "error": None}
    with WorkFolder(out, {"names": names}, overwrite=True, what="stack of a sweep") as folder:
        if all((place / RESULT).exists() for place in places):
            folder.discard()  # the process was killed before the job was recorded
            return made
        try:
            context = context_of({**recipes[names[0]], "seeds": [seed]}, folder, scale, imports)
            pupil = KEPT.pupil(trainer, context, seed)
            if not pupil.can_be_stacked(context):
                return {"trained": [], "error": None}
            targets = targets_of(context, teacher, store, recipes[names[0]])
            parsed = [Recipe.parse(recipes[name], source="the point's recipe") for name in names]
            trained = _train(context, pupil, targets, seed, parsed)
            for i, (recipe, place) in enumerate(zip(parsed, places, strict=True)):
                marks = {**student_settings(recipe, DISTILLED), "seed": seed}
                marks["fingerprint"] = fingerprint
                student, result = trained(i)
                with WorkFolder(place, marks, overwrite=True, what="student of a sweep") as one:
                    finish_student(one, student, **result)
        except Exception as error:  # then each student is trained separately, or fails separately
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            made = {"trained": [], "error": text[:400]}
        folder.discard()
    return made


def _train(
    context: RunContext,
    pupil: SweepPupil,
    targets: SoftTargets,
    seed: int,
    recipes: Sequence[Recipe],
) -> Callable[[int], tuple[keras.Model, dict[str, Any]]]:
    """Trains a copy of the student for each recipe.

    Returns:
        A function that takes the index of a recipe and returns its student and result.
    """
    lesson = soft_lesson(context, DISTILLED, "distilled", targets)
    rounds = rounds_of(pupil.settings, context.student_data.examples)
    variant, stack = pupil.stack(context, lesson, rounds, len(recipes))
    stack.start([numbers_of(recipe.distillation) for recipe in recipes], pupil.initial[seed])
    progress = fit_resumable(
        stack,
        lambda first_epoch: lesson.batches(seed, first_epoch),
        rounds,
        context.folder.scratch / "stack.npz",
        validation_data=context.student_validation,
        report=KEPT.reporter.track(f"{len(recipes)} students, seed {seed}"),
    )

    def of(i: int) -> tuple[keras.Model, dict[str, Any]]:
        variant.reset(pupil.initial[seed])
        stack.copy_to(variant.student, i)
        logs = {key: progress.logs[f"{key}/{i}"] for key in ("loss", "val_accuracy")}
        curve = Curve.of(logs, rounds.epochs_per_round)
        return variant.student, {
            "seed": seed,
            "validation_accuracy": logs["val_accuracy"][-1],
            "seconds": progress.seconds / len(recipes),
            "curve": curve.model_dump(mode="json"),
            "validation": context.splits.sizes["validation"],
            "labels": lesson.labels,
            "steps": progress.rounds * rounds.steps_per_round,
        }

    return of
