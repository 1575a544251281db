"""Trains teacher assistants. Each is distilled from the previous teacher and then replaces it."""

from dataclasses import dataclass

import keras

from keras_distill import models
from keras_distill.records import Curve
from keras_distill.runs._context import RunContext
from keras_distill.runs._targets import SoftTargets, soft_targets
from keras_distill.runs._variants import Lesson, Pupil, train
from keras_distill.teachers import Teacher, as_teacher

_SEED = 2_000_003  # differs from the seeds of the teacher and the students


@dataclass(frozen=True)
class Assistant:
    """A trained assistant, also saved as `assistant-1.keras`, … in the run's folder.

    Attributes:
        spec: The spec in the recipe.
        model: The model.
        validation_accuracy: Accuracy of the trained model on the validation split, 0..1.
        curve: The logs of the training.
    """

    spec: str
    model: keras.Model
    validation_accuracy: float
    curve: Curve

    @property
    def teacher(self) -> Teacher:
        """The model as a teacher."""
        return as_teacher(self.model)


def train_assistants(
    context: RunContext, targets: SoftTargets
) -> tuple[list[Assistant], SoftTargets]:
    """Trains the assistants of the recipe one after another.

    Source: Mirzadeh et al. 2020 (arXiv:1902.03393), section 3.

    Args:
        context: The run.
        targets: The teacher's soft targets.

    Returns:
        The assistants, and the soft targets of the last assistant, or of the teacher if there are
        no assistants.
    """
    assistants: list[Assistant] = []
    for number, part in enumerate(context.recipe.assistant, start=1):
        spec, settings = part.model, part.applied_to(context.recipe.training)
        seen, size = context.student_data, settings.batch_size
        lesson = Lesson(
            f"assistant_{number}",
            f"as assistant {number}",
            seen.labels_kept,
            lambda seed, epoch, t=targets, s=size: t.batches(seed, s, epoch),
            targets,
        )
        pupil = Pupil.of(lambda seed, s=spec: context.build(s, seed=seed), spec, settings, [_SEED])
        variant = train(context, lesson, pupil)
        progress = variant.done[_SEED]
        model = models.save_uncompiled(
            variant.restore(_SEED), context.folder.path / f"assistant-{number}.keras"
        )
        curve = Curve.of(progress.logs, variant.rounds.epochs_per_round)
        assistants.append(Assistant(spec, model, progress.kept("val_accuracy"), curve))
        targets = soft_targets(context, assistants[-1].teacher, f"targets-assistant-{number}")
    return assistants, targets
