"""FIFOs, sockets, and devices, and what belongs to somebody else."""

import os
import socket
from pathlib import Path

from tests.fuzz.kinds import Case, Maker, kind
from tests.fuzz.of_data import idx, read_data
from tests.fuzz.of_models import read_with
from tests.fuzz.of_records import copy_of_store


def special(m: Maker, name: str) -> Path:
    """A FIFO, a socket, or a link to a device."""
    path = m.files / name
    path.parent.mkdir(parents=True, exist_ok=True)
    how = m.random.randrange(4)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        with socket.socket(socket.AF_UNIX) as server:
            here = os.open(path.parent, os.O_RDONLY)
            server.bind(f"/proc/self/fd/{here}/{path.name}")  # a path of any length
            os.close(here)
    else:
        path.symlink_to(m.pick("/dev/null", "/dev/zero", "/dev/full"))
    return path


@kind
def special_inputs(m: Maker) -> Case:
    """A FIFO, a socket, or a device where a file is read."""
    which = m.random.randrange(9)
    if which == 0:
        argv = read_with(m, special(m, "model.keras"), sure=True)
    elif which == 1:
        path = special(m, "model.tflite")
        argv = m.pick(
            ["targets", "build", str(path), "-o", f"{m.out}/store", "--data", m.data],
            ["benchmark", str(path)],
        )
    elif which == 2:
        argv = ["targets", "build", str(special(m, "x.npy")), "-o", f"{m.out}/s", "--data", m.data]
    elif which == 3:
        argv = read_data(m, f"npz:{special(m, 'x.npz')}").argv
    elif which == 4:
        special(m, "idx/train-images-idx3-ubyte")
        m.write("idx/train-labels-idx1-ubyte", idx((18,), body=bytes(18)))
        argv = read_data(m, f"idx:{m.files}/idx").argv
    elif which == 5:
        argv = ["run", str(special(m, "recipe.toml")), "--output", f"{m.out}/run"]
    elif which == 6:
        special(m, "run/record.json")
        argv = ["report", f"{m.files}/run", "-o", f"{m.out}/page.html"]
    elif which == 7:
        folder = copy_of_store(m)
        (folder / "manifest.json").unlink()
        special(m, "store/manifest.json")
        argv = ["targets", "info", str(folder)]
    else:
        argv = [
            "export",
            str(special(m, "saved/saved_model.pb").parent),
            "-o",
            f"{m.out}/f.tflite",
        ]
    return Case(argv, refused=True)


@kind
def special_outputs(m: Maker) -> Case:
    """A FIFO, a socket, or a device where something is to be written: it stays what it is."""
    out = special(m, "special")
    suffix = {0: "", 1: ".tflite", 2: ".json"}
    which = m.random.randrange(6)
    if which in (1, 2):
        out = out.rename(out.with_suffix(suffix[which]))
    argv = [
        ["report", str(m.good.run), "-o", str(out)],
        ["export", str(m.good.model), "-o", str(out)],
        ["specialists", "evaluate", str(m.good.specialists), "-o", str(out)],
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", str(out)],
        ["specialists", "train", "--generalist", str(m.good.model), "--data", m.data,
         "--clusters", "1", "--size", "2", "-o", str(out)],
        ["compress", str(m.good.model), "--data", m.data, "--alpha", "0", "--steps", "prune",
         "-o", str(out)],
    ][which]  # fmt: skip
    return Case([*argv, "--overwrite"], refused=True)


@kind
def foreign_outputs(m: Maker) -> Case:
    """Files and folders that are not ours where something is to be written: they stay."""
    m.write("precious/thesis.txt", "years")
    m.write("precious.json", "{}")
    m.write("precious.tflite/thesis.txt", "years")
    folder = str(m.files / "precious")
    argv = m.pick(
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", folder],
        ["report", str(m.good.run), "-o", folder],
        ["export", str(m.good.model), "-o", f"{folder}.tflite"],
        ["specialists", "train", "--generalist", str(m.good.model), "--data", m.data, "--clusters",
         "1", "--size", "2", "-o", folder],
        ["compress", str(m.good.model), "--data", m.data, "--alpha", "0", "--steps", "prune", "-o",
         m.pick(folder, f"{folder}.json")],
        ["targets", "build", str(m.good.model), "--data", m.data, "-o", f"{folder}.json"],
        ["run", "--data", m.data, "--teacher", "mlp:4", "--student", "mlp:2", "--output", folder],
    )  # fmt: skip
    return Case([*argv, "--overwrite"], refused=True)
