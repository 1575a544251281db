"""`keras-distill compress`, from a store on disk to a verified file."""

import json

import pytest

import keras_distill as kd
from keras_distill.cli.compress import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student and a store of soft targets for digits."""
    folder = tmp_path_factory.mktemp("compress")
    splits = kd.data.load("digits")
    shape = {"input_shape": splits.input_shape, "num_classes": 10}
    kd.models.build("mlp:8", **shape, seed=0).save(folder / "student.keras")
    teacher = kd.models.build("mlp:32", **shape, seed=1)
    kd.SoftTargetStore.build(teacher, splits.train, folder / "store", progress=False)
    teacher.save(folder / "teacher.keras")
    return folder


def run(folder, *options, out="out"):
    return main(
        [str(folder / "student.keras"), "--data", "digits", "-o", str(folder / out), *options]
    )


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "--steps" in capsys.readouterr().out


def test_store_to_int8_file(folder, capsys):
    store = ("--targets", str(folder / "store"))
    steps = ("--steps", "prune:0.8,quantize", "--epochs", "1")
    assert run(folder, *store, *steps, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert [step["scheme"] for step in record["steps"]] == [None, "PQAT"]
    assert (folder / "out" / "student-int8.tflite").is_file()
    assert sum(k["zeros"] for k in record["kernels"]) >= 0.79 * (64 * 8 + 8 * 10)
    assert len(record["export"]["class_names"]) == 10
    assert run(folder, *store, *steps) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.slow
def test_live_teacher(folder, capsys):
    options = ("--teacher", str(folder / "teacher.keras"), "--steps", "cluster:4", "--epochs", "1")
    assert run(folder, *options, "--max-drop", "100", out="live") == 0
    assert "at most 4 per output channel" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "prune:0.8"], "above 0 needs soft targets. Received: --alpha 0.9 and neither"),
        (["--steps", "melt"], "`steps` must be prune:SPARSITY"),
        (["--steps", "quantize", "--sparse"], "sparse int8 file does not load"),
        (["--steps", "prune", "--targets", "a", "--teacher", "b"], "not both"),
        (["--steps", "prune", "--targets", "nowhere"], "is not a soft-target store"),
        ([], "steps"),
    ],
)
def test_mistakes_take_one_line_and_exit_code_2(folder, capsys, options, message):
    assert run(folder, *options, out="mistake") == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not list(folder.glob("mistake*"))
