"""Steps of a compression: how they are read, and what is refused."""

import pytest

from keras_distill._internal import InputError
from keras_distill._internal._compression_steps import Step, parse_steps


def test_steps_are_read():
    assert Step.parse("prune") == Step(
        "prune", "prune", sparsity=0.8, pruning_schedule="polynomial"
    )
    assert Step.parse("prune:2:4").pruning_schedule == "2:4"
    assert Step.parse("prune:0.5:constant").pruning_schedule == "constant"
    assert Step.parse("cluster").clusters == 16
    assert [s.kind for s in parse_steps(["prune", "cluster:4", "quantize"])] == [
        *("prune", "cluster", "quantize")
    ]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("prune:0.8", "be a list such as"),
        ([], "be a list such as"),
        (["distil"], "must be prune:SPARSITY"),
        (["quantize:8"], "must be prune:SPARSITY"),
        (["prune:"], "must be prune:SPARSITY"),
        (["prune:1.5"], "must be > 0 and <= 0.999"),
        (["prune:0.5:linear"], "have a schedule of polynomial, constant"),
        (["cluster:1"], "must be a whole number >= 2"),
        (["quantize", "prune"], "come in the order prune, cluster, quantize"),
        (["prune", "prune"], "come in the order prune, cluster, quantize"),
        (["prune", "cluster:2"], "leave 3 values or more after pruning"),
        ([0.8], "must be prune:SPARSITY"),
        (0.8, "be a list such as"),
    ],
)
def test_bad_steps(steps, message):
    with pytest.raises(InputError, match=message):
        parse_steps(steps)


def test_zeros_cannot_be_left_out_of_an_int8_file():
    assert len(parse_steps(["prune"], sparse=True)) == 1
    with pytest.raises(InputError, match="sparse int8 file does not load"):
        parse_steps(["prune", "quantize"], sparse=True)
