import re

import pytest

from keras_distill import InputError, models, runs
from keras_distill.cli import main
from keras_distill.records import Recipe, recipe_keys

GIVEN = {"data.source": "digits", "teacher.model": "mlp:64", "student.model": "mlp:8"}
SETTING = re.compile(r"# (\w+ = .*)")


def test_the_file_is_the_recipe_and_has_every_key(tmp_path):
    path = tmp_path / "recipe.toml"
    given = {**GIVEN, "training.epochs": 5, "seeds": 2, "data.labels": 0.5, "teacher.epochs": 7}
    recipe = runs.init(path, given, about=("About the data.",))
    assert Recipe.load(path) == recipe
    assert (recipe.training.epochs, recipe.seeds, recipe.teacher.epochs) == (5, (0, 1), 7)
    text = path.read_text()
    assert text.startswith("# About the data.")
    assert max(map(len, text.splitlines())) <= 100
    for key in recipe_keys():
        name = key.name.rpartition(".")[2]
        if not key.of_training:
            written = key.table or f"{name} = "
            assert re.search(rf"^(# )?{re.escape(written)}", text, re.MULTILINE), key.name


def test_every_comment_that_is_a_setting_can_be_turned_on(tmp_path):
    path = tmp_path / "recipe.toml"
    runs.init(path, GIVEN)
    whole = []
    # With a budget, the student is found and not named.
    text = re.sub(r"# \[budget\]\n(?:(?!# \[|\[).*\n)*", "", path.read_text())
    for line in text.splitlines():
        header = re.fullmatch(r"# (\[.*\])", line)
        setting = SETTING.fullmatch(line)
        whole.append(header[1] if header else setting[1] if setting else line)
    path.write_text("\n".join(whole))
    recipe = Recipe.load(path)
    assert recipe.compress is not None and len(recipe.assistant) == 1
    assert recipe.distillation.losses[0].loss == "DecoupledLoss"
    assert recipe.data.augment is not None and not recipe.data.augment.changes


def test_the_command_looks_at_the_data_and_names_the_next(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    assert main(["init", "--data", "digits", "-o", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "1167 train" in shown and f"Next: keras-distill plan {path}" in shown
    recipe = Recipe.load(path)
    assert (recipe.teacher.model, recipe.student.model) == ("mlp:256x256", "shrink:0.5")
    assert main(["init", "--data", "digits", "-o", str(path)]) == 2
    assert "exists" in capsys.readouterr().err


def test_the_command_takes_a_teacher_without_channels_to_inherit(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    argv = ["init", "--data", "digits", "--teacher", "big.tflite", "-o", str(path), "--json"]
    assert main(argv) == 0
    assert Recipe.parse(capsys.readouterr().out, source="stdout").student.model == "mlp:32"


@pytest.mark.parametrize(
    ("changes", "stages", "note"),
    [
        (
            {"variants": ["alone", "distilled"], "data.labels": 100},
            ["data", "teacher", "targets", "student", "student", "export", "benchmark"],
            "logits are stored once",
        ),
        (
            {
                "variants": ["distilled"],
                "generations": 2,
                "assistant": [{"model": "mlp:12"}],
                "teacher.members": 2,
                "compress.steps": ["quantize"],
            },
            ["data", "teacher", "targets", "student", "targets", "student", "targets", "student",
             "export", "compress", "benchmark"],
            "logits are stored once",
        ),
    ],
)  # fmt: skip
def test_a_plan_has_the_stages_of_the_run_with_times_and_sizes(changes, stages, note):
    recipe = runs.load_recipe("digits", {**changes, "seeds": 2, "training.epochs": 6})
    found = runs.plan(recipe)
    assert [stage.name for stage in found.stages] == stages
    timed = [stage for stage in found.stages if stage.name not in ("data", "export", "benchmark")]
    assert all(stage.seconds > 0 for stage in timed)
    assert any(note in text for text in found.notes)
    distilled = next(stage for stage in found.stages if "distilled" in stage.what)
    assert distilled.steps == 2 * 6 * 19
    targets = next(stage for stage in found.stages if stage.name == "targets")
    assert targets.bytes == 1167 * (2 * 10 + 8)
    assert found.peak_memory_bytes > 1 << 20 and found.seconds > 0


def test_a_plan_says_when_the_teacher_runs_in_every_step_and_what_a_budget_costs(tmp_path, capsys):
    path = runs.load_recipe("digits", {"teacher.model": "mlp:16"}).save(tmp_path / "r.toml")
    hint = '[{loss = "HintLoss", teacher_layer_name = "hidden1", student_layer_name = "hidden1"}]'
    argv = ["plan", str(path), "--set", f"distillation.losses={hint}", "--set", "seeds=2"]
    argv += ["--set", "training.budget=10m", "--set", 'variants=["distilled"]']
    assert main(argv) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The teacher runs in every step, because of HintLoss." in shown
    assert "mlp:16 distilled: 2 x 10m" in shown and "20 min" in shown
    assert "targets" not in shown


def test_a_plan_of_a_student_made_of_its_teacher(tmp_path):
    model = models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
    model.save(tmp_path / "teacher.keras")
    changes = {"teacher.model": str(tmp_path / "teacher.keras"), "student.model": "shrink:0.5"}
    found = runs.plan(runs.load_recipe("digits", {**changes, "variants": ["distilled"]}))
    assert "as it is" in found.stages[1].what


def test_a_plan_refuses_what_a_run_refuses():
    with pytest.raises(InputError, match="no model 'convnet'"):
        runs.plan(runs.load_recipe("digits", {"student.model": "convnet"}))
