"""Third stage of a run: trains the student in every variant, with the same seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from keras_distill import models
from keras_distill.runs._context import RunContext
from keras_distill.runs._targets import SoftTargets, soft_targets
from keras_distill.runs._variants import Lesson, Pupil, Variant, train
from keras_distill.teachers import as_teacher

_SMOOTHING = 0.1


@dataclass(frozen=True)
class Students:
    """The trained students.

    Attributes:
        variants: The variants of the recipe, with all generations; distilled is the last.
        chosen_seed: The seed of the distilled student with the best validation accuracy.
        chosen: That student, also saved as `student.keras` in the run's folder.
    """

    variants: list[Variant]
    chosen_seed: int
    chosen: keras.Model


def train_students(context: RunContext, targets: SoftTargets) -> Students:
    """Trains every variant from the same initial weights for the same number of steps."""
    recipe = context.recipe
    pupil = Pupil.of(context.build_student, recipe.student.model, recipe.training, recipe.seeds)
    names = recipe.variants_trained(few_labels=context.student_data.few)
    variants = train_variants(context, targets, pupil, names)
    distilled = variants[-1]
    student = models.save_uncompiled(
        distilled.restore(distilled.chosen_seed), context.folder.path / "student.keras"
    )
    return Students(variants, distilled.chosen_seed, student)


def train_variants(
    context: RunContext, targets: SoftTargets | None, pupil: Pupil, names: Sequence[str]
) -> list[Variant]:
    """Trains some variants of the student.

    Args:
        context: The run.
        targets: The teacher's soft targets; None if no variant needs them.
        pupil: The student.
        names: The variants in order; `alone` before `self`.
    """
    variants: list[Variant] = []
    for name in names:
        kind, _, setting = name.partition(":")
        if kind == "distilled":
            assert targets is not None  # checked by the caller
            variants += _distilled(context, pupil, targets)
        elif kind == "mutual":
            variants.append(train(context, _mutual(context), pupil))
        elif kind == "self":
            alone = next(v for v in variants if v.lesson.name == "alone")
            variants.append(train(context, _self(context, alone), pupil))
        else:
            lesson = _hard(context, kind, float(setting or _SMOOTHING))
            variants.append(train(context, lesson, pupil))
    return variants


def _hard(context: RunContext, kind: str, smoothing: float) -> Lesson:
    """Returns a lesson on labels alone."""
    seen, size = context.student_data, context.recipe.training.batch_size
    every = kind == "alone_all_labels"
    title = f"alone, {_labels(context)}"
    if every:
        title = f"alone, all {seen.labeled} labels"
    if kind == "label_smoothing":
        title += f", label smoothing {smoothing:g}"
    return Lesson(
        kind,
        title,
        seen.labeled if every else seen.labels_kept,
        lambda seed, epoch: seen.hard_batches(seed, size, epoch, all_labels=every),
        label_smoothing=smoothing if kind == "label_smoothing" else None,
    )


def soft_lesson(context: RunContext, name: str, title: str, targets: SoftTargets) -> Lesson:
    """Returns a lesson on labels and soft targets."""
    size = context.recipe.training.batch_size
    return Lesson(
        name,
        f"{title}, {_labels(context)}",
        context.student_data.labels_kept,
        lambda seed, epoch: targets.batches(seed, size, epoch),
        targets,
    )


def _mutual(context: RunContext) -> Lesson:
    """Returns the lesson of mutual learning, in which a peer replaces the teacher.

    Source: Zhang, Xiang, Hospedales, Lu 2018 (arXiv:1706.00384).
    """
    seen, size = context.student_data, context.recipe.training.batch_size
    return Lesson(
        "mutual",
        f"with a peer, {_labels(context)}",
        seen.labels_kept,
        lambda seed, epoch: seen.soft_batches(seed, size, epoch),
        with_peer=True,
    )


def _self(context: RunContext, alone: Variant) -> Lesson:
    """Returns the lesson of self-distillation: the teacher is the best student trained alone.

    Source: Furlanello, Lipton, Tschannen, Itti, Anandkumar 2018 (born-again networks,
    arXiv:1805.04770), with a student instead of the first teacher.
    """
    targets = _targets_of(context, alone, "targets-self")
    return soft_lesson(context, "self", "distilled from itself", targets)


def _distilled(context: RunContext, pupil: Pupil, targets: SoftTargets) -> list[Variant]:
    """Trains the generations. The first learns from the teacher, each next from the previous one.

    Source: Furlanello et al. 2018 (born-again networks, arXiv:1805.04770), section 3. The best
    student of a generation, by validation accuracy, teaches all seeds of the next.
    """
    count, variants = context.recipe.generations, []
    for number in range(1, count + 1):
        last = number == count
        title = "distilled" if count == 1 else f"distilled, generation {number}"
        name = "distilled" if last else f"generation_{number}"
        variants.append(train(context, soft_lesson(context, name, title, targets), pupil))
        if not last:
            targets = _targets_of(context, variants[-1], f"targets-{name}")
    return variants


def _targets_of(context: RunContext, variant: Variant, name: str) -> SoftTargets:
    """Stores the soft targets of the best student of a variant."""
    student = variant.restore(variant.chosen_seed)
    return soft_targets(context, as_teacher(student), name)


def _labels(context: RunContext) -> str:
    return (
        f"{context.student_data.labels_kept} labels" if context.student_data.few else "all labels"
    )
