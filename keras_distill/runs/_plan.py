"""Plans a run: lists its stages, and estimates times and sizes from a few steps."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data
from keras_distill._internal import _machine, check_choice
from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill._internal._progress import Reporter
from keras_distill._internal._quantity import number_of
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._temporary import temporary_folder
from keras_distill.records import (
    AUTO,
    KEY_BYTES,
    ClassifierSettings,
    PlanRecord,
    PlanStage,
    Recipe,
    TargetsOutput,
)
from keras_distill.runs._budget import check_budget
from keras_distill.runs._candidates import precision_of
from keras_distill.runs._context import RunContext
from keras_distill.runs._load_recipe import smoke_recipe
from keras_distill.runs._losses import reads_layers
from keras_distill.runs._search import planned_rounds
from keras_distill.runs._shrink import checked_student, planned_student
from keras_distill.runs._targets import SoftTargets
from keras_distill.runs._teacher_sources import is_spec, open_teacher
from keras_distill.runs._variants import Lesson, Pupil, compiled
from keras_distill.teachers import Teacher, as_teacher
from keras_distill.training import compile_classifier, rounds_of
from keras_distill.work import Rounds, WorkFolder, training_variables

try:
    import resource
except ImportError:  # Windows
    resource = None
_TEACHER_BATCH = 128  # the batch size of SoftTargetStore.build
_LEAST = 0.5  # seconds; shorter timings are repeated


@dataclass(frozen=True)
class _Cost:
    """The measured cost of a training.

    Attributes:
        tracing: Seconds of the first execution, mostly for tracing.
        step: Seconds per step.
        validation: Seconds per validation.
        state: Bytes of the saved training state.
    """

    tracing: float
    step: float
    validation: float
    state: int

    def seconds(self, rounds: Rounds, settings: ClassifierSettings, trainings: int) -> float:
        """Returns the seconds of several trainings that share one trace."""
        if settings.seconds is not None:
            return self.tracing + trainings * settings.seconds
        steps = rounds.count * rounds.steps_per_round
        return self.tracing + trainings * (steps * self.step + rounds.count * self.validation)


def plan(
    recipe: Recipe,
    *,
    scale: str = "full",
    imports: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> PlanRecord:
    """Lists the stages of a run, and estimates its time, memory, and disk space.

    The data is loaded and everything is checked as at the start of the run. Then, a few steps of
    each training and a few batches of the teacher are timed. Only temporary files are written.

    Args:
        recipe: The recipe.
        scale: `full` or `smoke`, as for `run`.
        imports: Modules that register custom layers of `.keras` files.
        reporter: Receives the progress.

    Returns:
        The stages with their estimates.

    Raises:
        InputError: If the recipe cannot be run.
    """
    check_choice("scale", scale, ("full", "smoke"))
    if scale == "smoke":
        recipe = smoke_recipe(recipe)
    reporter = reporter or Reporter()
    with temporary_folder() as work:
        folder = WorkFolder(Path(work, "plan"), {})
        context = RunContext.load(recipe, folder, scale=scale, imports=imports, reporter=reporter)
        check_budget(context)
        stages = tuple(_stages(context))
    return PlanRecord(
        recipe=recipe,
        scale=scale,
        machine=_machine.describe(),
        stages=stages,
        notes=tuple(_notes(context)),
        peak_memory_bytes=_peak_memory(),
    )


def _stages(context: RunContext) -> Iterator[PlanStage]:
    recipe, seen = context.recipe, context.student_data
    sizes = ", ".join(f"{size} {split}" for split, size in context.splits.sizes.items())
    yield PlanStage(name="data", what=f"{recipe.data.source}: {sizes}")
    context.reporter.stage("plan", "timing the teacher")
    teacher = None
    if context.store is None:
        teacher = yield from _teacher(context)
    online = reads_layers(recipe.distillation)
    if teacher is not None and not online:
        yield _targets(context, teacher, "targets")
    live = teacher if online else None
    for number, part in enumerate(recipe.assistant, start=1):
        settings = part.applied_to(recipe.training)

        def build(seed: int, spec: str = part.model) -> keras.Model:
            return context.build(spec, seed=seed)

        pupil = Pupil(build, part.model, settings, {0: []})
        cost = _student_cost(context, pupil, SoftTargets(context, None, live))
        yield _training(context, f"{part.model} as assistant {number}", pupil, cost, 1)
        yield _targets(context, as_teacher(build(0)), f"targets of assistant {number}")
    context.reporter.stage("plan", "timing the student")
    pupil = Pupil(_student_builder(context), recipe.student.model, recipe.training, {0: []})
    soft = _student_cost(context, pupil, SoftTargets(context, None, live))
    names = recipe.variants_trained(few_labels=seen.few)
    hard = soft if names == ("distilled",) else _student_cost(context, pupil, None)
    yield from _search_stages(context, soft)
    for name in names:
        distilled = name in ("distilled", "self", "mutual")
        generations = recipe.generations if name == "distilled" else 1
        for number in range(generations):
            text = f"{recipe.student.model} {name.replace('_', ' ')}"
            text += f", generation {number + 1}" if generations > 1 else ""
            if name == "self" or number:
                model = pupil.model()
                yield _targets(context, as_teacher(model), f"targets of {name.split(':')[0]}")
            seeds = len(recipe.seeds)
            cost = soft if distilled else hard
            if name == "mutual":  # two networks
                cost = replace(cost, step=2 * cost.step)
            yield _training(context, text, pupil, cost, seeds)
    yield from _files(context, soft)


def _teacher(context: RunContext) -> Iterator[PlanStage]:
    """Yields the training stage of each member; returns the teacher with untrained members."""
    recipe, part, members = context.recipe, context.recipe.teacher, []
    settings, splits = recipe.teacher_training, context.teacher_splits
    for source in part.models:
        if not is_spec(source):
            members.append(open_teacher(source, part, context.imports))
            yield PlanStage(name="teacher", what=f"{source}, as it is")
            continue

        def build(seed: int, spec: str = source) -> keras.Model:
            return context.build_teacher(spec, seed)

        pupil = Pupil(build, source, settings, {0: []})
        model, rounds = pupil.model(), rounds_of(settings, splits.sizes["train"])
        compile_classifier(model, settings, rounds, label_smoothing=settings.label_smoothing)
        batches = data.batches(splits.train, settings.batch_size, shuffle_seed=0, epochs=None)
        cost = _measured(model, batches, rounds, context.teacher_validation)
        stage = _training_stage("teacher", source, settings, rounds, cost, part.members)
        yield stage
        members.append(as_teacher(model))
    return context.composed(members * part.members)


def _targets(context: RunContext, teacher: Teacher, what: str) -> PlanStage:
    seen, part = context.student_data, context.recipe.distillation
    views = 1 if seen.augment is None else seen.views
    count = seen.examples * views
    x, _ = next(iter(seen.train.batch(_TEACHER_BATCH)))
    x = x.numpy()
    seconds = _repeated(lambda: teacher.predict(x))
    width = TargetsOutput(shape=(context.splits.num_classes,), top_k=part.top_k).payload_bytes
    steps = -(-count // _TEACHER_BATCH)
    return PlanStage(
        name="targets",
        what=f"{what}: logits of {count} examples, stored once",
        steps=steps,
        seconds=steps * seconds,
        bytes=count * width + seen.examples * KEY_BYTES,
    )


def _search_stages(context: RunContext, cost: _Cost) -> Iterator[PlanStage]:
    """Yields the stages of a search for the student; each of its trainings is traced again."""
    if context.recipe.budget is None:
        return
    rounds, trained, examples = planned_rounds(context), 0, context.student_data.examples
    count = rounds[0].candidates if rounds else 1
    yield PlanStage(name="candidates", what=f"up to {count} students, made and exported untrained")
    seconds, steps = 0.0, 0
    for one in rounds:
        settings = context.recipe.training.model_copy(
            update={"epochs": one.epochs, "patience": None}
        )
        length = rounds_of(settings, examples)
        seconds += one.candidates * cost.seconds(length, settings, 1)
        steps += one.candidates * length.count * length.steps_per_round
        trained += one.candidates * one.epochs
    yield PlanStage(
        name="search",
        what=f"up to {count} candidates ranked in {number_of(len(rounds), 'round')}:"
        f" {number_of(trained, 'epoch')}",
        steps=steps,
        seconds=seconds,
    )


def _student_builder(context: RunContext) -> Callable[[int], keras.Model]:
    """Returns a function that builds the student.

    A student made from the teacher is made from an untrained teacher, because a plan has no folder
    with the shrunk teacher.
    """
    if context.recipe.student.model == AUTO:
        return lambda seed: planned_student(context, precision_of(context))
    if context.recipe.student.model.startswith("shrink:"):
        return lambda seed: checked_student(context)
    return context.build_student


def _student_cost(context: RunContext, pupil: Pupil, targets: SoftTargets | None) -> _Cost:
    """Measures the training of a student on labels, on stored logits, or with a running teacher."""
    seen, size = context.student_data, pupil.settings.batch_size
    rounds = rounds_of(pupil.settings, seen.examples)
    lesson = Lesson("plan", "", seen.labels_kept, seen.soft_batches, targets)
    variant = compiled(context, lesson, pupil, rounds)
    if targets is None:
        batches = seen.hard_batches(0, size, 0, all_labels=False)
    else:
        batches = seen.soft_batches(0, size, 0)
    if targets is not None and targets.teacher is None:
        classes = context.splits.num_classes

        def with_targets(x: Any, y: Any) -> Any:
            logits = tf.zeros((tf.shape(x)[0], classes))
            if isinstance(y, Targets):
                return x, y._replace(teacher=logits)
            return x, Targets(y, logits, tf.not_equal(y, data.UNLABELED))

        batches = batches.map(with_targets)
    return _measured(variant.trainer, batches, rounds, context.student_validation)


def _measured(
    trainer: keras.Model, batches: tf.data.Dataset, rounds: Rounds, validation: tf.data.Dataset
) -> _Cost:
    """Times a few executions and the validation of a compiled trainer."""
    at_once = int(trainer.steps_per_execution)
    trainer.optimizer.build(trainer.trainable_variables)

    def fit(executions: int) -> float:
        since = time.monotonic()
        trainer.fit(
            batches,
            steps_per_epoch=executions * at_once,
            shuffle=False,
            verbose=0,  # pyright: ignore[reportArgumentType]
        )
        return time.monotonic() - since

    with fused_batch_normalization(trainer):
        tracing, one = fit(1), fit(1)
        executions = max(1, min(int(_LEAST / max(one, 1e-3)), 100))
        step = (fit(executions) if executions > 1 else one) / (executions * at_once)

    def evaluate() -> None:
        trainer.evaluate(validation, verbose=0)  # pyright: ignore[reportArgumentType]

    evaluate()
    state = sum(np.asarray(v.numpy()).nbytes for v in training_variables(trainer))
    return _Cost(tracing, step, _repeated(evaluate), state)


def _repeated(function: Callable[[], Any]) -> float:
    """Returns the fewest seconds of the calls that start within `_LEAST`, after a warm-up call."""
    function()
    seconds, began = [], time.monotonic()
    while not seconds or time.monotonic() - began < _LEAST:
        since = time.monotonic()
        function()
        seconds.append(time.monotonic() - since)
    return min(seconds)


def _training(
    context: RunContext, text: str, pupil: Pupil, cost: _Cost, trainings: int
) -> PlanStage:
    rounds = rounds_of(pupil.settings, context.student_data.examples)
    return _training_stage("student", text, pupil.settings, rounds, cost, trainings)


def _training_stage(
    name: str,
    text: str,
    settings: ClassifierSettings,
    rounds: Rounds,
    cost: _Cost,
    trainings: int,
) -> PlanStage:
    steps = 0 if settings.budget else rounds.count * rounds.steps_per_round
    length = (
        settings.budget
        or f"{number_of(settings.epochs, 'epoch')} of {number_of(rounds.steps, 'step')}"
    )
    times = f"{trainings} x " if trainings > 1 else ""
    return PlanStage(
        name=name,
        what=f"{text}: {times}{length}",
        steps=steps * trainings,
        seconds=cost.seconds(rounds, settings, trainings),
        bytes=cost.state * trainings,
    )


def _files(context: RunContext, soft: _Cost) -> Iterator[PlanStage]:
    recipe = context.recipe
    yield PlanStage(name="export", what=", ".join(recipe.quantizations))
    part, training = recipe.compress, recipe.compress_training
    if part is not None and training is not None:
        steps = training.epochs * -(-context.student_data.examples // training.batch_size)
        steps *= len(part.steps)
        yield PlanStage(
            name="compress",
            what=f"{', '.join(part.steps)}: {number_of(training.epochs, 'epoch')} each",
            steps=steps,
            seconds=steps * soft.step,
        )
    yield PlanStage(name="benchmark", what="the files, on the test split")


def _notes(context: RunContext) -> Iterator[str]:
    recipe, seen = context.recipe, context.student_data
    if context.store is not None:
        yield f"No teacher runs: its logits are in {recipe.teacher}."
    elif reads_layers(recipe.distillation):
        names = [part.loss for part in recipe.distillation.losses if part.reads_layers]
        yield f"The teacher runs in every step, because of {', '.join(names)}."
    else:
        yield "The teacher's logits are stored once: no loss reads its inner layers."
    few = f"{seen.labels_kept} of {seen.labeled} labels" if seen.few else "all labels"
    yield f"The student sees {seen.examples} examples and {few}."
    if seen.augment is not None:
        yield f"Teacher and student see {seen.views} augmented views of each example."
    yield from (f"{note[0].upper()}{note[1:]}." for note in seen.notes)
    yield "Export, verification, and benchmark are not timed: some seconds for each file."


def _peak_memory() -> int | None:
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
