"""The Distiller: a Keras model whose `fit` trains the student on labels and soft targets."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import KerasDistillWarning, bad
from keras_distill._internal import _keras_private as private
from keras_distill._internal._elements import Targets
from keras_distill._internal._graph_errors import readable_errors
from keras_distill._internal._types import Schedule, Shape, Tensor
from keras_distill.losses import (
    PACKAGE,
    SoftTargetLoss,
    deserialized,
    serialized,
)
from keras_distill.metrics import Agreement
from keras_distill.teachers import ModelReader, Teacher
from keras_distill.training import _batch, _checks, _step, _terms
from keras_distill.training._default_loss import check_from_logits, default_losses
from keras_distill.training._views import Pair, TeacherSource

DEFAULT_TEMPERATURE = 4.0


@keras.saving.register_keras_serializable(PACKAGE)
class Distiller(private.TrainerModel):
    """Trains a student on labels and on a teacher's soft targets.

    total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularization, each term
    reduced as Keras reduces a loss. Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531),
    section 2.

    Args:
        teacher: A Keras model, a list (geometric mean), anything `teachers.as_teacher` takes, or
            None if the data carry `keras_distill.Targets`. It is never changed, trained, or saved.
        student: The Keras model to train. One that ends in softmax or sigmoid keeps it; its logits
            are read for the soft terms.
        distillation_losses: One loss, a list, or a dict of these by output name; None:
            `SoftTargetLoss(temperature)` on every output.
        distillation_loss_weights: Numbers or schedules in the same structure; None: all 1.
        alpha: Weight of the soft terms in 0..1, a number or a schedule of the step.
        temperature: Of the default loss, a number or a schedule; None: 4.0. Must be left out with
            `distillation_losses`, which have temperatures of their own.
        teacher_preprocess: Converts the student's x to the teacher's, in TensorFlow operations.
        agreement: Whether to log how often teacher and student have the same largest logit.
        evaluate_teacher: Whether `evaluate` runs the teacher and adds the soft terms.
        name: The model's name.

    Raises:
        InputError: If an argument breaks its rule, or teacher and student do not fit.

    Example:
        >>> import numpy as np
        >>> def net(units):
        ...     hidden = keras.layers.Dense(units, "relu")
        ...     return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(3)])
        >>> x, y = np.random.rand(64, 4).astype("float32"), np.random.randint(0, 3, 64)
        >>> distiller = Distiller(net(32), net(4))
        >>> history = distiller.fit(x, y, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['hard_loss', 'loss', 'soft_loss']
    """

    def __init__(
        self,
        teacher: Any,
        student: keras.Model,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        *,
        alpha: Schedule = 0.9,
        temperature: Schedule | None = None,
        teacher_preprocess: Callable[[Any], Any] | None = None,
        agreement: bool = False,
        evaluate_teacher: bool = False,
        name: str = "distiller",
    ) -> None:
        if not isinstance(student, keras.Model):
            raise bad("student", "be a Keras 3 model", student)
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        if distillation_losses is None:
            distillation_losses = SoftTargetLoss(
                DEFAULT_TEMPERATURE if temperature is None else temperature
            )
        elif temperature is not None:
            rule, remedy = "be left out beside explicit losses", "Give it to the losses."
            raise bad("temperature", rule, temperature, remedy)
        self.student = student
        soft = _terms.SoftTerms(
            *_checks.flatten_losses(distillation_losses, distillation_loss_weights)
        )
        alpha = _checks.check_alpha(alpha)
        self._pair = Pair(
            _read(student, soft), TeacherSource(), soft, alpha, bool(evaluate_teacher)
        )
        _checks.check_values_compared(soft, self._pair.reader.heads, "student")
        self._class_weight: dict[int, float] | None = None
        self.terms_tracker = _step.TermsTracker()
        self.agreement_metric = Agreement() if agreement else None
        self.projectors: list[keras.Layer] = []
        self.built = bool(student.built)
        self.set_teacher(teacher, teacher_preprocess)

    @property
    def alpha(self) -> Schedule:
        """Weight of the soft terms. Give a schedule to change it during training."""
        return self._pair.alpha

    @property
    def evaluate_teacher(self) -> bool:
        """Whether `evaluate` runs the teacher."""
        return self._pair.evaluate_teacher

    @property
    def soft_terms(self) -> _terms.SoftTerms:
        """The distillation losses with their weights and projectors."""
        return self._pair.soft_terms

    @property
    def teacher(self) -> Teacher | None:
        """The teacher; None without one. A Keras model is `distiller.teacher.model`.

        Keras saves every model that it finds on an attribute, so this is never the model itself.
        """
        return self._pair.source.teacher

    @property
    def output_names(self) -> list[str]:
        """The student's, so that losses and metrics given by output name find their output."""
        return self.student.output_names

    @property
    def xla_compilable(self) -> bool:
        """Whether XLA can compile a training step: not with a teacher that runs on the host."""
        return not self._pair.source.on_host

    def set_teacher(
        self, teacher: Any, teacher_preprocess: Callable[[Any], Any] | None = None
    ) -> None:
        """Replaces the teacher.

        Args:
            teacher: As for the constructor.
            teacher_preprocess: As for the constructor.

        Raises:
            InputError: If teacher and student do not fit; the Distiller is then unchanged.
        """
        source = TeacherSource(teacher, teacher_preprocess)
        self._set_pair(dataclasses.replace(self._pair, source=source))
        self._batch_checked = False
        self.train_function = self.test_function = None

    def _set_pair(self, pair: Pair) -> None:
        """Sets teacher and student after checking that they fit; makes missing projectors."""
        if pair.source.teacher is not None:
            _checks.check_pair(pair)
            trained = self.compiled and self.optimizer.built
            made = _checks.new_projectors(pair, trained=trained)
            with self.distribute_strategy.scope():
                for i, (projector, shape) in made.items():
                    self._set_projector(i, projector, shape)
        self._pair = pair

    def _set_projector(
        self, i: int, projector: keras.Layer | None, shape: Shape | None = None
    ) -> None:
        if projector is None:
            return
        if not projector.built:
            projector.build(shape)
        self.soft_terms.projectors[i] = projector
        self.projectors.append(projector)

    # One step

    def call(self, inputs: Any, training: bool | None = None, with_features: bool = False) -> Any:
        """Returns the student's outputs; `with_features` adds its layers' outputs by name."""
        if with_features:
            layers = self.soft_terms.layer_names("student")
            return self._pair.reader.call(inputs, layers, training)
        return self.student(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `fit`: the student once, and a live teacher once without gradients."""
        x, targets, sample_weight = _batch.unpack(data)
        teacher = self._pair.teacher_view(x, targets, training=True)
        with tf.GradientTape() as tape:
            step = self._forward(x, targets, sample_weight, teacher, training=True)
            loss = self.optimizer.scale_loss(step.total)
        variables = self.trainable_variables
        if variables:
            gradients = tape.gradient(loss, variables)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        else:
            warnings.warn("The student has no trainable weights.", KerasDistillWarning, 2)
        return self._logs(x, step)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `evaluate`: it changes no variable but those of metrics."""
        x, targets, sample_weight = _batch.unpack(data)
        teacher = self._pair.teacher_view(x, targets, training=False)
        return self._logs(x, self._forward(x, targets, sample_weight, teacher, training=False))

    def _forward(
        self,
        x: Any,
        targets: Targets,
        sample_weight: Any,
        teacher: _terms.View | None,
        *,
        training: bool,
    ) -> _step.Losses:
        """Runs the student once and computes the loss to minimize on this replica."""
        outputs, features = self(x, training=training, with_features=True)
        found = _step.losses(
            self._pair,
            outputs,
            features,
            targets,
            sample_weight,
            teacher,
            hard_loss=private.compiled_loss(self),
            minus_one=not _step.ignores_minus_one(self.loss),
            class_weight=self._class_weight if training else None,
            step=tf.convert_to_tensor(self.optimizer.iterations),
            training=training,
        )
        total = found.total
        for extra in self.losses:
            total += _step.of_one_replica(tf.reduce_sum(tf.cast(extra, total.dtype)))
        return found._replace(total=total)

    def _logs(self, x: Any, step: _step.Losses) -> dict[str, Tensor]:
        """Updates the metrics with a step; returns those that it has."""
        size = tf.shape(next(v for v in keras.tree.flatten(x) if v is not None))[0]
        total, hard, soft = (_step.on_all_replicas(value) for value in step[:3])
        private.loss_tracker(self).update_state(total, sample_weight=size)
        self.terms_tracker.update_state(hard, soft, size)
        if self.agreement_metric is not None and step.teacher is not None:
            _step.update_agreement(self.agreement_metric, step.teacher, step.student)
        compiled = private.compiled_metrics(self)
        if compiled is not None and step.batch is not None:
            _step.update_metrics(compiled, step.batch)
        absent = {_step.HARD: hard, _step.SOFT: soft, "agreement": step.teacher}
        results = _step.results_of(self.metrics, compiled, with_labels=step.batch is not None)
        return {k: v for k, v in results.items() if absent.get(k, total) is not None}

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the metrics so far, without those that no batch had."""
        compiled = private.compiled_metrics(self)
        results = _step.results_of(self.metrics, compiled, with_labels=True)
        results: Any = keras.tree.map_structure(_as_number, results)
        agreement = self.agreement_metric
        if agreement is not None and tf.executing_eagerly():
            count: Any = tf.convert_to_tensor(agreement.count)
            if float(count) == 0:
                del results[agreement.name]
        return results

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Computes the hard loss and the regularization from outputs that exist already.

        `fit` and `evaluate` compute the whole loss in their steps; Keras calls this method to build
        what it needs.
        """
        batch = self._keras_batch(y, y_pred, sample_weight)
        if batch is None:
            return tf.zeros(())
        return super().compute_loss(None, batch.labels, y_pred, batch.weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Updates the compiled metrics with the student's outputs."""
        batch = self._keras_batch(y, y_pred, sample_weight)
        compiled = private.compiled_metrics(self)
        if compiled is not None and batch is not None:
            _step.update_metrics(compiled, batch)
        return self.get_metrics_result()

    def _keras_batch(self, y: Any, outputs: Any, sample_weight: Any) -> _batch.KerasBatch | None:
        targets, by_name = _terms.split(y), self._pair.reader.by_name(outputs)
        labeled = _batch.labeled_batch(targets, by_name, sample_weight)
        return labeled and _batch.keras_batch(labeled, targets.labels, outputs, list(by_name))

    # Keras's entry points

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the student; arguments as for `keras.Model.fit`.

        If `compile` was not called, it is called with Adam and a hard loss chosen from the labels
        (`default_loss`).

        Args:
            x: Inputs, or a data set of `(x, y)` or `(x, y, sample_weight)`.
            y: Labels or `Targets`, if x is arrays.
            batch_size, epochs, verbose, callbacks, validation_split, shuffle: As in Keras.
            validation_data: As in Keras. Without stored soft targets, its loss is the hard loss for
                any alpha.
            class_weight: Weights by class id; 1 for other classes and for unlabeled rows.
            sample_weight: As in Keras; weights the hard and the soft terms.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not fit, before the first step if that can be known.
        """
        if validation_data is not None:
            val_x, val_y = _checks.parts(validation_data)
            self._check_validation("validation_data", _checks.known_targets(val_x, val_y))
        elif validation_split:
            self._check_validation("validation_split", _checks.known_targets(x, y))
        x = _checks.rewound(x)
        self._prepare(x, y, batch_size, training=True, validation_data=validation_data)
        self._set_class_weight(class_weight)
        with readable_errors():
            return super().fit(
                _checks.for_keras(x),
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                _batch.pack_validation(validation_data),
                # Keras warns about its own default for every data set.
                shuffle and not isinstance(x, tf.data.Dataset),
                sample_weight=_batch.pack_weights(y, sample_weight),
                **kwargs,
            )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates the student; arguments as for `keras.Model.evaluate`.

        Raises:
            InputError: If the data do not fit.
        """
        x = _checks.rewound(x)
        self._prepare(x, y, batch_size, training=False)
        sample_weight = _batch.pack_weights(y, sample_weight)
        with readable_errors():
            return super().evaluate(
                _checks.for_keras(x), y, batch_size, verbose, sample_weight, **kwargs
            )

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch, as `keras.Model.train_on_batch` does."""
        self._prepare(x, y, None, training=True)
        self._set_class_weight(class_weight)
        with readable_errors():
            return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates one batch, as `keras.Model.test_on_batch` does."""
        self._prepare(x, y, None, training=False)
        with readable_errors():
            return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    def _set_class_weight(self, class_weight: dict[int, float] | None) -> None:
        if class_weight != self._class_weight:
            self._class_weight = None if class_weight is None else dict(class_weight)
            self.train_function = None

    @readable_errors()
    def _prepare(
        self,
        x: Any,
        y: Any,
        batch_size: int | None,
        *,
        training: bool,
        validation_data: Any = None,
    ) -> None:
        """Builds, checks, and compiles what it can before the first step."""
        _checks.check_examples(x, y, self._pair.reader.input_shapes())
        peek = functools.cache(lambda: _checks.first_batch(x, y, batch_size))
        if not self.student.built:
            with self.distribute_strategy.scope():
                self.student(peek()[0], training=False)
            reader = _read(self.student, self.soft_terms)
            self._set_pair(dataclasses.replace(self._pair, reader=reader))
        self.built = True
        if training:
            self._check_data(_checks.known_targets(x, y), peek)
        if not self.compiled:
            batch_x, batch_y = peek()
            targets = _terms.split(batch_y)
            if targets.labels is None and validation_data is not None:
                targets = _terms.split(_checks.first_batch(*_checks.parts(validation_data))[1])
            outputs = self._pair.reader.structured_outputs(batch_x)
            loss = default_losses(targets, outputs, self._pair.reader, self.soft_terms)
            with self.distribute_strategy.scope():
                self.compile("adam", loss)
        check_from_logits(self.loss, self._pair.reader)
        self._pair.source.check_compiler(self.jit_compile)

    def _check_data(self, known: Targets | None, peek: Callable[[], tuple[Any, Any]]) -> None:
        _checks.check_data(known, self._pair)
        if not self._batch_checked:
            stored = known is not None and known.teacher is not None
            _checks.check_first_batch(peek, self._pair, stored=stored)
            self._batch_checked = not stored

    def _check_validation(self, name: str, known: Targets | None) -> None:
        hard = not self.compiled or private.compiled_loss(self) is not None
        _checks.check_validation(name, known, self._pair, hard=hard)

    # Saving

    def get_config(self) -> dict[str, Any]:
        """Returns the student, the losses, and the settings; never the teacher.

        Raises:
            InputError: If a schedule is a lambda.
        """
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "alpha": serialized("alpha", self.alpha),
            "agreement": self.agreement_metric is not None,
            "evaluate_teacher": self.evaluate_teacher,
            "terms": _terms.terms_config(self.soft_terms),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Distiller":
        """Returns a Distiller without a teacher; `set_teacher` adds one."""
        settings = dict(config)
        with keras.saving.custom_object_scope(custom_objects or {}):
            terms, projectors = _terms.terms_arguments(settings.pop("terms"))
            settings["student"] = deserialized(settings["student"])
            settings["alpha"] = deserialized(settings["alpha"])
        distiller = cls(teacher=None, **settings, **terms)
        for i, projector in enumerate(projectors):
            distiller._set_projector(i, projector)
        return distiller


def _as_number(value: Any) -> Any:
    """Returns a Python number outside of a graph, as Keras logs them."""
    return float(value) if tf.executing_eagerly() else value


def _read(student: keras.Model, soft: _terms.SoftTerms) -> ModelReader:
    return ModelReader(student, "student", soft.layer_names("student"))
