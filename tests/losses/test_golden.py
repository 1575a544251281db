"""Every loss against references computed without the package: tests/golden/make_golden.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import TopK, losses
from keras_distill.losses import functional

CASES = json.loads((Path(__file__).parents[1] / "golden" / "losses.json").read_text())

FUNCTIONS = {
    "soft_target": functional.soft_target,
    "soft_target_topk": functional.soft_target,
    "soft_cross_entropy": functional.soft_cross_entropy,
    "logit_matching": functional.logit_matching,
    "logit_matching_topk": functional.logit_matching,
    "decoupled": functional.decoupled,
    "dist": functional.dist,
    "hint": functional.hint,
    "attention_transfer": functional.attention_transfer,
    "similarity": functional.similarity,
    "relational": functional.relational,
    "multi_label_soft": functional.multi_label_soft,
    "reverse_kl": functional.reverse_kl,
    "reverse_kl_topk": functional.reverse_kl,
    "jensen_shannon": functional.jensen_shannon,
    "jensen_shannon_topk": functional.jensen_shannon,
    "multi_level": functional.multi_level,
    "variational": functional.variational,
    "softmax_regression": functional.softmax_regression,
    "hierarchical_context": functional.hierarchical_context,
    "contrastive": functional.contrastive,
    "regression": functional.regression,
}
# Options that are arrays, in float64 as the teacher and the student.
ARRAYS = ("variance", "kernel", "teacher_queue", "student_queue")
LAYERS = {"teacher_layer_name": "a", "student_layer_name": "b"}
CLASSES = {
    "soft_target": losses.SoftTargetLoss,
    "soft_target_topk": losses.SoftTargetLoss,
    "logit_matching": losses.LogitMatchingLoss,
    "logit_matching_topk": losses.LogitMatchingLoss,
    "decoupled": losses.DecoupledLoss,
    "dist": losses.DISTLoss,
    "standardized": losses.StandardizedSoftTargetLoss,
    "standardized_topk": losses.StandardizedSoftTargetLoss,
    "hint": lambda: losses.HintLoss(**LAYERS),
    "attention_transfer": lambda: losses.AttentionTransferLoss(**LAYERS),
    "similarity": lambda: losses.SimilarityLoss(**LAYERS),
    "relational": lambda **options: losses.RelationalLoss(**LAYERS, **options),
    "multi_label_soft": losses.MultiLabelSoftLoss,
    "reverse_kl": losses.ReverseKLLoss,
    "reverse_kl_topk": losses.ReverseKLLoss,
    "jensen_shannon": losses.JensenShannonLoss,
    "jensen_shannon_topk": losses.JensenShannonLoss,
    "multi_level": losses.MultiLevelLoss,
    "regression": lambda delta: losses.RegressionLoss(
        **({"kind": "mse"} if delta is None else {"kind": "huber", "delta": delta})
    ),
}


def test_every_case_is_used():
    assert {case["name"] for case in CASES} == FUNCTIONS.keys() | CLASSES.keys()


def inputs(case, dtype):
    def tensor(x):
        return tf.constant(np.array(x), dtype)

    teacher = case["teacher"]
    if case["name"].endswith("_topk"):
        teacher = TopK(tf.constant(teacher[0], tf.int32), *map(tensor, teacher[1:]))
    else:
        teacher = tensor(teacher)
    labels = () if case["labels"] is None else (tf.constant(case["labels"]),)
    return teacher, tensor(case["student"]), labels


def value_and_gradient(function, teacher, student, labels, **options):
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = function(teacher, student, *labels, **options)
        mean = tf.reduce_mean(values)
    return values, tape.gradient(mean, student)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["name"] in CLASSES], ids=lambda c: c["name"]
)
def test_class_gives_the_reference_mean_and_gradient(case):
    loss = CLASSES[case["name"]](**case["options"])
    mean, gradient = value_and_gradient(loss.compute_loss, *inputs(case, tf.float64))
    assert mean.dtype == tf.float64
    np.testing.assert_allclose(mean, np.mean(case["values"]), rtol=1e-9)
    np.testing.assert_allclose(gradient, case["gradient"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["name"] in FUNCTIONS], ids=lambda c: c["name"]
)
def test_function_gives_the_reference_values(case):
    function, options = FUNCTIONS[case["name"]], case["options"]
    options = {k: np.array(v) if k in ARRAYS else v for k, v in options.items()}
    values, gradient = value_and_gradient(function, *inputs(case, tf.float64), **options)
    np.testing.assert_allclose(values, case["values"], rtol=1e-9)
    np.testing.assert_allclose(gradient, case["gradient"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c["name"] in CLASSES], ids=lambda c: c["name"]
)
def test_float32_is_near(case):
    loss = CLASSES[case["name"]](**case["options"])
    mean, gradient = value_and_gradient(loss.compute_loss, *inputs(case, tf.float32))
    assert mean.dtype == tf.float32
    np.testing.assert_allclose(mean, np.mean(case["values"]), rtol=3e-5)
    scale = np.abs(case["gradient"]).max()
    np.testing.assert_allclose(gradient, case["gradient"], atol=3e-5 * scale)


def test_generator_still_writes_the_file():
    path = Path(__file__).parents[1] / "golden" / "make_golden.py"
    scope = {"__name__": "make_golden", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    for made, kept in zip(scope["cases"](), CASES, strict=True):
        assert (made["name"], made["options"]) == (kept["name"], kept["options"])
        np.testing.assert_allclose(made["values"], kept["values"], rtol=1e-12)
        np.testing.assert_allclose(made["gradient"], kept["gradient"], rtol=1e-9, atol=1e-14)
