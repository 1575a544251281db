"""Checks the math of soft targets: writes the numbers to records/theory.json, and draws the plots.

    python examples/studies/hinton-mnist-temperature/theory.py

Hinton, Vinyals, Dean 2015 (arXiv:1503.02531), section 2, in float64: what the temperature does to
probabilities, the gradient of the loss, and its limit at high temperature.
"""

import argparse
import json
from pathlib import Path

import matplotlib

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is on)

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from keras_distill.losses import functional

FOLDER = Path(__file__).parent
CLASSES, ROWS = 10, 200
SHOWN = (1, 10, 100, 1000, 10000)
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#777777"


def gradient(loss, teacher, student, *settings):
    """The loss of each example, and the gradient of their sum with respect to the student."""
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = loss(teacher, student, *settings)
    return values.numpy(), tape.gradient(values, student).numpy()


def logits(seed):
    """Zero-mean logits of the size that a trained network gives."""
    z = np.random.default_rng(seed).normal(scale=3, size=(ROWS, CLASSES))
    return z - z.mean(axis=1, keepdims=True)


def softening(axes):
    """Returns softmax([8, 2, 0.5] / T) by T."""
    temperatures = (1, 2, 5, 10, 20)
    bars = []
    for temperature in temperatures:
        q = tf.exp(functional.log_softmax([8.0, 2.0, 0.5], temperature)).numpy()
        bars.append(q)
    places = np.arange(len(temperatures))
    for i, (logit, color) in enumerate(zip(("8", "2", "0.5"), (BLUE, ORANGE, GREEN), strict=True)):
        heights = np.array(bars)[:, i]
        drawn = axes.bar(places + 0.29 * (i - 1), heights, 0.27, color=color, label=logit)
        axes.bar_label(drawn, [f"{p:.3f}"[1:] for p in heights], fontsize=7)
    axes.set_xticks(places, [f"{t}" for t in temperatures])
    axes.set(xlabel="temperature T", ylabel="probability", title="Softening of [8, 2, 0.5]")
    axes.legend(title="logit", frameon=False)
    return {f"{t}": q.tolist() for t, q in zip(temperatures, bars, strict=True)}


def uniformity(axes):
    """Returns the largest distance of a probability from 1/N, mean over rows, by T."""
    z, temperatures = logits(0), np.logspace(0, 4, 33)
    gaps = np.array(
        [
            np.abs(np.exp(functional.log_softmax(z, t).numpy()) - 1 / CLASSES).max(axis=1).mean()
            for t in temperatures
        ]
    )
    first_order = np.abs(z).max(axis=1).mean() / CLASSES / temperatures
    axes.loglog(temperatures, gaps, color=BLUE, label="max |q - 1/N|")
    axes.loglog(temperatures, first_order, "--", color=GRAY, label="max |z| / (N T)")
    axes.set(xlabel="temperature T", title="Uniform as T grows", ylim=(gaps.min() / 2, 2))
    axes.legend(frameon=False)
    return {f"{t}": float(np.interp(t, temperatures, gaps)) for t in SHOWN}


def same_gradient(axes):
    """Compares the gradients of cross-entropy and KL divergence at T = 4.

    The plot has both losses on the line from another student to the teacher.
    """
    teacher, other = logits(1), logits(2)
    _, kl_gradient = gradient(functional.soft_target, teacher, other, 4.0)
    _, ce_gradient = gradient(functional.soft_cross_entropy, teacher, other, 4.0)
    q, p = (np.exp(functional.log_softmax(z, 4.0).numpy()) for z in (other, teacher))
    line = np.linspace(-0.5, 1.5, 81)
    points = [(1 - w) * other + w * teacher for w in line]
    for loss, label, color in (
        (functional.soft_cross_entropy, "cross-entropy", ORANGE),
        (functional.soft_target, "KL divergence", BLUE),
    ):
        values = [loss(teacher, s, 4.0).numpy().mean() for s in points]
        axes.plot(line, values, color=color, label=label)
    axes.axvline(1, color=GRAY, linewidth=0.8)
    axes.set(
        xlabel="share of the teacher in the student's logits",
        ylabel="T² · loss, T = 4",
        title="Same slope, different by the entropy",
        ylim=(0, None),
    )
    axes.legend(frameon=False)
    return {
        "largest": float(np.abs(kl_gradient).max()),
        "difference": float(np.abs(kl_gradient - ce_gradient).max()),
        "difference_from_formula": float(np.abs(kl_gradient - 4 * (q - p)).max()),
    }


def logit_matching_limit(axes):
    """Returns the gradient of T² KL over that of logit matching by T: median, least, most."""
    teacher, student = logits(3), logits(4)
    limit = gradient(functional.logit_matching, teacher, student)[1]
    temperatures = np.logspace(0, 4, 17)
    ratios = []
    for temperature in temperatures:
        soft = gradient(functional.soft_target, teacher, student, temperature)[1]
        ratios.append((soft * limit).sum(axis=1) / (limit * limit).sum(axis=1))
    ratios = np.array(ratios)
    found = {}
    for t in SHOWN:
        row = ratios[np.argmin(np.abs(temperatures - t))]
        found[f"{t}"] = [float(f(row)) for f in (np.median, np.min, np.max)]
    low, middle, high = np.percentile(ratios, [5, 50, 95], axis=1)
    axes.fill_between(temperatures, low, high, color=BLUE, alpha=0.2, label="90 % of the rows")
    axes.semilogx(temperatures, middle, color=BLUE, label="median")
    axes.axhline(1, color=GRAY, linewidth=0.8)
    axes.set(
        xlabel="temperature T",
        ylabel="ratio of gradients",
        title="Logit matching is the limit",
        ylim=(0, None),
    )
    axes.legend(frameon=False)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for records and plots")
    out = parser.parse_args().out
    (out / "records").mkdir(parents=True, exist_ok=True)
    found = {}
    for draw in (softening, uniformity, same_gradient, logit_matching_limit):
        figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
        axes.spines[["top", "right"]].set_visible(False)
        found[draw.__name__] = draw(axes)
        figure.savefig(out / f"{draw.__name__}.png", dpi=150)
        plt.close(figure)
    (out / "records" / "theory.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
