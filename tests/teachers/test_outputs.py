"""The normal form of outputs: there and back, for every structure that Keras has."""

import numpy as np
import pytest

from keras_distill import TopK
from keras_distill.teachers import (
    ONLY,
    like_outputs,
    match_outputs,
    outputs_by_name,
    plain_outputs,
)


@pytest.mark.parametrize(
    ("outputs", "names", "expected"),
    [
        (1, None, {ONLY: 1}),
        ([1], ["a"], {ONLY: 1}),
        ([1, 2], ["b", "a"], {"b": 1, "a": 2}),
        ((1, 2), None, {"output_0": 1, "output_1": 2}),
        ([1, 2], ["a", "a"], {"output_0": 1, "output_1": 2}),
        ({"b": 1, "a": 2}, ["b", "a"], {"b": 1, "a": 2}),
    ],
)
def test_there_and_back(outputs, names, expected):
    found = outputs_by_name(outputs, names)
    assert found == expected and list(found) == list(expected)
    back = like_outputs(found, outputs, list(found))
    assert back == (list(outputs) if isinstance(outputs, tuple) else outputs)


def test_top_k_is_one_output():
    kept = TopK(np.zeros((2, 1), int), np.zeros((2, 1)), np.zeros(2), np.zeros(2))
    assert outputs_by_name(kept) == {ONLY: kept}
    assert outputs_by_name({"a": kept}) == {"a": kept}


def test_the_user_sees_no_name_of_a_single_output():
    assert plain_outputs({ONLY: 1}) == 1
    assert plain_outputs({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        (None, [ONLY], {}),
        (5, [ONLY], {ONLY: 5}),
        ({"x": 5}, [ONLY], {ONLY: 5}),
        ([5], ["a"], {"a": 5}),
        (5, ["a", "b"], {"a": 5, "b": 5}),
        ([5, None], ["a", "b"], {"a": 5}),
        ([5], ["a", "b"], {"a": 5}),
        ({"b": 6, "z": 7}, ["a", "b"], {"b": 6}),
    ],
)
def test_values_of_the_user_by_output(values, names, expected):
    assert match_outputs(values, names) == expected


def test_values_in_the_structure_of_the_outputs():
    assert like_outputs({"a": None, "b": None}, [1, 2], ["a", "b"]) is None
    assert like_outputs({"a": 5}, [1, 2], ["a", "b"]) == [5, None]
    assert like_outputs({"a": 5}, {"a": 1, "b": 2}, ["a", "b"]) == {"a": 5}
