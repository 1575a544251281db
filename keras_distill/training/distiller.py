"""The Distiller: a Keras model whose `fit` trains the student on labels and soft targets."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_distill._checks import InputError, bad
from keras_distill._elements import Targets
from keras_distill.losses import DistillationLoss, SoftTargetLoss, value_at
from keras_distill.losses.base import PACKAGE, Setting
from keras_distill.teachers.base import named
from keras_distill.teachers.heads import symbolic_outputs
from keras_distill.training import hard, preparation, terms
from keras_distill.training.hard_inputs import hard_inputs, update_metrics
from keras_distill.training.source import TeacherSource, flatten_losses
from keras_distill.training.student import StudentReader

# A default that differs from a 4.0 of the user's by identity, so that one beside losses is noticed.
_TEMPERATURE = float("4")
_UNEQUAL_WEIGHTS = "relates the examples of a batch"


@keras.saving.register_keras_serializable(PACKAGE)
class Distiller(keras.Model):
    """Trains a student on labels and on a teacher's soft targets.

    total = (1 - alpha) · hard + alpha · Σ w_i · L_i + the student's own regularisation, each reduced
    as Keras reduces a loss. Source: Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2.

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
        >>> keras.utils.set_random_seed(0)
        >>> def net(units):
        ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, "relu"),
        ...                              keras.layers.Dense(3)])
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
            raise bad(
                "temperature",
                "be left out beside explicit losses",
                temperature,
                "Give it to the losses.",
            )
        self.alpha = preparation.check_alpha(alpha)
        self.evaluate_teacher = bool(evaluate_teacher)
        self.student = student
        self._soft = terms.SoftTerms(
            *flatten_losses(distillation_losses, distillation_loss_weights)
        )
        self._reader = StudentReader(student, self._soft.layer_names("student"))
        self._class_weights: Any = None
        self.hard_loss_tracker = keras.metrics.Mean(name="hard_loss")
        self.soft_loss_tracker = keras.metrics.Mean(name="soft_loss")
        self.agreement_tracker = keras.metrics.Mean(name="agreement") if agreement else None
        self.projectors: list[keras.Layer] = []
        self.built = bool(student.built)
        self.set_teacher(teacher, teacher_preprocess)

    @property
    def teacher(self) -> Any:
        """What was given as teacher, None without one."""
        return self._source.given

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
        source.check_temperature(self._soft.losses)
        if source.teacher is not None:
            preparation.check_shapes(
                self._soft,
                preparation.shaped(source.teacher.output_shapes),
                self._symbolic_student(),
            )
            self._make_projectors(source)
        self._source = source
        self.train_function = self.test_function = None

    def _symbolic_student(self) -> Any:
        outputs = symbolic_outputs(self.student)
        return None if outputs is None else named(outputs, self._reader.names)

    def _make_projectors(self, source: TeacherSource) -> None:
        """Makes a projector for every loss on features whose shapes differ, unless there is one."""
        if any(projector is not None for projector in self._soft.projectors):
            return
        for i, loss in enumerate(self._soft.losses):
            names = terms.layer_names(loss)
            if not isinstance(loss, DistillationLoss) or None in names:
                continue
            shapes = source.teacher.feature_shape(names[0]), self._reader.feature_shape(names[1])
            projector = loss.projector(*shapes)
            if projector is not None:
                projector.build(shapes[1])
                self._soft.projectors[i] = projector
                self.projectors.append(projector)

    def call(self, inputs: Any, training: bool | None = None, with_features: bool = False) -> Any:
        """The student's outputs; with `with_features` also a dict of its layers' outputs."""
        outputs, features = (
            self._reader.call(inputs, training)
            if with_features
            else (
                self.student(inputs, training=training),
                {},
            )
        )
        return (outputs, features) if with_features else outputs

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of `fit`: one pass of the student, one of a live teacher outside the tape."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        targets = terms.split(y)
        teacher = self._teacher_view(x, targets)
        with tf.GradientTape() as tape:
            outputs, features = self(x, training=True, with_features=True)
            sample_weight = self._with_class_weights(targets, outputs, sample_weight)
            inputs = self._hard_inputs(targets, outputs, sample_weight)
            student = self._reader.view(outputs, features)
            loss, parts = self._total(inputs, targets, outputs, teacher, student, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled, variables), variables, strict=True)
        )
        return self._logs(x, loss, parts, outputs, inputs, teacher, student)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of `evaluate`: changes no variable but the metrics'."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        targets = terms.split(y)
        teacher = None
        if self.evaluate_teacher or (
            targets.teacher is not None and not self._soft.layer_names("teacher")
        ):
            teacher = self._teacher_view(x, targets)
        outputs, features = self(x, training=False, with_features=True)
        inputs = self._hard_inputs(targets, outputs, sample_weight)
        student = self._reader.view(outputs, features)
        loss, parts = self._total(inputs, targets, outputs, teacher, student, sample_weight)
        return self._logs(x, loss, parts, outputs, inputs, teacher, student)

    def _teacher_view(self, x: Any, targets: Targets) -> terms.View:
        view = self._source.view(x, targets, self._soft.layer_names("teacher"))
        if view is None:
            raise InputError(
                "`teacher` must be given where the data carry no keras_distill.Targets. Received:"
                " teacher=None and plain labels."
            )
        return view._replace(logits=terms.check_finite(view.logits))

    def _hard_inputs(self, targets: Targets, outputs: Any, sample_weight: Any) -> Any:
        if targets.labels is None:
            return None
        return hard_inputs(
            targets.labels, outputs, sample_weight, targets.labelled, self._reader.names
        )

    def _total(
        self,
        inputs: Any,
        targets: Targets,
        outputs: Any,
        teacher: terms.View | None,
        student: terms.View,
        sample_weight: Any,
    ) -> tuple[Any, tuple[Any, Any]]:
        """The loss to minimise on this replica, and its hard and soft terms (None where absent)."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        hard_term = soft_term = None
        if inputs is not None and self._compile_loss is not None:
            hard_term = self._compile_loss(inputs.labels, outputs, inputs.weights)
        step = tf.convert_to_tensor(self.optimizer.iterations)
        if teacher is not None:
            labels = None if inputs is None else inputs.labels
            soft_term = self._soft(teacher, student, labels, sample_weight, step) / replicas
        total = _mixed(hard_term, soft_term, value_at(self.alpha, step))
        for extra in self.losses:
            total += tf.reduce_sum(tf.cast(extra, total.dtype)) / replicas
        return total, (hard_term, soft_term)

    def _logs(self, x, loss, parts, outputs, inputs, teacher, student) -> dict[str, Any]:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        size = tf.shape(keras.tree.flatten(x)[0])[0]
        trackers = (self._loss_tracker, self.hard_loss_tracker, self.soft_loss_tracker)
        for tracker, value in zip(trackers, (loss, *parts), strict=True):
            if value is not None:
                tracker.update_state(value * replicas, sample_weight=size)
        if self.agreement_tracker is not None and teacher is not None:
            self._update_agreement(teacher, student)
        if self._compile_metrics is not None and inputs is not None:
            update_metrics(self._compile_metrics, outputs, inputs)
        results = super().get_metrics_result()
        absent = {"hard_loss": parts[0], "soft_loss": parts[1], "agreement": teacher}
        return {k: v for k, v in results.items() if absent.get(k, loss) is not None}

    def _update_agreement(self, teacher: terms.View, student: terms.View) -> None:
        for name in terms.output_names(student.logits):
            same = terms.agreement(
                terms.of_output(teacher.logits, name), terms.of_output(student.logits, name)
            )
            mask = terms.of_output(student.mask, name)
            self.agreement_tracker.update_state(same, sample_weight=mask)

    def get_metrics_result(self) -> dict[str, Any]:
        """The metrics so far, without terms that no batch had."""
        results = super().get_metrics_result()
        for tracker in (self.hard_loss_tracker, self.soft_loss_tracker, self.agreement_tracker):
            if tracker is not None and tf.executing_eagerly() and float(tracker.count) == 0:
                results.pop(tracker.name, None)
        return results

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ) -> tf.Tensor:
        """The hard loss and the regularisation of outputs that were computed already.

        `fit` and `evaluate` compute the whole loss in their steps; Keras asks for this one to build
        what it needs.
        """
        del x, training
        inputs = self._hard_inputs(terms.split(y), y_pred, sample_weight)
        labels, weights = (None, None) if inputs is None else (inputs.labels, inputs.weights)
        return super().compute_loss(y=labels, y_pred=y_pred, sample_weight=weights)

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict[str, Any]:
        """Updates the compiled metrics with the student's outputs."""
        del x
        inputs = self._hard_inputs(terms.split(y), y_pred, sample_weight)
        if self._compile_metrics is not None and inputs is not None:
            update_metrics(self._compile_metrics, y_pred, inputs)
        return self.get_metrics_result()

    def _with_class_weights(self, targets: Targets, outputs: Any, sample_weight: Any) -> Any:
        if self._class_weights is None or targets.labels is None:
            return sample_weight
        if isinstance(outputs, dict | list | tuple):
            raise bad("class_weight", "be left out for a student with several outputs", dict)
        classes = max(outputs.shape[-1], 2)
        table = preparation.class_weight_table(self._class_weights, classes)
        weights = preparation.weigh_classes(table, targets.labels, targets.labelled, outputs)
        return (
            terms.weigh(None, sample_weight, len(weights.shape)) * weights
            if (sample_weight is not None)
            else weights
        )

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains the student; arguments as for `keras.Model.fit`.

        Not compiled, it compiles with Adam and a hard loss read off the labels (`hard.default_loss`).

        Args:
            x: Inputs, or a data set of `(x, y)` or `(x, y, sample_weight)`.
            y: Labels or `Targets`, beside arrays.
            batch_size: As in Keras.
            epochs: As in Keras.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_split: As in Keras.
            validation_data: As in Keras; without stored soft targets its loss is the hard one.
            shuffle: As in Keras.
            class_weight: Weights by class id, 1 where none is given and for unlabelled rows.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not fit, before the first step where that can be known.
        """
        self._prepare(x, y, batch_size, training=True)
        if class_weight != self._class_weights:
            self._class_weights = class_weight
            self.train_function = None
        with _readable_errors():
            return super().fit(
                x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data,
                shuffle, **kwargs,
            )  # fmt: skip

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs) -> Any:
        """The losses and metrics of the student; arguments as for `keras.Model.evaluate`.

        Args:
            x: As for `fit`.
            y: As for `fit`.
            batch_size: As in Keras.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not fit.
        """
        self._prepare(x, y, batch_size, training=False)
        with _readable_errors():
            return super().evaluate(x, y, batch_size, **kwargs)

    def _prepare(self, x: Any, y: Any, batch_size: int | None, *, training: bool) -> None:
        """Builds, compiles and checks what can be known before the first step."""
        peek = functools.cache(lambda: preparation.first_batch(x, y, batch_size))
        if not self.student.built:
            self.student(peek()[0], training=False)
            self._reader = StudentReader(self.student, self._soft.layer_names("student"))
        self.built = True
        known = preparation.element_shapes(x, y)
        if training and known is not None:
            self._check_known(known)
        if not self.compiled:
            batch_x, batch_y = peek()
            outputs = self._symbolic_student()
            if outputs is None:
                outputs = named(self.student(batch_x, training=False), self._reader.names)
            loss = preparation.default_losses(batch_y, outputs, self._reader, self._soft)
            self.compile("adam", loss)
        hard.check_from_logits(self.loss, self._reader.heads)

    def _check_known(self, known: Targets) -> None:
        if known.teacher is None and self._source.teacher is None:
            self._teacher_view(None, known)
        if known.labels is None and not (not callable(self.alpha) and self.alpha == 1):
            raise InputError(
                "`alpha` must be 1 where the data carry no labels. Received:"
                f" alpha={self.alpha!r} and no y."
            )
        if known.teacher is not None:
            preparation.check_shapes(self._soft, known.teacher, self._symbolic_student())

    def get_config(self) -> dict[str, Any]:
        """The student, the losses and the settings; never the teacher."""
        raise_if = keras.saving.serialize_keras_object
        return {"student": raise_if(self.student), "name": self.name}


def _mixed(hard_term: Any, soft_term: Any, alpha: Any) -> Any:
    """(1 - alpha) · hard + alpha · soft, or the one there is."""
    certain = not tf.is_tensor(alpha)
    if soft_term is None:
        if hard_term is None:
            raise InputError("There is nothing to compute: no labels or no loss, and no teacher.")
        return hard_term
    if certain and alpha == 1:
        return soft_term
    if hard_term is None:
        raise InputError(
            f"`alpha` must be 1 where there are no labels, or no hard loss. Received: alpha={alpha}"
        )
    if certain and alpha == 0:
        return hard_term
    return (1.0 - alpha) * hard_term + alpha * soft_term


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """Turns the assertions of a running graph into the errors they stand for."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        text = str(error)
        if terms.NOT_FINITE in text:
            raise InputError(
                f"{terms.NOT_FINITE}. Check the teacher, or the stored targets."
            ) from error
        if _UNEQUAL_WEIGHTS in text:
            line = next(part for part in text.splitlines() if _UNEQUAL_WEIGHTS in part)
            raise InputError(line.strip(" []'\"")) from error
        raise
