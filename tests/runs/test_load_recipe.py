import pytest

from keras_distill import runs
from keras_distill._internal import InputError
from keras_distill.records._recipe import Recipe
from keras_distill.runs._load_recipe import smoke_recipe
from keras_distill.runs._sweep_plan import plan

MINIMAL = {
    "data.source": "digits",
    "teacher.model": "mlp:8",
    "student.model": "mlp:4",
}


@pytest.mark.parametrize("name", runs.builtin_recipes())
def test_builtin_recipes_are_named_after_their_file_and_say_what_they_show(name):
    recipe = runs.load_recipe(name)
    assert recipe.name == name
    assert len(recipe.summary) > 20


@pytest.mark.parametrize(
    "name", [name for name in runs.builtin_recipes() if runs.load_recipe(name).sweep is not None]
)
def test_builtin_sweeps_have_points_that_differ_at_both_scales(name):
    recipe = runs.load_recipe(name)
    points = recipe.sweep.expanded()
    assert len(points) > 2
    for scale in ("full", "smoke"):
        planned = plan(recipe, scale)
        assert len([point for point in planned if point.variant == "distilled"]) == len(points)


def test_the_default_recipe_has_enough_seeds_for_an_interval_and_keeps_few_labels():
    recipe = runs.load_recipe(runs.DEFAULT_RECIPE)
    assert len(recipe.seeds) >= 5
    assert recipe.data.labels == 100


def test_a_smoke_run_trains_everything_for_one_epoch():
    assistant = {"model": "mlp:6", "epochs": 50}
    recipe = smoke_recipe(
        runs.load_recipe("digits", {"assistant": [assistant], "teacher.epochs": 9})
    )
    parts = (recipe.training, recipe.teacher, *recipe.assistant)
    assert [part.epochs for part in parts] == [1, 1, 1]


def test_overrides_reach_their_keys_and_leave_the_rest():
    recipe = runs.load_recipe("digits", {"training.epochs": 3, "seeds": 2})
    assert recipe.training.epochs == 3
    assert recipe.seeds == (0, 1)
    assert recipe.student.model == runs.load_recipe("digits").student.model


def test_from_scratch_names_the_run_after_data_and_student():
    recipe = runs.recipe_from_options({**MINIMAL, "data.source": "tfds:mnist"})
    assert recipe.name == "mnist-mlp-4"
    assert recipe.data.labels is None


def test_from_scratch_says_what_is_missing():
    with pytest.raises(InputError, match=r"--teacher, --student \(or --max-bytes\) must"):
        runs.recipe_from_options({"data.source": "digits"})


def test_unknown_recipe_lists_the_choices():
    with pytest.raises(InputError, match=r"Unknown recipe 'digit'.*digits"):
        runs.load_recipe("digit")


def test_the_teacher_trains_like_the_student_but_for_its_own_settings():
    recipe = runs.recipe_from_options({**MINIMAL, "training.batch_size": 7, "teacher.epochs": 9})
    assert recipe.teacher_training.epochs == 9
    assert recipe.teacher_training.batch_size == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nam = "x"', "`nam` must be a known key"),
        ("name = ", "not TOML"),
        ("[distillation]\nalpha = 1.5", "`distillation.alpha` must be <= 1. Received: 1.5"),
        (
            "[distillation]\ntemperature = 0",
            "`distillation.temperature` must be >= 0.001. Received: 0",
        ),
        ("[distillation]\ntemperature = inf", "`distillation.temperature` must be a finite number"),
        ("[training]\nlearning_rate = nan", "`training.learning_rate` must be "),
        ("[data]\nlabels = 0", "data.labels"),
        ("[data]\nlabels = 1.5", "data.labels"),
        ("seeds = 0", "`seeds` must be >= 1"),
        ("seeds = [1, 1]", "`seeds` must be one or more different seeds"),
        ('name = "../x"', "mine.toml: `name` must be letters"),
        ('[training]\noptimizer = "lion"', "training.optimizer"),
        ('[export]\nquantizations = ["int7"]', "`export.quantizations.0` must be 'float32', "),
        ('[export]\nquantizations = ["int8", "int8"]', "one or more different precisions"),
        ("[export]\nquantizations = []", "one or more different precisions"),
        ('[compress]\nsteps = ["melt"]', "`steps` must be prune:SPARSITY"),
        ("[compress]\nepochs = 3", "`compress.steps` must be given"),
        ('[compress]\nsteps = ["prune"]\nepoch = 3', "`compress.epoch` must be a known key"),
        ('[compress]\nsteps = ["prune"]\nepochs = 0', "`compress.epochs` must be >= 1"),
        ('[compress]\nsteps = ["quantize"]\nsparse = true', "sparse int8 file does not load"),
    ],
)
def test_wrong_files_are_one_line_that_names_file_and_key(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        runs.load_recipe(str(path), {} if "[data]" in text else MINIMAL)
    assert "\n" not in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert str(caught.value).count("Received: ") <= 1


def test_an_option_that_does_not_fit_a_builtin_recipe_names_the_recipe_not_its_file():
    with pytest.raises(InputError, match=r"^recipe digits: `training.epochs` must be >= 1"):
        runs.load_recipe("digits", {"training.epochs": 0})


def test_missing_file_is_one_line():
    with pytest.raises(InputError, match=r"Cannot read /nowhere/x\.toml"):
        runs.load_recipe("/nowhere/x.toml")


@pytest.mark.parametrize("more", [{}, {"compress.steps": ["prune:0.8", "quantize"]}])
def test_a_saved_recipe_reads_back_the_same(tmp_path, more):
    recipe = runs.load_recipe("mnist", more)
    path = recipe.save(tmp_path / "recipe.toml")
    assert Recipe.load(path) == recipe


def test_nothing_is_compressed_unasked():
    assert all(runs.load_recipe(name).compress is None for name in runs.builtin_recipes())


def test_a_value_where_a_table_belongs():
    values = {"data.source": "digits", "teacher.model": "mlp:8", "student.model": "mlp:4"}
    with pytest.raises(InputError, match=r"`compress` must be a table, \[compress\]. Received:"):
        runs.recipe_from_options({**values, "compress": ["prune"], "compress.epochs": 2})
