import keras
import numpy as np
import pytest

from keras_distill._internal import InputError
from keras_distill.export import InputInfo, Samples, random_samples
from keras_distill.export._calibration import (
    check_calibration,
    check_covers,
    declared_range,
    ranges,
    raw_range,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1)).astype(np.float32)


def _samples(x):
    return Samples({"image": x}, None, "data given", ())


def _net(**rescaling):
    layers = [keras.Input((4, 4, 1)), keras.layers.Rescaling(**rescaling)] if rescaling else []
    return keras.Sequential([*(layers or [keras.Input((4, 4, 1))]), keras.layers.Flatten()])


@pytest.fixture(scope="module")
def net():
    return _net(scale=1 / 255)


def test_good_rows_say_nothing(net):
    assert check_calibration(_samples(PIXELS), net, 1) == []


def test_few_rows_are_a_warning(net):
    assert check_calibration(_samples(PIXELS[:10]), net, 1) == [
        "calibration has only 10 rows; 50 or more are advised"
    ]


def test_one_row_is_an_error(net):
    with pytest.raises(InputError, match=r"`calibration` must have >= 2 rows. Received: 1\."):
        check_calibration(_samples(PIXELS[:1]), net, 1)
    with pytest.raises(InputError, match="must have >= 16 rows"):
        check_calibration(_samples(PIXELS[:10]), net, 16)


def test_rows_must_vary(net):
    with pytest.raises(InputError, match=r"must vary. All values of input 'image' are 7"):
        check_calibration(_samples(np.full_like(PIXELS, 7)), net, 1)
    with pytest.raises(InputError, match=r"must vary. All rows of input 'image' are equal"):
        check_calibration(_samples(np.repeat(PIXELS[:1], 60, axis=0)), net, 1)


def test_scaled_pixels_for_a_net_that_scales_are_an_error(net):
    with pytest.raises(InputError, match=r"raw values of about 0..255.*Received: 0..1. They look"):
        check_calibration(_samples(PIXELS / 255), net, 1)
    assert check_calibration(_samples(PIXELS / 255), _net(), 1) == []  # no Rescaling, no telling


def test_values_far_outside_are_a_warning(net):
    said = check_calibration(_samples(PIXELS * 100), net, 1)
    assert said[0].startswith("calibration spans 0..25500, far outside 0..255")


def test_other_units_than_the_data_that_judge_are_an_error():
    check_covers({"image": PIXELS}, {"image": PIXELS / 2})
    with pytest.raises(InputError, match=r"the same units. Input 'image' spans 0..1 in calib"):
        check_covers({"image": PIXELS / 255}, {"image": PIXELS})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"scale": 1 / 255}, (0, 255)),
        ({"scale": 1 / 127.5, "offset": -1}, (0, 255)),
        ({"scale": [0.5, 0.25], "offset": [0.0, 0.0]}, (0, 4)),
        ({"scale": 1.0}, (0, 1)),
    ],
)
def test_raw_range(settings, expected):
    assert raw_range(keras.layers.Rescaling(**settings)) == pytest.approx(expected)


def test_random_rows_are_in_the_range_the_model_is_made_for(net):
    inputs = (InputInfo("image", (None, 4, 4, 1), "float32"),)
    x = random_samples(net, inputs, 50).x["image"]
    assert x.shape == (50, 4, 4, 1) and x.min() >= 0 and 200 < x.max() <= 255
    free = random_samples(_net(), inputs, 50).x["image"]
    assert free.min() < -1 and 1 < free.max() < 10


def test_random_tokens_are_words_of_the_embedding():
    tokens = keras.Input((6,), dtype="int32")
    net = keras.Model(tokens, keras.layers.Embedding(5, 2)(tokens))
    x = random_samples(net, (InputInfo("tokens", (None, 6), "int32"),), 50).x["tokens"]
    assert set(np.unique(x)) == {0, 1, 2, 3, 4} and x.dtype == np.int32


def test_ranges():
    assert ranges({"image": PIXELS}) == {"image": (0.0, 255.0)}


def test_a_standardizing_layer_declares_no_range():
    assert declared_range(keras.layers.Rescaling(1 / 255)) == pytest.approx((0, 255))
    assert declared_range(keras.layers.Rescaling(1 / 127.5, offset=-1)) == pytest.approx((0, 255))
    for free in ({"scale": 1.0}, {"scale": 0.2, "offset": -0.8}, {"scale": [1, 2.0]}):
        assert declared_range(keras.layers.Rescaling(**free)) is None
    assert declared_range(None) is None
