"""MirroredStrategy on two logical CPUs does what one device does. In a process of its own."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import keras_distill as kd
import keras, numpy as np, tensorflow as tf
from keras_distill.losses import HintLoss, LogitMatchingLoss, SoftTargetLoss

devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
x = rng.normal(size=(32, 8)).astype("float32")
y = rng.integers(0, 3, 32)
labeled = np.arange(32) % 4 > 0
w = rng.uniform(0.5, 2, 32).astype("float32")
layers = keras.layers


def net(units, seed, **end):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((8,)), layers.Dense(units, "relu", name="hidden"),
                             layers.Dense(3, **end)])


def distiller(case):
    student = net(4, 0, kernel_regularizer="l2", activity_regularizer="l1")
    if case == "live":
        return kd.Distiller(net(16, 1), student, agreement=True)
    if case == "features":
        return kd.Distiller(net(4, 1), student,
                            [SoftTargetLoss(), HintLoss("hidden", "hidden"), LogitMatchingLoss()],
                            [1.0, kd.LinearSchedule(1.0, 0.0, 8), 0.5], alpha=0.5)
    return kd.Distiller(None, student, alpha=kd.LinearSchedule(1.0, 0.0, 8), agreement=True)


def data(case):
    if case == "stored":
        targets = kd.Targets(y, net(16, 1)(x).numpy(), labeled)
        parts = (x, targets, w)
    else:
        parts = (x, y)
    return tf.data.Dataset.from_tensor_slices(parts).batch(8, drop_remainder=True)


def run(case, strategy):
    with strategy.scope():
        model = distiller(case)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9),
                      keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                      metrics=["accuracy"])
    history = model.fit(data(case), epochs=2, verbose=0, validation_data=data(case)).history
    logs = model.evaluate(data(case), verbose=0, return_dict=True)
    return {"history": history, "logs": logs,
            "weights": [v.numpy().tolist() for v in model.trainable_variables]}


results = {}
for case in ("live", "features", "stored"):
    results[case] = [run(case, s) for s in (tf.distribute.get_strategy(),
                                            tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))]
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    plain = kd.Distiller(net(16, 1), net(4, 0))
plain.fit(data("live"), verbose=0)
results["uncompiled"] = plain.loss.name
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    unbuilt = kd.Distiller(net(16, 1), keras.Sequential([layers.Dense(4), layers.Dense(3)]))
    late = kd.Distiller(None, net(4, 0), HintLoss("hidden", "hidden"))
unbuilt.fit(data("live"), verbose=0)
late.set_teacher(net(16, 1))
results["mirrored"] = [isinstance(w.value, tf.distribute.DistributedValues)
                       for w in [*unbuilt.student.weights, *late.projectors[0].weights]]
print("RESULT " + json.dumps(results))
"""


@pytest.fixture(scope="module")
def results():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=400, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    line = next(part for part in run.stdout.splitlines() if part.startswith("RESULT "))
    return json.loads(line.removeprefix("RESULT "))


@pytest.mark.parametrize("case", ["live", "features", "stored"])
def test_two_replicas_equal_one_device(results, case):
    import numpy as np

    one, two = results[case]
    assert set(one["history"]) == set(two["history"])
    for a, b in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name, values in one["history"].items():
        np.testing.assert_allclose(values, two["history"][name], rtol=1e-5, err_msg=name)
    assert one["logs"] == pytest.approx(two["logs"], rel=1e-5)
    assert "soft_loss" in one["history"]
    if case == "live":
        assert "val_soft_loss" not in one["history"] and "agreement" in one["history"]


def test_uncompiled_fit_under_a_strategy(results):
    assert results["uncompiled"] == "sparse_categorical_crossentropy"
    # A student that fit builds, and a projector for a later teacher, have a copy per replica too.
    assert len(results["mirrored"]) == 6 and all(results["mirrored"])
