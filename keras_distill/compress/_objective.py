"""The loss of compression steps: the hard and soft terms of the Distiller, for a tf_keras twin."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._keras_private import mask_of
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._soft_targets import Targets
from keras_distill._internal._types import Outputs, Schedule, Step, Tensor
from keras_distill.losses import value_at
from keras_distill.metrics import Task
from keras_distill.teachers import ModelReader, outputs_by_name
from keras_distill.training import (
    DEFAULT_TEMPERATURE,
    Known,
    Labeled,
    TeacherSource,
    View,
    align,
    certain,
    check_alpha,
    check_from_logits,
    check_shapes,
    default_losses,
    defaults,
    is_sparse,
    labeled_batch,
    match_units,
    mixed,
    read_tasks,
    soft_batches,
    soft_terms,
    split,
)

_HEADS = {"softmax": keras.activations.softmax, "sigmoid": keras.activations.sigmoid}


class Parts(NamedTuple):
    """The loss of a batch.

    Attributes:
        total: (1 - alpha) · hard + alpha · soft, or the only term.
        hard: The hard term; None without labels.
        soft: The soft term; None without soft targets.
        correct: (values, weights) by output. The value is 1 where the largest logit belongs to the
            label; the weight is 0 where there is no label. Empty if the labels are not classes.
    """

    total: Tensor
    hard: Tensor | None
    soft: Tensor | None
    correct: dict[str, tuple[Tensor, Tensor | None]]


class Objective:
    """The training loss of a compressed student.

    Args:
        student: The Keras 3 model that is compressed.
        teacher: A live teacher (anything `teachers.as_teacher` accepts). None if the data contains
            `Targets` or alpha is 0.
        from_probabilities: Whether the teacher or the `Targets` contain probabilities, see
            `Distiller`.
        alpha: Weight of the soft terms, as in `Distiller`.
        temperature: Temperature of the default losses.
        distillation_losses: Losses on logits, see `Distiller`. If None, chosen by the task.
        distillation_loss_weights: Their weights, see `Distiller`.
        loss: The hard loss, or a dict by output name. If None, chosen by the labels.

    Raises:
        InputError: If an argument is not valid, or a loss needs inner layers.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        teacher: Any = None,
        from_probabilities: Declared = None,
        alpha: Schedule = 0.9,
        temperature: Schedule = DEFAULT_TEMPERATURE,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        loss: Any = None,
    ) -> None:
        own = temperature if distillation_losses is None else None
        self.alpha = check_alpha(alpha)
        self._soft = soft_terms(distillation_losses, distillation_loss_weights, own)
        if self._soft.layer_names("teacher") or self._soft.layer_names("student"):
            raise InputError(
                "Compression trains on logits only: a loss that reads inner layers needs the"
                " Distiller. Leave it out of `distillation_losses`."
            )
        self._reader = ModelReader(student, "student")
        given = None if self._hard_only else teacher
        self._source = TeacherSource(given, from_probabilities=from_probabilities)
        self._source.check_temperature(self._soft.losses)
        self.names = self._output_names(student)
        self._given_loss = loss
        self._hard: dict[str, Any] = {}
        self._tasks: dict[str, Task] = {}

    @property
    def _hard_only(self) -> bool:
        return not callable(self.alpha) and self.alpha == 0

    def _output_names(self, student: keras.Model) -> list[str]:
        """Returns the names of the outputs in the order of the flat twin."""
        names = list(self._reader.heads)
        several = len(names) > 1
        return sorted(names) if several and isinstance(student.output, Mapping) else names

    @property
    def heads(self) -> dict[str, str]:
        """The layers that end in softmax or sigmoid -> the name of this activation."""
        found = [self._reader.head(name) for name in self.names]
        return {head.layer: head.kind for head in found if head.kind in _HEADS}

    def kinds(self) -> list[str | None]:
        """The final activation of each output: "softmax", "sigmoid", or None."""
        found = [self._reader.head(name).kind for name in self.names]
        return [kind if kind in _HEADS else None for kind in found]

    def prepare(self, x: Any, y: Any, logits: Any) -> None:
        """Inspects one batch: chooses the losses, and checks what training will need.

        Args:
            x: Inputs in the structure of the student's inputs.
            y: Labels or `Targets`.
            logits: The flat logits of the twin.

        Raises:
            InputError: If labels or soft targets are missing or match no loss, or if soft targets
                are probabilities although `from_probabilities` is not set.
        """
        targets = split(y)
        if not self._hard_only and targets.teacher is None and self._source.teacher is None:
            raise InputError(
                "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
                " teacher=None and plain labels. Give a teacher, a store's data, or alpha=0."
            )
        if targets.labels is None and self.alpha != 1:
            raise InputError(f"`alpha` must be 1 without labels. Received: alpha={self.alpha}")
        outputs = self._by_name(logits)
        self._read_tasks(targets, outputs)
        if not self._hard_only and targets.teacher is not None:
            check_shapes(self._soft, outputs_by_name(targets.teacher), outputs)
        if not self._hard_only:
            self._check_soft_targets(x, targets)
        if targets.labels is None:
            return
        chosen = self._given_loss
        if chosen is None:
            chosen = defaults(targets, outputs, self._reader, self._tasks).loss
        else:
            check_from_logits(chosen, self._reader)
        by_name = chosen if isinstance(chosen, Mapping) else {self.names[0]: chosen}
        self._hard = {name: keras.losses.get(loss) for name, loss in by_name.items()}

    def _check_soft_targets(self, x: Any, targets: Targets) -> None:
        """Rejects probabilities where logits are expected."""
        values = [name for name, task in self._tasks.items() if task is Task.REGRESSION]
        if targets.teacher is not None:
            self._source.check_stored(targets.teacher, values)
        elif self._source.teacher is not None and self._source.teacher.needs_check:
            self._source.checked_logits(x, values)

    def _read_tasks(self, targets: Targets, outputs: Outputs) -> None:
        """Determines what each output predicts, and chooses the soft losses that were not given."""
        known = Known(
            self._reader,
            self._source.teacher,
            self._soft,
            self._given_loss,
            targets,
            soft_only=not callable(self.alpha) and self.alpha == 1,
        )
        tasks = read_tasks(known, outputs)
        chosen = self._given_loss is None or (
            self._soft.default is not None and not self._hard_only
        )
        if chosen:
            self._tasks = certain(tasks, outputs)
        else:
            self._tasks = {name: task for name, task in tasks.items() if task is not None}
        if chosen and self._soft.default is not None:
            self._soft = default_losses(self._tasks, self._soft.default)

    def __call__(self, x: Any, y: Any, sample_weight: Any, logits: Any, step: Step) -> Parts:
        """Returns the loss of a batch.

        Args:
            x: The batch in the structure of the student's inputs, for a live teacher.
            y: Labels or `Targets`.
            sample_weight: Weights, or None.
            logits: The flat logits of the twin.
            step: The optimizer's step, for schedules. None in evaluation, which never runs a live
                teacher.
        """
        targets = split(y)
        by_name = self._by_name(logits)
        hard_term, labeled = self._hard_term(targets, by_name, sample_weight)
        soft_term = None
        if not self._hard_only and (step is not None or targets.teacher is not None):
            masks = {name: mask_of(tensor) for name, tensor in by_name.items()}
            view = self._source.view(x, targets, ())
            if view is not None:
                view = view._replace(logits=match_units(view.logits, by_name))
            soft_term = self._soft(
                view,
                View(by_name, mask=masks),
                soft_batches(labeled, sample_weight, by_name),
                0 if step is None else step,
            )
        alpha = value_at(self.alpha, 0 if step is None else step)
        total = mixed(hard_term, soft_term, alpha)
        return Parts(total, hard_term, soft_term, self._correct(labeled, by_name))

    def _by_name(self, logits: Any) -> Outputs:
        return dict(zip(self.names, tf.nest.flatten(logits), strict=True))

    def _hard_term(
        self, targets: Targets, logits: Outputs, sample_weight: Any
    ) -> tuple[Tensor | None, Labeled | None]:
        if targets.labels is None or not self._hard:
            return None, None
        outputs = {name: self._with_head(name, value) for name, value in logits.items()}
        labeled = labeled_batch(targets, outputs, sample_weight, tasks=self._tasks)
        values = [
            loss(labeled.labels[name], outputs[name], labeled.weights[name])
            for name, loss in self._hard.items()
        ]
        return tf.add_n(values), labeled

    def _with_head(self, name: str, logits: Tensor) -> Tensor:
        kind = self._reader.head(name).kind
        return _HEADS[kind](logits) if kind in _HEADS else logits

    def _correct(
        self, labeled: Labeled | None, logits: Outputs
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        if labeled is None:
            return {}
        found = {}
        for name in self._hard:
            right = _right(labeled.labels[name], logits[name], self._tasks.get(name))
            if right is not None:
                found[name] = tf.cast(right, tf.float32), labeled.present[name]
        return found


def _right(labels: Tensor, logits: Tensor, task: Task | None) -> Tensor | None:
    """Returns where the prediction equals the label, `(...)`; None for regression values.

    For multi-label outputs, returns the fraction of correct labels, one value per position.
    """
    rank = len(logits.shape) - 1
    if task in (Task.REGRESSION, None):
        return None
    if task is Task.BINARY:
        ids = tf.cast(tf.cast(align(labels, rank), tf.float32) > 0.5, tf.int64)
        return tf.equal(ids, tf.cast(tf.squeeze(logits, -1) > 0, tf.int64))
    if task is Task.MULTI_LABEL:
        same = tf.equal(tf.cast(labels, tf.float32) > 0.5, logits > 0)
        return tf.reduce_mean(tf.cast(same, tf.float32), axis=-1)
    ids = align(labels, rank) if is_sparse(labels, logits) else tf.argmax(labels, -1)
    return tf.equal(tf.cast(ids, tf.int64), tf.argmax(logits, -1))
