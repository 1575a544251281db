"""`keras-distill specialists`: trains, evaluates, and distills specialists."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from keras_distill._internal import InputError
from keras_distill.cli._verb import execute, uses_tensorflow

_DATA = typer.Option(None, help="Data set: digits, tfds:cifar100, images:DIR, …")
_DATA_DIR = typer.Option(None, help="Folder of prepared TFDS data sets.")
_IMPORTS = typer.Option([], "--import", help="Module that registers layers.")
_JSON = typer.Option(False, "--json", help="Print the record and nothing else.")
_OVERWRITE = typer.Option(False, help="Replace what stands there.")


@uses_tensorflow
def train(
    recipe: Path = typer.Argument(None, help="A .toml recipe; options given override it."),
    generalist: Path = typer.Option(None, help="The .keras file that gets specialists."),
    data: str = _DATA,
    data_dir: Path = _DATA_DIR,
    clusters: int = typer.Option(None, help="How many class sets. [10]"),
    size: int = typer.Option(None, help="Classes per set. [the clusters as they are]"),
    even: bool = typer.Option(None, help="Sets of --size share the classes out evenly."),
    top: int = typer.Option(None, help="Specialists of the generalist's TOP classes answer. [1]"),
    epochs: int = typer.Option(None, help="Passes over a specialist's own examples. [4]"),
    learning_rate: float = typer.Option(None, help="Of Adam, at the start. [0.001]"),
    alpha: float = typer.Option(None, help="Weight of the generalist's soft targets. [0]"),
    temperature: float = typer.Option(None, help="Of these soft targets. [2]"),
    crop: int = typer.Option(None, help="Pixels by which training images move. [0]"),
    flip: bool = typer.Option(None, help="Mirror half of the training images."),
    seed: int = typer.Option(None, help="Of the order of data. [0]"),
    out: Path = typer.Option(..., "-o", "--out", help="The folder to make."),
    backend: str = typer.Option("in-turn", help="in-turn, processes, ray."),
    workers: int = typer.Option(1, help="Specialists trained at a time."),
    imports: list[str] = _IMPORTS,
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Cluster the classes that the generalist confuses and train a specialist for each set.

    An interrupted training goes on where it stopped when the same command is given again.
    """
    from keras_distill.specialists import _training

    asked = _recipe(
        recipe,
        {
            "generalist": generalist and str(generalist),
            "source": data,
            "data_dir": data_dir and str(data_dir),
            "clusters": clusters,
            "size": size,
            "even": even,
            "top": top,
            "seed": seed,
        },
        {
            "epochs": epochs,
            "learning_rate": learning_rate,
            "alpha": alpha,
            "temperature": temperature,
            "crop": crop,
            "flip": flip,
        },
    )

    def report(job, kept: bool) -> None:
        state = "done before" if kept else f"{job.status}, {job.seconds:.0f} s"
        print(f"{job.name}: {state}", file=sys.stderr)

    ensemble = _training.train(
        asked,
        out,
        backend=backend,
        workers=workers,
        overwrite=overwrite,
        imports=imports,
        report=report,
    )
    if as_json:
        print((out / "ensemble.json").read_text(encoding="utf-8"), end="")
        return
    for number, ids in enumerate(ensemble.class_sets.lists()):
        print(f"specialist {number}: classes {', '.join(map(str, ids))}")
    alone = ensemble.class_sets.left_alone.tolist()
    if alone:
        print(f"left to the generalist alone: {', '.join(map(str, alone))}")
    print(f"Everything is in {out}. Next: keras-distill specialists evaluate {out}")


