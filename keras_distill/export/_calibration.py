"""Checks calibration rows for common mistakes, and generates random rows."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_distill import models
from keras_distill._internal import InputError, _keras_private
from keras_distill._internal._signatures import InputInfo
from keras_distill._internal._types import Array
from keras_distill.export._samples import Samples
from keras_distill.records import RANDOM

FEWEST, ENOUGH = 2, 50  # rows: fewer than FEWEST is an error, fewer than ENOUGH a warning
_FAR = 10  # times the expected range: the units are probably wrong
_NARROW = 0.02  # of the expected range: the units are certainly wrong


def first_rescaling(model: keras.Model) -> keras.layers.Rescaling | None:
    """Returns the `Rescaling` layer that is applied directly to the input, or None."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            return first_rescaling(layer)
        return layer if isinstance(layer, keras.layers.Rescaling) else None
    return None


def raw_range(rescaling: keras.layers.Rescaling) -> tuple[float, float]:
    """Returns the range of raw values that a `Rescaling` maps to offset..1.

    Example:
        >>> raw_range(keras.layers.Rescaling(1 / 255))
        (0.0, 255.0)
        >>> raw_range(keras.layers.Rescaling(1 / 127.5, offset=-1))
        (0.0, 255.0)
    """
    scale, offset = np.asarray(rescaling.scale, float), np.asarray(rescaling.offset, float)
    ends = (1 - offset) / scale
    return float(min(0.0, ends.min())), float(max(0.0, ends.max()))


def declared_range(rescaling: keras.layers.Rescaling | None) -> tuple[float, float] | None:
    """Returns the range of raw values if a `Rescaling` with one scale maps it to 0..1 or -1..1.

    Example:
        >>> declared_range(keras.layers.Rescaling(1 / 255))
        (0.0, 255.0)
        >>> declared_range(keras.layers.Rescaling([0.2, 0.3], offset=[-1.1, -0.4])) is None
        True
    """
    if rescaling is None or _is_identity(rescaling):
        return None
    certain = np.ndim(rescaling.scale) == np.ndim(rescaling.offset) == 0
    return raw_range(rescaling) if certain and rescaling.offset in (0, -1) else None


def random_samples(
    model: keras.Model | None, inputs: tuple[InputInfo, ...], count: int, seed: int = 0
) -> Samples:
    """Generates random rows in the range that the model expects.

    Integers are drawn below the size of the model's smallest embedding. Floats are drawn uniformly
    from the input range of the first `Rescaling` layer, or from N(0, 1) if there is none. For a
    model with very large outputs, fewer rows are generated.
    """
    random = np.random.default_rng(seed)
    count = count if model is None else models.rows_at_once(model, count)
    layers = [] if model is None else list(_keras_private.sublayers(model))
    sizes = [layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)]
    rescaling = None if model is None else first_rescaling(model)
    x: dict[str, Array] = {}
    for info in inputs:
        shape = (count, *(n or 16 for n in info.shape[1:]))
        if info.dtype == "string":
            raise InputError(
                f"Input {info.name!r} takes text, and no random text is made. Give `data` (--data)."
            )
        if np.dtype(info.dtype).kind != "f":
            x[info.name] = random.integers(0, min(sizes, default=2), shape).astype(info.dtype)
        elif rescaling is not None:
            x[info.name] = random.uniform(*raw_range(rescaling), shape).astype("float32")
        else:
            x[info.name] = random.standard_normal(shape).astype("float32")
    return Samples(x, None, RANDOM, ())


def check_calibration(
    samples: Samples, model: keras.Model | None, batch_size: int | None
) -> list[str]:
    """Rejects calibration rows that would give wrong ranges, and returns warnings.

    Args:
        samples: The rows.
        model: The Keras model. If None, value ranges are not checked.
        batch_size: Rows per call of the exported file.

    Raises:
        InputError: If there are too few rows, an input is constant, or the units of the values
            differ from those that the model's first `Rescaling` layer expects.
    """
    fewest = max(FEWEST, batch_size or 1)
    if samples.rows < fewest:
        raise InputError(
            f"`calibration` must have >= {fewest} rows. Received: {samples.rows}. So few do"
            f" not give reliable ranges; pass {ENOUGH} to 500 typical rows."
        )
    notes: list[str] = []
    if samples.rows < ENOUGH:
        notes.append(f"calibration has only {samples.rows} rows; {ENOUGH} or more are advised")
    for name, a in samples.x.items():
        if a.min() == a.max():
            raise InputError(
                f"`calibration` must vary. All values of input {name!r} are {a.flat[0]:g}."
            )
        if samples.rows > 1 and (a == a[:1]).all():
            raise InputError(f"`calibration` must vary. All rows of input {name!r} are equal.")
    if model is not None and len(samples.x) == 1:
        notes += _check_range(next(iter(samples.x.values())), model)
    return notes


def _check_range(a: Array, model: keras.Model) -> list[str]:
    rescaling = first_rescaling(model)
    if rescaling is None or _is_identity(rescaling):
        return []
    low, high = raw_range(rescaling)
    expected, span = high - low, float(a.max()) - float(a.min())
    if span < _NARROW * expected:
        raise InputError(
            f"`calibration` must be raw values of about {low:g}..{high:g}, which the model's"
            f" Rescaling layer turns into its own range. Received: {a.min():g}..{a.max():g}."
            " They look scaled already; pass the values before scaling."
        )
    # The input of a layer that standardizes may lie several standard deviations from the mean.
    if a.min() < low - _FAR * expected or a.max() > high + _FAR * expected:
        return [
            f"calibration spans {a.min():g}..{a.max():g}, far outside {low:g}..{high:g}, which the"
            " model's Rescaling layer expects"
        ]
    return []


def _is_identity(rescaling: keras.layers.Rescaling) -> bool:
    return bool(np.all(np.equal(rescaling.scale, 1)) and np.all(np.equal(rescaling.offset, 0)))


def check_covers(calibration: Mapping[str, Array], data: Mapping[str, Array]) -> None:
    """Rejects calibration rows whose units differ from those of the verification rows.

    Raises:
        InputError: If the range of one is less than 1/20 of the range of the other.
    """
    for name, a in calibration.items():
        b = data[name]
        spans = float(a.max()) - float(a.min()), float(b.max()) - float(b.min())
        if min(spans) < max(spans) / 20:
            raise InputError(
                f"`calibration` and `data` must have the same units. Input {name!r} spans"
                f" {a.min():g}..{a.max():g} in calibration, {b.min():g}..{b.max():g} in data."
            )


def ranges(x: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Returns the smallest and the largest value of each input."""
    return {name: (float(a.min()), float(a.max())) for name, a in x.items()}
