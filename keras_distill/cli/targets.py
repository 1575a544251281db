"""`keras-distill targets build | info | verify`: soft targets stored once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from keras_distill._internal import InputError, check_choice
from keras_distill.cli._verb import execute, uses_tensorflow

_DATA = typer.Option(..., help="Data set: digits, tfds:mnist, images:DIR, …")
_DATA_DIR = typer.Option(None, help="Folder of prepared TFDS data sets.")
_SPLIT = typer.Option("train", help="train, validation or test.")
_IMPORTS = typer.Option([], "--import", help="Module that registers layers.")
_JSON = typer.Option(False, "--json", help="Print JSON and nothing else.")


def _dataset(spec: str, data_dir: Path | None, split: str) -> Any:
    from keras_distill import data

    check_choice("split", split, ("train", "validation", "test"))
    return getattr(data.load(spec, data_dir=data_dir), split)


def _one(path: Path, imports: Sequence[str]) -> Any:
    import numpy as np

    from keras_distill import models, teachers

    if path.suffix == ".npy":
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"Cannot read {path}: {error}.") from error
    if path.suffix == ".keras":
        return models.load(path, imports=tuple(imports))
    return teachers.as_teacher(path)


def _teacher(
    paths: Sequence[Path], imports: Sequence[str], mean: str, temperature: float | None
) -> Any:
    from keras_distill.teachers import TeacherEnsemble

    found = [_one(path, imports) for path in paths]
    if len(found) == 1:
        return found[0]
    if any(path.suffix == ".npy" for path in paths):
        raise InputError("An ensemble is made of .keras and .tflite files, not of .npy files.")
    return TeacherEnsemble(found, mean=mean, temperature=temperature)


def _augmentation(text: str | None) -> Any:
    """`crop=4,flip,erase=0.25` as an `Augmentation`."""
    from keras_distill.data import Augmentation

    if text is None:
        return None
    settings = {}
    for part in text.split(","):
        name, given, value = part.strip().partition("=")
        try:
            number = float(value) if given else True
        except ValueError:
            raise InputError(
                f"`--augment` takes name=number by comma, such as crop=4,flip. Received: {part!r}"
            ) from None
        whole = given and number == int(number) and name != "flip"
        settings[name] = int(number) if whole else bool(number) if name == "flip" else number
    return Augmentation.from_settings(settings)


@uses_tensorflow
def build(
    teacher: list[Path] = typer.Argument(
        ..., help=".keras or .tflite file, .npy of logits; several are an ensemble."
    ),
    output: Path = typer.Option(..., "--output", "-o", help="The store, a folder."),
    data: str = _DATA,
    data_dir: Path = _DATA_DIR,
    split: str = _SPLIT,
    top_k: int = typer.Option(None, help="Logits to keep of each row. [all]"),
    views: int = typer.Option(1, help="Augmented views per example."),
    augment: str = typer.Option(
        None, help="What makes the views: crop=PX, flip, rotate, zoom, shear, jitter, erase, seed."
    ),
    batch_size: int = typer.Option(128, help="Examples the teacher sees at once."),
    dtype: str = typer.Option("float16", help="float16, or float32 for logits beyond 65504."),
    mean: str = typer.Option("geometric", help="Of an ensemble: geometric or arithmetic."),
    temperature: float = typer.Option(None, help="T of an arithmetic mean."),
    from_probabilities: bool = typer.Option(False, help="The teacher gives probabilities."),
    imports: list[str] = _IMPORTS,
    overwrite: bool = typer.Option(False, help="Replace a store that stands there."),
    as_json: bool = _JSON,
) -> None:
    """Run a teacher over the data once and keep what it says.

    An interrupted build goes on where it stopped when the same command is given again.
    """
    from keras_distill.targets import SoftTargetStore

    store = SoftTargetStore.build(
        _teacher(teacher, imports, mean, temperature),
        _dataset(data, data_dir, split),
        output,
        top_k=top_k,
        views=views,
        augment=_augmentation(augment),
        batch_size=batch_size,
        dtype=dtype,
        from_probabilities=from_probabilities,
        overwrite=overwrite,
    )
    _show(store.info(), as_json)


@uses_tensorflow
def info(
    store: Path = typer.Argument(..., help="The store's folder."),
    examples: int = typer.Option(512, help="Records to measure the KL error of top-k on."),
    as_json: bool = _JSON,
) -> None:
    """Show what a store holds, and what keeping only k logits loses at each temperature."""
    from keras_distill.targets import SoftTargetStore

    _show(SoftTargetStore.open(store).info(examples), as_json)


@uses_tensorflow
def verify(
    store: Path = typer.Argument(..., help="The store's folder."),
    data: str = typer.Option(None, help="Compare with this data set, example by example."),
    data_dir: Path = _DATA_DIR,
    split: str = _SPLIT,
    teacher: list[Path] = typer.Option([], help="Compare with this teacher; several: ensemble."),
    mean: str = typer.Option("geometric", help="Of an ensemble: geometric or arithmetic."),
    temperature: float = typer.Option(None, help="T of an arithmetic mean."),
    imports: list[str] = _IMPORTS,
    as_json: bool = _JSON,
) -> None:
    """Check every byte of a store; with data every example; with a teacher its fingerprint."""
    import json

    from keras_distill.targets import SoftTargetStore

    found = SoftTargetStore.open(store).verify(
        None if data is None else _dataset(data, data_dir, split),
        _teacher(teacher, imports, mean, temperature) if teacher else None,
    )
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for what, result in found.items():
            print(f"{what:<8} {result}")


def _show(found: Any, as_json: bool) -> None:
    if as_json:
        print(found.model_dump_json(indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    facts = Table(show_header=False, box=None)
    for name, value in _facts(found):
        facts.add_row(name, value)
    console.print(facts)
    if not found.topk_error:
        return
    temperatures = sorted({error.temperature for error in found.topk_error})
    table = Table(
        title="KL error in nats, and in brackets the probability left out",
        caption=f"Measured on {found.topk_error_of}.",
        title_justify="left",
        caption_justify="left",
        box=None,
    )
    for name in ("k", *(f"T={temperature:g}" for temperature in temperatures)):
        table.add_column(name, justify="right")
    for k in sorted({error.top_k for error in found.topk_error}):
        row = [error for error in found.topk_error if error.top_k == k]
        row.sort(key=lambda error: error.temperature)
        table.add_row(str(k), *(f"{error.kl:.2g} ({error.rest:.2g})" for error in row))
    console.print(table)


def _facts(found: Any) -> list[tuple[str, str]]:
    manifest = found.manifest
    teacher = manifest.teacher
    outputs = [
        (f"{output.name}: " if output.name else "")
        + (f"{output.top_k} of " if output.top_k else "")
        + f"{'x'.join(map(str, output.shape))} logits, {output.dtype}"
        for output in manifest.outputs
    ]
    only = "" if teacher.temperature is None else f", good for T={teacher.temperature:g} only"
    augment = {k: v for k, v in (manifest.augment or {}).items() if v or k == "seed"}
    return [
        ("store", found.path),
        ("teacher", f"{teacher.name}, {(teacher.fingerprint or 'no fingerprint')[:16]}{only}"),
        ("examples", f"{manifest.examples}, x {', '.join(manifest.inputs)}"),
        ("record", f"{'; '.join(outputs)}: {found.record_bytes} bytes"),
        ("views", f"{manifest.views}{f' of {augment}' if augment else ''}"),
        (
            "size",
            f"{found.total_bytes} bytes in {found.files} files, and {found.key_bytes} of keys;"
            f" dense float16 would be {found.dense_bytes}",
        ),
    ]


app = typer.Typer(no_args_is_help=True, help="Soft targets stored once: build, info, verify.")
app.command("build")(build)
app.command("info")(info)
app.command("verify")(verify)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-distill targets` with `argv`; returns the exit code."""
    return execute(app, argv, "keras-distill targets")
