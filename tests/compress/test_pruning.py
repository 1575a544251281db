"""Pruning: exact zeros, soft targets in the loop, resume, and the user's model left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import InputError, VerificationError
from keras_distill.compress import prune
from keras_distill.compress._kernels import kernels
from keras_distill.compress._pruning import check_zeros
from keras_distill.records import KernelState


class Stop(keras.callbacks.Callback):
    """Interrupts at the start of an epoch, as a user's Ctrl-C would."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def shares(model):
    return {kernel.layer: kernel.sparsity for kernel in kernels(model)}


@pytest.mark.parametrize(("schedule", "sparsity"), [("polynomial", 0.8), ("constant", 0.6)])
def test_prune_gives_a_plain_keras_model_with_its_zeros(nets, soft, schedule, sparsity):
    student = nets[0]("softmax")
    before = student.get_weights()
    pruned = prune(
        student, soft, sparsity=sparsity, pruning_schedule=schedule, epochs=2, batch_size=32
    )
    assert type(pruned) is type(student) and pruned.get_config() == student.get_config()
    assert all(abs(share - sparsity) < 0.01 for share in shares(pruned).values())
    assert set(shares(pruned)) == {"conv", "logits"}
    assert (np.asarray(pruned.get_layer("depthwise").kernel) != 0).all()
    for a, b in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = [(a != b).any() for a, b in zip(before, pruned.get_weights(), strict=True)]
    assert all(moved)


def test_two_of_every_four_input_channels(nets, soft):
    pruned = prune(nets[1](), soft, pruning_schedule="2:4", epochs=1, batch_size=64)
    for _, kernel in zip(range(2), [w for w in pruned.get_weights() if w.ndim == 2], strict=True):
        groups = kernel.T.reshape(-1, 4)
        assert ((groups == 0).sum(-1) == 2).all()
    check_zeros(pruned, None)


def test_skipped_layers_stay_dense(nets, soft):
    pruned = prune(nets[1](), soft, sparsity=0.5, skip=["logits"], epochs=1)
    assert shares(pruned)["logits"] == 0 and shares(pruned)["hidden"] == pytest.approx(
        0.5, abs=0.01
    )
    with pytest.raises(InputError, match=r"`skip` must name layers with a kernel .hidden, logits."):
        prune(nets[1](), soft, skip=["flatten"])


def test_a_pruned_student_goes_on_training_and_keeps_its_zeros(nets, soft):
    once = prune(nets[1](), soft, sparsity=0.5, epochs=1, batch_size=32)
    again = prune(once, soft, sparsity=0.7, epochs=2, batch_size=32)
    for a, b in zip(once.get_weights(), again.get_weights(), strict=True):
        if a.ndim == 2:
            assert (b[a == 0] == 0).all()
    once.compile("adam", "sparse_categorical_crossentropy")
    x, targets = soft
    once.fit(x, targets.labels, epochs=1, verbose=0)


