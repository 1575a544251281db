"""The options that several verbs share, each defined once.

Use an alias as the annotation of a keyword-only parameter and give the default in the signature:
`def command(*, data: Data, data_dir: DataDir = None, imports: Imports)`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_distill._internal import InputError


def choice(name: str, *choices: str, help: str) -> Any:
    """Returns an option whose choices the help lists and a shell completes; the verb checks it."""

    def complete(incomplete: str) -> list[str]:
        return [text for text in choices if text.startswith(incomplete)]

    return typer.Option(name, metavar="|".join(choices), help=help, autocompletion=complete)


_DATA = typer.Option("--data", help="Data set, such as digits, tfds:mnist, or images:DIR.")
Data = Annotated[str, _DATA]
OptionalData = Annotated[str | None, _DATA]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of prepared TFDS data sets.")
]
Split = Annotated[str, choice("--split", "train", "validation", "test", help="Part of the data.")]

Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Refuse files in images:DIR that are not images, instead of skipping them."
    ),
]

_BATCH_SIZE = typer.Option("--batch-size", help="Examples per step.")
BatchSize = Annotated[int, _BATCH_SIZE]
OptionalBatchSize = Annotated[int | None, _BATCH_SIZE]

_ALPHA = typer.Option("--alpha", help="Weight of the soft loss, 0..1.")
Alpha = Annotated[float, _ALPHA]
OptionalAlpha = Annotated[float | None, _ALPHA]

_TEMPERATURE = typer.Option("--temperature", help="Temperature of the soft targets.")
Temperature = Annotated[float, _TEMPERATURE]
OptionalTemperature = Annotated[float | None, _TEMPERATURE]

_OPTIMIZER = choice("--optimizer", "adam", "adamw", "sgd", help="Optimizer.")
Optimizer = Annotated[str, _OPTIMIZER]
OptionalOptimizer = Annotated[str | None, _OPTIMIZER]

_LEARNING_RATE = typer.Option("--learning-rate", help="Learning rate at the first step.")
LearningRate = Annotated[float, _LEARNING_RATE]
OptionalLearningRate = Annotated[float | None, _LEARNING_RATE]

_SCHEDULE = choice(
    "--schedule", "cosine", "constant", help="Learning rate; cosine falls to 0 at the last step."
)
Schedule = Annotated[str, _SCHEDULE]
OptionalSchedule = Annotated[str | None, _SCHEDULE]

_PRECISION = choice(
    "--precision",
    "float32",
    "mixed_bfloat16",
    "mixed_float16",
    help="Precision of the training; the saved model computes in float32.",
)
Precision = Annotated[str, _PRECISION]
OptionalPrecision = Annotated[str | None, _PRECISION]

OptionalWeightDecay = Annotated[
    float | None,
    typer.Option("--weight-decay", help="Decoupled weight decay.", show_default="the optimizer's"),
]

FromProbabilities = Annotated[
    bool | None,
    typer.Option(
        "--from-probabilities/--from-logits",
        show_default=False,
        help="What the teacher gives, where its file does not show it.",
    ),
]

# The list of modules is empty by default, so it takes no default in the signature.
Imports = Annotated[
    list[str],
    typer.Option(
        "--import",
        default_factory=list,
        show_default=False,
        help="Module that registers custom layers; may be repeated.",
    ),
]
# A list, as `Imports`.
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        default_factory=list,
        show_default=False,
        help="Any setting of the recipe, such as distillation.temperature=2; may be repeated."
        " KEY= returns it to its default.",
    ),
]
Scale = Annotated[
    str, choice("--scale", "full", "smoke", help="smoke: two steps of everything, for a try.")
]
Backend = Annotated[
    str, choice("--backend", "in-turn", "processes", "ray", help="How trainings are run.")
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Folder for the curves and settings of every training, for TensorBoard.",
    ),
]
MLflow = Annotated[
    str | None,
    typer.Option(
        "--mlflow",
        metavar="EXPERIMENT",
        help="Experiment of MLflow (at MLFLOW_TRACKING_URI), in which every training is a run.",
    ),
]
# A list, as `Imports`.
Targets = Annotated[
    list[str],
    typer.Option(
        "--target",
        default_factory=list,
        show_default=False,
        help="tflm, xnnpack, ethos-u55-128, ethos-u65-256, …, or arm for one Ethos-U of each"
        " series; may be repeated.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def strict_spec(spec: str, strict: bool) -> str:
    """Returns a data spec with the option `strict=1` if `--strict` was given.

    Raises:
        InputError: If it was given for another source than `images:`.

    Example:
        >>> strict_spec("images:photos?size=32x32", True)
        'images:photos?size=32x32&strict=1'
    """
    if not strict:
        return spec
    if not spec.startswith("images:"):
        raise InputError(f"`--strict` is for images:DIR. Received: {spec!r}. Leave it out.")
    return f"{spec}{'&' if '?' in spec else '?'}strict=1"


def output(help: str, show_default: str | None = None) -> Any:
    """Returns the option `--output`, `-o` with the `help` and default of one verb."""
    if show_default is None:
        return typer.Option("--output", "-o", help=help)
    return typer.Option("--output", "-o", help=help, show_default=show_default)
