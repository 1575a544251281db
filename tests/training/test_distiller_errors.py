"""Bad input: the words of the error, before the first step where it can be known."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import (
    CosineSchedule,
    Distiller,
    InputError,
    KerasDistillWarning,
    LinearSchedule,
    Targets,
    TopK,
)
from keras_distill.losses import (
    DecoupledLoss,
    HintLoss,
    LogitMatchingLoss,
    RegressionLoss,
    SoftTargetLoss,
)

layers = keras.layers
CE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.5}, r"`alpha` must be in 0\.\.1\. Received: alpha=1\.5"),
        ({"alpha": -0.1}, r"`alpha` must be in 0\.\.1\. Received: alpha=-0\.1"),
        ({"alpha": "much"}, r"`alpha` must be in 0\.\.1\. Received: alpha='much'"),
        (
            {"alpha": LinearSchedule(2.0, 0.0, 5)},
            r"`alpha\(0\)` must be in 0\.\.1\. Received: .*2\.0",
        ),
        (
            {"alpha": LinearSchedule(0.9, 1.5, 5)},
            r"`the last value of alpha` must be in 0\.\.1\. Received: .*1\.5",
        ),
        (
            {"alpha": keras.optimizers.schedules.PolynomialDecay(0.5, 5, -0.5)},
            r"`the last value of alpha` must be in 0\.\.1\. Received: .*-0\.5",
        ),
        (
            {"temperature": CosineSchedule(4.0, 0.0, 5)},
            r"`the last value of temperature` must be > 0\. Received: .*0\.0",
        ),
        (
            {
                "distillation_losses": SoftTargetLoss(),
                "distillation_loss_weights": LinearSchedule(1.0, -1.0, 5),
            },
            r"`the last value of distillation_loss_weights` must be >= 0\. Received: .*-1\.0",
        ),
        (
            {"alpha": keras.optimizers.schedules.PiecewiseConstantDecay([1, 2], [0.5, 1.5, 0.9])},
            r"`alpha\(2\)` must be in 0\.\.1\. Received: .*1\.5",
        ),
        (
            {
                "alpha": keras.optimizers.schedules.CosineDecay(
                    0.0, 10, alpha=0.1, warmup_target=1.5, warmup_steps=5
                )
            },
            r"`alpha\(5\)` must be in 0\.\.1\. Received: .*1\.5",
        ),
        ({"temperature": 0}, "`temperature` must be > 0. Received: temperature=0"),
        ({"temperature": -1}, "`temperature` must be > 0. Received: temperature=-1"),
        (
            {"temperature": 4.0, "distillation_losses": LogitMatchingLoss()},
            "`temperature` must be left out if distillation_losses are given. Received:"
            " temperature=4.0. Give it to the losses.",
        ),
        (
            {"distillation_losses": "kl"},
            "`distillation_losses` must be one or more distillation losses. Received: .*'kl'",
        ),
        ({"distillation_losses": []}, "`distillation_losses` must be one or more"),
        (
            {"distillation_losses": [SoftTargetLoss()], "distillation_loss_weights": [1, 2]},
            r"`distillation_loss_weights` must have one per loss \(1\)",
        ),
        (
            {"distillation_losses": SoftTargetLoss(), "distillation_loss_weights": -1.0},
            "`distillation_loss_weights` must be >= 0",
        ),
        (
            {"distillation_losses": {"a": SoftTargetLoss()}, "distillation_loss_weights": [1]},
            "`distillation_loss_weights` must be a dict with the losses' keys",
        ),
        (
            {"student": "net.keras"},
            "`student` must be a Keras 3 model. Received: student='net.keras'",
        ),
        ({"teacher": 3}, "`teacher` must be a Keras 3 model, a list of them, a Teacher"),
        (
            {"teacher_preprocess": lambda x: x, "teacher": None},
            "`teacher_preprocess` must be a function, and come with a teacher",
        ),
    ],
)
def test_arguments(mlp, arguments, message):
    with pytest.raises(InputError, match=message):
        Distiller(**{"teacher": mlp(), "student": mlp(), **arguments})


def test_class_counts_that_differ(mlp, batch):
    x, y, _ = batch
    message = "same classes. Received: 5 of the teacher, 3 of the student"
    with pytest.raises(InputError, match=message):
        Distiller(mlp(classes=5), mlp())
    distiller = Distiller(None, mlp())
    targets = Targets(y, np.zeros((12, 5), "float32"), np.ones(12, bool))
    with pytest.raises(InputError, match=message):
        distiller.fit(tf.data.Dataset.from_tensor_slices((x, targets)).batch(4), verbose=0)
    with pytest.raises(InputError, match=message):
        distiller.fit(x, targets, verbose=0)
    assert not distiller.compiled  # refused before anything was done


def test_a_function_s_class_count_is_seen_on_the_first_batch(mlp, batch):
    x, y, _ = batch
    distiller = Distiller(lambda x: np.zeros((len(x), 5)), mlp())
    with pytest.raises(InputError, match=r"same classes. Received: 5 of the teacher, 3 of the"):
        distiller.fit(x, y, verbose=0)
    assert not distiller.compiled


def test_shapes_that_differ(mlp):
    teacher = keras.Sequential([keras.Input((8,)), layers.Reshape((8, 1)), layers.Dense(3)])
    with pytest.raises(
        InputError,
        match=r"must have the same shape. Received: teacher \(None, 8, 3\), student \(None, 3\)",
    ):
        Distiller(teacher, mlp())


def test_inputs_that_differ(mlp):
    with pytest.raises(
        InputError, match=r"same input. Received: teacher \(None, 9\), student \(None, 8\)"
    ):
        Distiller(mlp(features=9), mlp())


def _named(*names):
    x = keras.Input((8,))
    return keras.Model(x, {name: layers.Dense(3, name=name)(x) for name in names})


def test_outputs_that_differ(mlp):
    with pytest.raises(
        InputError, match=r"The teacher must have the output 'b'. Received: outputs a, c"
    ):
        Distiller(_named("a", "c"), _named("a", "b"))
    with pytest.raises(
        InputError, match=r"The teacher must have the output 'a'. Received: one output"
    ):
        Distiller(mlp(), _named("a", "b"))
    with pytest.raises(InputError, match=r"The student must have the output 'z'"):
        Distiller(_named("a", "z"), _named("a", "b"), {"z": SoftTargetLoss()})
    Distiller(_named("a", "c"), _named("a", "b"), {"a": SoftTargetLoss()})


def test_top_k_where_every_logit_is_needed(mlp, batch):
    x, y, _ = batch
    teacher = TopK(
        np.zeros((12, 2), "int32"), np.zeros((12, 2), "float32"), np.zeros(12), np.ones(12)
    )
    with pytest.raises(InputError, match=r"RegressionLoss needs every logit of the teacher"):
        Distiller(None, mlp(), RegressionLoss()).fit(x, Targets(y, teacher), verbose=0)


def test_a_head_that_cannot_be_undone(mlp):
    stuck = keras.Sequential([mlp(end="softmax"), layers.Rescaling(2.0, name="end")])
    with pytest.raises(InputError, match=r"The teacher's probabilities cannot .* at layer 'end'"):
        Distiller(stuck, mlp())
    with pytest.raises(InputError, match=r"The student's probabilities cannot .* at layer 'end'"):
        Distiller(mlp(), stuck)


@pytest.mark.parametrize("data", ["arrays", "data set"])
def test_no_teacher_and_plain_labels(mlp, batch, data):
    x, y, _ = batch
    given = (x, y) if data == "arrays" else (tf.data.Dataset.from_tensor_slices((x, y)).batch(4),)
    with pytest.raises(
        InputError, match=r"`teacher` must be given where the data carry no keras_distill.Targets"
    ):
        Distiller(None, mlp()).fit(*given, verbose=0)


def test_no_labels_with_alpha_below_one(mlp, batch):
    x, _, _ = batch
    for alpha in (0.9, LinearSchedule(1.0, 0.5, 10)):
        with pytest.raises(InputError, match=r"`alpha` must be 1, or be left out, where there"):
            Distiller(mlp(), mlp(), alpha=alpha).fit(x, verbose=0)


@pytest.mark.parametrize("form", ["data set", "arrays"])
def test_validation_data_without_any_loss(mlp, batch, form):
    x, y, _ = batch
    without = tf.data.Dataset.from_tensor_slices((x,)).batch(4) if form == "data set" else (x, None)
    distiller = Distiller(mlp(16, seed=1), mlp(), alpha=1.0)
    message = "`validation_data` needs labels or stored soft targets"
    with pytest.raises(InputError, match=message):
        distiller.fit(x, y, validation_data=without, verbose=0)
    assert not distiller.compiled
    with_teacher = Distiller(mlp(16, seed=1), mlp(), alpha=1.0, evaluate_teacher=True)
    history = with_teacher.fit(x, y, validation_data=without, verbose=0).history
    assert history["val_loss"] == history["val_soft_loss"]
    stored = (x, Targets(None, np.zeros((12, 3), "float32")))
    assert "val_loss" in distiller.fit(x, y, validation_data=stored, verbose=0).history
    with pytest.raises(InputError, match="`alpha` must be 1, or be left out, where there are no"):
        half = Distiller(mlp(16, seed=1), mlp(), alpha=0.5)
        half.fit(x, y, validation_data=stored, verbose=0)
    history = Distiller(mlp(16, seed=1), mlp()).fit(x, y, validation_data=stored, verbose=0).history
    assert history["val_loss"] == history["val_soft_loss"]
    with_teacher.fit(x, y, validation_data=(x,), verbose=0)
    with pytest.raises(InputError, match="`validation_split` needs labels or stored soft targets"):
        distiller.fit(x, validation_split=0.25, verbose=0)
    without_loss = Distiller(mlp(16, seed=1), mlp(), alpha=1.0)
    without_loss.compile("adam")
    history = without_loss.fit(x, validation_data=(x, y), verbose=0).history
    assert history["val_loss"] == history["val_hard_loss"] and "val_accuracy" in history
    alone = Distiller(None, mlp(), evaluate_teacher=True)
    targets = Targets(y, np.zeros((12, 3), "float32"))
    with pytest.raises(InputError, match="`validation_data` must carry soft targets, or the"):
        alone.fit(x, targets, validation_data=(x, y), verbose=0)


def test_a_schedule_that_ends_nowhere_is_checked_at_its_start():
    assert SoftTargetLoss(keras.optimizers.schedules.ExponentialDecay(4.0, 10, 0.5))
    assert SoftTargetLoss(lambda step: 8.0 - step)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.sparse_categorical_crossentropy,
    ],
)
def test_a_hard_loss_on_probabilities_meets_logits(mlp, batch, loss):
    x, y, _ = batch
    distiller = Distiller(mlp(), mlp(name="end"))
    distiller.compile("sgd", loss)
    for run in (distiller.fit, distiller.evaluate):
        with pytest.raises(InputError, match=r"from_logits=True: the student's last layer 'end'"):
            run(x, y, verbose=0)


def test_a_hard_loss_on_logits_meets_probabilities(mlp, batch):
    x, y, _ = batch
    distiller = Distiller(mlp(), mlp(end="softmax", name="end"))
    distiller.compile("sgd", CE)
    with pytest.raises(InputError, match=r"from_logits=False: the student's last layer 'end'"):
        distiller.fit(x, y, verbose=0)


def test_hard_losses_that_are_right_or_not_to_be_judged(mlp, batch):
    x, y, _ = batch

    def own(y_true, y_pred):
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

    for student, loss in (
        (mlp(), own),
        (mlp(end="softmax"), "sparse_categorical_crossentropy"),
    ):
        distiller = Distiller(mlp(), student)
        distiller.compile("sgd", loss)
        assert np.isfinite(distiller.fit(x, y, verbose=0).history["loss"][0])


def test_no_loss_fits_the_labels(mlp, batch):
    x, _, _ = batch
    with pytest.raises(
        InputError,
        match=r"No loss fits labels of shape \(None, 7\) and outputs of shape \(None, 3\). Call",
    ):
        Distiller(mlp(), mlp()).fit(x, np.zeros((12, 7)), verbose=0)


def test_data_that_cannot_be(mlp, batch):
    x, y, _ = batch
    distiller = Distiller(mlp(), mlp())
    with pytest.raises(InputError, match=r"`x` must be given. Received: x=None"):
        distiller.fit()
    with pytest.raises(
        InputError, match=r"`x` must be batched: its elements have the shape \(8,\)"
    ):
        distiller.fit(tf.data.Dataset.from_tensor_slices((x, y)))
    with pytest.raises(InputError, match=r"one length. Received: \[11, 12\] examples"):
        distiller.fit(x, Targets(y, np.zeros((11, 3), "float32")))
    with pytest.raises(
        InputError, match=r"There is no loss to compute: no hard loss on labels, and"
    ):
        distiller.evaluate(x, verbose=0)


def test_one_logit_has_no_soft_targets_over_classes(mlp):
    with pytest.raises(
        InputError, match=r"SoftTargetLoss needs two classes or more. .* MultiLabel"
    ):
        Distiller(mlp(classes=1), mlp(classes=1), SoftTargetLoss())


def test_a_frozen_student(mlp, batch):
    x, y, _ = batch
    student = mlp()
    student.trainable = False
    with pytest.warns(KerasDistillWarning, match="The student has no trainable weights"):
        Distiller(mlp(), student).fit(x, y, verbose=0)


def test_labels_of_several_outputs_without_names(mlp, batch):
    x, y, _ = batch
    distiller = Distiller(_named("a", "b"), _named("a", "b"))
    with pytest.raises(InputError, match=r"\(a, b\) must be a dict by output name, or compile"):
        distiller.fit(x, [y, y], verbose=0)


def test_regression_against_probabilities(mlp):
    with pytest.raises(
        InputError, match=r"RegressionLoss compares values, and the student's layer"
    ):
        Distiller(mlp(classes=1), mlp(classes=1, end="sigmoid"), RegressionLoss())
    with pytest.raises(
        InputError, match=r"RegressionLoss compares values, and the teacher's layer"
    ):
        Distiller(mlp(classes=1, end="sigmoid"), mlp(classes=1), RegressionLoss())


def test_a_loss_that_needs_labels(mlp, batch, one_step):
    x, _, _ = batch
    distiller = Distiller(mlp(), mlp(), DecoupledLoss(), alpha=1.0)
    with pytest.raises(InputError, match=r"DecoupledLoss needs labels. Received: none in the data"):
        distiller.fit(x, verbose=0)


def test_class_weights(mlp, batch):
    x, y, _ = batch
    distiller = Distiller(mlp(), mlp())
    for weights, message in (
        ({3: 1.0}, r"`class_weight` must have classes in 0\.\.2 as keys. Received: class_weight=3"),
        ({0: -1.0}, r"`class_weight\[0\]` must be >= 0"),
    ):
        with pytest.raises(InputError, match=message):
            distiller.fit(x, y, class_weight=weights, verbose=0)
    several = Distiller(_named("a", "b"), _named("a", "b"))
    with pytest.raises(InputError, match=r"`class_weight` must be left out for a student with sev"):
        several.fit(x, {"a": y, "b": y}, class_weight={0: 1.0}, verbose=0)


def test_projection_that_cannot_be(mlp):
    teacher = keras.Sequential(
        [keras.Input((8,)), layers.Reshape((4, 2), name="map"), layers.Flatten(), layers.Dense(3)]
    )
    student = mlp(5)
    with pytest.raises(InputError, match=r"HintLoss needs features of one rank"):
        Distiller(teacher, student, HintLoss("map", student.layers[0].name))


def test_unbuilt_teacher(mlp):
    with pytest.raises(InputError, match=r"is not built, so it cannot have been trained"):
        Distiller(keras.Sequential([layers.Dense(3)]), mlp())


class _Wrapped(keras.Model):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x):
        return self.model(x)


@pytest.mark.parametrize("subclassed", [False, True])
def test_a_teacher_of_several_outputs_names_the_one_to_choose(subclassed):
    x = keras.Input((4,))
    parts = {name: layers.Dense(n, name=name)(x) for name, n in (("kind", 2), ("size", 3))}
    model = keras.Model(x, parts)
    student = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    rows, labels = np.ones((8, 4), "float32"), np.arange(8) % 3
    with pytest.raises(InputError, match=r"the teacher several: kind .*, size .*\['size'\]"):
        if subclassed:
            own = _Wrapped(model)
            own(rows)
            Distiller(own, student).fit(rows, labels, verbose=0)
        else:
            Distiller(model, student)
