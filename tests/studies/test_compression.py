"""The table of the compression study: shares and intervals from the cells."""

import pytest


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("compression")


def cell(study, variant, seed, accuracy):
    return study.Cell(
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


def test_gain_and_share_are_shown_with_the_soft_variant(study):
    accuracies = {"float32": 0.90, "prune90-hard": 0.80, "prune90-soft": 0.86}
    cells = [
        cell(study, variant, seed, mean + 0.01 * seed)
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


def test_an_undefined_interval_or_share_is_not_shown(study):
    assert study.interval([0.5], 100) == "50.00"
    assert study.gain([0.85], [0.8]) == "+5.00"
    assert study.share([0.9], [0.8], [0.85]) == "50%"
    assert study.share([0.9], [0.9], [0.95]) == "no loss"
    base, hard, soft = [0.90, 0.91, 0.92], [0.89, 0.92, 0.90], [0.90, 0.92, 0.91]
    assert study.share(base, hard, soft) == "100% (unbounded: the loss may be zero)"


def test_every_variant_has_valid_steps(study):
    from keras_distill._internal._compression_steps import parse_steps

    for method, (_, steps) in study.METHODS.items():
        assert method == "on" or parse_steps(steps), method
    assert len(study.VARIANTS) == 2 + 2 * len(study.METHODS)


def test_hard_and_soft_variants_see_the_same_examples_in_the_same_order(study, tmp_path):
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
