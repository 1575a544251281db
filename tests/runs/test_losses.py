"""Every loss of the package, selected from a recipe by its name."""

import inspect

import keras
import numpy as np
import pytest

from keras_distill import Distiller, losses, runs
from keras_distill._internal import InputError
from keras_distill.records import LOSSES, NEED_LABELS, DistillationPart
from keras_distill.runs._losses import distillation_losses, logits_only, reads_layers

LAYERS = {"teacher_layer_name": "vector", "student_layer_name": "vector"}
MAPS = {"teacher_layer_name": "map1", "student_layer_name": "map1"}
# Settings of each loss, none of them the default, so that the test sees that they arrive.
SETTINGS = {
    "SoftTargetLoss": {"temperature": 3.0},
    "StandardizedSoftTargetLoss": {"temperature": 3.0},
    "ReverseKLLoss": {"temperature": 3.0},
    "JensenShannonLoss": {"temperature": 3.0},
    "MultiLabelSoftLoss": {"temperature": 3.0},
    "DecoupledLoss": {"target_weight": 2.0, "nontarget_weight": 3.0, "temperature": 3.0},
    "DISTLoss": {"inter_weight": 2.0, "intra_weight": 3.0, "temperature": 3.0},
    "MultiLevelLoss": {
        "temperatures": [1.0, 3.0],
        "instance_weight": 2.0,
        "batch_weight": 0.5,
        "class_weight": 0.25,
        "standardize": True,
    },
    "LogitMatchingLoss": {},
    "RegressionLoss": {"kind": "huber", "delta": 2.0},
    "HintLoss": MAPS,
    "AttentionTransferLoss": MAPS,
    "SimilarityLoss": LAYERS,
    "RelationalLoss": {**LAYERS, "distance_weight": 25.0, "angle_weight": 50.0},
    "VariationalLoss": MAPS,
    "ContrastiveLoss": {**LAYERS, "dimension": 8, "queue_size": 16, "temperature": 0.1},
    "ReviewLoss": {
        "teacher_layer_names": ["map0", "map1"],
        "student_layer_names": ["map0", "map1"],
        "channels": 4,
    },
    "SoftmaxRegressionLoss": {
        **LAYERS,
        "teacher_classifier_name": "logits",
        "feature_weight": 2.0,
        "logit_weight": 0.5,
    },
}


def part(*terms, **settings):
    return DistillationPart.parse({"losses": list(terms), **settings}, source="test")


def net(width, seed):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 1))
    for i in range(2):
        x = keras.layers.Conv2D(width, 3, 1 + i, "same", name=f"conv{i}")(x)
        x = keras.layers.ReLU(name=f"map{i}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="vector")(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="logits")(x))


def test_the_table_of_a_recipe_has_every_loss_with_its_settings():
    public = {name for name in losses.__all__ if name.endswith("Loss")} - {"DistillationLoss"}
    assert set(LOSSES) == public == set(SETTINGS)
    for name, settings in LOSSES.items():
        assert settings == tuple(inspect.signature(getattr(losses, name)).parameters)
        assert set(SETTINGS[name]) == set(settings)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_by_name_gets_its_settings_and_trains_a_step(name):
    made = distillation_losses(part({"loss": name, "weight": 0.5, **SETTINGS[name]}), steps=1)
    (loss,) = made["distillation_losses"]
    for key, value in SETTINGS[name].items():
        assert getattr(loss, key) == value
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 8, 8, 1)).astype("float32"), rng.integers(0, 5, 16)
    distiller = Distiller(net(6, 1), net(3, 2), **made)
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if name == "MultiLabelSoftLoss":
        hard = keras.losses.BinaryCrossentropy(from_logits=True)
        y = rng.integers(0, 2, (16, 5)).astype("float32")
    distiller.compile("adam", hard, run_eagerly=True)
    logs = distiller.train_on_batch(x, y, return_dict=True)
    assert np.isfinite(logs["soft_loss"]) and logs["soft_loss"] != 0


