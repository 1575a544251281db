"""The table of the compression study: shares and intervals from the cells."""

import pytest

from keras_distill.records._compress import CompressCell


@pytest.fixture(scope="module")
def study(load_example):
    return load_example("compress_study")


def cell(variant, seed, accuracy):
    return CompressCell(
        student="mlp:8",
        variant=variant,
        seed=seed,
        accuracy=accuracy,
        bytes=100,
        gzip_bytes=50,
        sparsity=0.5,
        values_per_channel=16,
        seconds=1.0,
    )


def test_gain_and_share_stand_beside_the_soft_arm(study):
    accuracies = {"float32": 0.90, "prune90-hard": 0.80, "prune90-soft": 0.86}
    cells = [
        cell(variant, seed, mean + 0.01 * seed)
        for variant, mean in accuracies.items()
        for seed in range(3)
    ]
    rows = study.table(cells, dict.fromkeys(accuracies, 0.5)).splitlines()[2:]
    columns = list(zip(*(row.strip("| ").split(" | ") for row in rows), strict=True))
    assert columns[1] == ("91.00 ± 2.48", "81.00 ± 2.48", "87.00 ± 2.48")
    assert columns[2][1:] == ("10.00 ± 0.00", "4.00 ± 0.00")
    assert columns[3][2] == "+6.00 (+6.00 to +6.00)"
    assert columns[4][2] == "60% (60% to 60%)"
    assert {columns[i][k].strip() for i in (3, 4) for k in (0, 1)} == {""}


def test_what_cannot_be_said_is_not_said(study):
    assert study.interval([0.5], 100) == "50.00"
    assert study.gain([0.85], [0.8]) == "+5.00"
    assert study.share([0.9], [0.8], [0.85]) == "50%"
    assert study.share([0.9], [0.9], [0.95]) == "nothing was lost"
    base, hard, soft = [0.90, 0.91, 0.92], [0.89, 0.92, 0.90], [0.90, 0.92, 0.91]
    assert study.share(base, hard, soft) == "100% (any: the loss may be none)"


def test_every_arm_can_be_made(study):
    from keras_distill._internal._compression_steps import parse_steps

    for way, (_, steps) in study.WAYS.items():
        assert way == "on" or parse_steps(steps), way
    assert len(study.ARMS) == 2 + 2 * len(study.WAYS)


def test_hard_and_soft_arms_see_the_same_examples_in_the_same_order(study, tmp_path):
    settings = {"student": "mlp:4", "teacher": "mlp:4", "learning_rate": 0.001, "split": "test"}
    epochs = {"epochs": 1, "student_epochs": 1, "teacher_epochs": 1}
    folders = {"work": tmp_path / "work" / "digits", "results": tmp_path / "results"}
    made = study.Study(study.kd.data.load("digits"), **settings, **epochs, **folders)
    for first_epoch in (0, 3):
        pairs = zip(made.labeled(7, first_epoch), made.softened(7, first_epoch), strict=False)
        for _, ((x, labels), (same, targets)) in zip(range(made.steps + 2), pairs, strict=False):
            assert (x.numpy() == same.numpy()).all()
            assert (labels.numpy() == targets.labels.numpy()).all()
            assert targets.labeled.numpy().all()
