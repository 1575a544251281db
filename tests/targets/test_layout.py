import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._soft_targets import TopK
from keras_distill.records._targets import TargetsOutput
from keras_distill.targets import _layout


def output(*shape, **settings):
    return TargetsOutput(shape=shape, **settings)


def strings(data, width):
    return tf.constant([data[i : i + width] for i in range(0, len(data), width)])


def draw(*shape, scale=5.0):
    return np.random.default_rng(1).normal(scale=scale, size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("spec", "bytes_per_record"),
    [
        (output(10), 20),
        (output(10, dtype="float32"), 40),
        (output(3, 10), 60),
        (output(1000, top_k=20), 4 * 20 + 8),
        (output(1 << 16, top_k=5), 4 * 5 + 8),
        (output((1 << 16) + 1, top_k=5), 6 * 5 + 8),
        (output(2, 50, top_k=5), 2 * (4 * 5 + 8)),
        (output(50, top_k=5, dtype="float32"), 6 * 5 + 16),
    ],
)
def test_a_record_has_the_bytes_its_output_declares_and_both_decoders_agree(spec, bytes_per_record):
    logits = draw(4, *spec.shape)
    data = _layout.encode([logits], [spec], 0)
    assert spec.payload_bytes == bytes_per_record
    assert len(data) == 4 * bytes_per_record
    native = _layout.decode(strings(data, bytes_per_record), [spec])
    (array,) = _layout.decode_array(data, [spec])
    tf.nest.map_structure(np.testing.assert_array_equal, native, array)


def test_dense_float16_is_the_logits_rounded_once():
    logits = draw(5, 9)
    (back,) = _layout.decode_array(_layout.encode([logits], [output(9)], 0), [output(9)])
    np.testing.assert_array_equal(back, logits.astype(np.float16).astype(np.float32))
    assert back.dtype == np.float32


def test_several_outputs_come_back_by_name_and_in_shape():
    specs = [
        output(2, 6, name="tokens", top_k=2),
        output(3, name="mood", dtype="float32"),
        output(4, name="rest"),
    ]
    values = [draw(3, 2, 6), draw(3, 3), draw(3, 4)]
    data = _layout.encode(values, specs, 0)
    back = _layout.decode(strings(data, sum(s.payload_bytes for s in specs)), specs)
    assert list(back) == ["tokens", "mood", "rest"]
    assert isinstance(back["tokens"], TopK)
    assert back["tokens"].indices.shape == (3, 2, 2)
    assert back["tokens"].rest_mean.shape == (3, 2)
    np.testing.assert_array_equal(back["mood"], values[1])
    np.testing.assert_allclose(back["rest"], values[2], rtol=1e-3)


def test_class_ids_above_65535_survive():
    classes = 70_000
    logits = np.full((1, classes), -3.0, np.float32)
    logits[0, [69_999, 65_536, 2]] = [9.0, 8.0, 7.0]
    spec = output(classes, top_k=3)
    data = _layout.encode([logits], [spec], 0)
    kept = _layout.decode(strings(data, spec.payload_bytes), [spec])
    assert kept.indices.numpy().tolist() == [[69_999, 65_536, 2]]
    assert kept.rest_mean.numpy().tolist() == [-3.0]
    assert kept.rest_var.numpy().tolist() == [0.0]
    np.testing.assert_allclose(kept.rest_log_mean_exp, [[-3.0, -0.75]])


def test_topk_moments_are_those_of_the_classes_left_out():
    logits = draw(6, 40) + 100
    kept = _layout.topk(logits, 5)
    for row, indices, mean, variance, masses in zip(logits, kept.indices, *kept[2:], strict=True):
        rest = np.delete(row.astype(np.float64), indices)
        assert mean == pytest.approx(rest.mean(), rel=1e-9)
        assert variance == pytest.approx(rest.var(), rel=1e-9)
        known = [np.log(np.exp(rest / t).mean()) for t in (1, 4)]
        np.testing.assert_allclose(masses, known, rtol=1e-9)
        assert row[indices].tolist() == sorted(row, reverse=True)[:5]


def test_a_large_batch_is_the_small_ones_one_after_another(monkeypatch):
    logits = draw(7, 3, 40)
    whole = _layout.topk(logits, 5)
    monkeypatch.setattr(_layout, "_CHUNK", 100)
    for one, other in zip(_layout.topk(logits, 5), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_moments_of_huge_logits_stay_finite_in_float16():
    logits = np.tile(np.array([6e4, -6e4, 5e4, 1.0, -5e4], np.float32), (2, 1))
    (kept,) = _layout.decode_array(
        _layout.encode([logits], [output(5, top_k=1)], 0), [output(5, top_k=1)]
    )
    assert all(np.isfinite(part).all() for part in kept)


def test_among_equal_logits_the_lower_class_is_kept():
    kept = _layout.topk(np.zeros((1, 6), np.float32), 3)
    assert kept.indices.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("value", "settings", "message"),
    [
        (np.nan, {}, "NaN or inf at example 21"),
        (np.inf, {}, "NaN or inf at example 21"),
        (-np.inf, {"top_k": 2}, "-inf at example 21"),
        (7e4, {}, "dtype='float32'"),
        (-7e4, {}, "dtype='float32'"),
    ],
)
def test_logits_a_record_cannot_hold_are_refused(value, settings, message):
    logits = draw(3, 5)
    logits[1, 2] = value
    with pytest.raises(InputError, match=message):
        _layout.encode([logits], [output(5, **settings)], first=20)


def test_a_dense_record_keeps_a_class_ruled_out_and_float32_keeps_large_logits():
    logits = np.array([[-np.inf, 1.0]], np.float32)
    assert _layout.decode_array(_layout.encode([logits], [output(2)], 0), [output(2)])[0][0, 0] == (
        -np.inf
    )
    wide = output(2, dtype="float32")
    large = np.array([[7e4, 1.0]], np.float32)
    assert _layout.decode_array(_layout.encode([large], [wide], 0), [wide])[0][0, 0] == 7e4


def test_another_shape_than_declared_is_refused():
    with pytest.raises(InputError, match=r"one shape, \(5,\).*Received: \(6,\) at example 8"):
        _layout.encode([draw(2, 6)], [output(5)], 8)
