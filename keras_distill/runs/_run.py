"""A run: from a recipe to a folder with teacher, student, `.tflite` files, record and report."""

import os

import keras

from keras_distill import report
from keras_distill._internal import _files, check_choice
from keras_distill._internal._progress import Reporter
from keras_distill.export import export_all
from keras_distill.records._export import ExportSet
from keras_distill.records._recipe import Recipe
from keras_distill.records._run import RunRecord
from keras_distill.runs import _compress, _evaluate, _teacher, _variants
from keras_distill.runs._context import Inputs
from keras_distill.runs._folder import RunFolder
from keras_distill.runs._variants import Variant
from keras_distill.work import Progress, Rounds


def run(
    recipe: Recipe,
    out: str | os.PathLike,
    *,
    scale: str = "full",
    overwrite: bool = False,
    imports: tuple[str, ...] = (),
    reporter: Reporter | None = None,
) -> RunRecord:
    """Does all that a recipe asks for; an interrupted run goes on where it stopped.

    The teacher is trained (or loaded) and asked once for its logits. The student is trained alone
    and distilled from the same initial weights with the same number of steps, once per seed. The
    distilled student with the best validation accuracy is exported and, where the recipe asks for
    it, compressed; the files are benchmarked against the teacher. The test split is looked at once,
    when nothing is left to choose.

    Args:
        recipe: What to do.
        out: The folder to be made.
        scale: `full`, or `smoke` for two steps of everything.
        overwrite: Whether an existing `out` may be replaced, and unfinished work of another recipe
            thrown away.
        imports: Modules that register custom layers of the `.keras` files named in the recipe.
        reporter: Told of progress.

    Returns:
        The record, also saved as `out/record.json`. Files that failed verification are in its
        `exports.rejected`, a compression that failed it in `compress.failed`.

    Raises:
        InputError: If the recipe cannot be done as it stands.
    """
    check_choice("scale", scale, ("full", "smoke"))
    reporter = reporter or Reporter()
    if scale == "smoke":
        recipe = _smoke(recipe)
    _files.check_output(out, overwrite=overwrite)
    inputs = Inputs.load(recipe, scale=scale, imports=imports)
    _teacher.check_given(inputs)
    _compress.check_wanted(inputs)
    # What cannot be done has been found by now: it leaves no folder behind.
    folder = RunFolder(out, recipe, scale=scale, overwrite=overwrite)
    try:
        keras.utils.set_random_seed(0)
        return _stages(inputs, folder, scale, reporter)
    finally:
        folder.keep_time()


def _smoke(recipe: Recipe) -> Recipe:
    """The recipe with one epoch of everything; the data are cut to two steps elsewhere."""
    short = {"epochs": 1}
    compress = recipe.compress
    return recipe.model_copy(
        update={
            "training": recipe.training.model_copy(update=short),
            "teacher": recipe.teacher.model_copy(update=short),
            "seeds": recipe.seeds[:2],
            "export": recipe.export.model_copy(update={"max_drop": None}),
            "compress": None
            if compress is None
            else compress.model_copy(update={**short, "batch_size": None}),
            "benchmark": recipe.benchmark.model_copy(update={"runs": 2}),
        }
    )


def _stages(inputs: Inputs, folder: RunFolder, scale: str, reporter: Reporter) -> RunRecord:
    """The stages in order; each leaves its result in the folder before the next begins."""
    recipe = inputs.recipe
    sizes = ", ".join(f"{size} {split}" for split, size in inputs.splits.sizes.items())
    reporter.stage("data", f"{recipe.data.source}: {sizes}")
    recipe.save(folder.path / "recipe.toml", overwrite=True)
    taught = _teacher.obtain(inputs, folder, reporter)
    store = _teacher.ask(inputs, taught, folder, reporter)
    rounds = inputs.rounds(recipe.training.epochs, recipe.training.batch_size)
    ways = _variants.make(inputs, store, rounds)
    done = {variant.name: _train(variant, inputs, rounds, folder, reporter) for variant in ways}
    seed = _best_seed(done["distilled"])
    student = _keep_student(ways[-1], seed, folder)
    exports = _export(student, inputs, folder, reporter)
    compressed = _compress.compress_chosen(student, seed, inputs, store, folder, reporter)
    # Nothing is chosen from here on: now the test split may be looked at.
    reporter.stage("benchmark", "teacher against student, on the test split")
    made = _evaluate.Made(seed, exports, compressed)
    record = _evaluate.judge(inputs, taught, ways, done, rounds, made, folder, scale)
    record.save(folder.path / "record.json", overwrite=True)
    _files.write_text(folder.path / "report.html", report.render(record), overwrite=True)
    folder.finish()
    return record


def _train(
    variant: Variant, inputs: Inputs, rounds: Rounds, folder: RunFolder, reporter: Reporter
) -> dict[int, Progress]:
    reporter.stage(
        "student",
        f"{inputs.recipe.student.model} {variant.title}; {len(inputs.recipe.seeds)} seeds",
    )
    return {
        seed: variant.train(
            seed,
            rounds,
            folder.work,
            validation_data=inputs.evaluation("validation"),
            report=reporter.track(f"seed {seed}", rounds.count),
        )
        for seed in inputs.recipe.seeds
    }


def _best_seed(done: dict[int, Progress]) -> int:
    """The seed with the best validation accuracy at the end; the first of equals."""
    return max(done, key=lambda seed: done[seed].logs["val_accuracy"][-1])


def _keep_student(distilled: Variant, seed: int, folder: RunFolder) -> keras.Model:
    student = distilled.restore(seed, folder.work)
    _teacher.save_plain(student, folder.path / "student.keras")
    return student


def _export(
    student: keras.Model, inputs: Inputs, folder: RunFolder, reporter: Reporter
) -> ExportSet:
    wanted = inputs.recipe.export
    reporter.stage("export", ", ".join(wanted.quantizations))
    return export_all(
        student,
        folder.path,
        quantizations=wanted.quantizations,
        stem="student",
        calibration=inputs.splits.train,
        calibration_samples=wanted.calibration_samples,
        data=inputs.splits.validation,
        max_drop=wanted.max_drop,
        class_names=inputs.splits.class_names,
        overwrite=True,
    )
