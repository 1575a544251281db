"""Trainings in TensorBoard and MLflow: their scalars, their settings, and what is not installed."""

import importlib.util

import pytest
import tensorflow as tf

from keras_distill import runs
from keras_distill._internal import MissingExtraError
from keras_distill.cli import main
from keras_distill.records import Recipe
from keras_distill.runs._trackers import Trackers

HAS_TENSORBOARD = importlib.util.find_spec("tensorboard") is not None
HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None


def small():
    values = {
        "name": "small",
        "seeds": 1,
        "data": {"source": "digits"},
        "teacher": {"model": "mlp:8", "epochs": 1},
        "student": {"model": "mlp:4"},
        "training": {"epochs": 2},
        "sweep": {"grid": {"distillation.temperature": [1, 4]}},
    }
    return Recipe.parse(values, source="test")


def events(folder):
    """The scalars below a folder by tag, the values in order, and the settings of its training."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    scalars, settings = {}, {}
    for file in sorted(folder.rglob("events.out*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "hparams":
                    data = plugin_data_pb2.HParamsPluginData.FromString(
                        value.metadata.plugin_data.content
                    )
                    for key, entry in data.session_start_info.hparams.items():
                        settings[key] = getattr(entry, entry.WhichOneof("kind"))
                else:
                    tag = f"{file.parent.name}/{value.tag}"
                    scalars.setdefault(tag, []).append(float(tf.make_ndarray(value.tensor)))
    return scalars, settings


@pytest.mark.skipif(not HAS_TENSORBOARD, reason="tensorboard is not installed")
def test_every_training_of_a_sweep_has_its_scalars_and_settings(tmp_path):
    logs = tmp_path / "logs"
    record = runs.sweep(small(), tmp_path / "sweep", tensorboard=logs)
    assert {p.name for p in logs.iterdir()} == {
        record.teachers[0].name,
        *(point.name for point in record.points),
    }
    for point in record.points:
        (folder,) = (logs / point.name).iterdir()
        assert folder.name == f"{point.variant}-0"
        scalars, settings = events(folder)
        curve = point.seeds[0].curve
        assert scalars["validation/epoch_accuracy"] == pytest.approx(curve.validation_accuracy)
        assert scalars["train/epoch_loss"] == pytest.approx(curve.loss)
        temperature = point.values["distillation.temperature"]
        assert temperature is None or settings["distillation.temperature"] == temperature
        assert (settings["variant"], settings["seed"]) == (point.variant, 0)
    again = runs.sweep(small(), tmp_path / "sweep", tensorboard=tmp_path / "other")
    assert [p.name for p in again.points] == [p.name for p in record.points]
    assert not (tmp_path / "other").exists()  # nothing was trained again


@pytest.mark.skipif(not HAS_MLFLOW, reason="mlflow is not installed")
def test_every_training_is_a_run_of_mlflow(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    recipe = small().with_changes({"sweep.grid": {"distillation.temperature": [2]}})
    record = runs.sweep(recipe, tmp_path / "sweep", mlflow="students")
    found = mlflow.search_runs(experiment_names=["students"], output_format="list")
    by_name = {run.info.run_name: run for run in found}
    distilled, alone = record.points
    assert set(by_name) == {
        f"{record.teachers[0].name}/teacher-0",
        f"{distilled.name}/distilled-0",
        f"{alone.name}/alone-0",
    }
    logged = by_name[f"{distilled.name}/distilled-0"]
    assert logged.info.status == "FINISHED"
    assert logged.data.params["student.model"] == "mlp:4"
    assert logged.data.params["distillation.temperature"] == "2.0"
    accuracies = distilled.seeds[0].curve.validation_accuracy
    assert logged.data.metrics["val_accuracy"] == pytest.approx(accuracies[-1])


@pytest.mark.parametrize(
    ("option", "module"), [("--tensorboard", "tensorboard"), ("--mlflow", "mlflow")]
)
def test_what_is_not_installed_is_named_with_the_command(
    option, module, tmp_path, monkeypatch, capsys
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else find(name, *a)
    )
    out = tmp_path / "run"
    assert main(["run", "--scale", "smoke", "-o", str(out), option, str(tmp_path / "x")]) == 2
    assert f"pip install 'keras-distill[{module}]'" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(MissingExtraError, match="pip install"):
        Trackers.of(*(["x", None] if module == "tensorboard" else [None, "x"]))
