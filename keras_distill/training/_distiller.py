"""The Distiller: a Keras model whose `fit` trains the student on labels and soft targets."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import KerasDistillWarning, bad
from keras_distill._internal import _keras_private as private
from keras_distill._internal._array_likes import as_arrays
from keras_distill._internal._fused_normalization import fused_batch_normalization
from keras_distill._internal._graph_errors import readable_errors
from keras_distill._internal._probabilities import Declared
from keras_distill._internal._types import Outputs, Schedule, Tensor
from keras_distill.losses import PACKAGE
from keras_distill.metrics import Agreement
from keras_distill.training import _batch, _checks, _config, _labels, _step, _terms
from keras_distill.training._data import Given
from keras_distill.training._pair_model import PairModel
from keras_distill.training._views import Pair, TeacherSource, read_student


@keras.saving.register_keras_serializable(PACKAGE)
class Distiller(PairModel):
    """Trains a student on labels and on a teacher's soft targets.

    total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularization, where each
    term is reduced in the same way as a Keras loss. Source: Hinton, Vinyals, Dean 2015
    (arXiv:1503.02531), section 2.

    Args:
        teacher: A Keras model, a list of models (combined by the geometric mean), any other value
            that `teachers.as_teacher` accepts, or None if the data contain `keras_distill.Targets`.
            The teacher is never changed, trained, or saved. With two classes, one model may have
            one output unit and the other two.
        student: The Keras model to train. A student that ends in softmax or sigmoid keeps this
            activation; the soft terms read its logits.
        distillation_losses: One loss, a list of losses, or a dict of these by output name. With
            None, the loss of each output is chosen by its task, which is derived from the heads,
            the labels, and the compiled loss: `SoftTargetLoss(temperature)` for classes,
            `MultiLabelSoftLoss(temperature)` for two classes in one unit and for several labels,
            `RegressionLoss()` for values.
        distillation_loss_weights: Numbers or schedules in the structure of `distillation_losses`.
            None sets all weights to 1.
        alpha: Weight of the soft terms in 0..1, a number or a schedule of the step. None means 0.9,
            or 1 if the data have no labels.
        temperature: Temperature of the default losses, a number or a schedule. None means 4.0.
            Do not pass it together with `distillation_losses`, which have their own temperatures.
        from_probabilities: Whether the teacher, or the `Targets` in the data, give probabilities
            and the teacher's graph does not show it: None, False, True, "softmax", or "sigmoid";
            see `teachers.as_teacher`. With None, an error is raised if all values of the first
            batch are in 0..1.
        teacher_preprocess: A function that converts the student's x to the teacher's x with
            TensorFlow operations.
        agreement: Whether to log how often teacher and student have the same largest logit.
        evaluate_teacher: Whether `evaluate` runs the teacher and adds the soft terms.
        name: The name of the model.

    Raises:
        InputError: If an argument is invalid, or teacher and student do not match.

    Example:
        >>> import numpy as np
        >>> def mlp(units):
        ...     hidden = keras.layers.Dense(units, "relu")
        ...     return keras.Sequential([keras.Input((4,)), hidden, keras.layers.Dense(3)])
        >>> x, y = np.random.rand(64, 4).astype("float32"), np.random.randint(0, 3, 64)
        >>> distiller = Distiller(mlp(32), mlp(4))
        >>> history = distiller.fit(x, y, epochs=1, verbose=0)
        >>> sorted(history.history)
        ['accuracy', 'hard_loss', 'loss', 'soft_loss']
    """

    def __init__(
        self,
        teacher: Any,
        student: keras.Model,
        distillation_losses: Any = None,
        distillation_loss_weights: Any = None,
        *,
        alpha: Schedule | None = None,
        temperature: Schedule | None = None,
        from_probabilities: Declared = None,
        teacher_preprocess: Callable[[Any], Any] | None = None,
        agreement: bool = False,
        evaluate_teacher: bool = False,
        name: str = "distiller",
    ) -> None:
        if not isinstance(student, keras.Model):
            raise bad("student", "be a Keras 3 model", student)
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self.student = student
        soft = _checks.soft_terms(distillation_losses, distillation_loss_weights, temperature)
        alpha = None if alpha is None else _checks.check_alpha(alpha)
        reader = read_student(student, soft)
        self._pair = Pair(reader, TeacherSource(), soft, alpha, bool(evaluate_teacher))
        _checks.check_values_compared(soft, reader.heads, "student")
        self._class_weight: dict[int, float] | None = None
        self.terms_tracker = _step.TermsTracker()
        self.agreement_metric = Agreement() if agreement else None
        self.projectors: list[keras.Layer] = []
        self.built = bool(student.built)
        self.set_teacher(teacher, teacher_preprocess, from_probabilities=from_probabilities)

    def __repr__(self) -> str:
        teacher = "None" if self.teacher is None else repr(self.teacher.name)
        size = f" ({self.student.count_params():,} parameters)" if self.student.built else ""
        return (
            f"{type(self).__name__}(teacher={teacher}, student={self.student.name!r}{size},"
            f" distillation_losses={self.distillation_losses}, alpha={self.alpha!r})"
        )

    # One step

    def call(self, inputs: Any, training: bool | None = None, with_features: bool = False) -> Any:
        """Returns the student's outputs; `with_features` adds outputs of its layers by name."""
        if with_features:
            layers = self.soft_terms.layer_names("student")
            return self._pair.reader.call(inputs, layers, training)
        return self.student(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `fit`: runs the student once, and a live teacher without gradients."""
        element = _batch.unpack(data)
        teacher = self._pair.teacher_view(element, training=True)
        with tf.GradientTape() as tape, fused_batch_normalization(self.student):
            found = self._forward(element, teacher, training=True)
            loss = self.optimizer.scale_loss(found.total)
        variables = self.trainable_variables
        if variables:
            gradients = tape.gradient(loss, variables)
            _step.apply_gradients(self.optimizer, zip(gradients, variables, strict=True))
        else:
            warnings.warn("The student has no trainable weights.", KerasDistillWarning, 2)
        return self._logs(element, found)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Runs one step of `evaluate`, which changes only the variables of metrics."""
        element = _batch.unpack(data)
        teacher = self._pair.teacher_view(element, training=False)
        return self._logs(element, self._forward(element, teacher, training=False))

    def _forward(
        self, element: _batch.Element, teacher: _terms.View | None, *, training: bool
    ) -> _step.Losses:
        """Runs the student once and computes the loss to minimize on this replica."""
        outputs, features = self(element.x, training=training, with_features=True)
        pair = self._pair
        found = self._losses_of(pair, outputs, features, element, teacher, training=training)
        return found._replace(total=self._with_regularization(found.total))

    def _losses_of(
        self,
        pair: Pair,
        outputs: Any,
        features: Outputs,
        element: _batch.Element,
        teacher: _terms.View | None,
        *,
        training: bool,
    ) -> _step.Losses:
        """Computes the losses of a batch from the outputs of the student."""
        return _step.losses(
            pair,
            outputs,
            features,
            element,
            teacher,
            hard_loss=private.compiled_loss(self),
            minus_one=not _step.ignores_minus_one(self.loss),
            ids=_labels.reads_ids(self.loss),
            class_weight=self._class_weight if training else None,
            step=tf.convert_to_tensor(self.optimizer.iterations),
            training=training,
        )

    def _with_regularization(self, total: Tensor) -> Tensor:
        for extra in self.losses:
            total += _step.of_one_replica(tf.reduce_sum(tf.cast(extra, total.dtype)))
        return total

    def _logs(self, element: _batch.Element, found: _step.Losses) -> dict[str, Tensor]:
        """Updates the metrics with a step and returns the metrics of this step."""
        size, compiled = element.size, private.compiled_metrics(self)
        total, hard, soft = (_step.on_all_replicas(value) for value in found[:3])
        private.loss_tracker(self).update_state(total, sample_weight=size)
        self.terms_tracker.update_state(hard, soft, size)
        agreement, tasks = self.agreement_metric, self._pair.tasks
        _step.update_agreement(agreement, found.teacher, found.student, tasks)
        _step.update_metrics(compiled, found.batch)
        return _step.results_of_step(self.metrics, compiled, found)

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the current metrics, without metrics that no batch has updated."""
        compiled = private.compiled_metrics(self)
        return _step.results_so_far(self.metrics, compiled, self.agreement_metric)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Computes the hard loss and the regularization from existing outputs.

        `fit` and `evaluate` compute the total loss in their steps. Keras calls this method only to
        build the compiled loss.
        """
        batch = self._keras_batch(y, y_pred, sample_weight)
        if batch is None:
            return tf.zeros(())
        return super().compute_loss(None, batch.labels, y_pred, batch.weights, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Updates the compiled metrics with the student's outputs."""
        batch = self._keras_batch(y, y_pred, sample_weight)
        _step.update_metrics(private.compiled_metrics(self), batch)
        return self.get_metrics_result()

    def _keras_batch(self, y: Any, outputs: Any, sample_weight: Any) -> _batch.KerasBatch | None:
        targets, by_name = _terms.split(y), self._pair.reader.by_name(outputs)
        tasks = self._pair.tasks
        labeled = _batch.labeled_batch(targets, by_name, sample_weight, tasks=tasks)
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
        """Trains the student. The arguments are those of `keras.Model.fit`.

        If you did not call `compile`, `fit` calls it with Adam. If `compile` got no loss, the hard
        loss is chosen by the labels (`default_loss`), with the accuracy as metric.

        Args:
            x: Inputs, or a data set of `(x, y)`, `(x, y, sample_weight)`, or only x. Arrays of
                other libraries (pandas, PyTorch, JAX) are converted. Without labels, the student
                trains on soft targets only.
            y: Labels or `Targets`, if x is arrays.
            batch_size: As in Keras.
            epochs: As in Keras.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_split: As in Keras.
            shuffle: As in Keras.
            validation_data: As in Keras. Without stored soft targets, the validation loss is the
                hard loss, whatever alpha is.
            class_weight: Weights by class id, or a list with one weight per class. Other classes
                and unlabeled rows have weight 1.
            sample_weight: As in Keras; applies to the hard and the soft terms.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not match the models. The error is raised before the first
                step if possible.
        """
        _checks.check_saved(self.student, callbacks)
        data = Given(x, y, batch_size)
        validation_data = as_arrays("validation_data", validation_data)
        sample_weight = as_arrays("sample_weight", sample_weight)
        validation = None if validation_data is None else Given.validation(validation_data)
        if validation is not None or validation_split:
            name = "validation_split" if validation is None else "validation_data"
            _checks.check_validation(validation or data, self._pair, name=name)
        self._prepare(data, training=True, validation=validation, fresh=True)
        self._set_class_weight(class_weight)
        # Keras warns about the default value of `shuffle` for every data set.
        shuffle = shuffle and not data.is_dataset
        callbacks = data.with_position(callbacks, kwargs)
        kwargs["validation_data"] = _batch.pack_validation(validation_data)
        kwargs["sample_weight"] = _batch.pack_weights(data.y, sample_weight)
        arguments = (batch_size, epochs, verbose, callbacks, validation_split)
        with readable_errors():
            return super().fit(data.for_keras, data.y, *arguments, shuffle=shuffle, **kwargs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Evaluates the student. The arguments are those of `keras.Model.evaluate`.

        Raises:
            InputError: If the data do not match the models.
        """
        data = Given(x, y, batch_size)
        self._prepare(data, training=False)
        weights = _batch.pack_weights(data.y, as_arrays("sample_weight", sample_weight))
        with readable_errors():
            return super().evaluate(data.for_keras, data.y, batch_size, verbose, weights, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Trains on one batch, as `keras.Model.train_on_batch` does."""
        data = Given(x, y)
        self._prepare(data, training=True)
        self._set_class_weight(class_weight)
        weights = as_arrays("sample_weight", sample_weight)
        with readable_errors():
            return super().train_on_batch(data.x, data.y, weights, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Evaluates one batch, as `keras.Model.test_on_batch` does."""
        data = Given(x, y)
        self._prepare(data, training=False)
        weights = as_arrays("sample_weight", sample_weight)
        with readable_errors():
            return super().test_on_batch(data.x, data.y, weights, return_dict=return_dict)

    def _set_class_weight(self, class_weight: Any) -> None:
        found = _labels.class_weights(class_weight)
        if found != self._class_weight:
            self._class_weight = found
            self.train_function = None

    @readable_errors()
    def _prepare(
        self,
        data: Given,
        *,
        training: bool,
        validation: Given | None = None,
        fresh: bool = False,
    ) -> None:
        """Builds, checks, and compiles as much as possible before the first step.

        Args:
            data: The data to train or evaluate on.
            training: Whether the student is trained.
            validation: The validation data.
            fresh: Whether to read the task again, because the data may have changed.
        """
        data.check_examples(self._pair.reader.input_shapes())
        if not self.student.built:
            with self.distribute_strategy.scope():
                self.student(data.first[0], training=False)
            reader = read_student(self.student, self.soft_terms)
            self._set_pair(dataclasses.replace(self._pair, reader=reader))
        self.built = True
        fresh = fresh or not self.compiled or self._read_for is not private.compiled_loss(self)
        if training and self.soft_terms.default is None:
            _checks.check_known(data, self._pair)
        if fresh:
            self._read_tasks(data, validation, training=training)
        if training:
            _checks.check_data(data, self._pair)
        if fresh:
            self._complete_compile(data, validation)
        self._pair.source.check_compiler(self.jit_compile)

    # Saving

    def get_config(self) -> dict[str, Any]:
        """Returns the student, the losses, and the settings, but never the teacher.

        Raises:
            InputError: If a schedule is a lambda.
        """
        agreement = self.agreement_metric is not None
        settings = {"name": self.name, "agreement": agreement}
        return {**settings, **_config.to_config(self.student, self._pair)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Distiller":
        """Returns a Distiller without a teacher; `set_teacher` adds one."""
        arguments, projectors = _config.from_config(config, custom_objects)
        distiller = cls(teacher=None, **arguments)
        distiller._add_projectors(projectors)
        return distiller
