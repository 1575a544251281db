"""`keras-distill doctor`: what is installed, what is switched on, what an extra would add."""

import importlib.metadata
import importlib.util
import json
import os
import platform

import typer

from keras_distill.cli._verb import DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main

_PACKAGES = [
    "keras-distill",
    "keras",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "tensorflow-datasets",
    "scikit-learn",
    "numpy",
]

# extra -> (module, what it adds)
_EXTRAS = {
    "mnist1d": ("mnist1d", "the data source mnist1d, with unlimited unlabeled examples"),
    "ray": ("ray", "independent jobs (seeds, sweeps, specialists) on a Ray cluster"),
    "dev": ("pytest", "the tests, ruff and the notebook runner"),
}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _onednn() -> str:
    setting = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    return "on" if setting == "1" else f"off (TF_ENABLE_ONEDNN_OPTS={setting})"


def _devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]


def examine() -> dict:
    """Versions, oneDNN, devices and extras of this machine, as plain values."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: _version(name) for name in _PACKAGES},
        "onednn": _onednn(),
        "devices": _devices(),
        "extras": {
            extra: importlib.util.find_spec(module) is not None
            for extra, (module, _) in _EXTRAS.items()
        },
    }


@uses_tensorflow
def command(
    as_json: bool = typer.Option(False, "--json", help="Print JSON and nothing else."),
) -> int:
    """Show versions, oneDNN, devices, and what each missing extra would add.

    Exit code 1 if a package that keras-distill needs is missing.
    """
    facts = examine()
    code = DONE if all(facts["packages"].values()) else VERIFICATION_FAILED
    if as_json:
        print(json.dumps(facts, indent=2))
        return code
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_row("python", facts["python"])
    table.add_row("machine", facts["machine"])
    for name, version in facts["packages"].items():
        table.add_row(name, version or "[red]not installed[/red]")
    table.add_row("oneDNN", facts["onednn"])
    table.add_row("devices", ", ".join(facts["devices"]))
    for extra, there in facts["extras"].items():
        how = "installed" if there else f"pip install 'keras-distill\\[{extra}]'"
        table.add_row(f"extra {extra}", f"{how}  ({_EXTRAS[extra][1]})")
    Console().print(table)
    return code


main = verb_main(command, "keras-distill doctor")
