"""Halves the width of 20 networks and measures what is left: parameters, bytes, latency.

    python examples/studies/shrink/study.py --out examples/studies/shrink/records/networks.json \
        --files files
    python examples/studies/shrink/study.py --out examples/studies/shrink/records/networks.json \
        --files files --latency

The first command may run on a busy machine. The second one measures the latency of the `.tflite`
files that the first one left in `files`, and needs a quiet machine.

Weights are random (nothing is downloaded), so the table says what is understood and how much
smaller and faster it gets, not what it costs in accuracy. A finished network is not measured again.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import keras_distill as kd

# isort: split
import keras
import numpy as np
from networks import NETWORKS

from keras_distill import benchmarks

ROUNDS = 100  # of calls in turn
COLUMNS = (
    "network", "groups", "removable", "difference", "parameters", "operations", "bytes",
    "latency (95 %)", "seconds",
)  # fmt: skip


def rows_of(model, count=16):
    """Random rows by the name of the input; tokens of a vocabulary of 200."""
    random = np.random.default_rng(0)
    found = {}
    for tensor in model.inputs:
        shape = (count, *tensor.shape[1:])
        whole = "int" in tensor.dtype
        value = random.integers(0, 200, shape) if whole else random.normal(size=shape)
        found[tensor.name] = value.astype(tensor.dtype)
    return found if len(found) > 1 else next(iter(found.values()))


def measured(build, folder):
    """Shrinks one network to half the width; returns the numbers of its row, without latency."""
    keras.utils.set_random_seed(0)
    model, records = build(), []
    start = time.perf_counter()
    analysis = kd.shrink.analyze(model)
    analyzing = time.perf_counter() - start
    start = time.perf_counter()
    student = kd.shrink(model, width=0.5, report=records.append)
    seconds = time.perf_counter() - start
    (record,), rows = records, rows_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    student.save(folder / "student.keras")
    again = kd.models.load(folder / "student.keras")
    x = list(rows.values()) if isinstance(rows, dict) else rows
    same = np.array_equal(student.predict(x, verbose=0), again.predict(x, verbose=0))
    files = files_in(folder)
    for name, network in (("model", model), ("student", student)):
        kd.export_tflite(network, files[name], data=rows, keep_failed=True, overwrite=True)
    np.savez(folder / "row.npz", **(rows if isinstance(rows, dict) else {"x": rows}))
    return {
        "groups": len(record.groups),
        "removable": removable(model, analysis),
        "exact": not record.inexact,
        "difference": record.removed_difference,
        "unchanged": record.unchanged_difference,
        "reload_equal": bool(same),
        "parameters": record.parameters_after / record.parameters_before,
        "operations": record.macs_after / record.macs_before,
        "bytes": files["student"].stat().st_size / files["model"].stat().st_size,
        "latency": None,
        "seconds": seconds,
        "seconds_analysis": analyzing,
        "parameters_before": record.parameters_before,
    }


def files_in(folder):
    """The two files of a network."""
    return {"model": folder / "model.tflite", "student": folder / "student.tflite"}


def latency_of(folder):
    """Ratio of the latencies of the two files, which take turns, with its 95 % interval."""
    with np.load(folder / "row.npz") as rows:
        x = dict(rows)
    x = x["x"] if list(x) == ["x"] else x
    timings = benchmarks.measure_latency(files_in(folder), x, runs=ROUNDS, batch_size=1)
    ratio = timings["student"].records[0].ratio
    return [ratio.value, ratio.low, ratio.high]


def removable(model, analysis):
    """The share of parameters in variables of which at least one axis can lose channels."""
    free = {id(slot.variable) for group in analysis.groups for slot in group.slots}
    sizes = [(id(v) in free, int(np.prod(v.shape))) for v in model.weights]
    return sum(n for can, n in sizes if can) / sum(n for _, n in sizes)


def row(name, found):
    """One line of the table."""
    latency = "not measured"
    if found["latency"] is not None:
        latency = "{:.2f} ({:.2f} to {:.2f})".format(*found["latency"])
    cells = (
        name, str(found["groups"]), f"{100 * found['removable']:.1f} %",
        f"{found['difference']:.0e}" if found["difference"] else "0",
        *(f"{found[key]:.2f}" for key in ("parameters", "operations", "bytes")),
        latency, f"{found['seconds']:.0f}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def readme_tables(records):
    """The tables of README.md, from the records."""
    found = json.loads((Path(records) / "networks.json").read_text(encoding="utf-8"))
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    return ["\n".join(lines + [row(name, values) for name, values in found.items()]) + "\n"]


def main():
    """Measures what the file does not have yet, and prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file, continued if it exists")
    parser.add_argument("--files", type=Path, required=True, help="Folder for the networks' files.")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="Names of networks.")
    parser.add_argument(
        "--latency", action="store_true", help="Measure latency only: the machine must be quiet."
    )
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only:
        folder = options.files / "".join(c if c.isalnum() else "-" for c in name)
        if options.latency:
            if name not in found or found[name]["latency"] or not (folder / "row.npz").exists():
                continue
            found[name]["latency"] = latency_of(folder)
        elif name in found and (folder / "row.npz").exists():
            continue
        else:
            keras.backend.clear_session()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = measured(NETWORKS[name], folder)
        print(row(name, found[name]), flush=True)
        ordered = {key: found[key] for key in NETWORKS if key in found}
        options.out.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    print(f"keras-distill {kd.__version__}: {len(found)} networks in {options.out}")


if __name__ == "__main__":
    main()