def test_a_killed_training_ends_where_an_uninterrupted_one_does(nets, soft, tmp_path):
    settings = {"sparsity": 0.7, "epochs": 3, "batch_size": 64, "seed": 3}
    straight = prune(nets[1](), soft, **settings)
    state = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        prune(nets[1](), soft, **settings, state=state, callbacks=[Stop(2)])
    resumed = prune(nets[1](), soft, **settings, state=state)
    for a, b in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_state_of_another_model_is_refused(nets, soft, tmp_path):
    state = tmp_path / "state.npz"
    prune(nets[1](8), soft, epochs=1, state=state)
    with pytest.raises(InputError, match="is the state of another model"):
        prune(nets[1](16), soft, epochs=1, state=state)
    whole = state.read_bytes()
    for damaged in (b"nothing", whole[: len(whole) // 2]):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match=r"is damaged .* Remove it to train again"):
            prune(nets[1](8), soft, epochs=1, state=state)


def test_soft_targets_are_what_is_learnt(nets, soft):
    """Labels say nothing here; a student that follows the teacher's logits agrees with it."""
    x, targets = soft
    wrong = targets._replace(labels=np.zeros_like(targets.labels))
    pruned = prune(nets[1](32), (x, wrong), sparsity=0.5, alpha=1.0, epochs=40, learning_rate=0.01)
    agreement = (pruned.predict(x, verbose=0).argmax(1) == targets.teacher.argmax(1)).mean()
    assert agreement > 0.7


def test_a_live_teacher_gives_what_stored_logits_give(nets, task, soft):
    x, labels, logits = task
    table = {row.tobytes(): z for row, z in zip(x, logits, strict=True)}

    def teacher(batch):
        return np.stack([table[row.tobytes()] for row in batch])

    settings = {"sparsity": 0.5, "epochs": 1, "batch_size": 64}
    stored = prune(nets[1](), soft, **settings)
    live = prune(nets[1](), (x, labels), teacher=teacher, **settings)
    for a, b in zip(stored.get_weights(), live.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_callbacks_and_validation(nets, soft, task):
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: seen.append(logs))
    early = keras.callbacks.EarlyStopping("val_loss", min_delta=100, patience=1)
    settings = {"pruning_schedule": "constant", "epochs": 9, "validation_data": task[:2]}
    prune(nets[1](), soft, **settings, callbacks=[watch, early])
    assert len(seen) == 2
    assert {"loss", "hard_loss", "soft_loss", "accuracy", "val_loss", "val_accuracy"} <= set(
        seen[0]
    )
    assert "val_soft_loss" not in seen[0]


def test_regularization_is_part_of_the_loss(task):
    x, labels, _ = task
    logs = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, log: logs.append(log))
    for factor in (0.0, 10.0):
        keras.utils.set_random_seed(0)
        layer = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(factor))
        model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), layer])
        prune(model, (x, labels), sparsity=0.1, alpha=0, epochs=1, callbacks=[watch])
    assert logs[0]["loss"] == pytest.approx(logs[0]["hard_loss"], rel=1e-5)
    assert logs[1]["loss"] > logs[1]["hard_loss"] + 1


def test_several_outputs_learn_by_name(task):
    x, labels, logits = task
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(i)
    outputs = {name: keras.layers.Dense(4, name=name)(flat) for name in ("b", "a")}
    from keras_distill import Targets

    y = Targets({"a": labels, "b": labels}, {"a": logits, "b": -logits})
    logs = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, log: logs.append(log))
    pruned = prune(
        keras.Model(i, outputs),
        (x, y),
        sparsity=0.2,
        alpha=0.99,
        epochs=30,
        learning_rate=0.01,
        callbacks=[watch],
    )
    predicted = pruned.predict(x, verbose=0)
    assert (predicted["a"].argmax(1) == logits.argmax(1)).mean() > 0.7
    assert (predicted["b"].argmax(1) == logits.argmin(1)).mean() > 0.6
    assert {"a_accuracy", "b_accuracy"} <= set(logs[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 1.0}, "`sparsity` must be > 0 and <= 0.999"),
        (
            {"pruning_schedule": "linear"},
            "`pruning_schedule` must be one of polynomial, constant, 2:4",
        ),
        ({"epochs": 0}, "`epochs` must be >= 1"),
        ({"epochs": True}, "`epochs` must be a valid integer"),
        ({"alpha": 2}, "`alpha` must be in 0..1"),
        ({"optimizer": "lion"}, "`optimizer` must be 'adam', 'adamw' or 'sgd'"),
        ({"callbacks": ["log"]}, "`callbacks` must be Keras or tf_keras callbacks"),
    ],
)
def test_bad_arguments(nets, soft, options, message):
    with pytest.raises(InputError, match=message):
        prune(nets[1](), soft, **options)


def test_bad_data(nets, task):
    x, labels, _ = task
    with pytest.raises(InputError, match="`teacher` must be given where the data carry no"):
        prune(nets[1](), (x, labels))
    with pytest.raises(InputError, match="`data` must be a batched"):
        prune(nets[1](), x, alpha=0)
    endless = tf.data.Dataset.from_tensors((x[:8], labels[:8])).repeat()
    with pytest.raises(InputError, match="`steps_per_epoch` must be given"):
        prune(nets[1](), endless, alpha=0)
    prune(nets[1](), endless, sparsity=0.5, alpha=0, steps_per_epoch=3, epochs=2)
    with pytest.raises(InputError, match="no kernel that could be pruned"):
        flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        prune(flat, (x, labels), alpha=0)


def test_missing_zeros_fail_the_verification(nets):
    with pytest.raises(
        VerificationError, match=r"'hidden' has 0.0% zeros after pruning, not 50.0%"
    ):
        check_zeros(nets[1](), 0.5)
    with pytest.raises(VerificationError, match="not 2:4"):
        check_zeros(nets[1](), None)


def test_kernel_counts():
    assert KernelState(layer="a", size=8, zeros=2, values=5).sparsity == 0.25
