"""Quantization-aware training, up to the int8 file and back into training."""

import keras
import numpy as np
import pytest

from keras_distill import InputError
from keras_distill.compress import FakeQuantModel, cluster, count_weights, prune, quantize_aware
from keras_distill.compress._bridge import to_logits
from keras_distill.compress._kernels import kernels
from keras_distill.compress._wrapping import is_clustered, is_pruned, quantized, start_ranges
from keras_distill.litert import LiteRTModel

L = keras.layers


def trained(student, soft, **options):
    """The student after some plain distillation (pruning of nothing that matters)."""
    return prune(
        student, soft, sparsity=0.01, pruning_schedule="constant", epochs=15, learning_rate=0.01
    )


def test_from_student_to_int8_file_and_on(nets, soft, tmp_path):
    student = trained(nets[0]("softmax"), soft)
    before = student.get_weights()
    path = tmp_path / "int8.tflite"
    result = quantize_aware(student, soft, path, epochs=2, batch_size=32)
    assert result.model.scheme == "QAT" and result.export.recipe.quantization == "int8"
    assert {i.dtype for i in (*result.export.inputs, *result.export.outputs)} == {"int8"}
    assert "DEQUANTIZE" not in result.export.ops and result.export.verification.passed
    x = soft[0]
    fake = result.model.predict(x)
    file = LiteRTModel(path).predict(x)
    assert (fake.argmax(1) == file.argmax(1)).mean() > 0.98
    np.testing.assert_allclose(fake.sum(1), 1, atol=1e-5)
    for a, b in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    folder = result.model.save(tmp_path / "fake_quant")
    loaded = FakeQuantModel.load(folder)
    np.testing.assert_allclose(loaded.predict(x), fake, atol=1e-6)
    further = quantize_aware(loaded, soft, epochs=1)
    assert further.export is None and further.logs["loss"][0] < result.logs["loss"][0] * 1.1
    np.testing.assert_allclose(loaded.predict(x), fake, atol=1e-6)
    assert np.abs(further.model.predict(x) - fake).max() > 1e-4


def test_pruned_and_clustered_stays_so_in_the_file_and_after_reload(nets, soft, tmp_path):
    student = prune(nets[0](), soft, sparsity=0.7, epochs=2)
    student = cluster(student, soft, clusters=6, epochs=2)
    first = quantize_aware(student, soft, epochs=1)
    assert first.model.scheme == "PCQAT"
    loaded = FakeQuantModel.load(first.model.save(tmp_path / "fake_quant"))
    path = tmp_path / "int8.tflite"
    quantize_aware(loaded, soft, path, epochs=1)
    counted = {k.op: k for k in count_weights(path)}
    wanted = {kernel.layer: kernel.zeros for kernel in kernels(student)}
    assert counted["CONV_2D"].zeros >= wanted["conv"]
    assert counted["FULLY_CONNECTED"].zeros >= wanted["logits"]
    assert counted["CONV_2D"].values_per_channel <= 6
    assert counted["FULLY_CONNECTED"].values <= 6
    assert counted["DEPTHWISE_CONV_2D"].sparsity < 0.2


def test_arithmetic_between_layers_is_quantized(soft, tmp_path):
    """As MobileNetV3 has it: squeeze and excite by `relu6(x + 3) * (1 / 6)`, and a residual sum."""
    keras.utils.set_random_seed(0)
    i = keras.Input((8, 8, 3), name="image")
    h = L.Activation("hard_silu")(L.Conv2D(8, 3, padding="same", name="conv")(i))
    squeezed = L.Conv2D(8, 1, name="excite")(L.GlobalAveragePooling2D(keepdims=True)(h))
    h = h + L.Multiply()([h, L.ReLU(6.0)(squeezed + 3.0) * (1 / 6)])
    student = keras.Model(i, L.Dense(4, name="logits")(L.Flatten()(h)))
    result = quantize_aware(trained(student, soft), soft, tmp_path / "int8.tflite", epochs=2)
    assert result.export.verification.passed
    x = soft[0]
    same = LiteRTModel(tmp_path / "int8.tflite").predict(x).argmax(1)
    assert (result.model.predict(x).argmax(1) == same).mean() > 0.95


def test_without_preserve_zeros_are_lost(nets, soft):
    student = prune(nets[1](), soft, sparsity=0.7, epochs=1)
    kept = quantize_aware(student, soft, epochs=1, learning_rate=0.01).model
    lost = quantize_aware(student, soft, epochs=1, learning_rate=0.01, preserve=False).model
    assert (kept.scheme, lost.scheme) == ("PQAT", "QAT")

    def moved(model):
        kernel = next(w for w in model.network.weights if w.name.startswith("hidden/kernel"))
        zero = np.asarray(student.get_layer("hidden").kernel) == 0
        return np.abs(np.asarray(kernel)[zero]).max()

    assert moved(lost) > 1e-3


