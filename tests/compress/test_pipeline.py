"""Pipelines: order, resume, and wins counted in the final file."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, VerificationError, models
from keras_distill.compress import FakeQuantModel, compress, summary
from keras_distill.compress._kernels import kernels
from keras_distill.compress._pipeline import _check_file
from keras_distill.records._compress import CompressRecord


def interrupt(at):
    """A callback that stops the program before its `at`-th epoch, over all steps."""
    count = iter(range(1000))

    def begin(epoch, logs):
        if next(count) == at:
            raise KeyboardInterrupt

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin)


def test_three_steps_interrupted_and_resumed(nets, soft, tmp_path):
    student, out = nets[1](), tmp_path / "small"
    steps = ["prune:0.7", "cluster:6", "quantize"]
    settings = {"epochs": 2, "batch_size": 64, "validation_data": soft}
    with pytest.raises(KeyboardInterrupt):
        compress(student, soft, steps, out, **settings, callbacks=[interrupt(3)])
    unfinished = tmp_path / "small.unfinished"
    first = (unfinished / "work" / "0-prune.keras").read_bytes()
    assert not out.exists()
    with pytest.raises(InputError, match=r"unfinished compression with other .*: steps\)"):
        compress(student, soft, steps[:1], out, **settings)

    trained = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, logs: trained.append(e))
    (unfinished / "work" / "0-prune.keras").write_bytes(first)
    done = compress(student, soft, steps, out, **settings, callbacks=[watch])
    assert trained == [1, 0, 1], "the prune step was not done again, cluster went on at epoch 1"
    assert not unfinished.exists()
    assert {p.name for p in out.iterdir()} == {
        *("student.keras", "student-int8.tflite", "student-int8.tflite.json"),
        *("fake_quant", "compress.json", ".keras-distill"),
    }
    record = CompressRecord.load(out / "compress.json")
    assert record == done.record
    assert [step.scheme for step in record.steps] == [None, None, "PCQAT"]
    assert all(len(step.logs["loss"]) == 2 for step in record.steps)
    assert [k.sparsity >= 0.69 for k in record.kernels] == [True, True]
    assert max(k.values for k in record.kernels) <= 6
    assert record.export.verification.outputs[0].accuracy is not None
    kept = models.load(out / "student.keras")
    assert [k.zeros for k in kernels(kept)] == [k.zeros for k in kernels(done.student)]
    assert FakeQuantModel.load(out / "fake_quant").scheme == "PCQAT"
    assert dict(summary(record))["values"].startswith("at most")
    with pytest.raises(InputError, match="exists"):
        compress(student, soft, steps, out, **settings)


@pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")
def test_a_sparse_float_file_is_smaller(nets, soft, tmp_path):
    student = nets[1](32)
    out = tmp_path / "sparse"
    done = compress(student, soft, ["prune:0.9:constant"], out, sparse=True, epochs=1)
    weights = 192 * 32 + 32 * 4
    assert sum(k.size for k in done.record.kernels) == weights
    assert sum(k.zeros for k in done.record.kernels) >= 0.89 * weights
    assert done.record.export.bytes < 0.5 * 4 * weights
    assert done.fake_quant is None and done.record.temperature == 4


def test_sparse_with_quantize_is_refused_before_any_training(nets, soft, tmp_path):
    with pytest.raises(InputError, match="sparse int8 file does not load"):
        compress(nets[1](), soft, ["prune:0.8", "quantize"], tmp_path / "out", sparse=True)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_leaves_nothing_in_the_way(nets, task, tmp_path):
    x, labels, _ = task
    for steps in (["cluster:4"], ["cluster:8"]):
        with pytest.raises(InputError, match="`teacher` must be given"):
            compress(nets[1](), (x, labels), steps, tmp_path / "out")


def test_a_file_that_lost_zeros_fails_the_verification(nets):
    student = nets[1]()
    student.get_layer("hidden").kernel.assign(np.zeros((192, 16)))
    with pytest.raises(VerificationError, match="has 0 zero weights, and the student had 3072"):
        _check_file(student, (), None)
