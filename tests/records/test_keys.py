import pytest

from keras_distill.records import Recipe, dotted_keys, parse_setting, recipe_keys

KEYS = {key.name: key for key in recipe_keys()}
BASE = {
    "name": "keys",
    "data": {"source": "digits"},
    "teacher": {"model": "mlp:16"},
    "student": {"model": "mlp:8"},
}


def test_every_key_that_a_recipe_takes_is_described():
    described = {
        key for key in dotted_keys(Recipe) if key.rpartition(".")[0] in KEYS or "." not in key
    }
    schedules = {
        key
        for key in described
        if key.rpartition(".")[0] in KEYS and not KEYS[key.rpartition(".")[0]].table and "." in key
    }
    assert set(KEYS) == described - schedules
    assert all(len(key.meaning) > 10 for key in KEYS.values())
    assert all(key.example is not None or key.table or key.required for key in KEYS.values())


@pytest.mark.parametrize("name", [key.name for key in recipe_keys() if key.example is not None])
def test_examples_and_defaults_are_values_that_the_key_takes(name):
    key = KEYS[name]
    _, value = parse_setting(f"{name}={key.example}")
    table = name.rpartition(".")[0]
    needed = {
        "compress": {"compress.steps": ["quantize"]},
        "budget": {"student.model": "auto", "budget.max_bytes": "100k"},
        "sweep.random": {"sweep.random": {"count": 2, "keys": {"distillation.alpha": [0.5]}}},
    }.get(table, {})
    recipe = Recipe.parse(BASE, source="test").with_changes(needed)
    if table and KEYS[table].table.startswith("[["):
        inner = {"loss": "HintLoss"} if "losses" in table else {"model": "mlp:4"}
        recipe.with_changes({table: [{**inner, name.rpartition(".")[2]: value}]})
    else:
        recipe.with_changes({name: value})
