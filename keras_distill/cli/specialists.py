"""`keras-distill specialists`: trains, evaluates, and distills specialists."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill._internal import InputError, _files
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._options import (
    Alpha,
    Backend,
    BatchSize,
    DataDir,
    Imports,
    Json,
    LearningRate,
    Optimizer,
    OptionalBatchSize,
    OptionalData,
    OptionalLearningRate,
    OptionalOptimizer,
    OptionalPrecision,
    OptionalSchedule,
    OptionalWeightDecay,
    Overwrite,
    Precision,
    Schedule,
    Temperature,
    choice,
    output,
)
from keras_distill.cli._verb import execute, new_app, uses_tensorflow

if TYPE_CHECKING:
    from keras_distill.records import JobRecord, SpecialistsRecipe

Crop = Annotated[
    int | None, typer.Option(help="Maximum shift of training images, pixels.", show_default="0")
]
Flip = Annotated[bool | None, typer.Option(help="Mirror half of the training images.")]
Trained = typer.Argument(help="A folder that `train` wrote.")


@uses_tensorflow
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="A .toml recipe; options override its values.")
    ] = None,
    *,
    generalist: Annotated[
        Path | None, typer.Option(help="The .keras file to train specialists for.")
    ] = None,
    data: OptionalData = None,
    data_dir: DataDir = None,
    clusters: Annotated[
        int | None, typer.Option(help="Number of class sets.", show_default="10")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Classes per set.", show_default="the clusters as they are")
    ] = None,
    even: Annotated[
        bool | None, typer.Option(help="Distribute the classes evenly over sets of --size.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="Use the specialists that cover one of the TOP best classes.", show_default="1"
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over a specialist's own examples.", show_default="4")
    ] = None,
    batch_size: OptionalBatchSize = None,
    optimizer: OptionalOptimizer = None,
    learning_rate: OptionalLearningRate = None,
    schedule: OptionalSchedule = None,
    weight_decay: OptionalWeightDecay = None,
    precision: OptionalPrecision = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Weight of the generalist's soft targets.", show_default="0"),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of these soft targets.", show_default="2")
    ] = None,
    crop: Crop = None,
    flip: Flip = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the order of the data.", show_default="0")
    ] = None,
    out: Annotated[Path, output("The folder to write.")],
    backend: Backend = "in-turn",
    workers: Annotated[int, typer.Option(help="Number of specialists trained at a time.")] = 1,
    imports: Imports,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Cluster the classes that the generalist confuses, and train a specialist for each set.

    Run the same command again to resume an interrupted training.

    \b
    Example:
      keras-distill specialists train --generalist teacher.keras --data digits -o experts
    """
    from keras_distill import specialists

    values = {
        "generalist": generalist and str(generalist),
        "source": data,
        "data_dir": data_dir and str(data_dir),
        "clusters": clusters,
        "size": size,
        "even": even,
        "top": top,
        "seed": seed,
    }
    training = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "precision": precision,
        "alpha": alpha,
        "temperature": temperature,
        "crop": crop,
        "flip": flip,
    }
    ensemble = specialists.train(
        _recipe(recipe, values, training),
        out,
        backend=backend,
        workers=workers,
        overwrite=overwrite,
        imports=imports,
        report=_report_job,
    )
    if as_json:
        print((out / "ensemble.json").read_text(encoding="utf-8"), end="")
        return
    sets = [", ".join(map(str, ids)) for ids in ensemble.class_sets.lists()]
    print_table(
        ("specialist", "classes"),
        [(f"specialist {number}", ids) for number, ids in enumerate(sets)],
        text_columns=("specialist", "classes"),
    )
    alone = ensemble.class_sets.left_alone.tolist()
    if alone:
        print_line(f"Covered by the generalist only: {', '.join(map(str, alone))}")
    print_line(f"Wrote {out}.")
    print_next("keras-distill", "specialists", "evaluate", out)


def _report_job(job: "JobRecord", kept: bool) -> None:
    state = "completed before" if kept else f"{job.status}, {job.seconds:.0f} s"
    print(f"{job.name}: {state}", file=sys.stderr)


