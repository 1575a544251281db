"""`keras-distill`: the app of all verbs. A verb imports heavy packages only when it runs."""

from collections.abc import Sequence

import typer

import keras_distill
from keras_distill.cli import (
    benchmark,
    compare,
    compress,
    cost,
    device,
    doctor,
    export,
    init,
    plan,
    predict,
    recipes,
    report,
    run,
    specialists,
    sweep,
    targets,
    verify,
)
from keras_distill.cli._verb import execute, new_app


def _version(shown: bool) -> None:
    if shown:
        print(f"keras-distill {keras_distill.__version__}")
        raise typer.Exit


def _top(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """From a big Keras model to a small, fast, verified .tflite file.

    \b
    Example:
      keras-distill run
      keras-distill run --teacher my.keras --data images:photos --max-bytes 100k
    """


def build() -> typer.Typer:
    """Builds the app of all verbs."""
    app = new_app(add_completion=True)
    app.callback()(_top)
    app.command("init")(init.command)
    app.command("plan")(plan.command)
    app.command("run")(run.command)
    app.command("sweep")(sweep.command)
    app.command("compare")(compare.command)
    app.command("compress")(compress.command)
    app.command("export")(export.command)
    app.command("verify")(verify.command)
    app.command("predict")(predict.command)
    app.command("benchmark")(benchmark.command)
    app.command("device")(device.command)
    app.command("report")(report.command)
    app.command("recipes")(recipes.command)
    app.add_typer(targets.app, name="targets")
    app.add_typer(specialists.app, name="specialists")
    app.command("cost")(cost.command)
    app.command("doctor")(doctor.command)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-distill` with `argv`, by default `sys.argv[1:]`; returns the exit code."""
    return execute(build(), argv, "keras-distill")
