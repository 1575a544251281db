"""One step of training or evaluation: the losses of a batch, and its metrics."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_distill._internal import _keras_private as private
from keras_distill._internal._types import Outputs, Step, Tensor, TensorLike
from keras_distill.metrics import Agreement, Task
from keras_distill.training import _batch, _labels
from keras_distill.training._terms import View, alpha_at, mixed
from keras_distill.training._views import Pair, match_units, student_view

HARD, SOFT = "hard_loss", "soft_loss"


class Losses(NamedTuple):
    """The losses of a batch on this replica, and the inputs of its metrics.

    Attributes:
        total: The loss to minimize, without the student's own regularization.
        hard: The hard term; None without labels or without a hard loss.
        soft: The soft term; None without a teacher.
        batch: The labeled batch in the form that Keras expects; None without labels.
        teacher: The teacher's view; None without a teacher.
        student: The student's view.
    """

    total: Tensor
    hard: Tensor | None
    soft: Tensor | None
    batch: _batch.KerasBatch | None
    teacher: View | None
    student: View


def losses(
    pair: Pair,
    outputs: Any,
    features: Outputs,
    element: _batch.Element,
    teacher: View | None,
    *,
    hard_loss: Callable[[Any, Any, Any], Tensor] | None,
    minus_one: bool,
    ids: bool,
    class_weight: Mapping[int, float] | None,
    step: Step,
    training: bool,
) -> Losses:
    """Computes the losses of a batch.

    Args:
        pair: Teacher, student, and soft losses.
        outputs: The student's outputs as it returned them.
        features: Outputs of the student's inner layers by layer name.
        element: The batch.
        teacher: The teacher's view; None for no soft term.
        hard_loss: Keras's compiled loss `(labels, outputs, weights)`; None for no hard term.
        minus_one: Whether the class id -1 also means "unlabeled" for the hard loss.
        ids: Whether the hard loss reads class ids, which must then be in range.
        class_weight: Weights by class id.
        step: The optimizer's step, for schedules.
        training: Whether this is a training step.
    """
    _, targets, sample_weight = element
    by_name = pair.reader.by_name(outputs)
    if class_weight is not None and targets.labels is not None:
        sample_weight = _batch.weigh_classes(
            class_weight, targets, by_name, sample_weight, pair.tasks
        )
    labeled = _batch.labeled_batch(targets, by_name, sample_weight, tasks=pair.tasks)
    if ids and labeled is not None:
        labeled = labeled._replace(labels=_labels.checked_ids(labeled.labels, by_name))
    batch = labeled and _batch.keras_batch(labeled, targets.labels, outputs, list(by_name))
    hard = soft = None
    if batch is not None and hard_loss is not None:
        judged = batch
        if not minus_one:
            kept = _batch.labeled_batch(
                targets, by_name, sample_weight, minus_one=False, tasks=pair.tasks
            )
            assert kept is not None  # as `batch`
            judged = _batch.keras_batch(kept, targets.labels, outputs, list(by_name))
        hard = hard_loss(judged.labels, outputs, judged.weights)
    student = student_view(pair.reader, by_name, features)
    if teacher is not None:
        teacher = teacher._replace(logits=match_units(teacher.logits, student.logits))
        batches = _batch.soft_batches(labeled, sample_weight, by_name)
        terms = pair.soft_terms(teacher, student, batches, step, training=training)
        soft = of_one_replica(terms)
    alpha = alpha_at(pair.alpha, step, labeled=hard is not None)
    total = mixed(hard, soft, alpha)
    return Losses(total, hard, soft, batch, teacher, student)


def of_one_replica(value: Tensor) -> Tensor:
    """Returns a replica's share of a loss: gradients and losses are summed over the replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 else value / replicas


def on_all_replicas(value: Tensor | None) -> Tensor | None:
    """Returns the total loss from one replica's share of it (inverse of `of_one_replica`)."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return value if replicas == 1 or value is None else value * replicas


def apply_gradients(optimizer: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Applies gradients to variables, without keeping the graph of the step in memory.

    The Keras optimizer sums the gradients over all replicas, even if there is only one. TensorFlow
    keeps the gradient function of that sum, and with it the graph of the step, until the process
    ends. In a cross-replica context, Keras does not compute the sum, which is not needed for one
    replica. `LossScaleOptimizer` does not support a cross-replica context.
    """
    one = not tf.distribute.has_strategy() and tf.distribute.get_replica_context() is not None
    if one and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        context: Any = tf.distribute.get_replica_context()
        context.merge_call(lambda strategy: optimizer.apply_gradients(pairs))
    else:
        optimizer.apply_gradients(pairs)


