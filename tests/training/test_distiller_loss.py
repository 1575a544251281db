"""The loss and its update against the formula, for every kind of weight, label and task."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, logsumexp, softmax

from keras_distill import CosineSchedule, Distiller, InputError, LinearSchedule, Targets, TopK
from keras_distill.losses import (
    DecoupledLoss,
    DISTLoss,
    LogitMatchingLoss,
    MultiLabelSoftLoss,
    RegressionLoss,
    SoftTargetLoss,
    StandardizedSoftTargetLoss,
)

layers = keras.layers


def cross_entropy(labels, logits):
    return -np.take_along_axis(log_softmax(logits, -1), labels[..., None], -1)[..., 0]


def soft_target(teacher, student, temperature=4.0):
    """T² · KL at T per example, in float64."""
    log_p = log_softmax(teacher.astype("float64") / temperature, -1)
    log_q = log_softmax(student.astype("float64") / temperature, -1)
    return temperature**2 * (np.exp(log_p) * (log_p - log_q)).sum(-1)


def linear_gradient(x, labels, teacher, student, alpha, temperature=4.0, w=None):
    """The gradients of a linear student's kernel and bias, by hand."""
    w = np.ones(len(x)) if w is None else w
    hard = softmax(student, -1) - np.eye(student.shape[-1])[labels]
    soft = temperature * (softmax(student / temperature, -1) - softmax(teacher / temperature, -1))
    delta = w[:, None] * ((1 - alpha) * hard + alpha * soft) / len(x)
    return [x.T @ delta, delta.sum(0)]


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("stored", [True, False])
def test_value_and_update(mlp, batch, one_step, stored, eager):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    distiller = Distiller(None if stored else teacher, student, alpha=0.7)
    logs, gradient = one_step(distiller, x, Targets(y, t) if stored else y, eager=eager)
    hard, soft = cross_entropy(y, s).mean(), soft_target(t, s).mean()
    assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)
    assert logs["soft_loss"] == pytest.approx(soft, rel=1e-5)
    assert logs["loss"] == pytest.approx(0.3 * hard + 0.7 * soft, rel=1e-5)
    for ours, expected in zip(gradient, linear_gradient(x, y, t, s, 0.7), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("end", ["softmax", "layer"])
def test_a_softmax_head_of_teacher_and_student_changes_nothing(mlp, batch, one_step, end):
    x, y, _ = batch
    plain = one_step(Distiller(mlp(16, seed=1), mlp()), x, y)

    def headed(*arguments, **settings):
        model = mlp(*arguments, **settings, end="softmax" if end == "softmax" else None)
        return model if end == "softmax" else keras.Sequential([model, layers.Softmax()])

    student = headed()
    distiller = Distiller(headed(16, seed=1), student)
    np.testing.assert_allclose(distiller(x).numpy().sum(-1), 1, atol=1e-6)  # still its softmax
    logs, gradient = one_step(distiller, x, y, loss="sparse_categorical_crossentropy")
    assert logs == pytest.approx(plain[0], rel=1e-5)
    for ours, expected in zip(gradient, plain[1], strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_weights_of_several_losses(mlp, batch, one_step):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    losses = [SoftTargetLoss(2.0), LogitMatchingLoss()]
    logs, _ = one_step(Distiller(teacher, student, losses, [0.5, 3.0]), x, y)
    expected = 0.5 * soft_target(t, s, 2.0).mean() + 3 * ((s - t) ** 2).mean() / 2
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-5)


def test_sample_weight_weighs_both_terms(mlp, batch, one_step):
    x, y, w = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    logs, gradient = one_step(Distiller(teacher, student), x, y, sample_weight=w)
    assert logs["hard_loss"] == pytest.approx((w * cross_entropy(y, s)).mean(), rel=1e-5)
    assert logs["soft_loss"] == pytest.approx((w * soft_target(t, s)).mean(), rel=1e-5)
    for ours, expected in zip(gradient, linear_gradient(x, y, t, s, 0.9, w=w), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_class_weight_is_the_sample_weight_of_the_label(mlp, batch, one_step):
    x, y, w = batch
    weights = {0: 3.0, 2: 0.5}
    by_hand = np.array([weights.get(int(k), 1.0) for k in y], "float32")
    expected = one_step(Distiller(mlp(16, seed=1), mlp()), x, y, sample_weight=by_hand * w)
    ours = one_step(Distiller(mlp(16, seed=1), mlp()), x, y, sample_weight=w, class_weight=weights)
    assert ours[0] == pytest.approx(expected[0], rel=1e-5)
    one_hot = keras.losses.CategoricalCrossentropy(from_logits=True)
    ours = one_step(
        Distiller(mlp(16, seed=1), mlp()), x, np.eye(3)[y], sample_weight=w, class_weight=weights,
        loss=one_hot,
    )  # fmt: skip
    assert ours[0] == pytest.approx(expected[0], rel=1e-5)


def test_class_weight_of_unlabeled_rows_is_one(mlp, batch, one_step):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    labeled = np.arange(12) % 3 > 0
    weights = np.where(labeled & (y == 0), 5.0, 1.0)
    targets = Targets(y, t, labeled)
    logs, _ = one_step(Distiller(None, student), x, targets, class_weight={0: 5.0})
    hard = (weights * labeled * cross_entropy(y, s)).mean()
    assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)
    assert logs["soft_loss"] == pytest.approx((weights * soft_target(t, s)).mean(), rel=1e-5)


def test_fit_takes_class_weight_with_a_nested_y_and_may_change_it(mlp, batch):
    x, y, _ = batch
    t = mlp(16, seed=1)(x).numpy()
    data = tf.data.Dataset.from_tensor_slices((x, Targets(y, t, np.ones(12, bool)))).batch(12)
    distiller = Distiller(None, mlp())
    distiller.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(True))
    values = [
        distiller.fit(data, verbose=0, class_weight=w).history["hard_loss"][0]
        for w in (None, {0: 2.0, 1: 2.0, 2: 2.0}, {0: 1.0}, None)
    ]
    assert values[1] == pytest.approx(2 * values[0], rel=1e-5)
    assert values[2] == values[3] == pytest.approx(values[0], rel=1e-6)


