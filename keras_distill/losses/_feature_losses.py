"""Losses on the outputs of inner layers, as classes; the math is in `functional`."""

import keras

from keras_distill._internal import InputError, bad
from keras_distill._internal._types import Schedule, Shape, Step, TeacherLogits, Tensor, TensorLike
from keras_distill.losses import functional
from keras_distill.losses._base import DistillationLoss, known_differ
from keras_distill.losses._projectors import feature_projector
from keras_distill.losses._settings import PACKAGE, check_setting, value_at


class FeatureLoss(DistillationLoss):
    """Compares the output of one teacher layer with the output of one student layer.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.
    """

    def __init__(self, teacher_layer_name: str, student_layer_name: str) -> None:
        self.teacher_layer_name = layer_name("teacher_layer_name", teacher_layer_name)
        self.student_layer_name = layer_name("student_layer_name", student_layer_name)

    def validate_shapes(self, teacher: Shape, student: Shape) -> None:
        """Checks that features have a batch axis and at least one more; other axes may differ."""
        for name, shape in (("teacher", teacher), ("student", student)):
            if len(shape) < 2:
                raise InputError(
                    f"{type(self).__name__} needs features (batch, ...) of the {name}."
                    f" Received: {shape}."
                )


def layer_name(name: str, value: object) -> str:
    """Checks and returns the name of a layer.

    Raises:
        InputError: If the value is not a layer name.
    """
    if not isinstance(value, str) or not value:
        raise bad(name, "be the name of a layer", value)
    return value


@keras.saving.register_keras_serializable(PACKAGE)
class HintLoss(FeatureLoss):
    """Matches features: mean of (s - t)² over batch, positions, and channels.

    If the shapes differ, s first passes through a trained projector.

    Source: Romero et al. 2015 (FitNets, arXiv:1412.6550), section 2.1.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = HintLoss("block3", "block1")
        >>> float(loss.compute_loss([[1.0, 2.0]], [[1.0, 0.0]]))
        2.0
        >>> loss.projector((None, 8), (None, 4)).units
        8
    """

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.hint`: a value per position, `(...)` for features `(..., C)`."""
        return functional.hint(teacher, student)

    def projector(self, teacher_shape: Shape, student_shape: Shape) -> keras.layers.Layer | None:
        """Creates the layer that maps the student's features to the teacher's shape.

        Feature maps `(B, H, W, C)` get a 1x1 convolution to the teacher's channels and, if their
        height or width differs, bilinear resizing. All other features get a Dense layer on the
        last axis.

        Args:
            teacher_shape: Shape with the batch axis; a size of None is assumed to be equal.
            student_shape: Shape of the student's features, in the same form.

        Returns:
            A new, unbuilt layer, or None if the shapes agree.

        Raises:
            InputError: If the shapes differ in rank, in unknown channels, or in a position axis of
                features that are not feature maps.
        """
        return feature_projector(type(self).__name__, teacher_shape, student_shape)

    def validate_shapes(self, teacher: Shape, student: Shape) -> None:
        """Checks that features agree in every axis, after the projector if there is one."""
        if len(teacher) != len(student) or known_differ(teacher, student):
            raise InputError(
                "HintLoss compares features of the same shape."
                f" Received: teacher {teacher}, student {student}."
                " Use keras_distill's Distiller, which trains a projector, or name other layers."
            )


@keras.saving.register_keras_serializable(PACKAGE)
class AttentionTransferLoss(FeatureLoss):
    """Matches attention maps: mean over batch and positions of (A(s) - A(t))².

    A is the mean of the squared channels at each position, flattened and divided by its L2 norm.
    The number of channels may therefore differ, and no projector is needed. The positions must
    agree. The mean makes the value small: reproductions of the paper weight it by 1,000.

    Source: Zagoruyko, Komodakis 2017 (AT, arXiv:1612.03928), section 3.1, p = 2.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = AttentionTransferLoss("block3", "block1")
        >>> float(loss.compute_loss([[[1.0, 1.0], [0.0, 0.0]]], [[[0.0], [2.0]]]))
        1.0
    """

    pools_positions = True

    def per_example(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.attention_transfer`: `(B,)`."""
        return functional.attention_transfer(teacher, student)

    def validate_shapes(self, teacher: Shape, student: Shape) -> None:
        """Checks that the features have position axes, and that their sizes are equal."""
        places = teacher[:-1], student[:-1]
        if min(map(len, places)) < 2 or len(teacher) != len(student) or known_differ(*places):
            raise InputError(
                "AttentionTransferLoss needs features (batch, positions..., channels) that agree in"
                f" everything but channels. Received: teacher {teacher}, student {student}."
                " Name layers of one resolution, or use SimilarityLoss."
            )


@keras.saving.register_keras_serializable(PACKAGE)
class SimilarityLoss(FeatureLoss):
    """Matches the similarities between examples: Σ (G(s) - G(t))² / B².

    G is the Gram matrix of the examples, with each row divided by its L2 norm. Teacher and student
    features may have different shapes; no projector is needed. There is no value per example.

    Source: Tung, Mori 2019 (SP, arXiv:1907.09682), section 3.1.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.

    Example:
        >>> loss = SimilarityLoss("block3", "block1")
        >>> float(loss.compute_loss([[1.0, 0.0], [0.0, 1.0]], [[2.0], [1.0]])) > 0
        True
    """

    over_batch = True
    pools_positions = True

    def value_of_rows(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.similarity`: a scalar for features `(B, ...)`."""
        return functional.similarity(teacher, student, keep)


@keras.saving.register_keras_serializable(PACKAGE)
class RelationalLoss(FeatureLoss):
    """Matches relations: w_d · smooth L1 of relative distances + w_a · smooth L1 of angles.

    The distances are those between the examples of a pair, divided by their mean over pairs of
    distinct examples. The angles are the cosines at the middle example of each triplet (memory
    grows as B³). Teacher and student features may have different shapes; no projector is needed.
    There is no value per example. Reproductions on CIFAR-100 use the weights 25 and 50.

    Source: Park, Kim, Lu, Cho 2019 (RKD, arXiv:1904.05068), section 3.2.

    Args:
        teacher_layer_name: The teacher's layer; "outer/inner" names a layer of a nested model.
        student_layer_name: The student's layer, named in the same way.
        distance_weight: w_d >= 0, a number or a schedule of the step.
        angle_weight: w_a >= 0, a number or a schedule of the step; 0 skips the triplets.

    Example:
        >>> loss = RelationalLoss("block3", "block1")
        >>> x = keras.ops.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> round(float(loss.compute_loss(x, 3 * x + 1)), 6)
        0.0
    """

    over_batch = True
    pools_positions = True

    def __init__(
        self,
        teacher_layer_name: str,
        student_layer_name: str,
        distance_weight: Schedule = 1.0,
        angle_weight: Schedule = 2.0,
    ) -> None:
        super().__init__(teacher_layer_name, student_layer_name)
        self.distance_weight = check_setting("distance_weight", distance_weight, at_least=0)
        self.angle_weight = check_setting("angle_weight", angle_weight, at_least=0)

    def value_of_rows(
        self,
        teacher: TeacherLogits,
        student: TensorLike,
        keep: Tensor | None,
        labels: TensorLike | None = None,
        *,
        step: Step = None,
    ) -> Tensor:
        """Computes `functional.relational`: a scalar for features `(B, ...)`."""
        return functional.relational(
            teacher,
            student,
            distance_weight=value_at(self.distance_weight, step),
            angle_weight=value_at(self.angle_weight, step),
            keep=keep,
        )