@uses_tensorflow
def evaluate(
    folders: list[Path] = typer.Argument(..., help="Folders that `train` made: one per seed."),
    data: str = _DATA,
    data_dir: Path = _DATA_DIR,
    split: str = typer.Option("test", help="test or validation."),
    net: list[Path] = typer.Option([], help="A .keras net to judge beside them: distilled back."),
    output: Path = typer.Option(None, "-o", "--output", help="Record. [FOLDER/evaluation.json]"),
    imports: list[str] = _IMPORTS,
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Judge generalist against generalist + specialists; write a record and a page."""
    from keras_distill._internal import _files
    from keras_distill.report import _specialists as page
    from keras_distill.specialists import _judging

    output = output or folders[0] / "evaluation.json"
    if output.suffix != ".json":
        raise InputError(f"--output must end in .json; the page goes beside it. Received: {output}")
    html = output.with_suffix(".html")
    for path in (output, html):
        _files.check_output(path, overwrite=overwrite)
    record = _judging.report_on(
        folders, source=data, data_dir=data_dir, split=split, nets=net, imports=imports
    )
    record.save(output, overwrite=overwrite)
    page.write(record, html, overwrite=overwrite)
    if as_json:
        print(record.model_dump_json(indent=2))
        return
    for line in page.lines(record):
        print(line)
    print(f"The page is {html}.")


@uses_tensorflow
def distill(
    folder: Path = typer.Argument(..., help="A folder that `train` made."),
    student: str = typer.Option(
        None, help="Model spec, or a .keras file to start from. [a copy of the generalist]"
    ),
    out: Path = typer.Option(..., "-o", "--out", help="The .keras file to write."),
    data: str = _DATA,
    data_dir: Path = _DATA_DIR,
    epochs: int = typer.Option(15, help="Epochs."),
    batch_size: int = typer.Option(128, help="Examples per step."),
    learning_rate: float = typer.Option(1e-3, help="Of Adam, at the start."),
    alpha: float = typer.Option(0.9, help="Weight of the soft targets, 0..1."),
    temperature: float = typer.Option(2.0, help="Of the soft targets."),
    crop: int = typer.Option(0, help="Pixels by which training images move."),
    flip: bool = typer.Option(False, help="Mirror half of the training images."),
    views: int = typer.Option(4, help="Augmented views in the store, with --crop or --flip."),
    seed: int = typer.Option(0, help="Of initial weights and order of data."),
    overwrite: bool = _OVERWRITE,
    as_json: bool = _JSON,
) -> None:
    """Distil generalist and specialists back into one net.

    An interrupted training goes on where it stopped when the same command is given again.
    """
    from keras_distill._internal import _files
    from keras_distill.records._specialists_study import BackPart, NetResult, NetTraining
    from keras_distill.runs._specialist_nets import net_job
    from keras_distill.specialists import _judging
    from keras_distill.specialists._ensemble import GENERALIST, MANIFEST

    _files.check_output(out, overwrite=overwrite)
    if out.suffix != ".keras":
        raise InputError(f"--out must end in .keras. Received: {out}")
    recipe = _judging.recipe_of(folder, source=data, data_dir=data_dir)
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} holds no specialists: it has no {MANIFEST}.")
    _training = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    net = NetTraining.parse(
        {"training": _training, "crop": crop, "flip": flip}, source="the options"
    )
    back = BackPart.parse(
        {"net": net, "alpha": alpha, "temperature": temperature, "views": views},
        source="the options",
    )
    result = net_job(
        source=recipe.source,
        data_dir=recipe.data_dir,
        start=student or str(folder / GENERALIST),
        net=net.model_dump(mode="json"),
        seed=seed,
        out=str(out),
        teacher=str(folder),
        back=back.model_dump(mode="json"),
        checksums=[_files.sha256(folder / MANIFEST)],
    )
    record = NetResult(**result)
    if as_json:
        print(record.model_dump_json(indent=2))
        return
    accuracy = 100 * record.validation_accuracy
    print(f"{out}: {record.parameters:,} weights, {accuracy:.1f} % of the validation split.")
    print(f"Next: keras-distill specialists evaluate {folder} --net {out}")


def _recipe(path: Path | None, options: dict, training: dict):
    """The recipe file with the options given put over it, or the options alone."""
    from keras_distill.records._base import read_toml
    from keras_distill.records._specialists import SpecialistsRecipe

    values = {} if path is None else read_toml(path)
    given = {key: value for key, value in options.items() if value is not None}
    trained = {key: value for key, value in training.items() if value is not None}
    values = {**values, **given}
    if trained and isinstance(values.setdefault("training", {}), dict):
        values["training"] = {**values["training"], **trained}
    for key, option in (("generalist", "--generalist FILE.keras"), ("source", "--data SOURCE")):
        if key not in values:
            raise InputError(f"`{key}` is missing: give {option}, or a recipe that names it.")
    return SpecialistsRecipe.parse(values, source=str(path or "the options"))


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Generalist and specialists: train, evaluate, distil back (Hinton 2015, section 5).",
)
for _verb in (train, evaluate, distill):
    app.command()(_verb)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-distill specialists` with `argv`; returns the exit code."""
    return execute(app, argv, "keras-distill specialists")