@pytest.mark.parametrize("how", ["labeled", "minus one", "one-hot"])
def test_unlabeled_rows_have_no_hard_loss_and_stay_in_the_batch(mlp, batch, one_step, how):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    labeled = np.arange(12) % 3 > 0
    loss = None
    if how == "labeled":
        targets = Targets(np.where(labeled, y, 99), t, labeled)
    elif how == "minus one":
        targets = Targets(np.where(labeled, y, -1), t)
    else:
        rows = np.where(labeled[:, None], np.eye(3)[y], np.nan).astype("float32")
        targets = Targets(rows, t, labeled)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    logs, gradient = one_step(Distiller(None, student), x, targets, loss=loss)
    hard = (labeled * cross_entropy(y, s)).sum() / 12
    assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)
    assert logs["soft_loss"] == pytest.approx(soft_target(t, s).mean(), rel=1e-5)
    assert all(np.isfinite(g).all() for g in gradient)


def test_a_batch_without_any_label(mlp, batch, one_step):
    x, _, _ = batch
    targets = Targets(np.full(12, -1), mlp(16, seed=1)(x).numpy())
    logs, gradient = one_step(Distiller(None, mlp()), x, targets)
    assert logs["hard_loss"] == 0 and logs["soft_loss"] > 0
    assert np.abs(gradient[0]).max() > 0


@pytest.mark.parametrize("y", [None, "targets"])
def test_alpha_one_needs_no_labels(mlp, batch, y):
    x, _, _ = batch
    teacher = mlp(16, seed=1)
    t = teacher(x).numpy()
    if y is None:
        data = tf.data.Dataset.from_tensor_slices((x,)).batch(12)
        distiller = Distiller(teacher, mlp(), alpha=1.0)
    else:
        data = tf.data.Dataset.from_tensor_slices((x, Targets(None, t))).batch(12)
        distiller = Distiller(None, mlp(), alpha=1.0)
    s = distiller.student(x).numpy()
    history = distiller.fit(data, verbose=0).history
    assert sorted(history) == ["loss", "soft_loss"]
    assert history["loss"][0] == pytest.approx(soft_target(t, s).mean(), rel=1e-5)


def test_alpha_zero_and_one_are_the_terms_alone(mlp, batch, one_step):
    x, y, _ = batch
    for alpha, term in ((0.0, "hard_loss"), (1.0, "soft_loss")):
        logs, _ = one_step(Distiller(mlp(16, seed=1), mlp(), alpha=alpha), x, y)
        assert logs["loss"] == pytest.approx(logs[term], rel=1e-6)
        assert logs["hard_loss"] > 0 and logs["soft_loss"] > 0


