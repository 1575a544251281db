import json
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_distill.cli import main, targets
from keras_distill.cli.targets import _augmentation
from keras_distill.data import Augmentation
from keras_distill.targets import SoftTargetStore


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A small net for digits, in a `.keras` file."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    path = tmp_path_factory.mktemp("teacher") / "teacher.keras"
    keras.Sequential(layers).save(path)
    return str(path)


def run(capsys, *argv):
    """Exit code, stdout and stderr of `keras-distill targets …`."""
    code = main(["targets", *map(str, argv)])
    return code, *capsys.readouterr()


def test_build_info_and_verify_go_together(teacher, tmp_path, capsys):
    store = tmp_path / "store"
    build = ["build", teacher, "-o", store, "--data", "digits", "--top-k", 3]
    code, out, _ = run(capsys, *build, "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["manifest"]["examples"] == 1167
    assert shown["record_bytes"] == 4 * 3 + 8
    assert shown["build"]["labeled"] == 1167 and 0 <= shown["build"]["accuracy"] <= 1
    code, out, _ = run(capsys, "info", store)
    assert code == 0
    assert "3 of 10 logits" in out and "T=20" in out and "during the build" in out
    code, out, _ = run(capsys, "verify", store, "--data", "digits", "--teacher", teacher)
    assert code == 0
    assert "1167 examples: the same" in out and "same fingerprint" in out
    code, out, err = run(capsys, *build)
    assert code == 2 and "overwrite" in err and len(err.splitlines()) == 1
    code, out, _ = run(capsys, *build, "--overwrite")
    assert code == 0 and "on 1167 labels" in out and "rows per second" in out
    assert "teacher accuracy" not in run(capsys, "info", store)[1]


def test_a_damaged_store_is_exit_code_1(teacher, tmp_path, capsys):
    store = tmp_path / "store"
    assert run(capsys, "build", teacher, "-o", store, "--data", "digits")[0] == 0
    assert run(capsys, "verify", store, "--data", "digits", "--split", "test")[0] == 1
    file = store / "view0-00000.bin"
    file.write_bytes(b"x" + file.read_bytes()[1:])
    code, out, err = run(capsys, "verify", store)
    assert code == 1 and out == ""
    assert "view0-00000.bin is damaged" in err and len(err.splitlines()) == 1


def test_views_an_array_and_an_ensemble(teacher, tmp_path, capsys):
    views = ["--views", 2, "--augment", "crop=1,seed=3"]
    code, out, _ = run(
        capsys, "build", teacher, "-o", tmp_path / "v", "--data", "digits", *views, "--json"
    )
    assert code == 0
    assert json.loads(out)["manifest"]["augment"]["crop"] == 1
    array = tmp_path / "logits.npy"
    np.save(array, np.random.default_rng(0).dirichlet(np.ones(10), 1167))
    arguments = ["build", array, "-o", tmp_path / "a", "--data", "digits"]
    code, _, err = run(capsys, *arguments)
    assert code == 2 and "--from-probabilities" in err and len(err.splitlines()) == 1
    assert run(capsys, *arguments, "--from-probabilities")[0] == 0
    assert run(capsys, *arguments, "--from-logits", "--overwrite")[0] == 0
    arguments = ["build", teacher, teacher, "-o", tmp_path / "e", "--data", "digits"]
    assert run(capsys, *arguments, "--mean", "arithmetic", "--temperature", 4)[0] == 0
    assert SoftTargetStore.open(tmp_path / "e").manifest.teacher.temperature == 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["info", "nowhere"], "not a soft-target store"),
        (["build", "none.keras", "-o", "x", "--data", "digits"], "none.keras"),
        (["build", "none.npy", "-o", "x", "--data", "digits"], "Cannot read none.npy"),
        (["build", "none.txt", "-o", "x", "--data", "digits"], "none.txt"),
        (["build", "TEACHER", "-o", "x", "--data", "nonsense"], "nonsense"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--split", "dev"], "`split`"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--augment", "crop=a"], "crop=a"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--augment", "crop=nan"], "`crop`"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--augment", "crop=inf"], "`crop`"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--augment", "zoom=nan"], "`zoom`"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--augment", "swirl"], "swirl"),
        (["build", "TEACHER", "-o", "x", "--data", "digits", "--views", 2], "`views`"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    teacher, tmp_path, capsys, monkeypatch, argv, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *(teacher if word == "TEACHER" else word for word in argv))
    assert code == 2 and out == ""
    assert message in err and len(err.splitlines()) == 1


def test_augmentation_is_written_by_comma():
    assert _augmentation(None) is None
    assert _augmentation("crop=4, flip,erase=0.25") == Augmentation(crop=4, flip=True, erase=0.25)


@pytest.mark.parametrize(
    ("rows", "file", "noted"),
    [
        ("uint8[4]", "float.tflite", True),
        ("float32[4]", "float.tflite", False),
        ("uint8[4]", "int8.tflite", False),
    ],
)
def test_a_file_that_may_take_another_range_than_raw_pixels_is_named(rows, file, noted, capsys):
    manifest = types.SimpleNamespace(inputs=(rows,))
    path = Path(__file__).parents[1] / "golden" / "tflite" / file
    targets._print_unknown_ranges(types.SimpleNamespace(manifest=manifest), [path])
    shown = capsys.readouterr().out
    assert (f"Note: {path} takes float32" in shown and "py:MODULE:FUNCTION" in shown) == noted
