"""Exports six networks in every precision and prints a table: bytes, difference, operators.

    python examples/studies/export-matrix/study.py --out matrix.md

The networks have random weights and are calibrated and verified on random rows: the table shows
what converts and how close the outputs are, not accuracy.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import keras_distill  # before TensorFlow, so that oneDNN is on

# isort: split
import keras
import numpy as np

from keras_distill import export, models

IMAGE, GRAY, TOKENS, SEQUENCE = (32, 32, 3), (28, 28, 1), (32,), (49, 10)
VOCABULARY, CLASSES = 200, 10


def built(spec, shape, rescale=(1 / 255, 0.0)):
    """A network of the package's own families, on raw pixels."""
    return models.build(spec, input_shape=shape, num_classes=CLASSES, rescale=rescale, seed=0)


def calibrated(network, rows):
    """Sets the statistics of batch normalization to those of the rows, as training would."""
    for _, layer in models.walk_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(rows, training=True)
    return network


def transformer():
    """Two attention blocks on tokens, as in a user's own model."""
    tokens = keras.Input(TOKENS, dtype="int32", name="tokens")
    x = keras.layers.Embedding(VOCABULARY, 32)(tokens)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(num_heads=2, key_dim=16)(x, x)
        x = keras.layers.LayerNormalization()(x + attended)
        hidden = keras.layers.Dense(64, activation="gelu")(x)
        x = keras.layers.LayerNormalization()(x + keras.layers.Dense(32)(hidden))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(CLASSES, name="logits")(x))


def lstm():
    """An LSTM on a spectrogram."""
    frames = keras.Input(SEQUENCE, name="frames")
    x = keras.layers.LSTM(32)(frames)
    return keras.Model(frames, keras.layers.Dense(CLASSES, name="logits")(x))


def networks():
    """Name -> (function that builds it, rows to calibrate and verify on)."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (100, *IMAGE)).astype("uint8")
    gray = random.integers(0, 256, (100, *GRAY)).astype("uint8")
    tokens = random.integers(0, VOCABULARY, (100, *TOKENS)).astype("int32")
    frames = random.standard_normal((100, *SEQUENCE)).astype("float32")
    return {
        "ResNet-20": (lambda: built("resnet:20", IMAGE), pixels),
        "DS-CNN": (lambda: built("dscnn", (*SEQUENCE, 1), None), frames[..., None]),
        "MLP 784": (lambda: built("mlp:800x800", GRAY), gray),
        "MobileNetV3Small": (lambda: built("applications:MobileNetV3Small", IMAGE), pixels),
        "transformer": (transformer, tokens),
        "LSTM": (lstm, frames),
    }


def rows_of(network, result):
    """Yields one table row per precision."""
    for precision, state in result.summary().items():
        if state == "made":
            record = result.exports[precision]
            worst = max(record.verification.outputs, key=lambda output: output.relative_difference)
            ops = ", ".join(f"{name} {count}" for name, count in record.ops.items())
            figures = f"{worst.max_difference:.2g} ({worst.relative_difference:.2%})"
            agreement = f"{worst.agreement:.0%}"
            yield (network, precision, f"{record.bytes:,}", figures, agreement, ops)
        else:
            reason = result.rejected.get(precision) or result.impossible[precision]
            reason = reason.partition(" End of its log:")[0]
            yield (network, precision, state, "", "", reason)


def main():
    """Prints the table, or writes it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Markdown file; default: standard output.")
    parser.add_argument("--only", nargs="*", default=None, help="Names of networks.")
    options = parser.parse_args()
    columns = (
        "network",
        "precision",
        "bytes",
        "difference",
        "agreement",
        "operators, or the reason",
    )
    lines = [f"| {' | '.join(columns)} |", "|---|---|---:|---:|---:|---|"]
    for name, (build, rows) in networks().items():
        if options.only is not None and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = export.export_all(
                calibrated(build(), rows), folder, calibration=rows, stem="net"
            )
        for row in rows_of(name, result):
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |")
    text = "\n".join(lines) + "\n"
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
        print(f"keras-distill {keras_distill.__version__}: wrote {options.out}")


if __name__ == "__main__":
    main()
