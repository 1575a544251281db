"""Tries files of every model family for microcontrollers, Arm Ethos-U NPUs, and XNNPACK.

    python examples/studies/device/study.py

Each network learns the digits, is exported, and is tried on 200 test examples. Records are in
`records/`; networks that have one are not made again. `--tables` prints the tables of the page.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras_distill as kd  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
import numpy as np

from keras_distill.records import DeviceRecord, ExportRecord

RECORDS = Path(__file__).parent / "records"
TARGETS = ("tflm", "ethos-u55-128", "ethos-u65-256", "ethos-u85-256", "xnnpack")
LARGE = (32, 32, 3)
ROWS, BATCH = 200, 64

# Name -> (spec or function, precision, epochs). Families of the package first.
NETWORKS = {
    "mlp:64x64": ("mlp:64x64", "int8", 30),
    "resnet:8": ("resnet:8", "int8", 20),
    "wrn:10-1": ("wrn:10-1", "int8", 20),
    "dscnn": ("dscnn", "int8", 30),
    "MobileNetV2": ("applications:MobileNetV2?alpha=0.35", "int8", 15),
    "MobileNetV3Small": ("applications:MobileNetV3Small", "int8", 15),
    "transformer": ("transformer", "int8", 30),
    "LSTM unrolled": ("unrolled", "int8", 30),
    "LSTM": ("lstm", "float32", 30),
    "mlp float16": ("mlp:64x64", "float16", 30),
    "mlp weight-only-int4": ("mlp:64x64", "weight-only-int4", 30),
}
FAMILIES = tuple(NETWORKS)[:6]


def transformer(shape):
    """One attention block; the rows of an image are the tokens."""
    image = keras.Input(shape, name="x")
    x = keras.layers.Reshape(shape[:2])(keras.layers.Rescaling(1 / 16)(image))
    x = keras.layers.Dense(32)(x)
    attended = keras.layers.MultiHeadAttention(num_heads=2, key_dim=16)(x, x)
    x = keras.layers.LayerNormalization()(x + attended)
    x = keras.layers.Dense(64, activation="gelu")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def lstm(shape, unroll=False):
    """An LSTM over the rows of an image."""
    image = keras.Input(shape, name="x")
    x = keras.layers.Reshape(shape[:2])(keras.layers.Rescaling(1 / 16)(image))
    x = keras.layers.LSTM(32, unroll=unroll)(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def enlarged(x):
    """8x8 gray images as 32x32 RGB."""
    return np.kron(x, np.ones((1, 4, 4, LARGE[2]))).astype("float32")


def built(spec, shape):
    """The network of a name in `NETWORKS`."""
    keras.utils.set_random_seed(0)
    if spec == "transformer":
        return transformer(shape)
    if spec in ("lstm", "unrolled"):
        return lstm(shape, unroll=spec == "unrolled")
    network = kd.models.build(
        spec, input_shape=shape, num_classes=10, rescale=(1 / 16, 0.0), seed=0
    )
    for _, layer in kd.models.walk_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, 0.9)  # 0.999 is for more steps than these
    return network


def measure(name, digits):
    """Trains, exports, and tries a network; returns the record of the file and of the devices."""
    spec, precision, epochs = NETWORKS[name]
    large = spec.startswith("applications:")
    splits = (
        {k: (enlarged(x) * (16 if large else 1), y) for k, (x, y) in digits.items()}
        if large
        else digits
    )
    x, y = splits["train"]
    network = built(spec, x.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    network.fit(x, y, epochs=epochs, batch_size=BATCH, verbose=0)
    calibration = {"calibration": x} if precision == "int8" else {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, f"{name.replace(':', '-').replace(' ', '-')}.tflite")
        options = {"quantization": precision, "keep_failed": True, **calibration}
        try:
            made = kd.export_tflite(network, path, data=splits["test"], **options)
        except kd.VerificationError as error:
            made = error.record
        rows = splits["test"][0]
        found = kd.device.check_device(path, TARGETS, rows, samples=ROWS)
    return made, found.model_copy(update={"file": path.name, "snippets": {}})


def arrays():
    """The digits by split: images and labels."""
    splits = kd.data.load("digits")
    found = {}
    for name in ("train", "test"):
        x, y = zip(*getattr(splits, name).as_numpy_iterator(), strict=True)
        found[name] = np.stack(x).astype("float32"), np.asarray(y)
    return found


def key(name):
    """The name of the files of a network."""
    return name.replace(":", "-").replace(" ", "-")


def load(records):
    """Name -> (export, devices), of the networks that were measured."""
    return {
        name: (
            ExportRecord.load(records / f"{key(name)}.export.json"),
            DeviceRecord.load(records / f"{key(name)}.json"),
        )
        for name in NETWORKS
        if (records / f"{key(name)}.json").exists()
    }


def table(columns, rows):
    """A table in Markdown."""
    lines = [f"| {' | '.join(columns)} |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def micro_row(name, made, found):
    """A row of the table of TensorFlow Lite for Microcontrollers."""
    result = found.result("tflm")
    output = made.verification.outputs[0]
    head = (name, made.recipe.quantization, f"{found.bytes:,}", f"{100 * output.accuracy:.1f}")
    if not result.runs:
        return (*head, f"no: {result.operator or result.reason}", "", "", "", "")
    (one,) = result.outputs
    unit = " LSB" if one.unit == "steps" else ""
    return (
        *head,
        "yes",
        f"{result.arena.needed:,}",
        f"{result.arena.head:,} + {result.arena.tail:,}",
        f"{100 * one.litert.equal:.1f} (at most {one.litert.largest:.2g}{unit})",
        f"{100 * one.reference.equal:.1f} (at most {one.reference.largest:.2g}{unit})",
    )


def npu_row(name, found):
    """A row of the table of the NPUs."""
    results = [found.result(target) for target in TARGETS if target.startswith("ethos")]
    if not results[0].runs:
        return (name, results[0].reason, "", "", "", *[""] * 3)
    first = results[0]
    share = f"{100 * first.on_npu / first.operators:.0f} ({first.on_npu} of {first.operators})"
    on_cpu = ", ".join(f"{n} {op}" if n > 1 else op for op, n in first.on_cpu.items())
    if first.cycles is None:
        return (name, share, on_cpu, "", "", *[""] * 3)
    times = [f"{r.cycles:,} ({r.milliseconds:.3f})" if r.cycles else "" for r in results]
    return (name, share, on_cpu, f"{first.sram_bytes:,}", f"{first.flash_bytes:,}", *times)


def xnnpack_row(name, found):
    """A row of the table of XNNPACK."""
    result = found.result("xnnpack")
    by = ", ".join(f"{p.taken} of {p.operators} {k}" for k, p in result.by_precision.items())
    left = ", ".join(f"{n} {op}" if n > 1 else op for op, n in result.left.items())
    return (name, f"{result.taken} of {result.operators}", by, left)


def readme_tables(records):
    """The tables of the page, from the records."""
    every = load(records)
    return [
        table(
            ("network", "precision", "bytes", "accuracy, %", "runs", "arena, bytes",
             "head + tail", "rows equal to LiteRT, %", "to its reference kernels, %"),
            [micro_row(name, *pair) for name, pair in every.items()],
        ),
        table(
            ("network", "operators on the NPU, %", "on the CPU", "SRAM, bytes", "flash, bytes",
             "U55-128, cycles (ms)", "U65-256, cycles (ms)", "U85-256, cycles (ms)"),
            [npu_row(name, found) for name, (_, found) in every.items()],
        ),
        table(
            ("network", "taken", "by precision", "left to LiteRT"),
            [xnnpack_row(name, found) for name, (_, found) in every.items()],
        ),
    ]  # fmt: skip


def main():
    """Measures the networks that have no record, or prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="Print the tables of the records.")
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="Names of networks.")
    options = parser.parse_args()
    if options.tables:
        print("\n\n".join(readme_tables(RECORDS)))
        return
    digits = arrays()
    for name in options.only:
        if (RECORDS / f"{key(name)}.json").exists():
            continue
        made, found = measure(name, digits)
        made.save(RECORDS / f"{key(name)}.export.json", overwrite=True)
        found.save(RECORDS / f"{key(name)}.json", overwrite=True)
        print(name, made.verification.verdict, found.summary_rows(), flush=True)


if __name__ == "__main__":
    main()
