"""Every key of a recipe, run at scale `smoke`: many keys in few runs."""

import keras
import numpy as np
import pytest

from keras_distill import (
    InputError,
    KerasDistillWarning,
    SpecialistEnsemble,
    TeacherEnsemble,
    data,
    export_tflite,
    models,
)
from keras_distill.cli import main
from keras_distill.records import Recipe, RunRecord, TeacherPart
from keras_distill.runs._run import run
from keras_distill.runs._teacher_sources import is_spec, open_teacher
from keras_distill.targets import SoftTargetStore
from keras_distill.teachers import SavedModelTeacher

BASE = {
    "name": "keys",
    "data": {"source": "digits"},
    "teacher": {"model": "mlp:16"},
    "student": {"model": "mlp:8"},
    "training": {"batch_size": 64},
    "seeds": 1,
    "export": {"quantizations": ["float32"]},
}


def smoke(folder, changes, monkeypatch=None):
    """The record of a smoke run, and the store that it read."""
    stores = []
    if monkeypatch is not None:
        build = SoftTargetStore.build

        def kept(*args, **kwargs):
            stores.append(build(*args, **kwargs))
            return stores[-1]

        monkeypatch.setattr(SoftTargetStore, "build", kept)
    recipe = Recipe.parse(BASE, source="test").with_changes(changes)
    return run(recipe, folder / "run", scale="smoke"), stores


