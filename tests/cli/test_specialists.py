"""`keras-distill specialists` on digits: train, evaluate, distill."""

import json
import shutil

import keras
import pytest

from keras_distill import data, models
from keras_distill.cli import main
from keras_distill.records import DistillationResult, SpecialistsReport


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A generalist, and the folder of its specialists."""
    place = tmp_path_factory.mktemp("specialists")
    digits = data.load("digits")
    model = models.build(
        "mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0,
        rescale=data.statistics(digits.train),
    )  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    model.fit(digits.train.batch(64), epochs=2, verbose=0)
    model.save(place / "generalist.keras")
    assert main(_train(place)) == 0
    return place


@pytest.fixture(scope="module")
def wrong_inputs(folder):
    """Adds files that do not fit."""
    for name, units, head in [("five", 5, "linear"), ("relu", 10, "relu")]:
        layers = [keras.layers.Flatten(), keras.layers.Dense(units), keras.layers.Activation(head)]
        keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(folder / f"{name}.keras")
    (folder / "flat.toml").write_text('generalist = "a.keras"\nsource = "digits"\ntraining = 3\n')
    shutil.copytree(folder / "out", folder / "damaged")
    (folder / "damaged" / "ensemble.json").write_text('{"format": ')
    shutil.copytree(folder / "out", folder / "cut")
    (folder / "cut" / "ensemble.json").unlink()


def _train(place, *more):
    generalist, out = str(place / "generalist.keras"), str(place / "out")
    return [
        "specialists", "train", "--generalist", generalist, "--data", "digits", "--clusters", "2",
        "--epochs", "2", "--alpha", "0", "-o", out, *more,
    ]  # fmt: skip


def test_train_reports_and_writes_a_folder(folder, capsys):
    assert main(_train(folder, "--overwrite")) == 0
    shown = capsys.readouterr()
    assert "specialist 0" in shown.out and "specialist-00: done" in shown.err
    recipe = (folder / "out" / "recipe.toml").read_text()
    assert "clusters = 2" in recipe and "epochs = 2" in recipe
    again = ["specialists", "train", str(folder / "out" / "recipe.toml"), "--epochs", "1"]
    changed = ["--optimizer", "sgd", "--schedule", "constant", "--weight-decay", "0.01"]
    assert main([*again, *changed, "-o", str(folder / "second"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["parts"]) == 2
    recipe = (folder / "second" / "recipe.toml").read_text()
    for line in ("epochs = 1", 'optimizer = "sgd"', 'schedule = "constant"', "weight_decay = 0.01"):
        assert line in recipe


def test_distill_then_evaluate(folder, capsys):
    ensemble, back = str(folder / "out"), str(folder / "back.keras")
    assert main(["specialists", "distill", ensemble, "-o", back, "--epochs", "2", "--json"]) == 0
    result = DistillationResult.parse(capsys.readouterr().out, source="stdout")
    generalist = models.load(folder / "generalist.keras")
    assert result.parameters == generalist.count_params()
    assert models.load(back).output_shape == (None, 10)
    assert main(["specialists", "evaluate", ensemble, "--model", back]) == 0
    shown = capsys.readouterr().out
    assert "generalist + 2 specialists" in shown and "back.keras" in shown
    record = SpecialistsReport.load(folder / "out" / "evaluation.json")
    assert [s.name for s in record.systems] == ["generalist", "specialists", "back"]
    assert record.examples == 500 and len(record.class_sets) == 2
    html = (folder / "out" / "evaluation.html").read_text()
    assert "Table 4" in html and html.count("data:image/png") >= 8
    assert main(["specialists", "evaluate", ensemble]) == 2
    capsys.readouterr()
    argv = ["specialists", "evaluate", ensemble, "--overwrite", "--split", "validation", "--json"]
    assert main(argv) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["examples"] == 130 and shown["split"] == "validation"
    html = (folder / "out" / "evaluation.html").read_text()
    assert "130 examples of the validation split" in html and "class sets and settings" in html


def test_a_sequential_generalist_goes_all_the_way(folder, capsys):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    model.save(folder / "sequential.keras")
    out, back = str(folder / "of-sequential"), str(folder / "one-again.keras")
    more = ["--generalist", str(folder / "sequential.keras"), "--epochs", "1", "-o", out]
    assert main(_train(folder, *more)) == 0
    assert main(["specialists", "distill", out, "-o", back, "--epochs", "1"]) == 0
    assert models.load(back).output_shape == (None, 10)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "--data", "digits", "-o", "{place}/x"], "`generalist` is missing"),
        (["train", "--generalist", "g.keras", "-o", "{place}/x"], "`source` is missing"),
        (["train", "--generalist", "no.keras", "--data", "digits", "-o", "{place}/x"], "no.keras"),
        (["train", "no.toml", "-o", "{place}/x"], "no.toml"),
        (
            [
                "train", "--generalist", "{place}/generalist.keras", "--data", "digits",
                "--clusters", "40", "-o", "{place}/x",
            ],
            "`clusters` must be at most the number of classes, 10",
        ),
        (
            [
                "train", "--generalist", "{place}/generalist.keras", "--data", "digits",
                "--clusters", "3", "--even", "-o", "{place}/x",
            ],
            "`even` must be used together with `size`",
        ),
        (["train", "--generalist", "g", "--data", "d", "--alpha", "2", "-o", "x"], "alpha"),
        (
            ["train", "--generalist", "{place}/five.keras", "--data", "digits", "-o", "{place}/x"],
            "must have input (8, 8, 1) and 10 logits",
        ),
        (
            ["train", "--generalist", "{place}/relu.keras", "--data", "digits", "-o", "{place}/x"],
            "must end in one Dense layer",
        ),
        (
            [
                "train", "--generalist", "{place}/generalist.keras", "--data", "digits",
                "--top", "11", "-o", "{place}/x",
            ],
            "`top` must be at most the number of classes, 10",
        ),
        (
            [
                "train", "--generalist", "{place}/generalist.keras", "--data", "digits",
                "--backend", "nobody", "--clusters", "2", "-o", "{place}/x",
            ],
            "`backend` must be one of",
        ),
        (["train", "{place}/flat.toml", "--epochs", "1", "-o", "{place}/x"], "`training` must"),
        (["evaluate", "{place}/out", "-o", "{place}/x.html"], "must end in .json"),
        (
            ["evaluate", "{place}/out", "{place}/out", "-o", "{place}/x.json"],
            "must be different trainings",
        ),
        (
            ["evaluate", "{place}/out", "--model", "{place}/five.keras", "-o", "{place}/x.json"],
            "must have input (8, 8, 1) and 10 logits",
        ),
        (
            ["evaluate", "{place}/out", "--data", "mnist1d", "-o", "{place}/x.json"],
            "must have input (40,) and 10 logits",
        ),
        (["evaluate", "{place}/damaged", "-o", "{place}/x.json"], "ensemble.json"),
        (["distill", "{place}/damaged", "-o", "{place}/x.keras"], "ensemble.json"),
        (["distill", "{place}/cut", "-o", "{place}/x.keras"], "it has no ensemble.json"),
        (
            ["distill", "{place}/out", "--student", "nothing", "-o", "{place}/x.keras"],
            "no model 'nothing'",
        ),
        (["evaluate", "{place}"], "is not a folder of trained specialists"),
        (["evaluate", "{place}/out", "-o", "{place}/x.json", "--split", "all"], "test, validation"),
        (["distill", "{place}", "-o", "{place}/x.keras"], "is not a folder of trained specialists"),
        (["distill", "{place}/out", "-o", "{place}/x.h5"], "must end in .keras"),
        (["distill", "{place}/out", "-o", "{place}/x.keras", "--epochs", "0"], "epochs"),
        (["sing"], "No such command"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_2_and_leaves_nothing(
    folder, wrong_inputs, capsys, argv, message
):
    before = set(folder.rglob("*"))
    argv = [part.format(place=folder) for part in argv]
    assert main(["specialists", *argv]) == 2
    assert set(folder.rglob("*")) == before
    shown = capsys.readouterr()
    assert message in shown.err and shown.out == ""
    assert shown.err.count("\n") == 1


def test_folders_of_different_sets_are_refused(folder, capsys):
    other = folder / "three"
    argv = _train(folder, "--clusters", "3", "--epochs", "1", "-o", str(other))
    assert main(argv) == 0
    capsys.readouterr()
    assert main(["specialists", "evaluate", str(folder / "out"), str(other),
                 "-o", str(folder / "y.json")]) == 2  # fmt: skip
    assert "the folders are seeds of one training" in capsys.readouterr().err