@uses_tensorflow
def evaluate(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders that `train` wrote: one per seed.")
    ],
    *,
    data: OptionalData = None,
    data_dir: DataDir = None,
    split: Annotated[
        str, choice("--split", "test", "validation", help="Part of the data.")
    ] = "test",
    model: Annotated[
        list[Path],
        typer.Option(
            default_factory=list,
            show_default=False,
            help="Another .keras file to evaluate, such as a distilled one; may be repeated.",
        ),
    ],
    out: Annotated[
        Path | None, output("The record.", show_default="FOLDER/evaluation.json")
    ] = None,
    imports: Imports,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compare generalist and specialists with the generalist; write a record and a page.

    \b
    Example:
      keras-distill specialists evaluate experts
    """
    from keras_distill import report, specialists

    out = out or folders[0] / "evaluation.json"
    if out.suffix != ".json":
        raise InputError(
            f"`--output` must end in .json; the page is written next to it. Received: {out}"
        )
    page = out.with_suffix(".html")
    for path in (out, page):
        _files.check_output(path, overwrite=overwrite)
    record = specialists.evaluate(
        folders, source=data, data_dir=data_dir, split=split, others=model, imports=imports
    )
    record.save(out, overwrite=overwrite)
    report.write_specialists(record, page, overwrite=overwrite)
    if as_json:
        print_json(record)
        return
    print_table(*report.specialists_table(record))
    print_line(f"Wrote {out} and {page}.")
    if len(folders) == 1 and not model:
        print_next("keras-distill", "specialists", "distill", folders[0], "-o", "student.keras")


@uses_tensorflow
def distill(
    folder: Annotated[Path, Trained],
    *,
    student: Annotated[
        str | None,
        typer.Option(
            help="Model spec, or a .keras file to start from.",
            show_default="a copy of the generalist",
        ),
    ] = None,
    out: Annotated[Path, output("The .keras file to write.")],
    data: OptionalData = None,
    data_dir: DataDir = None,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 15,
    batch_size: BatchSize = 128,
    optimizer: Optimizer = "adam",
    learning_rate: LearningRate = 1e-3,
    schedule: Schedule = "cosine",
    weight_decay: OptionalWeightDecay = None,
    precision: Precision = "float32",
    alpha: Alpha = 0.9,
    temperature: Temperature = 2.0,
    crop: Annotated[int, typer.Option(help="Maximum shift of training images, pixels.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the images.")] = False,
    views: Annotated[
        int, typer.Option(help="Augmented views in the store, with --crop or --flip.")
    ] = 4,
    seed: Annotated[int, typer.Option(help="Seed of initial weights and order of data.")] = 0,
    targets: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the store of soft targets, built there or used if it is there already.",
            show_default="a temporary one",
        ),
    ] = None,
    imports: Imports,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Distill generalist and specialists back into one model.

    Run the same command again to resume an interrupted training.

    \b
    Example:
      keras-distill specialists distill experts -o student.keras
    """
    from keras_distill import specialists
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.records import KerasTrainingSettings

    _files.check_output(out, overwrite=overwrite)
    training = KerasTrainingSettings.parse(
        {
            "epochs": epochs,
            "batch_size": batch_size,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "schedule": schedule,
            "weight_decay": weight_decay,
            "precision": precision,
        },
        source="the options",
    )
    with TerminalReporter() as reporter:
        record = specialists.distill(
            folder,
            out,
            student=student,
            source=data,
            data_dir=data_dir,
            training=training,
            alpha=alpha,
            temperature=temperature,
            crop=crop,
            flip=flip,
            views=views,
            seed=seed,
            targets=targets,
            imports=imports,
            overwrite=overwrite,
            reporter=reporter,
        )
    if as_json:
        print_json(record)
        return
    accuracy = f"{record.validation_accuracy:.1%} validation accuracy"
    print_line(f"Wrote {out}: {record.parameters:,} parameters, {accuracy}.")
    print_next("keras-distill", "specialists", "evaluate", folder, "--model", out)


def _recipe(
    path: Path | None, options: dict[str, Any], training: dict[str, Any]
) -> "SpecialistsRecipe":
    """Reads the recipe file, if any, and overrides its values with the given options."""
    from keras_distill.records import SpecialistsRecipe, read_toml

    values = {} if path is None else read_toml(path)
    values |= {key: value for key, value in options.items() if value is not None}
    trained = {key: value for key, value in training.items() if value is not None}
    if trained and isinstance(values.setdefault("training", {}), dict):
        values["training"] = {**values["training"], **trained}
    for key, option in (("generalist", "--generalist FILE.keras"), ("source", "--data SOURCE")):
        if key not in values:
            raise InputError(f"`{key}` is missing: give {option}, or a recipe that sets it.")
    return SpecialistsRecipe.parse(values, source=str(path or "the options"))


app = new_app(
    no_args_is_help=True,
    help="Train specialists for a generalist, evaluate, and distill them (Hinton 2015, section 5).",
)
for _verb in (train, evaluate, distill):
    app.command()(_verb)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-distill specialists` with `argv`; returns the exit code."""
    return execute(app, argv, "keras-distill specialists")
