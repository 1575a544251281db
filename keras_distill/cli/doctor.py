"""`keras-distill doctor`: shows versions, devices, and what each extra would add."""

import importlib.util
import os
import platform
from typing import Any

from keras_distill._internal._machine import version_of
from keras_distill.cli._console import print_facts, print_json
from keras_distill.cli._options import Json
from keras_distill.cli._verb import DONE, VERIFICATION_FAILED, uses_tensorflow, verb_main

_PACKAGES = [
    "keras-distill",
    "keras",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "litert-quantizer",
    "tensorflow-datasets",
    "scikit-learn",
    "numpy",
]

# extra -> (module, what it adds)
_EXTRAS = {
    "mnist1d": ("mnist1d", "the data source mnist1d, with unlimited unlabeled examples"),
    "micro": ("tflite_micro", "microcontrollers and Arm Ethos-U NPUs as targets of device"),
    "ray": ("ray", "independent jobs (seeds, sweeps, specialists) on a Ray cluster"),
    "dev": ("pytest", "the tests, ruff, and the notebook runner"),
}


def _onednn() -> str:
    setting = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    return "on" if setting == "1" else f"off (TF_ENABLE_ONEDNN_OPTS={setting})"


def _devices() -> list[str]:
    import tensorflow as tf

    return [device.name for device in tf.config.list_physical_devices()]


def examine() -> dict[str, Any]:
    """Returns versions, the oneDNN setting, devices, and extras of this machine."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: version_of(name) for name in _PACKAGES},
        "onednn": _onednn(),
        "devices": _devices(),
        "extras": {
            extra: importlib.util.find_spec(module) is not None
            for extra, (module, _) in _EXTRAS.items()
        },
    }


@uses_tensorflow
def command(*, as_json: Json = False) -> int:
    """Show versions, oneDNN, devices, and what each missing extra would add.

    The exit code is 1 if a package that keras-distill needs is missing.

    \b
    Example:
      keras-distill doctor
    """
    facts = examine()
    code = DONE if all(facts["packages"].values()) else VERIFICATION_FAILED
    if as_json:
        print_json(facts)
        return code
    rows = [("python", facts["python"]), ("machine", facts["machine"])]
    rows += [(name, version or "not installed") for name, version in facts["packages"].items()]
    rows += [("oneDNN", facts["onednn"]), ("devices", ", ".join(facts["devices"]))]
    for extra, installed in facts["extras"].items():
        state = "installed" if installed else f"pip install 'keras-distill[{extra}]'"
        rows.append((f"extra {extra}", f"{state}  ({_EXTRAS[extra][1]})"))
    print_facts(rows)
    return code


main = verb_main(command, "keras-distill doctor")
