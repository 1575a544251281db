import pytest

from keras_distill._internal import InputError, MissingExtraError, _checks


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "1", None])
def test_check_number_refuses(value):
    with pytest.raises(InputError, match=r"^`temperature` must be > 0\. Received: temperature="):
        _checks.check_number("temperature", value, above=0)


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [
        ({"at_least": 0, "at_most": 1}, r"in 0\.\.1"),
        ({"above": 0, "at_most": 1}, "> 0 and <= 1"),
        ({"at_least": 5}, ">= 5"),
        ({"at_most": -3}, "<= -3"),
    ],
)
def test_check_number_states_its_bounds(bounds, rule):
    with pytest.raises(InputError, match=f"`x` must be {rule}"):
        _checks.check_number("x", 2, **bounds)


def test_check_number_accepts_bounds_and_numpy():
    import numpy as np

    assert _checks.check_number("x", np.float32(1), at_least=0, at_most=1) == 1.0
    assert _checks.check_number("x", 0, at_least=0) == 0.0


@pytest.mark.parametrize("value", [0, 1.0, True, "3", None])
def test_check_count_refuses(value):
    with pytest.raises(InputError, match="whole number >= 1"):
        _checks.check_count("n", value)


def test_counts_are_bounded():
    assert _checks.check_count("n", 10**6) == 10**6
    assert _checks.check_count("seed", 2**63 - 1, at_most=_checks.MAX_INT) == 2**63 - 1
    for value in (10**6 + 1, 10**30):
        with pytest.raises(InputError, match="`n` must be <= 1000000"):
            _checks.check_count("n", value)


def test_batches_are_bounded_in_rows_and_bytes():
    assert _checks.check_batch_size(65536, row_bytes=1 << 14) == 65536
    assert _checks.check_batch_size(1, row_bytes=1 << 40) == 1  # no batch is smaller
    with pytest.raises(InputError, match="`batch_size` must be <= 65536"):
        _checks.check_batch_size(65537)
    with pytest.raises(InputError, match="`batch_size` must be <= 4096 for examples of 262144"):
        _checks.check_batch_size(4097, row_bytes=1 << 18)


def test_what_is_nested_too_deep_is_refused():
    def nested(depth, wrap):
        value = 1
        for _ in range(depth):
            value = wrap(value)
        return value

    for wrap in (lambda value: [value], lambda value: {"a": value}, lambda value: [1, {"": value}]):
        assert _checks.shallow(nested(20, wrap)) == nested(20, wrap)
        with pytest.raises(ValueError, match="nested more than 100 levels deep"):
            _checks.shallow(nested(5000, wrap))


def test_check_choice_lists_the_choices():
    with pytest.raises(InputError, match=r"one of a, b\. Received: x='c'"):
        _checks.check_choice("x", "c", ["a", "b"])


@pytest.mark.parametrize("value", ["", "../x", "a/b", ".hidden", "a b", "x" * 101])
def test_check_identifier_refuses(value):
    with pytest.raises(InputError):
        _checks.check_identifier("name", value)


def test_long_values_are_cut():
    assert len(str(_checks.bad("x", "be short", "y" * 5000))) < 300


def test_missing_extra_carries_the_pip_command():
    with pytest.raises(MissingExtraError, match=r"pip install 'keras-distill\[ray\]'"):
        _checks.require_extra("no_such_module_anywhere", "ray")


def test_require_extra_imports():
    assert _checks.require_extra("json", "x").loads("1") == 1
