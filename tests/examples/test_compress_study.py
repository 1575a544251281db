"""The table of the compression study: shares and intervals from the cells."""

import importlib.util
from pathlib import Path

import pytest

from keras_distill.records.compress import CompressCell

EXAMPLE = Path(__file__).parents[2] / "examples" / "compress_study.py"


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("compress_study", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cell(arm, seed, accuracy):
    return CompressCell(
        student="mlp:8",
        arm=arm,
        seed=seed,
        accuracy=accuracy,
        bytes=100,
        gzip_bytes=50,
        sparsity=0.5,
        values_per_channel=16,
        seconds=1.0,
    )


def test_the_share_won_back_stands_beside_the_soft_arm(study):
    accuracies = {"float32": 0.90, "prune90-hard": 0.80, "prune90-soft": 0.86}
    cells = [
        cell(arm, seed, mean + 0.01 * seed) for arm, mean in accuracies.items() for seed in range(3)
    ]
    rows = study.table(cells, dict.fromkeys(accuracies, 0.5)).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["91.00 ± 2.48", "81.00 ± 2.48", "87.00 ± 2.48"]
    assert rows[2].split(" | ")[2].startswith("60% (")
    assert rows[0].split(" | ")[2] == rows[1].split(" | ")[2] == ""


def test_one_seed_has_no_interval_and_no_loss_no_share(study):
    assert study.interval([0.5], 100) == "50.00"
    assert study.share([0.9], [0.8], [0.85]) == "50%"
    assert study.share([0.9], [0.9], [0.95]) == "nothing was lost"


def test_every_arm_can_be_made(study):
    from keras_distill._steps import parse_steps

    for way, (_, steps) in study.WAYS.items():
        assert parse_steps(steps), way
    assert len(study.ARMS) == 2 + 2 * len(study.WAYS)