@pytest.mark.slow
def test_data_views_losses_variants_and_generations(tmp_path, monkeypatch):
    falls = {"schedule": "linear", "start": 8.0, "end": 1.0}
    record, stores = smoke(
        tmp_path,
        {
            "data.omit_classes": ["3", 5],
            "data.unlabeled": "digits",
            "data.labels": 40,
            "data.augment": {"crop": 1, "jitter": 0.1, "erase": 0.2, "mixup": 0.5, "seed": 4},
            "teacher.augment": {"rotate": 10, "zoom": 0.1, "shear": 5, "flip": True, "cutmix": 1.0},
            "teacher.label_smoothing": 0.1,
            "distillation.views": 2,
            "distillation.top_k": 3,
            "distillation.temperature": falls,
            "distillation.alpha": {"schedule": "cosine", "start": 1.0, "end": 0.5},
            "distillation.losses": [
                {"loss": "SoftTargetLoss", "weight": 0.5},
                {"loss": "LogitMatchingLoss", "weight": {**falls, "steps": 2}},
            ],
            "training.warmup": 0.5,
            "training.clip_norm": 1.0,
            "training.label_smoothing": 0.05,
            "training.weight_decay": 1e-4,
            "training.optimizer": "sgd",
            "training.momentum": 0.8,
            "training.patience": 1,
            "variants": [
                "distilled",
                "self",
                "mutual",
                "label_smoothing:0.2",
                "alone_all_labels",
                "alone",
            ],
            "generations": 2,
        },
        monkeypatch,
    )
    assert [variant.name for variant in record.variants] == [
        "alone",
        "alone_all_labels",
        "label_smoothing",
        "mutual",
        "self",
        "generation_1",
        "distilled",
    ]
    labels = data.labels_of(data.load("digits").train.take(128))
    seen = int((~np.isin(labels, (3, 5))).sum())
    assert [variant.labels for variant in record.variants] == [40, seen, 40, 40, 40, 40, 40]
    steps = -(-(seen + 128) // 64)  # 128 examples of the second source have no label
    assert {variant.steps for variant in record.variants} == {steps}
    assert "no example of 3, 5" in record.data.notes[-2]
    assert "128 examples of digits without labels" in record.data.notes[-1]
    for store in stores:  # of the teacher, of the best student alone, of the first generation
        assert store.manifest.examples == seen + 128
        assert (store.manifest.views, store.manifest.augment["crop"]) == (2, 1)
        assert store.manifest.outputs[0].top_k == 3
    assert len(stores) == 3
    assert Recipe.load(tmp_path / "run" / "recipe.toml") == record.recipe


def test_losses_on_layers_precision_and_budget(tmp_path, monkeypatch):
    record, stores = smoke(
        tmp_path,
        {
            "teacher.model": "mlp:16x8",
            "distillation.losses": [
                {"loss": "SoftTargetLoss"},
                {
                    "loss": "HintLoss",
                    "weight": 0.1,
                    "teacher_layer_name": "hidden1",
                    "student_layer_name": "hidden1",
                },
            ],
            "training.precision": "mixed_bfloat16",
            "training.optimizer": "adamw",
            "training.schedule": "constant",
            "training.steps_per_execution": 1,
            "export.calibration_samples": 10,
            "training.budget": "40m",
            "teacher.budget": "1h",
            "variants": ["distilled"],
        },
        monkeypatch,
    )
    assert stores == []  # the teacher ran in every step
    assert record.gain is None
    (distilled,) = record.variants
    assert 0.4 < distilled.seeds[0].seconds < 60  # a smoke run has half a second
    student = models.load(tmp_path / "run" / "student.keras")
    assert {layer.compute_dtype for layer in student.layers} == {"float32"}
    assert "not trained alone" in (tmp_path / "run" / "report.html").read_text()


def test_a_precision_keeps_the_weights_and_the_last_layer_in_32_bits():
    model = models.build("mlp:8", input_shape=(8, 8, 1), num_classes=10, seed=0)
    half = models.with_precision(model, "mixed_float16")
    assert half.dtype_policy.name == "mixed_float16"
    assert keras.config.dtype_policy().name == "float32"
    assert half.layers[-2].compute_dtype == "float16"
    assert half.layers[-1].compute_dtype == "float32"
    for mine, other in zip(half.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert models.with_precision(half, "float32").get_config() == model.get_config()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.omit_classes": ["x"]}, "omit_classes` must name classes of the data"),
        ({"data.omit_classes": list(range(9))}, "must leave two of the 10 classes"),
        ({"data.unlabeled": "npz:flat.npz"}, "must have examples like those of `source`"),
        ({"data.source": "npz:flat.npz", "data.augment": {"crop": 1}}, "are not images"),
        (
            {
                "training.budget": "1m",
                "distillation.alpha": {"schedule": "linear", "start": 0, "end": 1},
            },
            "must have `steps` where `training.budget`",
        ),
        ({"distillation.losses": [{"loss": "HintLoss"}]}, "must have all of its settings"),
        (
            {
                "distillation.losses": [
                    {
                        "loss": "HintLoss",
                        "teacher_layer_name": "hidden1",
                        "student_layer_name": "hidden2",
                    }
                ]
            },
            "The student has no layer 'hidden2'",
        ),
    ],
)
def test_data_and_losses_are_checked_before_any_training(
    tmp_path, tmp_path_factory, monkeypatch, changes, message
):
    monkeypatch.chdir(tmp_path_factory.mktemp("data"))
    x = np.ones((200, 5), np.float32)
    np.savez("flat.npz", x_train=x, y_train=np.arange(200) % 10)
    with pytest.raises(InputError, match=message):
        smoke(tmp_path, changes)
    assert list(tmp_path.iterdir()) == []


MODULE = """
import keras
import numpy as np
import tensorflow as tf
from keras_distill import data

def pairs():
    splits = data.load("digits")
    as_pair = lambda x, y: (x, y // 2)
    parts = {s: getattr(splits, s).map(as_pair) for s in ("train", "validation", "test")}
    return {**parts, "class_names": ["01", "23", "45", "67", "89"]}

def twice(x):
    return tf.concat([x, x], axis=2)

def teacher():
    def logits(x):
        assert x.shape[1:] == (8, 16, 1)
        return np.asarray(x).reshape(len(x), -1)[:, :10] * 0.1
    return logits

def student(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(inputs))
    x = keras.layers.Dense(6, "relu", name="hidden1")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x))

def wide():
    splits = data.load("digits")
    parts = {s: getattr(splits, s).map(lambda x, y: (twice(x[None])[0], y))
             for s in ("train", "validation", "test")}
    return {**parts, "class_names": list("0123456789")}
"""


@pytest.fixture
def module(tmp_path_factory, monkeypatch):
    """The name of a module of the user in the current folder."""
    folder = tmp_path_factory.mktemp("module")
    name = f"keys_{folder.name.replace('-', '_')}"
    (folder / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(folder)
    return name


def test_an_ensemble_of_other_classes_and_inputs_an_assistant_and_pretrained_weights(
    tmp_path, module, monkeypatch
):
    donor = models.build("mlp:6", input_shape=(8, 8, 1), num_classes=3, seed=7)
    donor.save(tmp_path / "donor.keras")
    record, stores = smoke(
        tmp_path,
        {
            "data.source": f"py:{module}:pairs",
            "teacher.model": ["mlp:16", f"py:{module}:teacher"],
            "teacher.mean": "arithmetic",
            "teacher.source": f"py:{module}:wide",
            "teacher.classes": [["0", "1"], [2, 3], ["4", 5], [6, 7], [8, 9]],
            "teacher.class_names": list("0123456789"),
            "teacher.preprocess": f"py:{module}:twice",
            "teacher.epochs": 1,
            "assistant": [{"model": "mlp:12", "learning_rate": 0.01}],
            "student.model": f"py:{module}:student",
            "student.pretrained": str(tmp_path / "donor.keras"),
            "variants": ["distilled"],
        },
        monkeypatch,
    )
    assert record.teacher.model == f"mlp:16, py:{module}:teacher"
    assert [part.model for part in record.assistants] == ["mlp:12"]
    first, second = stores
    assert first.manifest.teacher.temperature == 4.0  # the arithmetic mean is valid there only
    assert second.manifest.teacher.temperature is None
    assert {store.manifest.outputs[0].shape for store in stores} == {(5,)}
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"teacher-1.keras", "assistant-1.keras", "student.keras"} < made
    assert "teacher" not in {entry.name for entry in record.benchmark.entries}
    assert "assistant mlp:12" in (tmp_path / "run" / "report.html").read_text()


def test_members_from_several_initializations(tmp_path):
    record, _ = smoke(tmp_path, {"teacher.members": 2, "variants": ["alone", "distilled"]})
    assert record.teacher.model == "2 x mlp:16"
    single = models.load(tmp_path / "run" / "teacher-1.keras")
    assert record.teacher.parameters == 2 * single.count_params()


def test_pretrained_weights_are_the_initial_ones_where_names_and_shapes_fit(tmp_path):
    donor = models.build("mlp:6", input_shape=(8, 8, 1), num_classes=3, seed=7)
    for name in ("donor.keras", "donor.weights.h5"):
        save = donor.save if name.endswith(".keras") else donor.save_weights
        save(tmp_path / name)
        model = models.build("mlp:6", input_shape=(8, 8, 1), num_classes=10, seed=1)
        head = model.get_layer("logits").get_weights()
        assert models.load_pretrained(model, tmp_path / name) >= 1
        hidden, given = (m.get_layer("hidden1").get_weights() for m in (model, donor))
        np.testing.assert_array_equal(hidden[0], given[0])
        np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head[0])
    other = models.build("mlp:5", input_shape=(8, 8, 1), num_classes=10, seed=1)
    with pytest.raises(InputError, match=r"no layer has the name and the shapes"):
        models.load_pretrained(other, tmp_path / "donor.keras")


def test_a_store_takes_the_place_of_the_teacher(tmp_path, capsys):
    splits = data.load("digits")
    augment = data.Augmentation(crop=1, seed=2)
    teacher = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
    few = splits.train.take(128)
    SoftTargetStore.build(teacher, few, tmp_path / "store", views=2, augment=augment)
    recipe = Recipe.parse(BASE, source="test").save(tmp_path / "keys.toml")
    argv = ["run", str(recipe), "--targets", str(tmp_path / "store"), "--scale", "smoke"]
    argv += ["-o", str(tmp_path / "run"), "--set", 'variants=["alone", "distilled"]']
    assert main([*argv, "--json"]) == 0
    record = RunRecord.parse(capsys.readouterr().out, source="stdout")
    assert record.teacher.test_accuracy is None
    assert record.teacher.model == str(tmp_path / "store")
    assert "teacher" not in {entry.name for entry in record.benchmark.entries}
    for change, message in (
        ("data.augment.flip=true", "must be left out, or be that of the views in the store"),
        ("data.omit_classes=[1]", "was not built from these data"),
        ("teacher.threads=2", "`teacher.threads` must be left out"),
        ("distillation.losses=[{loss='HintLoss'}]", "must have all of its settings"),
    ):
        assert main([*argv, "--overwrite", "--set", change]) == 2
        assert message in capsys.readouterr().err


def test_a_tflite_file_of_probabilities_on_several_threads(tmp_path):
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(inputs))
    rows = data.load("digits").validation
    with pytest.warns(KerasDistillWarning, match="check that it is trained"):
        export_tflite(keras.Model(inputs, x), tmp_path / "softmax.tflite", data=rows)
    changes = {
        "teacher.model": str(tmp_path / "softmax.tflite"),
        "teacher.from_probabilities": True,
        "teacher.threads": 2,
        "variants": ["distilled"],
    }
    record, _ = smoke(tmp_path, changes)
    assert record.teacher.parameters is None
    assert record.benchmark.entries[0].name == "teacher"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher.mean": "arithmetic"}, "must have several `model`s"),
        ({"teacher.model": ["mlp:4", "mlp:8"], "teacher.members": 2}, "must have one `model`"),
        ({"teacher.model": []}, "a string, or a list of one or more strings"),
        ({"teacher.classes": [0.5]}, "must be a list of the teacher's classes"),
        ({"teacher.classes": [0, 1]}, "an entry for each of the student's 10 classes"),
        ({"teacher.classes": "/nowhere.txt"}, "Cannot read /nowhere.txt"),
        ({"teacher.threads": 2}, r"`teacher.threads` must be left out: it is for a .tflite"),
        ({"teacher.preprocess": "twice"}, "`preprocess` must be py:package.module:function"),
        ({"teacher.model": "py:nowhere:f"}, "must be a module that Python finds"),
        ({"student.model": "py:json:loads"}, r"loads\(\) failed: TypeError"),
        ({"student.pretrained": "/nowhere.keras"}, "pretrained: no such file"),
        ({"teacher.model": "/nowhere.h5"}, "teacher: no such file: /nowhere.h5"),
        (
            {
                "teacher.members": 2,
                "teacher.mean": "arithmetic",
                "distillation.losses": [{"loss": "ReverseKLLoss"}],
            },
            "`mean` must be geometric with these losses",
        ),
    ],
)
def test_teachers_and_students_are_checked_before_any_training(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        smoke(tmp_path, changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_a_teacher_of_another_input_range_is_refused(tmp_path, kind):
    splits = data.load("digits")
    x, y = (np.stack(part) for part in zip(*splits.train.as_numpy_iterator(), strict=True))
    model = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(True))
    scaled = x / 8 - 1
    model.fit(scaled, y, epochs=8, verbose=0)
    path = tmp_path / f"teacher.{kind}"
    if kind == "keras":
        model.save(path)
    else:
        export_tflite(model, path, data=(scaled, y))
    with pytest.raises(InputError, match=r"wrong range for the model: the teacher has .* accuracy"):
        smoke(tmp_path, {"teacher.model": str(path)})
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_several_outputs_or_other_classes_says_what_to_do(tmp_path):
    x = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(x)
    ten, three = (keras.layers.Dense(n, name=f"o{n}")(flat) for n in (10, 3))
    keras.Model(x, {"ten": ten, "three": three}).save(tmp_path / "two.keras")
    keras.Model(x, three).save(tmp_path / "three.keras")
    with pytest.raises(InputError, match=r"Choose one.*keras\.Model\(.*teacher\.output\['ten'\]"):
        smoke(tmp_path, {"teacher.model": str(tmp_path / "two.keras")})
    with pytest.raises(InputError, match=r"gives shape \(64, 3\)\. .*\[teacher\] classes"):
        smoke(tmp_path, {"teacher.model": str(tmp_path / "three.keras")})


def test_folders_of_ensembles_and_specialists_are_teachers(tmp_path):
    def net(classes, seed):
        return models.build("mlp:6", input_shape=(8, 8, 1), num_classes=classes, seed=seed)

    TeacherEnsemble([net(4, 0), net(4, 1)]).save(tmp_path / "ensemble")
    SpecialistEnsemble(net(4, 0), [net(3, 1)], [[0, 1]]).save(tmp_path / "experts")
    net(4, 0).export(tmp_path / "served", verbose=False)
    for name, kind in (
        ("ensemble", TeacherEnsemble),
        ("experts", SpecialistEnsemble),
        ("served", SavedModelTeacher),
    ):
        source = str(tmp_path / name)
        assert not is_spec(source)
        teacher = open_teacher(source, TeacherPart(model=source), ())
        assert isinstance(teacher, kind)
        assert teacher.predict(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 4)
        assert len(teacher.fingerprint()) == 64
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(teacher.predict(x), net(4, 0)(x), rtol=1e-5, atol=1e-6)
