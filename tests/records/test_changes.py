import pytest

from keras_distill import runs
from keras_distill._internal import InputError
from keras_distill.records import changed, parse_setting, parse_value, written_value

VALUES = {"a": {"b": 1}, "list": [{"c": 1}, {"c": 2}], "plain": 3}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"a.b": 2}, {**VALUES, "a": {"b": 2}}),
        ({"a.b": None}, {**VALUES, "a": {}}),
        ({"new.table.key": [1]}, {**VALUES, "new": {"table": {"key": [1]}}}),
        ({"list.1.c": 5}, {**VALUES, "list": [{"c": 1}, {"c": 5}]}),
        ({"list.0": {}}, {**VALUES, "list": [{}, {"c": 2}]}),
    ],
)
def test_changes_reach_their_key_and_leave_the_given_values(changes, expected):
    before = repr(VALUES)
    assert changed(VALUES, changes, source="test") == expected
    assert repr(VALUES) == before


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("plain.b", r"test: `plain` must be a table, \[plain\]. Received: 3"),
        ("list.2.c", r"`list.2` must name one of the 2 items of a list, counted from 0"),
        ("list.first", r"`list` must be a table, \[list\]. Received: \[{'c'"),
        ("a..b", "names of settings, separated by dots"),
        (".".join("a" * 30), "names of settings, separated by dots"),
    ],
)
def test_a_key_that_leads_nowhere_is_refused(key, message):
    with pytest.raises(InputError, match=message):
        changed(VALUES, {key: 1}, source="test")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=2", 2),
        ("k=0.5", 0.5),
        ("k=true", True),
        ("k = [1, 2]", [1, 2]),
        ("k={a = 1}", {"a": 1}),
        ("k=mlp:16?dropout=0.5", "mlp:16?dropout=0.5"),
        ('k="42"', "42"),
        ("k=2020-01-02", "2020-01-02"),
        ("k=1\nz=2", "1\nz=2"),
        ("k=", None),
    ],
)
def test_a_setting_on_the_command_line_is_read_as_toml_else_as_text(text, value):
    assert parse_setting(text) == ("k", value)


@pytest.mark.parametrize("text", ["k", "=2", "a b=1", "a.=1", ""])
def test_text_that_is_no_setting_is_refused(text):
    with pytest.raises(InputError, match=r"`set` must be KEY=VALUE, such as distillation\.temp"):
        parse_setting(text)


def test_with_changes_validates_again_and_keeps_the_rest():
    recipe = runs.load_recipe("digits")
    other = recipe.with_changes({"distillation.temperature": 2, "data.labels": None, "seeds": 1})
    assert (other.distillation.temperature, other.data.labels, other.seeds) == (2.0, None, (0,))
    assert other.training == recipe.training
    assert other.with_changes({"distillation.temperature": None}).distillation.temperature == 4.0


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("distilation.temperature", "distillation"),
        ("distillation.temprature", "temperature"),
        ("distillation.temp", "temperature"),
        ("temperature", "distillation.temperature"),
        ("epochs", "teacher.epochs` or `assistant.epochs` or `budget.epochs"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(key, near):
    with pytest.raises(InputError, match=f"recipe digits: .*a known key. Did you mean `{near}`"):
        runs.load_recipe("digits").with_changes({key: 2})


@pytest.mark.parametrize(
    "value",
    [
        2,
        0.1 + 0.2,
        True,
        "mlp:16",
        "2",
        'a "quoted" path',
        [1, 2.5],
        [],
        [{"loss": "DecoupledLoss", "weight": {"schedule": "linear", "start": 1.0, "end": 0.0}}],
        {"crop": 1, "flip": True, "two words": "x"},
    ],
)
def test_what_is_written_is_read_back(value):
    assert parse_value(written_value(value)) == value
