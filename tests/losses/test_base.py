"""Settings and schedules, checks before the first step, and what Keras calls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import (
    DecoupledLoss,
    DistillationLoss,
    DISTLoss,
    InputError,
    RegressionLoss,
    SoftTargetLoss,
    TopK,
)
from keras_distill.losses import check_setting, value_at

T = tf.constant([[2.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
S = tf.constant([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])


def cooling():
    return keras.optimizers.schedules.PolynomialDecay(8.0, 10, end_learning_rate=2.0)


@keras.saving.register_keras_serializable("tests")
def halving(step):
    return 4.0 / (1.0 + tf.cast(step, tf.float32))


class TestSettings:
    def test_number_and_schedule(self):
        assert value_at(4.0) == 4.0
        assert value_at(cooling(), 10) == 2.0

    def test_schedule_without_a_step(self):
        with pytest.raises(InputError, match="`step` must be given where a setting is a schedule"):
            SoftTargetLoss(cooling()).compute_loss(T, S)

    @pytest.mark.parametrize("schedule", [cooling(), halving])
    def test_loss_follows_the_schedule(self, schedule):
        loss = SoftTargetLoss(schedule)
        for step in (0, 3):
            at = float(schedule(step))
            np.testing.assert_allclose(
                loss.per_example(T, S, step=step), SoftTargetLoss(at).per_example(T, S), rtol=1e-6
            )

    def test_schedule_never_retraces(self):
        step = tf.Variable(0, dtype=tf.int64)
        loss = DecoupledLoss(cooling(), cooling(), cooling())
        traces = []

        @tf.function
        def value():
            traces.append(1)
            return loss.compute_loss(T, S, [0, 1], step=step)

        values = []
        for _ in range(4):
            values.append(float(value()))
            step.assign_add(1)
        assert len(traces) == 1 and len(set(values)) == 4

    @pytest.mark.parametrize(
        ("value", "received"), [(0, "0"), (-1, "-1"), ("4", "'4'"), (True, "True"), (np.nan, "nan")]
    )
    def test_temperature_out_of_range(self, value, received):
        message = f"^`temperature` must be > 0. Received: temperature={received}$"
        with pytest.raises(InputError, match=message):
            SoftTargetLoss(value)

    def test_schedule_that_starts_out_of_range(self):
        with pytest.raises(InputError, match=r"`temperature\(0\)` must be > 0"):
            SoftTargetLoss(lambda step: 0.0 * step)

    @pytest.mark.parametrize("name", ["target_weight", "nontarget_weight"])
    def test_negative_weight(self, name):
        with pytest.raises(InputError, match=f"`{name}` must be >= 0"):
            DecoupledLoss(**{name: -0.5})

    def test_what_is_checked_comes_back(self):
        schedule = cooling()
        assert check_setting("alpha", schedule, at_least=0) is schedule
        assert check_setting("alpha", 1, at_least=0) == 1.0

    def test_choice_of_regression(self):
        with pytest.raises(InputError, match="`kind` must be one of mse, huber"):
            RegressionLoss("mae")


class TestSaving:
    @pytest.mark.parametrize("schedule", [cooling(), halving], ids=["keras", "function"])
    def test_schedules_come_back(self, schedule):
        config = keras.saving.serialize_keras_object(SoftTargetLoss(schedule))
        again = keras.saving.deserialize_keras_object(config)
        np.testing.assert_allclose(
            again.per_example(T, S, step=2), SoftTargetLoss(schedule).per_example(T, S, step=2)
        )

    def test_the_settings_of_a_users_loss_are_the_arguments_it_keeps(self):
        class Scaled(DistillationLoss):
            def __init__(self, scale, shift=0.0):
                self.scale, self.shift = scale, shift

        assert Scaled(2.0).get_config() == {"scale": 2.0, "shift": 0.0}
        assert Scaled.from_config(Scaled(3.0, 1.0).get_config()).shift == 1.0

    def test_lambda_is_refused_in_words(self):
        with pytest.raises(InputError, match="registered function to be saved"):
            SoftTargetLoss(lambda step: 4.0).get_config()


class TestChecks:
    def test_class_counts(self):
        with pytest.raises(InputError) as error:
            SoftTargetLoss().validate_outputs(tf.zeros((2, 10)), tf.zeros((2, 8)))
        assert str(error.value) == (
            "Teacher and student must have the same classes."
            " Received: 10 of the teacher, 8 of the student. Map the teacher's classes to the"
            " student's: teachers.AdaptedTeacher(teacher, teachers.ClassMap(ids, classes=10)), in a"
            " recipe teacher.classes."
        )

    @pytest.mark.parametrize("shape", [(2, 4, 3), (3, 3), (3,)])
    def test_shapes(self, shape):
        with pytest.raises(InputError, match="must have the same shape"):
            SoftTargetLoss().validate_outputs(tf.zeros(shape), S)

    def test_unknown_axes_pass(self):
        teacher, student = keras.KerasTensor((None, 3)), keras.KerasTensor((5, 3))
        SoftTargetLoss().validate_outputs(teacher, student)

    def test_several_outputs(self):
        with pytest.raises(InputError, match="one loss per output name"):
            SoftTargetLoss().validate_outputs({"a": T}, {"a": S})

    def test_one_class(self):
        with pytest.raises(InputError, match="DISTLoss needs two classes or more"):
            DISTLoss().validate_outputs(tf.zeros((2, 1)), tf.zeros((2, 1)))

    def test_topk(self):
        topk = TopK(tf.zeros((2, 2), tf.int32), tf.zeros((2, 2)), tf.zeros(2), tf.zeros(2))
        SoftTargetLoss().validate_outputs(topk, S)
        with pytest.raises(InputError, match="k=2, 1 classes"):
            SoftTargetLoss().validate_outputs(topk, S[:, :1])
        with pytest.raises(InputError, match="student's leading shape"):
            SoftTargetLoss().validate_outputs(topk, tf.zeros((2, 5, 3)))
        with pytest.raises(InputError, match="DecoupledLoss needs every logit of the teacher"):
            DecoupledLoss().validate_outputs(topk, S)

    def test_labels_are_needed(self):
        with pytest.raises(InputError, match=r"DecoupledLoss needs labels. Received: labels=None"):
            DecoupledLoss().compute_loss(T, S)


class TestForms:
    def test_over_batch_has_no_value_per_example(self):
        with pytest.raises(InputError, match="DISTLoss has no value per example"):
            DISTLoss().per_example(T, S)

    def test_per_example_has_no_batch_value(self):
        with pytest.raises(InputError, match=r"SoftTargetLoss has a value per example"):
            SoftTargetLoss().over_batch_value(T, S)

    def test_a_loss_on_logits_needs_no_projector(self):
        assert SoftTargetLoss().projector((None, 3), (None, 3)) is None
        assert isinstance(SoftTargetLoss(), keras.distillation.DistillationLoss)
        assert issubclass(DistillationLoss, keras.distillation.DistillationLoss)
