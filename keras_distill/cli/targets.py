"""`keras-distill targets`: builds, shows, and checks soft-target stores."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill._internal import InputError, check_choice, check_count
from keras_distill._internal._checks import MAX_THREADS
from keras_distill.cli import _next
from keras_distill.cli._console import (
    print_facts,
    print_json,
    print_line,
    print_next,
    print_table,
)
from keras_distill.cli._options import (
    Data,
    DataDir,
    FromProbabilities,
    Imports,
    Json,
    OptionalData,
    Overwrite,
    Split,
    Strict,
    choice,
    output,
    strict_spec,
)
from keras_distill.cli._verb import execute, new_app, uses_tensorflow
from keras_distill.cli.predict import takes_unknown_range

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_distill._internal._progress import Report, Reporter
    from keras_distill.data import Augmentation
    from keras_distill.records import TargetsInfo
    from keras_distill.targets import StoreSource

_Store = Annotated[Path, typer.Argument(help="Folder of the store.")]
_Mean = Annotated[str, choice("--mean", "geometric", "arithmetic", help="Mean of an ensemble.")]
_Temperature = Annotated[
    float | None, typer.Option(help="Temperature of an ensemble's arithmetic mean.")
]


def _dataset(spec: str, data_dir: Path | None, split: str) -> "tf.data.Dataset":
    from keras_distill import data

    check_choice("split", split, ("train", "validation", "test"))
    return getattr(data.load(spec, data_dir=data_dir, reads=(split,)), split)


def _source(
    paths: Sequence[Path],
    imports: Sequence[str],
    mean: str,
    temperature: float | None,
    **data: Any,
) -> "StoreSource":
    from keras_distill.targets import StoreSource

    values: dict[str, Any] = {"data": "", **data, "mean": mean, "temperature": temperature}
    return StoreSource(tuple(map(str, paths)), imports=tuple(imports), **values)


def _augmentation(text: str | None) -> "Augmentation | None":
    """Parses text such as `crop=4,flip,erase=0.25`."""
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
                f"`--augment` must be settings such as crop=4,flip. Received: {part!r}"
            ) from None
        whole = given and name != "flip" and math.isfinite(number) and number == int(number)
        settings[name] = int(number) if whole else bool(number) if name == "flip" else number
    return Augmentation.from_settings(settings)


@uses_tensorflow
def build(
    teacher: Annotated[
        list[Path],
        typer.Argument(
            help="A .keras or .tflite file, the folder of a SavedModel or an ensemble,"
            " py:MODULE:FUNCTION, or an .npy file of logits; several: an ensemble."
        ),
    ],
    *,
    out: Annotated[Path, output("Folder of the new store.")],
    data: Data,
    data_dir: DataDir = None,
    split: Split = "train",
    strict: Strict = False,
    top_k: Annotated[
        int | None, typer.Option(help="Logits to keep per row.", show_default="all")
    ] = None,
    views: Annotated[int, typer.Option(help="Augmented views per example.")] = 1,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Of the views: crop=PX, flip, rotate, zoom, shear, jitter, erase, mixup, cutmix,"
            " seed."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Examples per call of the teacher.")] = 128,
    dtype: Annotated[
        str, choice("--dtype", "float16", "float32", help="float32 for logits beyond 65504.")
    ] = "float16",
    mean: _Mean = "geometric",
    temperature: _Temperature = None,
    from_probabilities: FromProbabilities = None,
    backend: Annotated[
        str, typer.Option(help="Who runs the teacher: in-turn, processes, or ray.")
    ] = "in-turn",
    workers: Annotated[int, typer.Option(help="Processes that write at a time.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of each process, and of a .tflite file."
            "  [default: cores divided by workers]"
        ),
    ] = None,
    imports: Imports,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Run a teacher over the data once and store its logits.

    You can interrupt a build at any time. Run the same command again to resume.

    \b
    Example:
      keras-distill targets build teacher.keras -o targets --data digits
    """
    from keras_distill._internal._progress import TerminalReporter
    from keras_distill.targets import SoftTargetStore, build_store

    if threads is not None:
        check_count("threads", threads, at_most=MAX_THREADS)
    source = _source(
        teacher,
        imports,
        mean,
        temperature,
        data=strict_spec(data, strict),
        data_dir=None if data_dir is None else str(data_dir),
        split=split,
        from_probabilities=from_probabilities,
        threads=threads,
    )
    settings: dict[str, Any] = {
        "top_k": top_k,
        "views": views,
        "augment": _augmentation(augment),
        "batch_size": batch_size,
        "dtype": dtype,
        "overwrite": overwrite,
    }
    with TerminalReporter() as reporter:
        settings["progress"] = _progress(reporter, source)
        if backend == "in-turn":
            given, dataset = source.open()
            store = SoftTargetStore.build(
                given, dataset, out, from_probabilities=from_probabilities, **settings
            )
        else:
            store = build_store(
                source, out, backend=backend, workers=workers, threads=threads, **settings
            )
    found = store.info()
    _print_info(found, as_json)
    if not as_json:
        _print_unknown_ranges(found, teacher)
        print_next(*_following(found, source))


