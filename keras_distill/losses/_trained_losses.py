"""Feature losses that always train their own layer; the math is in `functional`."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._types import Schedule, Shape, Step, Tensor, TensorLike
from keras_distill.losses import functional
from keras_distill.losses._base import DistillationLoss, known_differ
from keras_distill.losses._feature_losses import FeatureLoss, layer_name
from keras_distill.losses._projectors import (
    ContrastiveProjector,
    Projector,
    ReviewProjector,
    VariationalProjector,
    feature_projector,
)
from keras_distill.losses._settings import PACKAGE, check_setting, value_at


class TrainedLoss(DistillationLoss):
    """Compares features after a trained layer; only `keras_distill.Distiller` supports it."""

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks that the features are outputs of the trained layer.

        Raises:
            InputError: If the features are plain tensors.
        """
        if not isinstance(student_outputs, list | tuple):
            raise InputError(
                f"{type(self).__name__} compares features after a layer that is trained with it."
                " Received: features without that layer. Use keras_distill's Distiller, which"
                " trains it."
            )

    def projector_fits(self, projector: Projector, teacher_shape: Any, student_shape: Any) -> bool:
        """Returns whether a trained layer still fits the features of a new teacher."""
        return projector.fits(teacher_shape)


@keras.saving.register_keras_serializable(PACKAGE)
class VariationalLoss(TrainedLoss, FeatureLoss):
    """Variational information distillation: mean of ((t - μ(s))²/σ² + log σ²)/2.

    μ is the output of a small network on the student's features, and σ² is one variance per
    channel. Both are trained with the student. Channels that the student cannot predict get a large
    variance and therefore less weight. The value is a negative log-likelihood, so it may fall below
    0. Feature maps of different sizes are resized bilinearly.

    Source: Ahn, Hu, Damianou, Lawrence, Dai 2019 (VID, arXiv:1904.05835), section 2. The three
    layers of μ and the initial variance (5) are those of their published code.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = VariationalLoss("block3", "block1")
        >>> mean, variance = loss.projector((None, 8), (None, 4))(tf.zeros((2, 4)))
        >>> mean.shape, round(float(variance[0]), 3)
        (TensorShape([2, 8]), 5.0)
    """

    def per_example(
        self,
        teacher: TensorLike,
        student: Any,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.variational` of `(mean, variance)`: a value per position."""
        return functional.variational(teacher, *student)

    def projector(self, teacher_shape: Shape, student_shape: Shape) -> keras.layers.Layer:
        """Creates the layer that computes the mean and the variance.

        Raises:
            InputError: If the shapes differ in rank, or in a position axis of features that are
                not feature maps.
        """
        feature_projector(type(self).__name__, teacher_shape, student_shape)
        return VariationalProjector(teacher_shape, name="variational")


@keras.saving.register_keras_serializable(PACKAGE)
class ContrastiveLoss(TrainedLoss, FeatureLoss):
    """Contrastive distillation: matches each example's student and teacher embeddings.

    Trained Dense layers embed the features of both models, and the embeddings are normalized. For
    each example, the loss is the cross-entropy of selecting its embedding by the other model among
    the embeddings of the batch and of a queue of earlier batches. The scores are cosines divided by
    the temperature. The value is the mean of both directions, student to teacher and teacher to
    student.

    Memory: the queues hold 2 · queue_size · dimension numbers of 4 bytes (4 MiB by default), and a
    step computes 2 · B · (B + queue_size) cosines. Keep the queue smaller than the training data:
    otherwise an example's own earlier embedding becomes one of its negatives.

    Source: Tian, Krishnan, Isola 2020 (CRD, arXiv:1910.10699), section 3. The paper's memory bank
    has a row per training example and needs the index of each example, which a data set does not
    provide. `functional.contrastive` lists the differences.

    Args:
        teacher_layer_name: A teacher's layer with features `(B, C)`; "outer/inner" names a layer of
            a nested model.
        student_layer_name: The student's layer, named in the same way.
        dimension: Size of the embeddings.
        queue_size: Number of examples in the queue; 0 to use only negatives from the batch.
        temperature: τ > 0, a number or a schedule of the step.

    Example:
        >>> loss = ContrastiveLoss("pool", "pool", dimension=16, queue_size=0)
        >>> layer = loss.projector((None, 8), (None, 4))
        >>> teacher, student = layer(tf.ones((2, 4)), tf.ones((2, 8)))
        >>> round(float(loss.compute_loss(teacher, student)), 3)
        0.693
    """

    over_batch = True

    def __init__(
        self,
        teacher_layer_name: str,
        student_layer_name: str,
        dimension: int = 128,
        queue_size: int = 4096,
        temperature: Schedule = 0.07,
    ) -> None:
        super().__init__(teacher_layer_name, student_layer_name)
        self.dimension = int(check_number("dimension", dimension, at_least=1))
        self.queue_size = int(check_number("queue_size", queue_size, at_least=0))
        self.temperature = check_setting("temperature", temperature, above=0)

    def value_of_rows(
        self,
        teacher: Any,
        student: Any,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.contrastive` of the trained layer's outputs: a scalar."""
        queues = {}
        if len(student) > 1:
            queues = {"teacher_queue": teacher[1], "student_queue": student[1]}
            queues["in_queue"] = student[2]
        at = value_at(self.temperature, step)
        return functional.contrastive(teacher[0], student[0], at, **queues, keep=keep)

    def leading(self, student: Any) -> Tensor:
        """Returns the shape of the rows."""
        return tf.shape(student[0])[:1]

    def project(
        self,
        projector: keras.layers.Layer,
        teacher: Any,
        student: Any,
        *,
        training: bool,
        sample_weight: Tensor | None,
    ) -> tuple[Any, Any]:
        """Embeds the features of both models and, in training, appends them to the queues."""
        keep = None
        if sample_weight is not None:
            keep = tf.not_equal(tf.reshape(tf.convert_to_tensor(sample_weight), (-1,)), 0)
        return projector(student, teacher, training=training, keep=keep)

    def projector(self, teacher_shape: Shape, student_shape: Shape) -> keras.layers.Layer:
        """Creates the layer with the embeddings of both models and the queues.

        Raises:
            InputError: If the features are not `(B, C)`.
        """
        if any(len(shape) != 2 or shape[1] is None for shape in (teacher_shape, student_shape)):
            raise InputError(
                "ContrastiveLoss needs features (batch, channels)."
                f" Received: teacher {teacher_shape}, student {student_shape}."
                " Name layers after the pooling."
            )
        return ContrastiveProjector(
            teacher_shape, self.dimension, self.queue_size, name="contrastive"
        )


@keras.saving.register_keras_serializable(PACKAGE)
class ReviewLoss(TrainedLoss):
    """Knowledge review: the student's fused maps match the teacher's at several stages.

    Trained convolutions with attention fuse the feature maps of each student stage with those of
    all deeper stages. The fused maps are compared with the teacher's maps over a pyramid of grids.

    Source: Chen, Liu, Zhao, Jia 2021 (ReviewKD, arXiv:2104.09044), section 3 (attention-based
    fusion, hierarchical context loss).

    Args:
        teacher_layer_names: The teacher's layers with feature maps `(B, H, W, C)`, one per stage,
            from the first to the deepest; "outer/inner" names a layer of a nested model.
        student_layer_names: The student's layers, one for each of the teacher's layers.
        channels: Number of channels of the fused maps. None uses the number of channels of the
            student's deepest stage, at most 512.

    Example:
        >>> loss = ReviewLoss(["block2", "block3"], ["block1", "block2"])
        >>> shapes = [(None, 8, 8, 4), (None, 4, 4, 8)]
        >>> fused = loss.projector(shapes, shapes)([tf.zeros((1, 8, 8, 4)), tf.zeros((1, 4, 4, 8))])
        >>> [tuple(maps.shape) for maps in fused]
        [(1, 8, 8, 4), (1, 4, 4, 8)]
    """

    def __init__(
        self,
        teacher_layer_names: Sequence[str],
        student_layer_names: Sequence[str],
        channels: int | None = None,
    ) -> None:
        self.teacher_layer_names = _layer_names("teacher_layer_names", teacher_layer_names)
        self.student_layer_names = _layer_names("student_layer_names", student_layer_names)
        if len(self.teacher_layer_names) != len(self.student_layer_names):
            raise bad(
                "student_layer_names",
                f"have one layer for each of the teacher's {len(self.teacher_layer_names)}",
                self.student_layer_names,
            )
        self.channels = None
        if channels is not None:
            self.channels = int(check_number("channels", channels, at_least=1))

    def per_example(
        self,
        teacher: Any,
        student: Any,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.review`: `(B,)` for lists of feature maps."""
        return functional.review(teacher, student)

    def project(
        self,
        projector: keras.layers.Layer,
        teacher: Any,
        student: Any,
        *,
        training: bool,
        sample_weight: Tensor | None,
    ) -> tuple[Any, Any]:
        """Fuses the student's feature maps."""
        return teacher, projector(student, training=training)

    def projector(self, teacher_shape: Any, student_shape: Any) -> keras.layers.Layer:
        """Creates the layer that fuses the student's feature maps.

        Args:
            teacher_shape: Shapes of the teacher's feature maps, one per stage.
            student_shape: Shapes of the student's feature maps, one per stage.

        Raises:
            InputError: If the features are not feature maps, or a size of the teacher's maps is
                unknown.
        """
        for t, s in zip(teacher_shape, student_shape, strict=True):
            if len(t) != 4 or len(s) != 4 or None in t[1:] or s[-1] is None:
                raise InputError(
                    "ReviewLoss needs maps (batch, height, width, channels), of known size in the"
                    f" teacher. Received: teacher {t}, student {s}."
                )
        channels = self.channels or min(512, student_shape[-1][-1])
        return ReviewProjector(teacher_shape, channels, name="review")


def _layer_names(name: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not value:
        raise bad(name, "be a list of one or more names of layers", value)
    return [layer_name(f"{name}[{i}]", part) for i, part in enumerate(value)]


@keras.saving.register_keras_serializable(PACKAGE)
class SoftmaxRegressionLoss(FeatureLoss):
    """Softmax regression: passes the student's features through the teacher's frozen classifier.

    The loss is w_f · mean of (s - t)² + w_l · mean over classes of ((s - t)·W)², where t is the
    input of the teacher's classifier and W is its kernel. If the shapes differ, s first passes
    through a trained projector. This loss does not train the student's own classifier: combine it
    with the hard loss or with a loss on logits.

    Source: Yang, Martinez, Bulat, Tzimiropoulos 2021 (softmax regression representation learning,
    ICLR), section 3, with the L2 loss between logits. The paper's projector also has batch
    normalization and ReLU; this projector is linear, as in `HintLoss`.

    Args:
        teacher_layer_name: The teacher's layer before its classifier; "outer/inner" names a layer
            of a nested model.
        student_layer_name: The student's layer, named in the same way.
        teacher_classifier_name: The teacher's Dense layer that computes its logits.
        feature_weight: w_f >= 0, a number or a schedule of the step.
        logit_weight: w_l >= 0, a number or a schedule of the step.

    Example:
        >>> loss = SoftmaxRegressionLoss("pool", "pool", "logits")
        >>> float(loss.compute_loss([[[1.0, 0.0]], [[2.0], [5.0]]], [[0.0, 0.0]]))
        4.5
    """

    def __init__(
        self,
        teacher_layer_name: str,
        student_layer_name: str,
        teacher_classifier_name: str,
        feature_weight: Schedule = 1.0,
        logit_weight: Schedule = 1.0,
    ) -> None:
        super().__init__(teacher_layer_name, student_layer_name)
        name = layer_name("teacher_classifier_name", teacher_classifier_name)
        self.teacher_classifier_name = self.teacher_weights_name = name
        self.feature_weight = check_setting("feature_weight", feature_weight, at_least=0)
        self.logit_weight = check_setting("logit_weight", logit_weight, at_least=0)

    def per_example(
        self,
        teacher: Any,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.softmax_regression`: a value per position.

        Args:
            teacher: `[features, kernel, ...]`: the features `(..., C)`, then the weights of the
                classifier. Only the kernel `(C, N)` is used.
            student: Features `(..., C)`, after the projector.
            labels: Not used.
            step: The optimizer's step, for settings that are schedules.
        """
        return functional.softmax_regression(
            teacher[0],
            student,
            teacher[1],
            feature_weight=value_at(self.feature_weight, step),
            logit_weight=value_at(self.logit_weight, step),
        )

    def projector(self, teacher_shape: Shape, student_shape: Shape) -> keras.layers.Layer | None:
        """Creates the layer that maps the student's features to the teacher's shape.

        Raises:
            InputError: If no layer can map one shape to the other.
        """
        return feature_projector(type(self).__name__, teacher_shape, student_shape)

    def validate_outputs(self, teacher_outputs: Any, student_outputs: Any) -> None:
        """Checks that the classifier's weights are present and match the shape of the features.

        Raises:
            InputError: If the weights are missing or do not match.
        """
        if not isinstance(teacher_outputs, list | tuple):
            raise InputError(
                "SoftmaxRegressionLoss reads the weights of the teacher's classifier. Received:"
                " features only. Use keras_distill's Distiller, which reads them."
            )
        features, weights = teacher_outputs[0], teacher_outputs[1:]
        shapes = [tuple(weight.shape) for weight in weights]
        if not shapes or len(shapes[0]) != 2 or known_differ(features.shape[-1:], shapes[0][:1]):
            raise InputError(
                f"SoftmaxRegressionLoss needs a Dense layer on {features.shape[-1]} channels as"
                f" `teacher_classifier_name`. Received: {self.teacher_classifier_name!r} with"
                f" weights of shapes {shapes}."
            )
        if known_differ(features.shape[-1:], student_outputs.shape[-1:]):
            raise InputError(
                "SoftmaxRegressionLoss compares features of the same channels."
                f" Received: teacher {features.shape}, student {student_outputs.shape}."
                " Use keras_distill's Distiller, which trains a projector."
            )
