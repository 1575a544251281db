"""Clustering: exact numbers of values, and zeros that stay."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, VerificationError
from keras_distill.compress import cluster, prune
from keras_distill.compress._clustering import check_no_fewer_zeros, check_values
from keras_distill.compress._kernels import kernels


def found(model):
    return {kernel.layer: kernel for kernel in kernels(model)}


def test_cluster_gives_a_plain_keras_model_with_few_values(nets, soft):
    student = nets[0]("softmax")
    before = student.get_weights()
    clustered = cluster(student, soft, clusters=8, epochs=2, batch_size=32)
    assert clustered.get_config() == student.get_config()
    assert {k.values for k in kernels(clustered)} == {8}
    for a, b in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    batchnorm = clustered.get_layer("bn").get_weights()
    assert (batchnorm[2] != 0).all(), "BatchNormalization did not see a training step"


def test_pruned_zeros_stay_also_in_skipped_layers(nets, soft):
    pruned = prune(nets[0](), soft, sparsity=0.7, epochs=1, batch_size=32)
    clustered = cluster(pruned, soft, clusters=6, skip=["conv"], epochs=2, batch_size=32)
    for layer in ("conv", "logits"):
        kept = np.asarray(pruned.get_layer(layer).kernel) == 0
        assert (np.asarray(clustered.get_layer(layer).kernel)[kept] == 0).all()
    assert found(clustered)["logits"].values <= 6 < found(clustered)["conv"].values


def test_a_kernel_with_few_values_already_is_left_alone(nets, soft):
    student = nets[1](8)
    few = np.float32(np.arange(32).reshape(8, 4) % 3) / 10
    student.get_layer("logits").kernel.assign(few)
    clustered = cluster(student, soft, clusters=4, epochs=1)
    np.testing.assert_array_equal(clustered.get_layer("logits").kernel, few)
    assert clustered.get_layer("logits").trainable


def test_a_killed_training_ends_where_an_uninterrupted_one_does(nets, soft, tmp_path):
    student = prune(nets[1](), soft, sparsity=0.5, epochs=1)
    settings = {"clusters": 5, "epochs": 3, "batch_size": 64}
    straight = cluster(student, soft, **settings)
    state = tmp_path / "state.npz"
    cut = keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, logs: 1 / (2 - e))
    with pytest.raises(ZeroDivisionError):
        cluster(student, soft, **settings, state=state, callbacks=[cut])
    resumed = cluster(student, soft, **settings, state=state)
    for a, b in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_bad_arguments(nets, soft):
    with pytest.raises(InputError, match="`clusters` must be a whole number >= 2"):
        cluster(nets[1](), soft, clusters=1)
    pruned = prune(nets[1](), soft, sparsity=0.5, epochs=1)
    with pytest.raises(InputError, match="`clusters` must be >= 3 for a pruned student"):
        cluster(pruned, soft, clusters=2)


def test_the_verifications(nets):
    with pytest.raises(VerificationError, match=r"'hidden' has 307. different weights"):
        check_values(nets[1](), 16)
    sparse, dense = nets[1](seed=0), nets[1](seed=1)
    sparse.get_layer("hidden").kernel.assign(np.zeros((192, 16)))
    with pytest.raises(VerificationError, match=r"'hidden' has 0.0% zeros left of 100.0%"):
        check_no_fewer_zeros(sparse, dense)