def _print_unknown_ranges(found: "TargetsInfo", teacher: Sequence[Path]) -> None:
    """Says which teachers got raw pixels although they may take scaled ones."""
    from keras_distill.litert import LiteRTModel

    files = [path for path in teacher if path.suffix == ".tflite"]
    if not found.manifest.inputs[0].startswith("uint8"):
        return
    for path in files:
        if takes_unknown_range(LiteRTModel(path)):
            print_line(
                f"Note: {path} takes float32 and has no record. It was given pixels in 0..255. If"
                " it takes 0..1, these soft targets are wrong: see --rescale of keras-distill"
                " predict, and give a function that scales, py:MODULE:FUNCTION, as the teacher."
            )


def _following(found: "TargetsInfo", source: "StoreSource") -> list[str]:
    """Returns the command that trains a student on a new store; without labels, that checks it."""
    folder = None if source.data_dir is None else Path(source.data_dir)
    where = _next.data_words(source.data, folder, source.imports)
    if source.split != "train" or found.build is None or found.build.accuracy is None:
        return ["keras-distill", "targets", "verify", found.path, *where, "--split", source.split]
    shape = [int(side) for side in re.findall(r"\d+", found.manifest.inputs[0].partition("[")[2])]
    words = ["keras-distill", "run", "--targets", found.path]
    words += ["--student", _next.small_student(shape), *where]
    temperature = found.manifest.teacher.temperature  # of an arithmetic mean, valid at no other
    return words if temperature is None else [*words, "--temperature", f"{temperature:g}"]


def _progress(reporter: "Reporter", source: "StoreSource") -> "Report":
    """Returns what receives the progress of a build.

    It shows the stage once a first batch is stored: bad input is answered by one line alone.
    """
    begun, task = False, None

    def report(done: int, total: int | None) -> None:
        nonlocal begun, task
        if begun and task is None:
            rows = "" if total is None else f", {total} rows"
            reporter.stage("teacher", ", ".join(source.teacher))
            reporter.stage("targets", f"{source.data} ({source.split}{rows})")
            task = reporter.track("soft targets")
        begun = True
        if task is not None:
            task(done, total)

    return report


@uses_tensorflow
def info(
    store: _Store,
    *,
    examples: Annotated[int, typer.Option(help="Records to measure the error of top-k on.")] = 512,
    as_json: Json = False,
) -> None:
    """Show what a store holds, and the KL error of top-k logits at each temperature.

    \b
    Example:
      keras-distill targets info targets
    """
    from keras_distill.targets import SoftTargetStore

    _print_info(SoftTargetStore.open(store).info(examples), as_json)


@uses_tensorflow
def verify(
    store: _Store,
    *,
    data: OptionalData = None,
    data_dir: DataDir = None,
    split: Split = "train",
    teacher: Annotated[
        list[Path],
        typer.Option(
            default_factory=list,
            show_default=False,
            help="Compare with this teacher's fingerprint; several: an ensemble.",
        ),
    ],
    mean: _Mean = "geometric",
    temperature: _Temperature = None,
    imports: Imports,
    as_json: Json = False,
) -> None:
    """Check every byte of a store; with --data every example; with --teacher its fingerprint.

    \b
    Example:
      keras-distill targets verify targets --data digits --teacher teacher.keras
    """
    from keras_distill.targets import SoftTargetStore

    found = SoftTargetStore.open(store).verify(
        None if data is None else _dataset(data, data_dir, split),
        _source(teacher, imports, mean, temperature).open_teacher() if teacher else None,
    )
    if as_json:
        print_json(found)
    else:
        print_facts(found.items())


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{max(0.0, value):.2g}"  # below 0 by rounding only


def _print_info(found: "TargetsInfo", as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_facts(_facts(found))
    if not found.topk_error:
        return
    temperatures = sorted({error.temperature for error in found.topk_error})
    rows = []
    for k in sorted({error.top_k for error in found.topk_error}):
        errors = [error for error in found.topk_error if error.top_k == k]
        errors.sort(key=lambda error: error.temperature)
        rows.append((str(k), *(f"{_digits(error.kl)} ({_digits(error.rest)})" for error in errors)))
    print_table(
        ("k", *(f"T={temperature:g}" for temperature in temperatures)),
        rows,
        title="KL error in nats (in parentheses: the probability outside the top k)",
        caption=f"Measured on {found.topk_error_of}.",
        text_columns=(),
    )


def _facts(found: "TargetsInfo") -> list[tuple[str, str]]:
    manifest = found.manifest
    teacher = manifest.teacher
    outputs = [
        (f"{output.name}: " if output.name else "")
        + (f"{output.top_k} of " if output.top_k else "")
        + f"{'x'.join(map(str, output.shape))} logits, {output.dtype}"
        for output in manifest.outputs
    ]
    only = "" if teacher.temperature is None else f", valid at T={teacher.temperature:g} only"
    augment = {k: v for k, v in (manifest.augment or {}).items() if v or k == "seed"}
    facts = [
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
    if found.build is None:
        return facts
    accuracy = "not measured: the data have no labels of its classes"
    if found.build.accuracy is not None:
        accuracy = f"{found.build.accuracy:.2%} on {found.build.labeled} labels"
    speed = f"{found.build.rows_per_second:,.0f} rows per second"
    return [*facts, ("teacher accuracy", accuracy), ("speed", speed)]


app = new_app(no_args_is_help=True, help="Store soft targets once: build, info, verify.")
app.command("build")(build)
app.command("info")(info)
app.command("verify")(verify)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-distill targets` with `argv`; returns the exit code."""
    return execute(app, argv, "keras-distill targets")