def test_ranges_start_at_those_of_the_data(nets, soft):
    """Values of 0..0.1, which tfmot's own ranges of -6..6 would round to two numbers."""
    student = nets[1]()
    x = np.abs(soft[0]) / 40
    net = quantized(to_logits(student, {}), preserve=True)
    reference = student(x)
    error = {"before": np.abs(net(x, training=False) - reference).max()}
    kept = [v.numpy() for v in net.trainable_variables]
    start_ranges(net, [x[:128], x[128:]])
    error["after"] = np.abs(net(x, training=False) - reference).max()
    assert error["after"] < 0.1 * error["before"]
    for a, b in zip(kept, net.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def separate(*layers, shape=(8, 8, 4)):
    return keras.Sequential([keras.Input(shape), *layers, L.Flatten(), L.Dense(3, name="logits")])


def test_layers_without_a_setting_in_tfmot_still_get_ranges(tmp_path):
    """Pre-activation BatchNormalization, elu, Multiply, a nested model, dropout called inert."""
    i = keras.Input((8, 8, 4))
    h = L.ReLU()(L.BatchNormalization()(i))
    h = L.Activation("elu")(L.Conv2D(4, 3, padding="same")(h))
    verification = L.Conv2D(4, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(h))
    h = L.Multiply()([h, verification])
    stem = keras.Sequential([keras.Input((8, 8, 4)), L.SeparableConv2D(4, 3), L.MaxPooling2D()])
    h = L.Dropout(0.5)(L.Flatten()(stem(h)), training=False)
    model = keras.Model(i, [L.Dense(3, name="a")(h), L.Dense(2, "softmax", name="b")(h)])
    random = np.random.default_rng(0)
    x = random.normal(size=(96, 8, 8, 4)).astype("float32")
    y = {"a": random.integers(0, 3, 96), "b": random.integers(0, 2, 96)}
    path = tmp_path / "int8.tflite"
    result = quantize_aware(model, (x, y), path, alpha=0, epochs=1, learning_rate=1e-4)
    assert result.export.verification.passed and len(result.export.outputs) == 2
    assert set(result.model.predict(x)) == {"a", "b"}
    np.testing.assert_allclose(result.model.predict(x)["b"].sum(1), 1, atol=1e-5)


def shared():
    i, dense = keras.Input((4,)), L.Dense(4, name="twice")
    return keras.Model(i, dense(dense(i)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: separate(L.Conv1D(4, 3, name="c1"), shape=(8, 4)), "'c1'.*Conv1D"),
        (lambda: separate(L.LayerNormalization(name="ln")), "'ln'.*LayerNormalization"),
        (lambda: separate(L.GRU(4, name="gru"), shape=(8, 4)), "'gru'.*GRU"),
        (shared, "'twice'.*shared"),
    ],
)
def test_layers_that_cannot_be_quantized_are_refused_by_name(build, message):
    with pytest.raises(InputError, match=message):
        FakeQuantModel(build())


def test_sparse_and_int8_are_refused_in_words(nets, soft, tmp_path):
    with pytest.raises(InputError, match="does not load under the default delegate"):
        quantize_aware(nets[1](), soft, tmp_path / "x.tflite", export={"sparse": True})
    with pytest.raises(InputError, match="Quantization-aware training is for int8"):
        quantize_aware(nets[1](), soft, tmp_path / "x.tflite", export={"quantization": "float32"})


def test_a_damaged_folder_is_refused(nets, tmp_path):
    with pytest.raises(InputError, match="Cannot read"):
        FakeQuantModel.load(tmp_path)
    folder = FakeQuantModel(nets[1]()).save(tmp_path / "fq")
    with pytest.raises(InputError, match="exists"):
        FakeQuantModel(nets[1]()).save(folder)
    other = FakeQuantModel(nets[1](8)).save(tmp_path / "other")
    (other / "variables.npz").replace(folder / "variables.npz")
    with pytest.raises(InputError, match=r"variables.npz is the state of another model"):
        FakeQuantModel.load(folder)
    (folder / "variables.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"variables.npz is damaged"):
        FakeQuantModel.load(folder)
    (folder / "variables.npz").unlink()
    with pytest.raises(InputError, match=r"has no variables.npz"):
        FakeQuantModel.load(folder)


def test_what_counts_as_pruned_and_clustered():
    random = np.random.default_rng(0).normal(size=(20, 20))
    assert not is_pruned(random) and not is_clustered(random)
    assert is_pruned(np.where(random > 0, random, 0))
    assert is_clustered(np.sign(random)) and is_clustered(np.where(random > 1, 0.5, 0))
    assert not is_clustered(np.where(np.arange(400).reshape(20, 20) < 3, random, 0))
