"""The commands that are killed: small, but with work of every stage."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

RUN = """\
name = "small"
seeds = 1

[data]
source = "npz:{data}"
labels = 64

[teacher]
model = "mlp:16"

[student]
model = "mlp:4"

[training]
epochs = 4
batch_size = 8

[export]
quantizations = ["float32"]

[benchmark]
runs = 2
"""

VERBS = ("run", "budget", "targets", "compress", "specialists", "sweep")


class Inputs(NamedTuple):
    """What the commands read.

    Attributes:
        folder: The folder of all of it.
        data: An `.npz` file of images.
        model: A `.keras` file that fits the data.
        recipe: A recipe for `run`.
    """

    folder: Path
    data: Path
    model: Path
    recipe: Path


def make_inputs(folder: Path) -> Inputs:
    """Makes data, model, and recipe in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(folder, folder / "d.npz", folder / "m.keras", folder / "run.toml")
    random = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 6000), ("val", 64), ("test", 64)):
        y = np.arange(size) % 4
        x = random.normal(size=(size, 6, 6, 1)) + np.eye(4, 36)[y].reshape(size, 6, 6, 1) * 6
        arrays |= {f"x_{split}": x.astype(np.float32), f"y_{split}": y}
    np.savez(folder / "d.npz", **arrays)
    arrays["x_train"], arrays["y_train"] = arrays["x_train"][:256], arrays["y_train"][:256]
    np.savez(folder / "few.npz", **arrays)
    inputs.recipe.write_text(RUN.format(data=folder / "few.npz"))
    code = (
        "import sys, keras; keras.utils.set_random_seed(0); keras.Sequential([keras.Input((6, 6,"
        " 1)), keras.layers.Flatten(), keras.layers.Dense(16, 'relu'), keras.layers.Dense(4)])"
        ".save(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, inputs.model], check=True, capture_output=True)
    return inputs


def command(verb: str, inputs: Inputs, out: Path) -> list[str]:
    """Returns the arguments of the command line."""
    few, model, end = f"npz:{inputs.folder / 'few.npz'}", str(inputs.model), ["-o", str(out)]
    return {
        "run": ["run", str(inputs.recipe), *end],
        "budget": [
            *("run", str(inputs.recipe), "--teacher", model, "--max-bytes", "4k", "--max-drop"),
            *("100", "--candidate", "mlp:3", "--candidate", "mlp:300", *end),
        ],
        "targets": [
            *("targets", "build", model, "--data", f"npz:{inputs.data}", "--batch-size", "16"),
            *("--views", "3", "--augment", "crop=1,flip", *end),
        ],
        "sweep": [
            *("sweep", str(inputs.recipe), "--grid", "distillation.temperature=1,4"),
            *("--grid", "distillation.alpha=0.5,1", "--seeds", "2", *end),
        ],
        "compress": [
            *("compress", model, "--steps", "prune:0.5,quantize", "--data", few, "--alpha", "0"),
            *("--epochs", "4", "--batch-size", "8", *end),
        ],
        "specialists": [
            *("specialists", "train", "--generalist", model, "--data", few, "--clusters", "2"),
            *("--epochs", "12", "--batch-size", "8", *end),
        ],
    }[verb]


def unfinished(verb: str, out: Path) -> Path:
    """Returns the folder in which the command works."""
    if verb == "sweep":  # it grows in place
        return out
    return out.with_name(out.name + (".partial" if verb == "targets" else ".unfinished"))


def remove(path: Path) -> None:
    """Removes a folder of results."""
    shutil.rmtree(path, ignore_errors=True)
