"""Recognition of probabilities and their conversion to logits."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from keras_distill import InputError
from keras_distill._internal._probabilities import (
    floors,
    kind_of,
    lie_in_unit_interval,
    look_like_probabilities,
    probabilities_to_logits,
)

RNG = np.random.default_rng(0)
Z = 3 * RNG.normal(size=(64, 10))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_is_undone_up_to_a_constant_for_each_row(dtype):
    found = probabilities_to_logits(softmax(Z, axis=1).astype(dtype))
    np.testing.assert_allclose(found, log_softmax(Z, axis=1), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_is_undone(dtype):
    found = probabilities_to_logits(expit(Z).astype(dtype), "sigmoid")
    np.testing.assert_allclose(found, Z, atol=2e-2)


def test_what_was_rounded_to_0_or_1_is_half_a_step_away():
    assert floors(np.float32, step=1 / 256) == (1 / 512, 1 / 512)
    p = np.array([0.0, 1.0])
    quantized = probabilities_to_logits(p, "sigmoid", step=1 / 256)
    assert quantized == pytest.approx([-np.log(511), np.log(511)], abs=1e-2)
    half = probabilities_to_logits(p.astype("float16"))
    assert half[0] == pytest.approx(-25 * np.log(2))
    for dtype in ("float16", "float32", "float64"):
        for kind in ("softmax", "sigmoid"):
            assert np.isfinite(probabilities_to_logits(p.astype(dtype), kind)).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (softmax(Z, axis=1), True),
        (softmax(np.tile(Z, 10), axis=1)[:, :10], True),  # some of the classes
        (expit(Z), True),
        (expit(Z[:, :1]), True),
        (np.round(256 * softmax(Z, axis=1)) / 256, True),
        (Z, False),
        (np.abs(Z), False),
        (np.zeros((4, 3)), False),
        (np.ones((4, 3)), False),
        (np.zeros((0, 3)), False),
    ],
)
def test_values_wholly_in_0_to_1(values, expected):
    assert lie_in_unit_interval(values) == expected


def test_the_kind_of_declared_probabilities():
    assert kind_of(softmax(Z, axis=1), True, "they") == "softmax"
    assert kind_of(expit(Z), True, "they") == "sigmoid"
    assert kind_of(expit(Z[:, :1]), True, "they") == "sigmoid"
    assert kind_of(expit(Z[:, :1]).reshape(4, 4, 4, 1), True, "they") == "sigmoid"
    few = softmax(np.tile(Z, 10), axis=1)[:, :10]
    assert kind_of(few, "softmax", "they") == "softmax"
    with pytest.raises(InputError, match=r"must be 'softmax' .* or 'sigmoid'"):
        kind_of(few, True, "they")
    with pytest.raises(InputError, match=r"needs values in 0\.\.1"):
        kind_of(Z, True, "they")


def test_rows_that_sum_to_1():
    assert look_like_probabilities(softmax(Z, axis=1))
    assert not look_like_probabilities(expit(Z)) and not look_like_probabilities(expit(Z[:, :1]))
