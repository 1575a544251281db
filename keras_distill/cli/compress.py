"""`keras-distill compress`: prunes, clusters, and quantizes a student while distilling it."""

import sys
import warnings
from pathlib import Path
from typing import Any

import typer

from keras_distill._internal import InputError
from keras_distill._internal._compression_steps import parse_steps
from keras_distill.cli._verb import DONE, uses_tensorflow, verb_main


@uses_tensorflow
def command(
    student: Path = typer.Argument(..., help="The trained student, a .keras file."),
    steps: str = typer.Option(
        ...,
        help="By comma, in this order: prune:SPARSITY[:constant] or prune:2:4, cluster:VALUES,"
        " quantize. Such as prune:0.8,quantize.",
    ),
    data: str = typer.Option(..., help="Data set to train on: digits, tfds:mnist, …"),
    out: Path = typer.Option(..., "--output", "-o", help="The folder to make."),
    targets: Path = typer.Option(None, help="Soft-target store of the data's training rows."),
    teacher: str = typer.Option(None, help="Live teacher instead: a .keras or .tflite file."),
    data_dir: Path = typer.Option(None, help="Folder of prepared TFDS data sets."),
    alpha: float = typer.Option(0.9, help="Weight of the soft loss, 0..1; 0 needs no teacher."),
    temperature: float = typer.Option(4.0, help="Temperature of the soft targets."),
    epochs: int = typer.Option(10, help="Epochs of each step."),
    batch_size: int = typer.Option(128, help="Examples per training step."),
    learning_rate: float = typer.Option(1e-3, help="At the start; falls to 0 by a cosine."),
    optimizer: str = typer.Option("adam", help="adam or sgd."),
    skip: str = typer.Option(None, help="Layers to leave dense, by comma."),
    sparse: bool = typer.Option(False, help="Leave zeros out of the float32 file."),
    max_drop: float = typer.Option(None, help="The most points that conversion may lose."),
    seed: int = typer.Option(0, help="Of the order of the examples."),
    imports: list[str] = typer.Option([], "--import", help="Module that registers layers."),
    overwrite: bool = typer.Option(False, help="Replace a folder that stands there."),
    as_json: bool = typer.Option(False, "--json", help="Print the record and nothing else."),
) -> int:
    """Prune, cluster and quantize a student while it is distilled; write the verified file.

    OUT gets student.keras, the .tflite file with its record, compress.json, and after a quantize
    step fake_quant/, the model to go on training from. An interrupted command goes on where it
    stopped when it is given again.
    """
    from keras_distill import data as sources
    from keras_distill import models
    from keras_distill.compress import compress
    from keras_distill.targets import SoftTargetStore

    parse_steps(steps.split(","), sparse=sparse)
    if targets is not None and teacher is not None:
        raise InputError("Give `--targets` or `--teacher`, not both.")
    if alpha > 0 and targets is None and teacher is None:
        raise InputError(
            f"`--alpha` above 0 needs soft targets. Received: --alpha {alpha:g} and neither"
            " --targets nor --teacher. Give one of them, or --alpha 0 for hard labels alone."
        )
    model = models.load(student, imports=tuple(imports))
    splits = sources.load(data, data_dir=data_dir)

    store = None if targets is None else SoftTargetStore.open(targets)

    def stream(epoch: int) -> Any:
        if store is None:
            return sources.batches(
                splits.train, batch_size, shuffle_seed=seed, epoch=epoch, epochs=None
            )
        return store.batches(
            splits.train, batch_size, seed=seed, first_epoch=epoch, temperature=temperature
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the records carry them
        done = compress(
            model,
            stream,
            steps.split(","),
            out,
            skip=skip.split(",") if skip else (),
            sparse=sparse,
            overwrite=overwrite,
            export={"max_drop": max_drop, "class_names": splits.class_names},
            teacher=teacher,
            alpha=alpha,
            temperature=temperature,
            epochs=epochs,
            steps_per_epoch=-(-int(splits.train.cardinality()) // batch_size),
            learning_rate=learning_rate,
            optimizer=optimizer,
            validation_data=splits.validation.batch(batch_size),
            verbose=2 if sys.stdout.isatty() and not as_json else 0,
        )
    if as_json:
        print(done.record.model_dump_json(indent=2))
    else:
        _show(done.record, out)
    return DONE


def _show(record: Any, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from keras_distill.compress import summary

    console = Console()
    table = Table(show_header=False, box=None)
    for row in summary(record):
        table.add_row(*row)
    console.print(table)
    console.print(f"Everything is in {out}.", highlight=False)


main = verb_main(command, "keras-distill compress")
