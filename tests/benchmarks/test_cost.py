import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill._internal import InputError
from keras_distill._internal._child import Child, ChildError
from keras_distill.benchmarks import cost_sections
from keras_distill.benchmarks._cost import _step_ratios, cost, ratio_of_totals
from keras_distill.benchmarks._cost_worker import CostService
from keras_distill.cli import main
from keras_distill.records import CostRecord, CostSteps


@pytest.fixture(scope="module")
def record() -> CostRecord:
    """Everything `cost` measures, of two tiny models, one setting of oneDNN."""
    return cost(
        "mlp:8", "mlp:4", "digits", examples=96, batch_size=32, rounds=4, epochs=2, builds=2,
        settings=["onednn"],
    )  # fmt: skip


def test_every_variant_is_measured_in_its_turn(record):
    """Everything but `bfloat16`, which is measured on request."""
    assert {s.setting for s in record.steps} == {"onednn"}
    counts = {s.variant: len(s.ms) for s in record.steps}
    assert counts == {"plain": 4, "store": 4, "online": 1, "keras": 1}
    assert all(ms > 0 for steps in record.steps for ms in steps.ms)
    assert [(fit.variant, len(fit.epochs), fit.build > 0) for fit in record.fits] == [
        ("store", 2, True),
        ("keras", 2, False),
    ]
    assert [(len(b.build), len(b.predict)) for b in record.builds] == [(2, 2)]
    names = [ratio.name for ratio in record.ratios]
    assert "step: store / plain, onednn" in names
    assert "fit of 2 epochs, build included: store / keras, onednn" in names
    assert "throughput: build / teacher.predict, onednn" in names
    assert record.examples == 96 and record.teacher == "mlp:8"


def test_training_in_16_bits_is_compared_with_plain(capsys):
    options = ["--examples", "64", "--batch-size", "16", "--rounds", "4", "--setting", "onednn"]
    main(["cost", "mlp:8", "mlp:4", "--data", "digits", *options, "--bfloat16", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [s["variant"] for s in found["steps"]][-1] == "bfloat16"
    assert found["ratios"][-1]["name"] == "step: bfloat16 / plain, onednn"


def test_the_record_goes_round_and_into_tables(record, tmp_path):
    assert CostRecord.load(record.save(tmp_path / "r.json")) == record
    titles = [title for title, _, _ in cost_sections(record)]
    assert titles[0] == "One step of mlp:4, teacher mlp:8, batch size 32"
    assert len(titles) == 3
    for _, columns, rows in cost_sections(record):
        assert all(len(row) == len(columns) for row in rows)


def test_ratios_compare_the_same_rounds_only():
    def steps(setting, variant, rounds, ms):
        return CostSteps(setting=setting, variant=variant, rounds=rounds, ms=ms)

    ratios = {
        r.name: r
        for r in _step_ratios(
            [
                steps("onednn", "plain", (0, 1, 2, 3), (1, 9, 1, 9)),
                steps("onednn", "store", (0, 1, 2, 3), (2, 18, 2, 18)),
                steps("onednn", "keras", (0, 2), (4, 4)),
                steps("tf-default", "plain", (0, 1), (10, 10)),
                steps("tf-default", "keras", (0, 2), (40, 40)),
            ]
        )
    }
    assert {name: (r.value, r.n) for name, r in ratios.items()} == {
        "step: store / plain, onednn": (2.0, 4),
        "step: keras / plain, onednn": (4.0, 2),
        "step: store / keras, onednn": (0.5, 2),
        "step: store / keras, default settings": (0.05, 2),
    }


def test_a_fit_of_two_epochs_has_a_ratio_and_no_interval():
    assert ratio_of_totals([3.0, 1.0], [6.0, 2.0], extra=2.0) == (0.75, None, None)
    value, low, high = ratio_of_totals([9, 1, 2, 1, 2], [9, 2, 2, 2, 2], extra=0)
    assert low < value < high


def test_keras_distillation_is_left_out_for_a_tflite_teacher(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 3)), y=np.zeros(4))
    (tmp_path / "teacher.tflite").write_bytes(b"")
    assert CostService().prepare(str(tmp_path), 2) == ["plain", "store", "online", "bfloat16"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": 3}, "spec or a tf.data.Dataset"),
        ({"rounds": 1}, "`rounds`"),
        ({"settings": ["fast"]}, "`settings`"),
        ({"variants": ["slow"]}, "`variants`"),
        ({"split": "dev"}, "`split`"),
        ({"batch_size": 500, "examples": 100}, "at most the number of examples, 100"),
        ({"student": "nonsense:1"}, "nonsense"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    given = {"teacher": "mlp:4", "student": "mlp:4", "source": "digits", **arguments}
    with pytest.raises(InputError, match=message):
        cost(given.pop("teacher"), given.pop("student"), given.pop("source"), **given)


def test_a_child_that_fails_says_why():
    regression = tf.data.Dataset.from_tensor_slices(
        (np.zeros((64, 3), np.float32), np.full(64, 7, np.int64))
    )
    two = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    wrong = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="process that measures failed"):
        cost(two, wrong, regression, batch_size=32, rounds=2, settings=["onednn"])


def test_a_child_that_is_killed_says_so_before_its_log(monkeypatch):
    def ask(*args, **arguments):
        raise ChildError("was killed (SIGKILL), most likely for lack of memory", "step 7\n")

    monkeypatch.setattr(Child, "ask", ask)
    message = r"failed: was killed \(SIGKILL\), most likely .*\. End of its log: step 7"
    with pytest.raises(InputError, match=message):
        cost("mlp:4", "mlp:4", "digits", batch_size=32, rounds=2, settings=["onednn"])


def test_the_command_prints_and_keeps_the_record(record, capsys, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "keras_distill.benchmarks.cost",
        lambda *models, **given: asked.update(given) or record,
    )
    argv = ["cost", "mlp:8", "mlp:4", "--data", "digits", "--rounds", "4", "--setting", "onednn"]
    argv += ["-o", str(tmp_path / "cost.json")]
    assert main(argv) == 0
    assert "store / plain" in capsys.readouterr().out
    assert asked["settings"] == ("onednn",) and asked["rounds"] == 4
    assert CostRecord.load(tmp_path / "cost.json") == record
    assert main(argv) == 2
    assert "exists" in capsys.readouterr().err
    assert main([*argv[:-2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["teacher"] == "mlp:8"
    assert main(["cost", "mlp:8", "mlp:4", "--data", "digits", "--setting", "x"]) == 2


def test_each_variant_trains_what_its_name_says(tmp_path, monkeypatch):
    layers = [keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4, 4, 1)), *layers])
    for role in ("teacher", "student"):
        model.save(tmp_path / f"{role}.keras")
    x = np.random.default_rng(0).normal(size=(4, 4, 4, 1)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(4) % 2)
    service, fused = CostService(), []
    kernel = tf.raw_ops.FusedBatchNormV3

    def counted(**arguments):
        fused.append(arguments["x"].dtype.name)
        return kernel(**arguments)

    monkeypatch.setattr(tf.raw_ops, "FusedBatchNormV3", counted)
    traced = {}
    for name in service.prepare(str(tmp_path), 2):
        fused.clear()
        service.step(name)
        traced[name] = set(fused)
    assert traced == {
        "plain": {"float32"},
        "store": {"float32"},
        "online": {"float32"},
        "keras": set(),
        "bfloat16": {"bfloat16"},
    }
