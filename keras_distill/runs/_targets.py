"""Provides the soft targets: the teacher's stored logits, or the teacher in every step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_distill.runs._context import RunContext
from keras_distill.runs._losses import reads_layers
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import Teacher


@dataclass(frozen=True)
class SoftTargets:
    """The source of the teacher's logits in a distillation.

    Attributes:
        context: The run.
        store: The stored logits; None if the teacher runs in every step.
        teacher: The teacher that runs in every step; None if there is a store.
    """

    context: RunContext
    store: SoftTargetStore | None
    teacher: Teacher | None = None

    def batches(self, seed: int, batch_size: int, first_epoch: int) -> tf.data.Dataset:
        """Returns endless batches of all examples, with the labels that the student sees."""
        seen = self.context.student_data
        if self.store is None:
            return seen.soft_batches(seed, batch_size, first_epoch)
        return stored_batches(self.store, seen.with_few_labels(seed), batch_size, seed, first_epoch)

    def stored(self) -> SoftTargetStore:
        """Returns the store; builds it now if the teacher runs in every step."""
        if self.store is not None:
            return self.store
        assert self.teacher is not None  # one of the two is always given
        return store_targets(self.context, self.teacher)


def stored_batches(
    store: SoftTargetStore,
    examples: tf.data.Dataset,
    batch_size: int,
    seed: int,
    first_epoch: int,
) -> tf.data.Dataset:
    """Returns endless batches of examples with stored logits.

    For an arithmetic mean, the temperature has already been compared with that of the losses.
    """
    batches = store.batches(
        examples,
        batch_size,
        seed=seed,
        first_epoch=first_epoch,
        temperature=store.manifest.teacher.temperature,
    )
    return batches.repeat()


def soft_targets(
    context: RunContext, teacher: Teacher | None, name: str = "targets"
) -> SoftTargets:
    """Stores a teacher's logits; if a loss reads its layers, the teacher runs in every step.

    Args:
        context: The run.
        teacher: The teacher; None if the recipe names a store.
        name: Name of the store in the run's scratch folder.
    """
    if teacher is None:
        count = context.student_data.examples
        context.reporter.stage("targets", f"those of {count} examples in {context.recipe.teacher}")
        return SoftTargets(context, context.store)
    if reads_layers(context.recipe.distillation):
        context.reporter.stage("targets", "none stored: the teacher runs in every step")
        return SoftTargets(context, None, teacher)
    return SoftTargets(context, store_targets(context, teacher, context.folder.scratch / name))


def store_targets(
    context: RunContext, teacher: Teacher, path: Path | None = None
) -> SoftTargetStore:
    """Builds a store of soft targets, or opens the store that an earlier session built.

    Args:
        context: The run.
        teacher: The teacher.
        path: The folder of the store. If None, `targets` in the run's scratch folder.
    """
    seen, part = context.student_data, context.recipe.distillation
    views = {} if seen.augment is None else {"views": seen.views, "augment": seen.augment}
    count = seen.examples * views.get("views", 1)
    context.reporter.stage("targets", f"{count} soft targets, stored once")
    path = path or context.folder.scratch / "targets"
    if path.exists():
        return SoftTargetStore.open(path)
    settings: dict[str, Any] = {"top_k": part.top_k, **views}
    report = context.reporter.track("teacher", count)
    return SoftTargetStore.build(teacher, seen.train, path, progress=report, **settings)