def test_regularization_and_activity_losses_are_added_whole(mlp, batch, one_step):
    x, y, _ = batch
    student = mlp(kernel_regularizer="l2", activity_regularizer=keras.regularizers.L1(0.1))
    kernel = student.get_weights()[0]
    s = student(x).numpy()
    logs, _ = one_step(Distiller(mlp(16, seed=1), student), x, y)
    extra = 0.01 * (kernel**2).sum() + 0.1 * np.abs(s).sum() / 12
    expected = 0.1 * logs["hard_loss"] + 0.9 * logs["soft_loss"] + extra
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_soft_targets_kept_as_top_k(mlp, batch, one_step):
    x, y, _ = batch
    t = mlp(16, seed=1)(x).numpy()
    order = np.argsort(-t, -1)[:, :2]
    kept = np.take_along_axis(t, order, -1)
    rest = t.sum(-1) - kept.sum(-1)
    teacher = TopK(order.astype("int32"), kept, rest, np.zeros_like(rest))
    student = mlp()
    s = student(x).numpy()
    logs, _ = one_step(Distiller(None, student, agreement=True), x, Targets(y, teacher))
    # Two of three kept: the rest is one class, so nothing is lost.
    assert logs["soft_loss"] == pytest.approx(soft_target(t, s).mean(), rel=1e-4)
    assert logs["agreement"] == pytest.approx((t.argmax(-1) == s.argmax(-1)).mean())


def test_a_loss_that_reads_labels_skips_rows_without(mlp, batch, one_step):
    x, y, _ = batch
    t = mlp(16, seed=1)(x).numpy()
    labeled = np.arange(12) % 2 == 0
    student = mlp()
    s = student(x).numpy()
    loss = DecoupledLoss(temperature=2.0)
    each = loss.per_example(t, s, y).numpy()
    targets = Targets(np.where(labeled, y, -1), t)
    logs, _ = one_step(Distiller(None, student, loss), x, targets)
    assert logs["soft_loss"] == pytest.approx((each * labeled).mean(), rel=1e-5)


def test_a_loss_over_the_batch_drops_rows_of_weight_zero(mlp, batch, one_step):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    keep = np.arange(12) < 8
    distiller = Distiller(teacher, student, DISTLoss())
    logs, _ = one_step(distiller, x, y, sample_weight=keep.astype("float32"))
    expected = float(DISTLoss().compute_loss(t[keep], s[keep])) * 8 / 12
    assert logs["soft_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("eager", [True, False])
def test_a_loss_over_the_batch_refuses_other_weights(mlp, batch, one_step, eager):
    x, y, w = batch
    distiller = Distiller(mlp(16, seed=1), mlp(), DISTLoss())
    with pytest.raises(InputError, match="DISTLoss relates the examples of a batch, so every"):
        one_step(distiller, x, y, sample_weight=w, eager=eager)


def test_schedules_follow_the_step_without_retracing(mlp, batch):
    x, y, _ = batch
    teacher = mlp(16, seed=1)
    t = teacher(x).numpy()
    alpha = LinearSchedule(1.0, 0.0, 4)
    temperature = keras.optimizers.schedules.PiecewiseConstantDecay([1], [8.0, 2.0])
    weight = CosineSchedule(1.0, 3.0, 4)
    student = mlp()
    distiller = Distiller(None, student, SoftTargetLoss(temperature), [weight], alpha=alpha)
    distiller.compile(
        keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    traces = []
    forward = distiller._forward

    def counted(*arguments, **settings):
        traces.append(1)
        return forward(*arguments, **settings)

    distiller._forward = counted
    data = tf.data.Dataset.from_tensors((x, Targets(y, t, np.ones(12, bool)))).repeat()
    history = distiller.fit(data, epochs=5, steps_per_epoch=1, verbose=0).history
    s = student(x).numpy()
    hard = cross_entropy(y, s).mean()
    for step in range(5):
        soft = (2 - np.cos(np.pi * step / 4)) * soft_target(t, s, 8.0 if step <= 1 else 2.0).mean()
        assert history["soft_loss"][step] == pytest.approx(soft, rel=1e-4)
        a = 1 - step / 4
        assert history["loss"][step] == pytest.approx((1 - a) * hard + a * soft, rel=1e-4)
    assert len(traces) <= 2  # Keras traces its function once, TensorFlow may once more


def test_schedules_of_any_number_type(mlp, batch, one_step):
    x, y, _ = batch
    expected = one_step(Distiller(mlp(16, seed=1), mlp(), SoftTargetLoss(), 2.0, alpha=0.5), x, y)
    half = lambda step: tf.constant(0.5, tf.float64)  # noqa: E731
    twice = lambda step: tf.constant(2, tf.int64)  # noqa: E731
    ours = one_step(Distiller(mlp(16, seed=1), mlp(), SoftTargetLoss(), twice, alpha=half), x, y)
    assert ours[0] == pytest.approx(expected[0], rel=1e-6)


def test_token_masks_are_rescaled_as_keras_does(batch, one_step):
    keras.utils.set_random_seed(0)
    tokens = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 1]])
    labels = np.array([[1, 2, 0, 0, 0], [2, 1, 1, 1, 1], [0, 1, 2, 1, 0]])

    def tagger():
        return keras.Sequential(
            [keras.Input((5,)), layers.Embedding(5, 4, mask_zero=True), layers.Dense(3)]
        )

    teacher, student = tagger(), tagger()
    for model in (teacher, student):
        model.set_weights([30 * w for w in model.get_weights()])
    t, s, mask = teacher(tokens).numpy(), student(tokens).numpy(), tokens != 0
    weight = np.array([1.0, 2.0, 0.5], "float32")
    for w in (None, weight):
        per_token = 1.0 if w is None else w[:, None]
        copy = keras.models.clone_model(student)
        copy.set_weights(student.get_weights())
        distiller = Distiller(teacher, copy, agreement=True)
        logs, _ = one_step(distiller, tokens, labels, sample_weight=w)
        hard = (per_token * mask * cross_entropy(labels, s)).sum() / mask.sum()
        soft = (per_token * mask * soft_target(t, s)).sum() / mask.sum()
        assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)
        assert logs["soft_loss"] == pytest.approx(soft, rel=1e-5)
    same = (t.argmax(-1) == s.argmax(-1))[mask].mean()
    assert logs["agreement"] == pytest.approx(same)


