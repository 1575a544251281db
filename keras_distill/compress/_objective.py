"""The loss of every compression step: the Distiller's hard and soft terms, for a tf_keras twin."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._elements import Targets
from keras_distill.losses import SoftTargetLoss, value_at
from keras_distill.losses._base import Setting
from keras_distill.teachers._base import map_outputs
from keras_distill.teachers._heads import Head
from keras_distill.training import _preparation, _terms
from keras_distill.training._default_loss import check_from_logits
from keras_distill.training._hard_term import HardInputs, hard_inputs, soft_batch
from keras_distill.training._source import TeacherSource, flatten_losses
from keras_distill.training._student import StudentReader, mask_of
from keras_distill.training._weights import align, is_sparse

_HEADS = {"softmax": keras.activations.softmax, "sigmoid": keras.activations.sigmoid}


class Parts(NamedTuple):
    """The loss of a batch.

    Attributes:
        total: (1 - alpha) · hard + alpha · soft, or the one there is.
        hard: The hard term; None without labels.
        soft: The soft term; None without soft targets.
        correct: By output: 1 where the largest logit is the label's, weighted 0 where there is no
            label, as (values, weights); empty where the labels are no classes.
    """

    total: Any
    hard: Any
    soft: Any
    correct: dict[str, tuple[Any, Any]]


class Objective:
    """What a compressed student is trained on.

    Args:
        student: The Keras 3 model that is compressed.
        teacher: A live teacher (anything `teachers.as_teacher` takes), or None where the data
            carry `Targets` or alpha is 0.
        alpha: Weight of the soft terms, as in `Distiller`.
        temperature: Of the default `SoftTargetLoss`.
        distillation_losses: As in `Distiller`, losses on logits only; None: `SoftTargetLoss`.
        distillation_loss_weights: As in `Distiller`.
        loss: The hard loss, or a dict by output name; None: read off the labels.

    Raises:
        InputError: If an argument breaks its rule, or a loss reads inner layers.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        teacher: Any = None,
        alpha: Setting = 0.9,
        temperature: Setting = 4.0,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        loss: Any = None,
    ) -> None:
        if distillation_losses is None:
            distillation_losses = SoftTargetLoss(temperature)
        losses = flatten_losses(distillation_losses, distillation_loss_weights)
        self.alpha = _preparation.check_alpha(alpha)
        self._soft = _terms.SoftTerms(*losses)
        if self._soft.layer_names("teacher") or self._soft.layer_names("student"):
            raise InputError(
                "Compression trains on logits only: a loss that reads inner layers needs the"
                " Distiller. Leave it out of `distillation_losses`."
            )
        self._reader = StudentReader(student, [])
        self._source = TeacherSource(None if self._hard_only else teacher)
        self._source.check_temperature(self._soft.losses)
        self.names = self._output_names(student)
        self._given_loss = loss
        self._hard: dict[str, Any] = {}

    @property
    def _hard_only(self) -> bool:
        return not callable(self.alpha) and self.alpha == 0

    def _output_names(self, student: keras.Model) -> list[str]:
        """Names of the outputs in the order of the flat twin; [""] for a single one."""
        if len(student.outputs) == 1:
            return [""]
        if isinstance(student.output, Mapping):
            return sorted(student.output)
        return list(self._reader.names)

    @property
    def heads(self) -> dict[str, str]:
        """The layers that end in softmax or sigmoid -> which."""
        found = [self._head(name) for name in self.names]
        return {head.layer: head.kind for head in found if head.kind in _HEADS}

    def kinds(self) -> list[str | None]:
        """By output: "softmax", "sigmoid" or None."""
        found = [self._head(name).kind for name in self.names]
        return [kind if kind in _HEADS else None for kind in found]

    def _head(self, name: str) -> Head:
        return _terms.of_output(self._reader.heads, name)

    @property
    def _list_names(self) -> list[str] | None:
        return None if self.names == [""] else self.names

    def prepare(self, y: Any, logits: Any) -> None:
        """Looks at one batch: chooses the hard loss and checks what will be needed.

        Args:
            y: Labels or `Targets`.
            logits: The twin's, flat.

        Raises:
            InputError: If labels or soft targets are missing or fit no loss.
        """
        targets = _terms.split(y)
        if not self._hard_only and targets.teacher is None and self._source.teacher is None:
            raise InputError(
                "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
                " teacher=None and plain labels. Give a teacher, a store's data, or alpha=0."
            )
        if targets.labels is None and self.alpha != 1:
            raise InputError(f"`alpha` must be 1 without labels. Received: alpha={self.alpha}")
        outputs = self._by_name(logits)
        if not self._hard_only:
            _preparation.check_shapes(self._soft, targets.teacher, outputs)
        if targets.labels is None:
            return
        chosen = self._given_loss
        if chosen is None:
            chosen = _preparation.default_losses(y, outputs, self._reader, self._soft)
        else:
            check_from_logits(chosen, self._reader.heads)
        by_name = chosen if isinstance(chosen, Mapping) else {self.names[0]: chosen}
        self._hard = {name: keras.losses.get(loss) for name, loss in by_name.items()}

    def __call__(self, x: Any, y: Any, sample_weight: Any, logits: Any, step: Any) -> Parts:
        """The loss of a batch.

        Args:
            x: The batch, as the student takes it; a live teacher sees it.
            y: Labels or `Targets`.
            sample_weight: Weights, or None.
            logits: The twin's, flat.
            step: The optimizer's step, for schedules; None in evaluation, which never runs a live
                teacher.
        """
        targets = _terms.split(y)
        by_name = self._by_name(logits)
        hard_term, inputs = self._hard_term(targets, by_name, sample_weight)
        soft_term = None
        if not self._hard_only and (step is not None or targets.teacher is not None):
            view = self._source.view(x, targets, ())
            soft_term = self._soft(
                view._replace(logits=_terms.check_finite(view.logits)),
                _terms.View(by_name, mask=map_outputs(mask_of, by_name)),
                soft_batch(inputs, sample_weight, self._list_names),
                0 if step is None else step,
            )
        alpha = value_at(self.alpha, 0 if step is None else step)
        total = _terms.mixed(hard_term, soft_term, alpha)
        return Parts(total, hard_term, soft_term, self._correct(inputs, by_name))

    def _by_name(self, logits: Any) -> Any:
        flat = tf.nest.flatten(logits)
        return flat[0] if len(flat) == 1 else dict(zip(self.names, flat, strict=True))

    def _hard_term(self, targets: Targets, by_name: Any, sample_weight: Any) -> tuple[Any, Any]:
        if targets.labels is None or not self._hard:
            return None, None
        outputs = self._with_heads(by_name)
        inputs = hard_inputs(
            targets.labels, outputs, sample_weight, targets.labeled, self._list_names
        )
        values = [
            loss(
                _terms.of_output(inputs.labels, name),
                _terms.of_output(outputs, name),
                _terms.of_output(inputs.weights, name),
            )
            for name, loss in self._hard.items()
        ]
        return tf.add_n(values), inputs

    def _with_heads(self, by_name: Any) -> Any:
        def apply(name: str, logits: Any) -> Any:
            kind = self._head(name).kind
            return _HEADS[kind](logits) if kind in _HEADS else logits

        if isinstance(by_name, dict):
            return {name: apply(name, logits) for name, logits in by_name.items()}
        return apply("", by_name)

    def _correct(self, inputs: HardInputs | None, by_name: Any) -> dict[str, tuple[Any, Any]]:
        if inputs is None:
            return {}
        found = {}
        for name in self._hard:
            labels, logits = _terms.of_output(inputs.labels, name), _terms.of_output(by_name, name)
            classes = _classes(labels, logits)
            if classes is not None:
                same = tf.equal(tf.cast(classes, tf.int64), tf.argmax(logits, -1))
                present = _terms.of_output(inputs.present, name)
                found[name] = tf.cast(same, tf.float32), present
        return found


def _classes(labels: Any, logits: Any) -> Any:
    """The class ids in labels: as given, or the largest of each one-hot row; None without any."""
    labels = tf.nest.flatten(labels)[0]
    if is_sparse(labels, logits):
        return align(labels, len(logits.shape) - 1)
    if len(labels.shape) == len(logits.shape) and logits.shape[-1] > 1:
        return tf.argmax(labels, -1)
    return None
