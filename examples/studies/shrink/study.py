"""Halves the width of 20 networks and measures what is left: parameters, bytes, latency.

    python examples/studies/shrink/study.py --out examples/studies/shrink/records/networks.json

With --latency, also the latency of the `.tflite` files, which take turns.

Weights are random (nothing is downloaded), so the table says what is understood and how much
smaller and faster it gets, not what it costs in accuracy. A finished network is not measured again.
"""

import argparse
import json
import tempfile
import time
import warnings
from pathlib import Path

import keras_distill as kd

# isort: split
import keras
import numpy as np
from networks import NETWORKS

from keras_distill import benchmarks

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


def measured(build, folder, latency=False):
    """Shrinks one network to half the width; returns the numbers of its row."""
    keras.utils.set_random_seed(0)
    model, records = build(), []
    start = time.perf_counter()
    analysis = kd.shrink.analyze(model)
    analyzing = time.perf_counter() - start
    start = time.perf_counter()
    student = kd.shrink(model, width=0.5, report=records.append)
    seconds = time.perf_counter() - start
    (record,), rows = records, rows_of(model)
    student.save(folder / "student.keras")
    again = kd.models.load(folder / "student.keras")
    x = list(rows.values()) if isinstance(rows, dict) else rows
    same = np.array_equal(student.predict(x, verbose=0), again.predict(x, verbose=0))
    files = {"model": folder / "model.tflite", "student": folder / "student.tflite"}
    for name, network in (("model", model), ("student", student)):
        kd.export_tflite(network, files[name], data=rows, keep_failed=True)
    ratio = None
    if latency:
        timings = benchmarks.measure_latency(files, rows, runs=50)
        ratio = timings["student"].records[0].ratio
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
        "latency": None if ratio is None else [ratio.value, ratio.low, ratio.high],
        "seconds": seconds,
        "seconds_analysis": analyzing,
        "parameters_before": record.parameters_before,
    }


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
    """Measures the networks that the file does not have yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file, continued if it exists")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="Names of networks.")
    parser.add_argument(
        "--latency", action="store_true", help="Also measure latency: the machine must be quiet."
    )
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only:
        if name not in found:
            keras.backend.clear_session()
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = measured(NETWORKS[name], Path(folder), options.latency)
            print(row(name, found[name]), flush=True)
            ordered = {key: found[key] for key in NETWORKS if key in found}
            options.out.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    print(f"keras-distill {kd.__version__}: {len(found)} networks in {options.out}")


if __name__ == "__main__":
    main()
