"""The Distiller: a Keras model whose `fit` trains the student on labels and soft targets."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import InputError, KerasDistillWarning, bad
from keras_distill._internal._elements import Targets
from keras_distill.losses import SoftTargetLoss, value_at
from keras_distill.losses._base import PACKAGE, Setting, known_differ
from keras_distill.metrics import Agreement
from keras_distill.teachers import Teacher
from keras_distill.training import _config as configs
from keras_distill.training import _hard_term, _preparation, _terms
from keras_distill.training._entry_points import EntryPoints
from keras_distill.training._source import TeacherSource, flatten_losses, no_teacher
from keras_distill.training._student import StudentReader
from keras_distill.training._tracker import HARD, SOFT, TermsTracker

# A default that differs from a 4.0 of the user's by identity, so that one beside losses is noticed.
_TEMPERATURE = float("4")


class _Step(NamedTuple):
    """What one forward pass gives: scalars of this replica (None where absent), and tensors."""

    total: Any
    hard: Any
    soft: Any
    outputs: Any
    inputs: _hard_term.HardInputs | None
    teacher: _terms.View | None
    student: _terms.View


@keras.saving.register_keras_serializable(PACKAGE)
class Distiller(EntryPoints):
    """Trains a student on labels and on a teacher's soft targets.

    total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularization, each term
    reduced as Keras reduces a loss. Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531),
    section 2.

    Args:
        teacher: A Keras model, a list (geometric mean), anything `teachers.as_teacher` takes, or
            None when the data carry `keras_distill.Targets`. It is never changed, trained or saved.
        student: The Keras model to train. One that ends in softmax or sigmoid keeps it; its logits
            are read for the soft terms.
        distillation_losses: One loss, a list, or a dict of these by output name; None:
            `SoftTargetLoss(temperature)` on every output.
        distillation_loss_weights: Numbers or schedules in the same structure; None: all 1.
        alpha: Weight of the soft terms in 0..1, a number or a schedule of the step.
        temperature: Of the default loss, a number or a schedule; an error beside explicit losses.
        teacher_preprocess: Turns the student's x into the teacher's, in TensorFlow operations.
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
        alpha: Setting = 0.9,
        temperature: Setting = _TEMPERATURE,
        teacher_preprocess: Callable[[Any], Any] | None = None,
        agreement: bool = False,
        evaluate_teacher: bool = False,
        name: str = "distiller",
    ) -> None:
        if not isinstance(student, keras.Model):
            raise bad("student", "be a Keras 3 model", student)
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        if distillation_losses is None:
            distillation_losses = SoftTargetLoss(temperature)
        elif temperature is not _TEMPERATURE:
            rule, remedy = "be left out beside explicit losses", "Give it to the losses."
            raise bad("temperature", rule, temperature, remedy)
        self._alpha = _preparation.check_alpha(alpha)
        self._evaluate_teacher = bool(evaluate_teacher)
        self.student = student
        self.soft_terms = _terms.SoftTerms(
            *flatten_losses(distillation_losses, distillation_loss_weights)
        )
        self._reader = StudentReader(student, self.soft_terms.layer_names("student"))
        _preparation.check_values_compared(self.soft_terms, self._reader.heads, "student")
        self._class_weight: Any = None
        self.terms_tracker = TermsTracker()
        self.agreement_metric = Agreement() if agreement else None
        self.projectors: list[keras.Layer] = []
        self.built = bool(student.built)
        self.set_teacher(teacher, teacher_preprocess)

    @property
    def alpha(self) -> Setting:
        """Weight of the soft terms. Give a schedule to change it while training."""
        return self._alpha

    @property
    def evaluate_teacher(self) -> bool:
        """Whether `evaluate` runs the teacher."""
        return self._evaluate_teacher

    @property
    def teacher(self) -> Teacher | None:
        """The teacher, None without one; of a Keras model, `distiller.teacher.model`.

        Never the model itself: Keras saves every model that it finds on an attribute.
        """
        return self._source.teacher

    @property
    def output_names(self) -> list[str]:
        """The student's, so that losses and metrics given by output name find their output."""
        return self.student.output_names

    def set_teacher(
        self, teacher: Any, teacher_preprocess: Callable[[Any], Any] | None = None
    ) -> None:
        """Gives the Distiller a teacher, in place of the one it has.

        Args:
            teacher: As for the constructor.
            teacher_preprocess: As for the constructor.

        Raises:
            InputError: If teacher and student do not fit.
        """
        source = TeacherSource(teacher, teacher_preprocess)
        self._fit_teacher(source)
        # Only now: a teacher that was refused leaves the Distiller as it was.
        self._source = source
        self._looked = False
        self.train_function = self.test_function = None

    def _fit_teacher(self, source: TeacherSource) -> None:
        """Checks what is known of teacher and student without data; makes missing projectors."""
        if source.teacher is None:
            return
        _preparation.check_pair(source, self._reader, self.soft_terms)
        shapes = _preparation.feature_shapes(source.teacher, self._reader, self.soft_terms)
        made = {}
        for i, (teacher, student) in shapes.items():
            there = self.soft_terms.projectors[i]
            if there is None:
                made[i] = self.soft_terms.losses[i].projector(teacher, student), student
            elif known_differ(there.compute_output_shape(student)[1:], teacher[1:]):
                raise _other_features(self.soft_terms.losses[i], teacher)
            if i in made and made[i][0] is not None and self.compiled and self.optimizer.built:
                raise _other_features(self.soft_terms.losses[i], teacher)
        with self.distribute_strategy.scope():
            for i, (projector, student) in made.items():
                self._set_projector(i, projector, student)

    def _set_projector(self, i: int, projector: keras.Layer | None, shape: Any = None) -> None:
        if projector is None:
            return
        if not projector.built:
            projector.build(shape)
        self.soft_terms.projectors[i] = projector
        self.projectors.append(projector)

    def call(self, inputs: Any, training: bool | None = None, with_features: bool = False) -> Any:
        """The student's outputs; with `with_features` also its layers' outputs by name."""
        if with_features:
            return self._reader.call(inputs, training)
        return self.student(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of `fit`: one pass of the student, one of a live teacher outside the tape."""
        x, targets, sample_weight = _hard_term.unpack(data)
        teacher = self._teacher_view(x, targets)
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

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of `evaluate`: changes no variable but the metrics'."""
        x, targets, sample_weight = _hard_term.unpack(data)
        stored = targets.teacher is not None and not self.soft_terms.layer_names("teacher")
        teacher = self._teacher_view(x, targets) if stored or self._evaluate_teacher else None
        return self._logs(x, self._forward(x, targets, sample_weight, teacher, training=False))

    def _teacher_view(self, x: Any, targets: Targets) -> _terms.View:
        view = self._source.view(x, targets, self.soft_terms.layer_names("teacher"))
        if view is None:
            raise no_teacher()
        return view._replace(logits=_terms.check_finite(view.logits))

    def _forward(
        self,
        x: Any,
        targets: Targets,
        sample_weight: Any,
        teacher: _terms.View | None,
        *,
        training: bool,
    ) -> _Step:
        """One pass of the student and the loss to minimize on this replica."""
        outputs, features = self(x, training=training, with_features=True)
        if training and self._class_weight is not None and targets.labels is not None:
            sample_weight = _preparation.weigh_classes(
                self._class_weight, targets.labels, outputs, targets.labeled, sample_weight
            )
        inputs = self._hard_inputs(targets, outputs, sample_weight)
        student = self._reader.view(outputs, features)
        step = tf.convert_to_tensor(self.optimizer.iterations)
        hard = soft = None
        if inputs is not None and self._compile_loss is not None:
            hard_inputs = inputs
            if _hard_term.ignores_minus_one(self.loss):
                hard_inputs = self._hard_inputs(targets, outputs, sample_weight, minus_one=False)
            hard = self._compile_loss(hard_inputs.labels, outputs, hard_inputs.weights)
        if teacher is not None:
            batch = _hard_term.soft_batch(inputs, sample_weight, self._reader.names)
            soft = _of_one_replica(self.soft_terms(teacher, student, batch, step))
        total = _terms.mixed(hard, soft, value_at(self._alpha, step))
        for extra in self.losses:
            total += _of_one_replica(tf.reduce_sum(tf.cast(extra, total.dtype)))
        return _Step(total, hard, soft, outputs, inputs, teacher, student)

    def _hard_inputs(
        self, targets: Targets, outputs: Any, sample_weight: Any, *, minus_one: bool = True
    ) -> Any:
        if targets.labels is None:
            return None
        return _hard_term.hard_inputs(
            targets.labels,
            outputs,
            sample_weight,
            targets.labeled,
            self._reader.names,
            minus_one=minus_one,
        )

    def _logs(self, x: Any, step: _Step) -> dict[str, Any]:
        """Updates the metrics with a step; returns those that it has."""
        size = tf.shape(next(v for v in keras.tree.flatten(x) if v is not None))[0]
        total, hard, soft = (None if v is None else _on_all_replicas(v) for v in step[:3])
        self._loss_tracker.update_state(total, sample_weight=size)
        self.terms_tracker.update_state(hard, soft, size)
        if self.agreement_metric is not None and step.teacher is not None:
            _hard_term.update_agreement(self.agreement_metric, step.teacher, step.student)
        if self._compile_metrics is not None and step.inputs is not None:
            _hard_term.update_metrics(self._compile_metrics, step.outputs, step.inputs)
        absent = {HARD: hard, SOFT: soft, "agreement": step.teacher}
        results = self._results(with_labels=step.inputs is not None)
        return {k: v for k, v in results.items() if absent.get(k, total) is not None}

    def _results(self, *, with_labels: bool) -> dict[str, Any]:
        """The results of all metrics; of the compiled ones only where they saw labels."""
        results = {}
        for metric in self.metrics:
            if metric is self._compile_metrics and not (with_labels and metric.built):
                continue
            result = metric.result()
            results.update(result if isinstance(result, dict) else {metric.name: result})
        return results

    def get_metrics_result(self) -> dict[str, Any]:
        """The metrics so far, without those that no batch had."""
        results = keras.tree.map_structure(_as_number, self._results(with_labels=True))
        agreement = self.agreement_metric
        outside = agreement is not None and tf.executing_eagerly()
        if outside and float(tf.convert_to_tensor(agreement.count)) == 0:
            del results[agreement.name]
        return results

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The hard loss and the regularization, for outputs that were computed already.

        `fit` and `evaluate` compute the whole loss in their steps; Keras calls this one to build
        what it needs.
        """
        inputs = self._hard_inputs(_terms.split(y), y_pred, sample_weight)
        if inputs is None:
            return tf.zeros(())
        return super().compute_loss(None, inputs.labels, y_pred, inputs.weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Updates the compiled metrics with the student's outputs."""
        inputs = self._hard_inputs(_terms.split(y), y_pred, sample_weight)
        if self._compile_metrics is not None and inputs is not None:
            _hard_term.update_metrics(self._compile_metrics, y_pred, inputs)
        return self.get_metrics_result()

    def get_config(self) -> dict[str, Any]:
        """The student, the losses and the settings; never the teacher."""
        return configs.config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Distiller":
        """A Distiller without teacher; `set_teacher` gives it one."""
        with keras.saving.custom_object_scope(custom_objects or {}):
            settings, projectors = configs.settings_from(config)
        distiller = cls(teacher=None, **settings)
        for i, projector in enumerate(projectors):
            distiller._set_projector(i, projector)
        return distiller


def _other_features(loss: Any, shape: tuple) -> InputError:
    """Returns the error for a teacher whose features need another projector than was trained."""
    return InputError(
        f"The teacher's layer {loss.teacher_layer_name!r} has features {shape}, which need another"
        f" projector than {type(loss).__name__} has trained with. Make a new"
        " Distiller(teacher, distiller.student, ...)."
    )


def _as_number(value: Any) -> Any:
    """A Python number outside of a graph, as Keras logs them."""
    return float(value) if tf.executing_eagerly() else value


def _of_one_replica(value: tf.Tensor) -> tf.Tensor:
    """A replica's share of a loss: gradients and losses are summed over the replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 else value / replicas


def _on_all_replicas(value: tf.Tensor) -> tf.Tensor:
    """The loss that a replica's share stands for."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 else value * replicas