def test_tokens_without_a_label(one_step):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    labels = np.array([[1, -1, 0, -1, 2], [-1] * 5, [0, 1, 2, 1, 0]])
    student = keras.Sequential([keras.Input((5, 4)), layers.Dense(3)])
    t, s = np.ones((3, 5, 3), "float32"), student(x).numpy()
    logs, _ = one_step(Distiller(None, student), x, Targets(labels, t))
    hard = (cross_entropy(np.maximum(labels, 0), s) * (labels >= 0)).sum() / 15
    assert logs["hard_loss"] == pytest.approx(hard, rel=1e-5)


def test_segmentation_maps(one_step):
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    labels = rng.integers(0, 5, (2, 4, 6))
    student = keras.Sequential([keras.Input((4, 6, 3)), layers.Conv2D(5, 1)])
    t, s = rng.normal(size=(2, 4, 6, 5)).astype("float32"), student(x).numpy()
    weights = rng.uniform(size=(2, 4, 6)).astype("float32")
    logs, _ = one_step(Distiller(None, student), x, Targets(labels, t), sample_weight=weights)
    assert logs["hard_loss"] == pytest.approx((weights * cross_entropy(labels, s)).mean(), rel=1e-5)
    assert logs["soft_loss"] == pytest.approx((weights * soft_target(t, s)).mean(), rel=1e-5)


def _two_outputs(kind, seed):
    keras.utils.set_random_seed(seed)
    x = keras.Input((8,))
    outputs = layers.Dense(3, name="b")(x), layers.Dense(2, name="a")(x)
    return keras.Model(
        x, dict(zip("ba", outputs, strict=True)) if kind == "dict" else list(outputs)
    )


