import pytest

from keras_distill._internal import InputError
from keras_distill.records import RandomPoints, SweepPart, SweepRange


def part(**values):
    return SweepPart.parse(values, source="test")


def test_every_combination_of_a_grid_is_a_point():
    points = part(grid={"distillation": {"temperature": [1, 4]}, "student.model": ["a", "b"]})
    assert points.expanded() == [
        {"distillation.temperature": 1, "student.model": "a"},
        {"distillation.temperature": 1, "student.model": "b"},
        {"distillation.temperature": 4, "student.model": "a"},
        {"distillation.temperature": 4, "student.model": "b"},
    ]


def test_grid_list_and_random_points_are_joined_each_once():
    found = part(
        grid={"distillation.alpha": [0.5, 0.9]},
        points=[{"distillation": {"alpha": 0.9}}, {"training.epochs": 3}],
        random={"count": 3, "keys": {"distillation.alpha": [0.5]}},
    ).expanded()
    assert found == [
        {"distillation.alpha": 0.5},
        {"distillation.alpha": 0.9},
        {"training.epochs": 3},
    ]


def test_random_points_are_a_function_of_the_seed_and_extend_each_other():
    keys = {
        "distillation": {"temperature": {"low": 1, "high": 16, "log": True}},
        "training.batch_size": {"low": 16, "high": 64, "whole": True},
        "student.model": ["mlp:8", "mlp:16"],
    }
    few = RandomPoints.parse({"count": 3, "keys": keys, "seed": 7}, source="test")
    many = RandomPoints.parse({"count": 30, "keys": keys, "seed": 7}, source="test")
    drawn = list(many.points())
    assert list(few.points()) == drawn[:3]
    assert all(1 <= point["distillation.temperature"] <= 16 for point in drawn)
    assert {type(point["training.batch_size"]) for point in drawn} == {int}
    assert {point["student.model"] for point in drawn} == {"mlp:8", "mlp:16"}
    below_4 = sum(point["distillation.temperature"] < 4 for point in drawn)
    assert 8 <= below_4 <= 22  # half of them: the logarithm is uniform
    other = RandomPoints.parse({"count": 3, "keys": keys, "seed": 8}, source="test")
    assert list(other.points()) != drawn[:3]


def test_a_range_ends_where_it_says():
    values = SweepRange(low=0.1, high=0.9)
    assert (values.value_at(0.0), values.value_at(1.0)) == (0.1, 0.9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"grid": {"seeds": [1]}}, "`seeds` must not vary over a sweep"),
        ({"points": [{"export": {"max_drop": 1}}]}, "`export.max_drop` must not vary"),
        ({"random": {"count": 1, "keys": {"name": ["a"]}}}, "`name` must not vary"),
        ({"grid": {"distillation.alpha": []}}, "one or more values for distillation.alpha"),
        ({"grid": {"a": list(range(200)), "b": list(range(200))}}, "<= 10000 points"),
        ({"grids": {}}, "Did you mean `grid`"),
        ({"random": {"count": 1, "keys": {"a": {"low": 2, "high": 1}}}}, "`low` must be < `high`"),
        (
            {"random": {"count": 1, "keys": {"a": {"low": 0, "high": 1, "log": True}}}},
            "`low` must be > 0 with `log`",
        ),
        ({"reference": "best"}, "`reference` must be alone, .* or a table of values by key"),
    ],
)
def test_a_mistake_is_named(values, message):
    with pytest.raises(InputError, match=message):
        part(**values)
