"""The job of a sweep that trains small students stacked in one graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_distill.records import Curve, Recipe
from keras_distill.runs._students import soft_lesson
from keras_distill.runs._sweep_jobs import context_of, finish_student, targets_of
from keras_distill.runs._sweep_kept import KEPT, numbers_of
from keras_distill.runs._sweep_plan import DISTILLED, RESULT, student_settings
from keras_distill.training import can_be_stacked, rounds_of
from keras_distill.work import WorkFolder, fit_resumable

_MOST_PARAMETERS = 120_000  # of a student; the step of a larger one is work, not overhead


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
    """Trains students of one seed stacked, or resumes their training.

    Args:
        names: Those of the jobs that would train them alone, and that will find the results.
        seed: Seed of initial weights, order of data, and choice of the labels kept.
        fingerprint: Their teacher's; None without.
        trainer: Identifies their trainer; see `Point.trainer`.
        recipes: The recipe of the point of each, by name.
        scale: `full` or `smoke`.
        imports: Modules that register custom layers.
        teacher: The folder of their teacher; None without.
        store: The folder that `make_store` wrote; None without.
        students: Where the folders of the students are.
        out: The folder of unfinished work.

    Returns:
        How many were `trained`: 0 if students of this kind are not, and nothing was written.
    """
    made = {"trained": len(names)}
    if all((Path(students) / name / RESULT).exists() for name in names):
        return made
    first = recipes[names[0]]
    with WorkFolder(out, {"names": names}, overwrite=True, what="stack of a sweep") as folder:
        context = context_of({**first, "seeds": [seed]}, folder, scale, imports)
        pupil = KEPT.pupil(trainer, context, seed)
        student = context.build_student(seed)
        if student.count_params() > _MOST_PARAMETERS or not can_be_stacked(student):
            return {"trained": 0}
        parsed = [Recipe.parse(recipes[name], source="the point's recipe") for name in names]
        targets = targets_of(context, teacher, store, first)
        lesson = soft_lesson(context, DISTILLED, "distilled", targets)
        rounds = rounds_of(pupil.settings, context.student_data.examples)
        variant, stack = pupil.stack(context, lesson, rounds, len(names))
        stack.start([numbers_of(recipe.distillation) for recipe in parsed], pupil.initial[seed])
        progress = fit_resumable(
            stack,
            lambda first_epoch: lesson.batches(seed, first_epoch),
            rounds,
            folder.scratch / "stack.npz",
            validation_data=context.student_validation,
            report=KEPT.reporter.track(f"{len(names)} students, seed {seed}"),
        )
        for i, (name, recipe) in enumerate(zip(names, parsed, strict=True)):
            marks = {**student_settings(recipe, DISTILLED), "seed": seed}
            marks["fingerprint"] = fingerprint
            variant.reset(pupil.initial[seed])
            stack.copy_to(variant.student, i)
            where = Path(students) / name
            with WorkFolder(where, marks, overwrite=True, what="student of a sweep") as one:
                logs = {key: progress.logs[f"{key}/{i}"] for key in ("loss", "val_accuracy")}
                finish_student(
                    one,
                    variant.student,
                    seed=seed,
                    validation_accuracy=logs["val_accuracy"][-1],
                    seconds=progress.seconds / len(names),
                    curve=Curve.of(logs, rounds.epochs_per_round).model_dump(mode="json"),
                    validation=context.splits.sizes["validation"],
                    labels=lesson.labels,
                    steps=progress.rounds * rounds.steps_per_round,
                )
        folder.discard()
    return made
