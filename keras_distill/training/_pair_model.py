"""A Keras model that holds teacher, student, and losses, with its setup before the first step."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_distill._internal import _keras_private as private
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Schedule
from keras_distill.metrics import Agreement
from keras_distill.teachers import Teacher, match_outputs
from keras_distill.training import _checks, _config, _labels, _terms
from keras_distill.training._data import Given
from keras_distill.training._default_loss import check_from_logits, needs_values
from keras_distill.training._prepare import (
    check_agreement,
    complete_compile,
    labels_of,
    provisional,
    student_outputs,
    values_of,
    with_tasks,
)
from keras_distill.training._views import Pair, TeacherSource


class PairModel(private.TrainerModel):
    """The base class of `Distiller`: teacher, student, settings, and detection of the task."""

    student: keras.Model
    agreement_metric: Agreement | None
    projectors: list[keras.Layer]
    _pair: Pair
    _read_for: Any = "nothing"

    @property
    def alpha(self) -> Schedule:
        """Weight of the soft terms. Give a schedule to change it during training."""
        return _terms.DEFAULT_ALPHA if self._pair.alpha is None else self._pair.alpha

    @property
    def evaluate_teacher(self) -> bool:
        """Whether `evaluate` runs the teacher."""
        return self._pair.evaluate_teacher

    @property
    def soft_terms(self) -> _terms.SoftTerms:
        """The distillation losses with their weights and projectors."""
        return self._pair.soft_terms

    @property
    def distillation_losses(self) -> Any:
        """The distillation losses: a list, or a dict of lists if they were given by output name."""
        return _config.by_output(self.soft_terms.outputs, self.soft_terms.losses)

    @property
    def distillation_loss_weights(self) -> Any:
        """The loss weights, numbers or schedules, in the structure of `distillation_losses`."""
        return _config.by_output(self.soft_terms.outputs, self.soft_terms.weights)

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, or None. If it is a Keras model, the model is `distiller.teacher.model`.

        Keras saves every model that it finds on an attribute, so this attribute is never the Keras
        model itself.
        """
        return self._pair.source.teacher

    @property
    def output_names(self) -> list[str]:
        """The student's output names, so that losses and metrics can be given by output name."""
        return self.student.output_names

    @property
    def xla_compilable(self) -> bool:
        """Whether XLA can compile a training step; False for a teacher that runs on the host."""
        return not self._pair.source.on_host

    def set_teacher(
        self,
        teacher: Any,
        teacher_preprocess: Callable[[Any], Any] | None = None,
        *,
        from_probabilities: Declared = None,
    ) -> None:
        """Replaces the teacher.

        Args:
            teacher: As for the constructor.
            teacher_preprocess: As for the constructor.
            from_probabilities: As for the constructor.

        Raises:
            InputError: If teacher and student do not match. The Distiller is then unchanged.
        """
        source = TeacherSource(teacher, teacher_preprocess, from_probabilities)
        self._set_pair(provisional(dataclasses.replace(self._pair, source=source)))
        self.train_function = self.test_function = None

    def _set_pair(self, pair: Pair) -> None:
        """Sets teacher and student after checking that they match; creates missing projectors."""
        if pair.source.teacher is not None:
            _checks.check_pair(pair)
            trained = self.compiled and self.optimizer.built
            with self.distribute_strategy.scope():
                self._add_projectors(_checks.new_projectors(pair, trained=trained))
        self._pair = pair

    def _add_projectors(self, projectors: Mapping[int, keras.Layer]) -> None:
        for i, projector in projectors.items():
            self.soft_terms.projectors[i] = projector
            self.projectors.append(projector)

    @property
    def _given_loss(self) -> Any:
        """The loss passed to the last call of `compile`; None without a loss or without a call."""
        return private.compile_arguments(self)["loss"] if self.compiled else None

    def _read_tasks(self, data: Given, validation: Given | None, *, training: bool) -> None:
        """Determines the task of each output, and chooses the soft losses if none were given."""
        pair = with_tasks(self._pair, data, self._given_loss, validation, training=training)
        if pair is not self._pair:
            self._set_pair(pair)
            self.train_function = self.test_function = None
        if self.agreement_metric is not None:
            check_agreement(pair.tasks)

    def _complete_compile(self, data: Given, validation: Given | None) -> None:
        """Completes missing arguments of `compile`, and checks the hard loss."""
        pair, outputs = self._pair, student_outputs(self._pair, data)
        labels = labels_of(data, validation, values=True) if self._given_loss is None else None
        arguments = complete_compile(self, pair, outputs, labels)
        if arguments is not None:
            private.forget_compiled(self)
            with self.distribute_strategy.scope():
                self.compile(**arguments)
        values = values_of(pair, data) if needs_values(self.loss, pair.reader) else None
        check_from_logits(self.loss, pair.reader, values)
        if _labels.reads_ids(self.loss):
            by_name = pair.reader.by_name(outputs)
            _labels.check_ids(match_outputs(data.arrays_of_labels, by_name), by_name)
        self._read_for = private.compiled_loss(self)
