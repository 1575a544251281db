"""`keras-distill run [RECIPE]`: from data to a verified `.tflite` file and a report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill._internal import InputError
from keras_distill.cli import _options
from keras_distill.cli._console import print_json, print_line, print_next, print_table
from keras_distill.cli._verb import DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import RunRecord


def _number(option: str, text: str | None) -> int | float | None:
    """Reads a count (`100`) or a share (`0.1`)."""
    if text is None:
        return None
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise InputError(
            f"`{option}` must be a count such as 100 or a share such as 0.1. Received: {text!r}"
        ) from None


def _overrides(**options: Any) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in options.items() if value is not None}


def _budget(
    max_bytes: str | None,
    max_drop: float | None,
    max_latency_ratio: float | None,
    max_arena: str | None,
    candidates: list[str],
    student: str | None,
) -> dict[str, Any]:
    """Returns the settings of a run that finds its student."""
    if max_bytes is None:
        if candidates or any(v is not None for v in (max_drop, max_latency_ratio, max_arena)):
            raise InputError(
                "`--max-drop`, `--max-latency-ratio`, `--max-arena`, and `--candidate` need"
                " `--max-bytes`."
            )
        return {}
    if student is not None:
        raise InputError(
            "Give `--student` or `--max-bytes`, not both. To consider a student among others, give"
            " it as `--candidate`."
        )
    return {"student.model": "auto", "student.pretrained": None} | _overrides(
        budget__max_bytes=max_bytes,
        budget__max_drop=max_drop,
        budget__max_latency_ratio=max_latency_ratio,
        budget__max_arena=max_arena,
        budget__candidates=candidates or None,
    )


@uses_tensorflow
def command(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Built-in recipe (see `keras-distill recipes`) or .toml file.",
            show_default="digits",
        ),
    ] = None,
    *,
    data: _options.OptionalData = None,
    data_dir: _options.DataDir = None,
    strict: _options.Strict = False,
    teacher: Annotated[
        str | None,
        typer.Option(help="Model spec (the run trains it), file, folder, or py:module:function."),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(help="Store that `targets build` made, in the place of a teacher."),
    ] = None,
    from_probabilities: _options.FromProbabilities = None,
    student: Annotated[
        str | None,
        typer.Option(help="Model spec, .keras file, or shrink:0.5: a narrower teacher."),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(help="Find a student whose .tflite file has at most so many bytes: 100k."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="With --max-bytes: points that it may lose against the teacher."),
    ] = None,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(help="With --max-bytes: its latency relative to the teacher's, as 0.25."),
    ] = None,
    max_arena: Annotated[
        str | None,
        typer.Option(help="With --max-bytes: its memory on a microcontroller, in bytes: 64k."),
    ] = None,
    candidates: Annotated[
        list[str],
        typer.Option(
            "--candidate",
            default_factory=list,
            show_default=False,
            help="With --max-bytes: a further student to consider; may be repeated.",
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(help="Labels that the student sees: a count or a share.", show_default="all"),
    ] = None,
    alpha: _options.OptionalAlpha = None,
    temperature: _options.OptionalTemperature = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of the student.")] = None,
    teacher_epochs: Annotated[
        int | None, typer.Option(help="Epochs of the teacher.", show_default="as the student")
    ] = None,
    batch_size: _options.OptionalBatchSize = None,
    optimizer: _options.OptionalOptimizer = None,
    learning_rate: _options.OptionalLearningRate = None,
    schedule: _options.OptionalSchedule = None,
    weight_decay: _options.OptionalWeightDecay = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds: 0, 1, …")] = None,
    quantization: Annotated[
        str | None,
        typer.Option(help="Precisions of the files, such as float32,int8."),
    ] = None,
    compress: Annotated[
        str | None,
        typer.Option(
            help="Compression steps for the chosen student, such as prune:0.5,quantize.",
            show_default="none",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, and of its folder.")] = None,
    out: Annotated[
        Path | None, _options.output("Run folder.", show_default="saved_models/NAME")
    ] = None,
    scale: _options.Scale = "full",
    tensorboard: _options.TensorBoard = None,
    mlflow: _options.MLflow = None,
    settings: _options.Settings,
    imports: _options.Imports,
    overwrite: _options.Overwrite = False,
    as_json: _options.Json = False,
) -> int:
    """Train a teacher, distill a student, export, benchmark, and write a report.

    Options replace settings of the recipe. With --data but without RECIPE, --teacher and --student
    (or --max-bytes) are required and the other settings have their defaults. You can interrupt a
    run at any time: run the same command again to resume.

    \b
    Example:
      keras-distill run
      keras-distill run --teacher my.keras --data images:photos --max-bytes 100k
    """
    from keras_distill import runs
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.records import parse_setting

    if targets is not None and teacher is not None:
        raise InputError(
            "Give `--targets` or `--teacher`, not both: a store has its teacher's logits."
        )
    overrides = _overrides(
        name=name,
        data__source=data,
        data__data_dir=None if data_dir is None else str(data_dir),
        data__labels=_number("--labels", labels),
        teacher__model=teacher if targets is None else str(targets),
        teacher__from_probabilities=from_probabilities,
        student__model=student,
        distillation__alpha=alpha,
        distillation__temperature=temperature,
        training__epochs=epochs,
        training__batch_size=batch_size,
        training__optimizer=optimizer,
        training__learning_rate=learning_rate,
        training__schedule=schedule,
        training__weight_decay=weight_decay,
        teacher__epochs=epochs if teacher_epochs is None else teacher_epochs,
        seeds=seeds,
        export__quantizations=None if quantization is None else quantization.split(","),
        compress__steps=None if compress is None else compress.split(","),
    )
    overrides |= _budget(max_bytes, max_drop, max_latency_ratio, max_arena, candidates, student)
    overrides |= dict(map(parse_setting, settings))
    if recipe is None and "data.source" in overrides:
        chosen = runs.recipe_from_options(overrides)
    else:
        chosen = runs.load_recipe(recipe or runs.DEFAULT_RECIPE, overrides)
    if strict:
        spec = _options.strict_spec(chosen.data.source, strict)
        changed = chosen.data.model_copy(update={"source": spec})
        chosen = chosen.model_copy(update={"data": changed})
    out = out or Path("saved_models") / chosen.name
    with TerminalReporter() as reporter:
        record = runs.run(
            chosen,
            out,
            scale=scale,
            overwrite=overwrite,
            imports=tuple(imports),
            reporter=reporter,
            tensorboard=tensorboard,
            mlflow=mlflow,
        )
    if as_json:
        print_json(record)
    else:
        _print_run(record, out)
    failed = record.compress is not None and record.compress.failed is not None
    over = record.budget is not None and record.budget.failures
    return VERIFICATION_FAILED if record.exports.rejected or failed or over else DONE


def _print_run(record: "RunRecord", out: Path) -> None:
    from keras_distill import report

    print_table(*report.run_table(record), title=record.recipe.name)
    print_line(report.run_note(record), style="dim")
    for line in report.run_sentences(record):
        print_line(line)
    print_next("keras-distill", "report", out, "--open")


main = verb_main(command, "keras-distill run")