def ignores_minus_one(losses: Any) -> bool:
    """Returns whether the hard losses ignore the class id -1 themselves, also in the mean.

    Args:
        losses: The losses passed to `compile`.
    """
    sparse = [
        loss
        for loss in keras.tree.flatten(losses)
        if isinstance(loss, keras.losses.SparseCategoricalCrossentropy)
    ]
    return bool(sparse) and all(loss.get_config()["ignore_class"] == -1 for loss in sparse)


def update_metrics(compiled: Any, batch: _batch.KerasBatch | None) -> None:
    """Updates compiled metrics; positions without a label have weight 0 in all metrics.

    Args:
        compiled: Keras's container of the metrics given to `compile`; None if there are none.
        batch: The batch; None without labels.
    """
    if compiled is None or batch is None:
        return
    if batch.present is None:
        compiled.update_state(batch.labels, batch.outputs, batch.weights)
    else:
        private.update_metrics(compiled, *batch[:2], batch.present, batch.weights)


def results_of(
    metrics: Iterable[keras.metrics.Metric], compiled: Any, *, with_labels: bool
) -> dict[str, Tensor]:
    """Returns the results of all metrics by name.

    Args:
        metrics: The metrics.
        compiled: Keras's container of the metrics given to `compile`, which is one of them.
        with_labels: Whether to include the compiled metrics (True if they have seen labels).
    """
    results: dict[str, Tensor] = {}
    for metric in metrics:
        seen: Any = metric
        if metric is compiled and not (with_labels and seen.built):
            continue
        result = metric.result()
        results.update(result if isinstance(result, dict) else {metric.name: result})
    return results


def results_of_step(
    metrics: Iterable[keras.metrics.Metric], compiled: Any, found: Losses
) -> dict[str, Tensor]:
    """Returns the results of the metrics that a step has updated."""
    results = results_of(metrics, compiled, with_labels=found.batch is not None)
    updated = {HARD: found.hard, SOFT: found.soft, "agreement": found.teacher}
    return {k: v for k, v in results.items() if updated.get(k, found.total) is not None}


def results_so_far(
    metrics: Iterable[keras.metrics.Metric], compiled: Any, agreement: Agreement | None
) -> dict[str, Any]:
    """Returns the results of the metrics that any batch has updated.

    Outside of a graph, the results are Python numbers, as in the logs of Keras.
    """
    results: dict[str, Any] = results_of(metrics, compiled, with_labels=True)
    if not tf.executing_eagerly():
        return results
    if agreement is not None and float(tf.convert_to_tensor(agreement.count)) == 0:
        del results[agreement.name]
    as_numbers: Any = keras.tree.map_structure(float, results)
    return as_numbers


def update_agreement(
    metric: Agreement | None, teacher: View | None, student: View, tasks: Mapping[str, Task]
) -> None:
    """Updates the agreement metric with every classification output and every label.

    Args:
        metric: The metric; None if there is none.
        teacher: The teacher's view; None without a teacher.
        student: The student's view.
        tasks: The task of each output, by name.
    """
    if metric is None or teacher is None:
        return
    for name, logits in student.logits.items():
        task = tasks.get(name)
        if name not in teacher.logits or task is Task.REGRESSION:
            continue
        sides = [teacher.logits[name], logits]
        if task is Task.MULTI_LABEL:
            sides = [tf.expand_dims(side, -1) for side in sides]
        metric.update_state(*sides, mask=student.mask.get(name))


class TermsTracker(keras.metrics.Metric):
    """Tracks the means of the hard and soft terms over examples, with one update per step.

    Example:
        >>> tracker = TermsTracker()
        >>> tracker.update_state(hard=2.0, soft=None, size=4)
        >>> {name: float(value) for name, value in tracker.result().items()}
        {'hard_loss': 2.0}
    """

    def __init__(self, name: str = "terms") -> None:
        super().__init__(name=name)
        # Σ size·hard and Σ size of the batches with a hard term, then both for the soft term.
        self.sums = self.add_variable((4,), initializer="zeros", name="sums")

    def update_state(
        self, hard: TensorLike | None, soft: TensorLike | None, size: TensorLike
    ) -> None:
        """Adds a batch.

        Args:
            hard: The mean hard loss of the batch, or None.
            soft: The mean soft loss, or None.
            size: The number of examples.
        """
        size = tf.cast(size, self.sums.dtype)
        parts: list[Any] = []
        for value in (hard, soft):
            parts += [0.0, 0.0] if value is None else [tf.cast(value, size.dtype) * size, size]
        self.sums.assign_add(tf.stack(parts))

    def result(self) -> dict[str, Tensor]:
        """Returns both means; in eager execution, only the means of terms that occurred."""
        hard, hard_size, soft, soft_size = tf.unstack(tf.convert_to_tensor(self.sums))
        means = {HARD: (hard, hard_size), SOFT: (soft, soft_size)}
        return {
            name: tf.math.divide_no_nan(total, size)
            for name, (total, size) in means.items()
            if not tf.executing_eagerly() or float(size) > 0
        }
