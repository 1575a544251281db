"""Detects that a model was trained on inputs of a different range than the given inputs.

A model trained on x / 255 predicts nothing useful from raw pixels, and neither the model nor the
data records the expected range. Accuracy on labeled rows reveals it: this module measures the
accuracy again on plausible scalings of the input.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from keras_distill._internal._types import Array
from keras_distill.records import Metric, shown_score

ROWS = 256  # for each scaling
_FEWEST = 30  # rows; with fewer, no scaling is tried
_GOOD = 0.9  # from this accuracy on, the given range counts as right
_FAR_BETTER = 0.2  # gain in accuracy
_BETTER = 0.1  # gain in accuracy that is enough if the scaling also halves the error rate


class Scaling(NamedTuple):
    """The scaling x · scale + offset.

    Attributes:
        scale: The factor.
        offset: The value that is added.
        text: The formula for messages, such as "x / 255".
        layer: The call of the Keras layer that computes it, such as "Rescaling(1 / 255)".
    """

    scale: float
    offset: float
    text: str
    layer: str


class BetterScaling(NamedTuple):
    """A scaling of one input that makes a model far more accurate.

    Attributes:
        input: The name of the input, or "" if it has no name.
        scaling: The scaling.
        low: The smallest value of the unscaled input.
        high: The largest value of the unscaled input.
        accuracy: The accuracy on the unscaled rows.
        scaled_accuracy: The accuracy on the scaled rows.
        rows: The number of rows on which the accuracies were measured.
    """

    input: str
    scaling: Scaling
    low: float
    high: float
    accuracy: float
    scaled_accuracy: float
    rows: int

    def message(self, what: str, *, layers: bool, metric: Metric = "accuracy") -> str:
        """Returns the error message, with the range of the input and the remedy.

        Args:
            what: The subject of the message, such as "the Keras model".
            layers: Whether layers can be added to the model.
            metric: The metric that was measured.
        """
        scaling = self.scaling
        remedy = "Give rows in that range"
        if layers:
            remedy += (
                f", or put keras.layers.{scaling.layer} before the first layer of the model and"
                " save it again"
            )
        else:
            remedy += ": a function that scales them is a data source too (py:MODULE:FUNCTION)"
        named = f", input {self.input!r:.40}" if self.input else ""
        own, scaled = (shown_score(metric, v) for v in (self.accuracy, self.scaled_accuracy))
        return (
            f"`data` has the wrong range for the model: {what} has {own} {metric} on"
            f" the values as given ({self.low:.4g}..{self.high:.4g}), and"
            f" {scaled} on {scaling.text} ({self.rows} rows{named}). {remedy}."
        )


def plausible_scalings(x: Array) -> list[Scaling]:
    """Lists the scalings that map the range of an input to another common range.

    The common ranges are 0..255, 0..1, -1..1, and mean 0 with standard deviation 1. If no
    value is negative and the maximum exceeds 2 and is not in 200..255, the values are also scaled
    by their maximum.

    Args:
        x: Rows of one input, unscaled.

    Example:
        >>> [s.text for s in plausible_scalings(np.array([0, 17, 255]))][:2]
        ['x / 255', 'x / 127.5 - 1']
        >>> [s.text for s in plausible_scalings(np.array([0.0, 1.0]))][:2]
        ['x * 255', '2 * x - 1']
    """
    low, high = float(x.min()), float(x.max())
    found: list[Scaling] = []
    if high > 2 and low >= 0:
        if not 200 <= high <= 255:
            half = f"{high / 2:.6g}"
            found += [
                Scaling(1 / high, 0, f"x / {high:.6g}", f"Rescaling(1 / {high:.6g})"),
                Scaling(2 / high, -1, f"x / {half} - 1", f"Rescaling(1 / {half}, offset=-1)"),
            ]
        if high <= 255:
            found += [
                Scaling(1 / 255, 0, "x / 255", "Rescaling(1 / 255)"),
                Scaling(1 / 127.5, -1, "x / 127.5 - 1", "Rescaling(1 / 127.5, offset=-1)"),
            ]
    elif low >= 0 and high <= 1:
        found += [
            Scaling(255, 0, "x * 255", "Rescaling(255)"),
            Scaling(2, -1, "2 * x - 1", "Rescaling(2, offset=-1)"),
        ]
    elif low >= -1 and high <= 1:
        found += [
            Scaling(127.5, 127.5, "(x + 1) * 127.5", "Rescaling(127.5, offset=127.5)"),
            Scaling(0.5, 0.5, "(x + 1) / 2", "Rescaling(0.5, offset=0.5)"),
        ]
    mean, deviation = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    if deviation > 0 and (abs(mean) > deviation / 2 or not 0.5 < deviation < 2):
        m, s = f"{mean:.4g}", f"{deviation:.4g}"
        layer = f"Rescaling(1 / {s}, offset={-mean / deviation:.4g})"
        found.append(Scaling(1 / deviation, -mean / deviation, f"(x - {m}) / {s}", layer))
    return found


def better_scaling(
    accuracy: Callable[[Mapping[str, Array], Array], float],
    x: Mapping[str, Array],
    constant: float,
    scalable: tuple[str, ...],
) -> BetterScaling | None:
    """Measures a model on scaled inputs, and returns the best scaling if it is far more accurate.

    Far more accurate means a gain of at least 0.2, or a gain of at least 0.1 that also halves the
    error rate. The scaled accuracy must also exceed `constant` by 0.2, or by half of 1 - `constant`
    if that is less. One input is scaled at a time. At most `ROWS` rows are measured per scaling.

    Args:
        accuracy: A function `accuracy(x, rows)` that returns the accuracy of the model on the
            inputs `x`, where `rows` are the indices of these rows among all labeled rows.
        x: All labeled rows, by input name.
        constant: The accuracy of always predicting the most frequent class.
        scalable: The names of the inputs that may be scaled, which have real numbers as values.

    Returns:
        The best scaling. None if there are fewer than 30 rows, the accuracy without scaling is at
        least 0.9, or no scaling is far more accurate.
    """
    count = len(next(iter(x.values())))
    if count < _FEWEST:
        return None
    rows = np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))
    few = {name: np.asarray(a)[rows] for name, a in x.items()}
    given = accuracy(few, rows)
    if given >= _GOOD:
        return None
    found = [
        BetterScaling(name, scaling, *_range(x[name]), given, accuracy(scaled, rows), len(rows))
        for name in scalable
        for scaling, scaled in _scaled(few, name)
    ]
    best = max(found, key=lambda one: one.scaled_accuracy, default=None)
    return best if best is not None and _is_far_better(best, constant) else None


def _range(a: Array) -> tuple[float, float]:
    return float(a.min()), float(a.max())


def _scaled(x: Mapping[str, Array], name: str) -> Iterator[tuple[Scaling, dict[str, Array]]]:
    for scaling in plausible_scalings(x[name]):
        values = x[name].astype(np.float32) * np.float32(scaling.scale) + np.float32(scaling.offset)
        yield scaling, {**x, name: values}


def _is_far_better(found: BetterScaling, constant: float) -> bool:
    gain = found.scaled_accuracy - found.accuracy
    halves = 1 - found.scaled_accuracy <= (1 - found.accuracy) / 2
    beyond_chance = found.scaled_accuracy - constant >= min(_FAR_BETTER, (1 - constant) / 2)
    return beyond_chance and (gain >= _FAR_BETTER or (gain >= _BETTER and halves))


def constant_accuracy(labels: Array) -> float:
    """Computes the accuracy of always predicting the most frequent class.

    Args:
        labels: Class ids of any shape; -1 (unlabeled) is left out. At least one must be labeled.

    Example:
        >>> constant_accuracy(np.array([0, 1, 1, 1, -1]))
        0.75
    """
    labels = labels[labels >= 0]
    return float(np.unique(labels, return_counts=True)[1].max() / labels.size)


def is_near_chance(accuracy: float, constant: float, rows: int) -> bool:
    """Returns whether an accuracy is hardly above that of always predicting one class.

    The limit is two standard errors above `constant`: constant + 2 · √(constant · (1 - constant) /
    rows).

    Args:
        accuracy: The accuracy of the model.
        constant: The accuracy of always predicting the most frequent class.
        rows: The number of examples that the accuracy was measured on.

    Example:
        >>> is_near_chance(0.12, 0.1, 200), is_near_chance(0.3, 0.1, 200)
        (True, False)
    """
    return accuracy <= constant + 2 * float(np.sqrt(constant * (1 - constant) / rows))