def test_the_temperature_of_the_recipe_is_that_of_losses_on_logits_that_name_none():
    terms = [
        {"loss": "DecoupledLoss"},
        {"loss": "DISTLoss", "temperature": 1.0},
        {"loss": "ContrastiveLoss", **LAYERS},
    ]
    made = distillation_losses(part(*terms, temperature=7.0), steps=1)
    assert [loss.temperature for loss in made["distillation_losses"]] == [7.0, 1.0, 0.07]
    assert made["distillation_loss_weights"] == [1.0, 1.0, 1.0]


def test_schedules_end_with_the_training_or_where_they_say():
    falls = {"schedule": "linear", "start": 8.0, "end": 1.0}
    late = {"schedule": "cosine", "start": 0.0, "end": 1.0, "steps": 10, "delay": 5}
    made = distillation_losses(
        part({"loss": "SoftTargetLoss", "weight": late}, temperature=falls, alpha=late), steps=100
    )
    (loss,), (weight,) = made["distillation_losses"], made["distillation_loss_weights"]
    assert [float(loss.temperature(step)) for step in (0, 50, 100)] == [8.0, 4.5, 1.0]
    assert [float(weight(step)) for step in (5, 10, 15)] == pytest.approx([0.0, 0.5, 1.0])
    assert float(made["alpha"](100)) == 1.0


def test_a_schedule_without_an_end_needs_a_known_number_of_steps():
    falls = {"schedule": "linear", "start": 8.0, "end": 1.0}
    with pytest.raises(InputError, match=r"`steps` where `training.budget` decides.*8 to 1"):
        distillation_losses(part(temperature=falls), steps=None)


def test_the_losses_that_need_labels_are_known_without_tensorflow():
    assert [name for name in LOSSES if getattr(losses, name).needs_labels] == [*NEED_LABELS]


def test_only_losses_that_name_layers_need_the_teacher_itself():
    for name in LOSSES:
        expected = any("layer" in key for key in LOSSES[name])
        chosen = part({"loss": name, **SETTINGS[name]}, {"loss": "SoftTargetLoss"})
        assert reads_layers(chosen) == expected
        assert len(logits_only(chosen).losses) == 2 - expected


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"loss": "DecoupledLos"}, r"`losses.0.loss` must be one of .*\(Did you mean `Decoup"),
        (
            {"loss": "DecoupledLoss", "temprature": 2},
            r"`losses.0` must have keys of DecoupledLoss only .*`temprature`. Did you mean `temper",
        ),
        ({"loss": "SoftTargetLoss", "temperature": {"start": 1}}, "SoftTargetLoss.temperature: "),
        ({"loss": "SoftTargetLoss", "weight": -1}, "`losses.0.weight` must be >= 0"),
        ({"weight": 1}, "`losses.0.loss` must be given"),
        ({"loss": "SoftTargetLoss", "temperature": -1}, r"losses.0: SoftTargetLoss: `temperature`"),
        ({"loss": "HintLoss"}, r"losses.0: HintLoss must have all of its settings"),
        ({"loss": "RegressionLoss", "kinds": "x"}, "Did you mean `kind`"),
    ],
)
def test_wrong_losses_are_refused_with_their_place(term, message):
    with pytest.raises(InputError, match=message):
        distillation_losses(part(term), steps=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distillation.alpha": {"schedule": "linear", "start": 0, "end": 2}}, "stay in 0..1"),
        ({"distillation.temperature": {"schedule": "linear", "start": 0, "end": 2}}, "stay >= 0"),
        ({"distillation.alpha": {"schedule": "lin", "start": 0, "end": 1}}, "alpha.schedule` must"),
        ({"variants": ["alone"]}, "distilled one of them"),
        ({"variants": ["distilled", "self"]}, "must have alone, whose best student teaches"),
        ({"variants": ["distilled", "label_smoothing:2"]}, "label_smoothing:0.2"),
        ({"variants": ["distilled", "alone:1"]}, "must be alone, alone_all_labels"),
        ({"training.budget": "40"}, r'must be a time > 0 such as "90s"'),
        ({"training.budget": "0m"}, r'must be a time > 0 such as "90s"'),
        (
            {"distillation.losses": [{"loss": "HintLoss", **MAPS}], "generations": 2},
            "`assistant`, `generations`, and the variants `self` and `mutual` must be left out",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        runs.load_recipe("digits", changes)