@pytest.mark.parametrize("kind", ["dict", "list"])
@pytest.mark.parametrize("labeled", [False, True])
def test_several_named_outputs(batch, one_step, kind, labeled):
    x, y, w = batch
    rng = np.random.default_rng(1)
    labels = {"b": y, "a": rng.integers(0, 2, 12)}
    teacher, student = _two_outputs(kind, 1), _two_outputs(kind, 0)
    t, s = (
        dict(zip("ba", m(x), strict=True)) if kind == "list" else m(x) for m in (teacher, student)
    )
    present = np.arange(12) % 3 > 0 if labeled else np.ones(12, bool)
    target = Targets(labels, t, present)
    distiller = Distiller(
        None if labeled else teacher, student,
        {"b": SoftTargetLoss(2.0), "a": [SoftTargetLoss(3.0), LogitMatchingLoss()]},
        {"b": 1.0, "a": [2.0, 0.5]},
    )  # fmt: skip
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logs, _ = one_step(
        distiller, x, target if labeled else labels, loss={"a": crossentropy, "b": crossentropy},
        loss_weights={"a": 4.0, "b": 1.0}, sample_weight=w,
    )  # fmt: skip
    t, s = ({k: v.numpy() for k, v in side.items()} for side in (t, s))
    hard = {k: (w * present * cross_entropy(labels[k], s[k])).mean() for k in "ab"}
    assert logs["hard_loss"] == pytest.approx(4 * hard["a"] + hard["b"], rel=1e-5)
    assert logs["a_loss"] == pytest.approx(hard["a"], rel=1e-5)
    soft = (w * soft_target(t["b"], s["b"], 2.0)).mean()
    soft += 2 * (w * soft_target(t["a"], s["a"], 3.0)).mean()
    soft += 0.5 * (w * ((t["a"] - s["a"]) ** 2).mean(-1)).mean() / 2
    assert logs["soft_loss"] == pytest.approx(soft, rel=1e-5)


def test_default_loss_on_every_output(batch, one_step):
    x, y, _ = batch
    labels = {"b": y, "a": y % 2}
    teacher, student = _two_outputs("dict", 1), _two_outputs("dict", 0)
    t, s = teacher(x), student(x)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logs, _ = one_step(
        Distiller(teacher, student), x, labels, loss={"a": crossentropy, "b": crossentropy}
    )
    soft = sum(soft_target(t[k].numpy(), s[k].numpy()).mean() for k in "ab")
    assert logs["soft_loss"] == pytest.approx(soft, rel=1e-5)


@pytest.mark.parametrize("end", [None, "sigmoid"])
def test_multi_label(mlp, batch, one_step, end):
    x, _, w = batch
    labels = np.random.default_rng(0).integers(0, 2, (12, 3)).astype("float32")
    teacher, student = mlp(16, seed=1, end=end), mlp(end=end)
    twins = mlp(16, seed=1), mlp()
    t, s = (m(x).numpy().astype("float64") for m in twins)
    loss = keras.losses.BinaryCrossentropy(from_logits=end is None)
    logs, _ = one_step(
        Distiller(teacher, student, MultiLabelSoftLoss(2.0)), x, labels, loss=loss, sample_weight=w
    )
    hard = (np.logaddexp(0, s) - labels * s).mean(-1)
    assert logs["hard_loss"] == pytest.approx((w * hard).mean(), rel=1e-5)
    p = 1 / (1 + np.exp(-t / 2))
    kl = p * (np.log(p) + np.logaddexp(0, -s / 2)) + (1 - p) * (
        np.log(1 - p) + np.logaddexp(0, s / 2)
    )
    assert logs["soft_loss"] == pytest.approx((w * 4 * kl.mean(-1)).mean(), rel=1e-4)


def test_regression(mlp, batch, one_step):
    x, _, w = batch
    labels = np.random.default_rng(0).normal(size=(12, 1)).astype("float32")
    teacher, student = mlp(16, seed=1, classes=1), mlp(classes=1)
    t, s = teacher(x).numpy(), student(x).numpy()
    logs, _ = one_step(
        Distiller(teacher, student, RegressionLoss(), alpha=0.5), x, labels, loss="mse",
        sample_weight=w,
    )  # fmt: skip
    assert logs["hard_loss"] == pytest.approx((w * (s - labels)[:, 0] ** 2).mean(), rel=1e-5)
    assert logs["soft_loss"] == pytest.approx((w * (s - t)[:, 0] ** 2).mean(), rel=1e-5)


def test_reduction_of_the_compiled_loss_is_kept(mlp, batch, one_step):
    x, y, w = batch
    student = mlp()
    s = student(x).numpy()
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    logs, _ = one_step(Distiller(mlp(16, seed=1), student), x, y, loss=loss, sample_weight=w)
    assert logs["hard_loss"] == pytest.approx((w * cross_entropy(y, s)).sum() / w.sum(), rel=1e-5)


