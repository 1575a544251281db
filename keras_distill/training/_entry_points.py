"""fit, evaluate and their kin: what is built, compiled and checked before Keras's own loop runs."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._elements import Targets
from keras_distill.teachers._heads import symbolic_outputs
from keras_distill.training import _hard_term, _preparation, _terms
from keras_distill.training._default_loss import check_from_logits
from keras_distill.training._errors import readable_errors
from keras_distill.training._source import TeacherSource, no_teacher
from keras_distill.training._student import StudentReader


class EntryPoints(keras.Model):
    """The methods of a Distiller that a user calls to run it.

    Attributes:
        student: The student.
        soft_terms: The distillation losses.
    """

    student: keras.Model
    soft_terms: _terms.SoftTerms
    _alpha: Any
    _reader: StudentReader
    _source: TeacherSource
    _looked: bool
    _evaluate_teacher: bool
    _class_weight: Any

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

        Where `compile` was not called, it is, with Adam and a hard loss read off the labels
        (`default_loss`).

        Args:
            x: Inputs, or a data set of `(x, y)` or `(x, y, sample_weight)`.
            y: Labels or `Targets`, beside arrays.
            batch_size: As in Keras.
            epochs: As in Keras.
            verbose: As in Keras.
            callbacks: As in Keras.
            validation_split: As in Keras.
            validation_data: As in Keras. Without stored soft targets its loss is the hard one,
                whatever alpha.
            shuffle: As in Keras.
            class_weight: Weights by class id, 1 where none is given and for unlabeled rows.
            sample_weight: As in Keras; weighs the hard and the soft terms.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not fit, before the first step where that can be known.
        """
        if validation_data is not None:
            val_x, val_y = _preparation.parts(validation_data)
            self._check_validation("validation_data", _preparation.known_targets(val_x, val_y))
        elif validation_split:
            self._check_validation("validation_split", _preparation.known_targets(x, y))
        x = _preparation.rewound(x)
        self._prepare(x, y, batch_size, training=True, validation_data=validation_data)
        self._set_class_weight(class_weight)
        with readable_errors():
            return super().fit(
                _preparation.for_keras(x),
                y,
                batch_size,
                epochs,
                verbose,
                callbacks,
                validation_split,
                _hard_term.pack_validation(validation_data),
                # Keras warns of its own default for every data set.
                shuffle and not isinstance(x, tf.data.Dataset),
                sample_weight=_hard_term.pack_weights(y, sample_weight),
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
        """The student's losses and metrics; arguments as for `keras.Model.evaluate`.

        Args:
            x: As for `fit`.
            y: As for `fit`.
            batch_size: As in Keras.
            verbose: As in Keras.
            sample_weight: As for `fit`.
            **kwargs: As in Keras.

        Raises:
            InputError: If the data do not fit.
        """
        x = _preparation.rewound(x)
        self._prepare(x, y, batch_size, training=False)
        sample_weight = _hard_term.pack_weights(y, sample_weight)
        with readable_errors():
            return super().evaluate(
                _preparation.for_keras(x), y, batch_size, verbose, sample_weight, **kwargs
            )

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; as `keras.Model.train_on_batch`."""
        self._prepare(x, y, None, training=True)
        self._set_class_weight(class_weight)
        with readable_errors():
            return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The losses and metrics of one batch; as `keras.Model.test_on_batch`."""
        self._prepare(x, y, None, training=False)
        with readable_errors():
            return super().test_on_batch(x, y, sample_weight, return_dict=return_dict)

    def _check_validation(self, name: str, known: Targets | None) -> None:
        """Refuses validation data that leave no loss to compute, before an epoch is spent.

        Args:
            name: The argument of `fit` that they come from.
            known: What is known of their y.
        """
        if known is None:
            return
        stored = known.teacher is not None and not self.soft_terms.layer_names("teacher")
        if self._evaluate_teacher and not stored and self._source.teacher is None:
            raise InputError(
                f"`{name}` must carry soft targets, or the Distiller have a teacher, with"
                " evaluate_teacher=True. Received: neither. Use set_teacher, or leave"
                " evaluate_teacher out."
            )
        hard = known.labels is not None and not (self.compiled and self._compile_loss is None)
        if hard:
            return
        if not stored and not self._evaluate_teacher:
            what = "labels" if known.labels is None else "a hard loss, compile(loss=...),"
            raise InputError(
                f"`{name}` needs {what} or stored soft targets: without them there is no loss to"
                " compute. Received: neither. Or give the Distiller evaluate_teacher=True."
            )
        _terms.check_without_labels(self._alpha)

    def _resolve_auto_jit_compile(self) -> bool:
        """What Keras makes of jit_compile="auto": never XLA with a teacher it cannot compile."""
        teacher = self._source.teacher
        on_host = teacher is not None and teacher.on_host
        return False if on_host else super()._resolve_auto_jit_compile()

    def _set_class_weight(self, class_weight: Any) -> None:
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
        """Builds, checks and compiles what can be before the first step."""
        _preparation.check_examples(x, y, self._reader.input_shapes())
        peek = functools.cache(lambda: _preparation.first_batch(x, y, batch_size))
        if not self.student.built:
            with self.distribute_strategy.scope():
                self.student(peek()[0], training=False)
            self._reader = StudentReader(self.student, self.soft_terms.layer_names("student"))
            self._fit_teacher(self._source)
        self.built = True
        if training:
            self._check_data(_preparation.known_targets(x, y), peek)
        if not self.compiled:
            batch_x, batch_y = peek()
            if _terms.split(batch_y).labels is None and validation_data is not None:
                _, batch_y = _preparation.first_batch(*_preparation.parts(validation_data))
            outputs = symbolic_outputs(self.student)
            if outputs is None:
                outputs = self.student(batch_x, training=False)
            loss = _preparation.default_losses(batch_y, outputs, self._reader, self.soft_terms)
            with self.distribute_strategy.scope():
                self.compile("adam", loss)
        check_from_logits(self.loss, self._reader.heads)
        self._source.check_compiler(self.jit_compile)

    def _check_data(self, known: Targets | None, peek: Callable[[], tuple[Any, Any]]) -> None:
        stored = known is not None and known.teacher is not None
        if known is not None:
            if not stored and self._source.teacher is None:
                raise no_teacher()
            if known.labels is None:
                _terms.check_without_labels(self._alpha)
            _preparation.check_shapes(self.soft_terms, known.teacher, self._reader.symbolic())
            _preparation.check_arrays_finite(known.teacher)
        if not self._looked:
            source = None if stored else self._source
            _preparation.look(peek, source, self._reader, self.soft_terms)
            self._looked = not stored

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds under a strategy from one replica's batch.

        Keras takes the mean of the replicas' batches for an example, which a boolean component such
        as `Targets.labeled` does not have.
        """
        if self._distribute_strategy is None:
            return
        if iterator is not None:
            batches = next(iter(iterator))[2]
            data_batch = keras.tree.map_structure(self._of_first_replica, next(batches))
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=data_batch)

    def _of_first_replica(self, value: Any) -> Any:
        return self.distribute_strategy.experimental_local_results(value)[0]
