"""Every key of a recipe, run at scale `smoke`: many keys in few runs."""

import keras
import numpy as np
import pytest

from keras_distill import InputError, data, models
from keras_distill.records import Recipe
from keras_distill.runs._run import run
from keras_distill.targets import SoftTargetStore

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


def test_data_views_losses_variants_and_generations(tmp_path, monkeypatch):
    falls = {"schedule": "linear", "start": 8.0, "end": 1.0}
    record, stores = smoke(
        tmp_path,
        {
            "data.omit_classes": ["3", 5],
            "data.unlabeled": "digits",
            "data.labels": 40,
            "data.augment": {"crop": 1, "jitter": 0.1, "erase": 0.2, "seed": 4},
            "teacher.augment": {"rotate": 10, "zoom": 0.1, "shear": 5, "flip": True},
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
            "variants": ["distilled", "self", "label_smoothing:0.2", "alone_all_labels", "alone"],
            "generations": 2,
        },
        monkeypatch,
    )
    assert [variant.name for variant in record.variants] == [
        "alone",
        "alone_all_labels",
        "label_smoothing",
        "self",
        "generation_1",
        "distilled",
    ]
    labels = data.labels_of(data.load("digits").train.take(128))
    seen = int((~np.isin(labels, (3, 5))).sum())
    assert [variant.labels for variant in record.variants] == [40, seen, 40, 40, 40, 40]
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