def test_a_user_s_own_keras_loss(mlp, batch, one_step):
    class Own(keras.distillation.DistillationLoss):
        def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
            return keras.ops.mean(keras.ops.abs(teacher_outputs - student_outputs))

    x, y, w = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    logs, _ = one_step(Distiller(teacher, student, Own(), 2.0), x, y)
    assert logs["soft_loss"] == pytest.approx(2 * np.abs(t - s).mean(), rel=1e-5)
    with pytest.raises(InputError, match="Own gives one value per batch, so it cannot weigh"):
        one_step(Distiller(teacher, mlp(), Own()), x, y, sample_weight=w)


def test_keras_s_losses_in_our_distiller(mlp, batch, one_step):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp(4)
    t, s = teacher(x).numpy(), student(x).numpy()
    right = keras.distillation.LogitsDistillation(4.0, keras.losses.KLDivergence())
    logs, _ = one_step(Distiller(teacher, student, right), x, y)
    assert logs["soft_loss"] == pytest.approx(soft_target(t, s).mean(), rel=1e-4)
    student = mlp(4)
    hint = keras.distillation.FeatureDistillation(
        "mse", teacher.layers[-1].name, student.layers[-1].name
    )
    logs, _ = one_step(Distiller(teacher, student, hint), x, y)
    assert logs["soft_loss"] == pytest.approx(((t - s) ** 2).mean(), rel=1e-5)


def test_our_losses_in_keras_s_distiller(mlp, batch):
    x, y, _ = batch
    teacher, student = mlp(16, seed=1), mlp()
    t, s = teacher(x).numpy(), student(x).numpy()
    theirs = keras.distillation.Distiller(
        teacher, student, SoftTargetLoss(2.0), student_loss_weight=0.0
    )
    theirs.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    logs = theirs.train_on_batch(x, y, return_dict=True)
    assert logs["distillation_loss"] == pytest.approx(soft_target(t, s, 2.0).mean(), rel=1e-5)


def test_extreme_logits(mlp, batch, one_step):
    x, y, _ = batch
    t = np.where(np.eye(3)[y] > 0, 1e4, -1e4).astype("float32")
    student = mlp()
    student.set_weights([w * 1e4 for w in student.get_weights()])
    s = student(x).numpy().astype("float64")
    logs, gradient = one_step(Distiller(None, student), x, Targets(y, t))
    assert logs["soft_loss"] == pytest.approx(soft_target(t, s).mean(), rel=1e-4)
    for ours, expected in zip(gradient, linear_gradient(x, y, t, s, 0.9), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-3)
    assert logsumexp(s).max() > 100


def test_stored_logits_in_double_precision_beside_other_losses(mlp, batch, one_step):
    x, y, _ = batch
    t = mlp(16, seed=1)(x).numpy()
    losses = [SoftTargetLoss(), keras.distillation.LogitsDistillation(4.0, "mse")]
    wide, single = (
        one_step(Distiller(None, mlp(), losses), x, Targets(y, t.astype(kind)))[0]
        for kind in ("float64", "float32")
    )
    assert wide == pytest.approx(single, rel=1e-5)


def test_stored_logits_of_unknown_shape(mlp, batch):
    x, y, _ = batch
    teacher = mlp(16, seed=1)

    def stored(x, y):
        logits = tf.numpy_function(lambda x: teacher(x).numpy(), [x], tf.float32)
        return x, Targets(y, logits)

    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(12).map(stored)
    distiller = Distiller(None, mlp())
    distiller.compile(
        keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    history = distiller.fit(data, verbose=0).history
    expected = soft_target(teacher(x).numpy(), distiller.student(x).numpy()).mean()
    assert history["soft_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss", [StandardizedSoftTargetLoss(), LogitMatchingLoss(), RegressionLoss()]
)
@pytest.mark.parametrize("eager", [True, False])
def test_ruled_out_classes_where_a_loss_cannot_take_them(mlp, batch, one_step, loss, eager):
    x, y, _ = batch
    t = np.zeros((12, 3), "float32")
    t[:, 0] = -np.inf
    student = mlp()
    before = student.get_weights()
    message = f"^{type(loss).__name__} needs finite values, and the teacher rules classes out"
    with pytest.raises(InputError, match=message):
        one_step(Distiller(None, student, loss), x, Targets(y, t), eager=eager)
    for a, b in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
