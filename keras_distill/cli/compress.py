"""`keras-distill compress`: prunes, clusters, and quantizes a student while distilling it."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_distill._internal import InputError, VerificationError, check_number
from keras_distill._internal._compression_steps import parse_steps
from keras_distill._internal._quantity import number_of
from keras_distill.cli import _next, _options
from keras_distill.cli._console import print_facts, print_json, print_line, print_next, print_table
from keras_distill.cli._soft_stream import soft_stream
from keras_distill.cli._verb import DONE, uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.records import CompressRecord


@uses_tensorflow
def command(
    student: Annotated[Path, typer.Argument(help="The trained student, a .keras file.")],
    *,
    steps: Annotated[
        str,
        typer.Option(
            help="Steps in this order, separated by commas: prune:SPARSITY[:constant] or prune:2:4,"
            " cluster:VALUES, quantize. Example: prune:0.5,quantize."
        ),
    ],
    data: _options.Data,
    out: Annotated[Path, _options.output("The folder to make.")],
    targets: Annotated[
        Path | None, typer.Option(help="Soft-target store of the training rows of --data.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Live teacher instead of a store: a .keras or .tflite file, or a folder."
        ),
    ] = None,
    from_probabilities: _options.FromProbabilities = None,
    data_dir: _options.DataDir = None,
    strict: _options.Strict = False,
    alpha: _options.Alpha = 0.9,
    temperature: _options.Temperature = 4.0,
    epochs: Annotated[int, typer.Option(help="Epochs of each step.")] = 10,
    batch_size: _options.BatchSize = 128,
    optimizer: _options.Optimizer = "adam",
    learning_rate: _options.LearningRate = 1e-3,
    schedule: _options.Schedule = "cosine",
    weight_decay: _options.OptionalWeightDecay = None,
    skip: Annotated[
        str | None,
        typer.Option(help="Layers that are not pruned or clustered, separated by commas."),
    ] = None,
    sparse: Annotated[
        bool, typer.Option("--sparse", help="Store the float32 file without its zeros.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Maximum loss of accuracy of the file against STUDENT, in points.",
            show_default="1",
        ),
    ] = None,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover",
            help="Try a step that loses more again: with 3 times the epochs, then with a milder"
            " setting.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the order of the examples.")] = 0,
    imports: _options.Imports,
    overwrite: _options.Overwrite = False,
    as_json: _options.Json = False,
) -> int:
    """Prune, cluster, and quantize a student with distillation; write the verified file.

    Every step and the file are judged against STUDENT on the validation rows of --data. If the file
    loses more than --max-drop, it is not written, the exit code is 1, and the trained steps stay in
    OUTPUT.unfinished: the same command with another --max-drop, or with --recover, continues there.

    The output folder gets student.keras, the .tflite file with its record, compress.json, and after
    a quantize step fake_quant/, the model to continue training from. --alpha 0 needs no teacher.
    You can interrupt the command at any time: run it again to resume.

    \b
    Example:
      keras-distill compress student.keras --teacher teacher.keras --data digits \\
          --steps prune:0.5,quantize -o small
    """
    from keras_distill import data as sources
    from keras_distill import models
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.compress import compress
    from keras_distill.targets import SoftTargetStore
    from keras_distill.teachers import as_teacher
    from keras_distill.work import ReportSteps

    parse_steps(steps.split(","), sparse=sparse)
    if targets is not None and teacher is not None:
        raise InputError("Give `--targets` or `--teacher`, not both.")
    if alpha > 0 and targets is None and teacher is None:
        raise InputError(
            f"`--alpha` above 0 needs soft targets. Received: --alpha {alpha:g} and neither"
            " --targets nor --teacher. Give one of them, or --alpha 0 for hard labels alone."
        )
    check_number("alpha", alpha, at_least=0, at_most=1)
    check_number("temperature", temperature, at_least=1e-3, at_most=1e6)
    model = models.load(student, imports=tuple(imports))
    live = None if teacher is None else as_teacher(teacher, imports=tuple(imports))
    spec = _options.strict_spec(data, strict)
    splits = sources.load(spec, data_dir=data_dir, reads=("train", "validation"))

    splits.need_labels("Compression")
    store = None if targets is None else SoftTargetStore.open(targets)

    stream = soft_stream(splits, store, batch_size, seed=seed, temperature=temperature)
    try:
        with warnings.catch_warnings(), TerminalReporter() as reporter:
            warnings.simplefilter("ignore")  # the records have them
            done = compress(
                model,
                stream,
                steps.split(","),
                out,
                skip=skip.split(",") if skip else (),
                sparse=sparse,
                max_drop=max_drop,
                recover=recover,
                overwrite=overwrite,
                export={"data": splits, "class_names": splits.class_names},
                teacher=live,
                from_probabilities=from_probabilities,
                alpha=alpha,
                temperature=temperature,
                epochs=epochs,
                steps_per_epoch=-(-int(splits.train.cardinality()) // batch_size),
                learning_rate=learning_rate,
                optimizer=optimizer,
                schedule=schedule,
                weight_decay=weight_decay,
                validation_data=splits.validation.batch(batch_size),
                callbacks=[
                    ReportSteps(
                        reporter, ("compress", f"{steps}; {number_of(epochs, 'epoch')} each")
                    )
                ],
            )
    except VerificationError as error:
        if error.record is not None:
            _print_record(error.record, as_json)
        raise
    _print_record(done.record, as_json, out)
    if not as_json and done.record.export is not None:
        words = ["keras-distill", "benchmark", student, out / done.record.export.file]
        print_next(*words, *_next.data_words(spec, data_dir, imports))
    return DONE


def _print_record(record: "CompressRecord", as_json: bool, out: Path | None = None) -> None:
    from keras_distill.compress import STEP_COLUMNS, step_rows, summary

    if as_json:
        print_json(record)
        return
    rows = "" if record.source is None else f"Accuracy on {record.samples} rows ({record.source})"
    print_table(STEP_COLUMNS, step_rows(record), caption=rows)
    if facts := summary(record):
        print_facts(facts)
    for text in record.warnings:
        print_line(f"Note: {text}.")
    if out is not None and record.export is not None:
        print_line(f"Results: {out}")
        statement = record.export.verification.statement
        print_line(f"{statement[0].upper()}{statement[1:]}.")


main = verb_main(command, "keras-distill compress")
