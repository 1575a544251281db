"""What integer ranges are measured on, and the checks that catch the usual mistakes."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_distill._internal import InputError
from keras_distill.export._samples import Samples
from keras_distill.export._sources import InputInfo

FEWEST, ENOUGH = 2, 50  # rows: fewer is an error, fewer is a warning
_FAR = 10  # expected ranges away: wrong units, too
_NARROW = 0.02  # of the expected range: certainly the wrong units


def first_rescaling(model: keras.Model) -> keras.layers.Rescaling | None:
    """The `Rescaling` that the input goes through first, if there is one."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            return first_rescaling(layer)
        return layer if isinstance(layer, keras.layers.Rescaling) else None
    return None


def raw_range(rescaling: keras.layers.Rescaling) -> tuple[float, float]:
    """The raw values a `Rescaling` was made for: it maps them to offset..1.

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
    """The raw range, where a `Rescaling` says it for certain: one scale, onto 0..1 or -1..1.

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


def random_samples(model: Any, inputs: tuple[InputInfo, ...], count: int, seed: int = 0) -> Samples:
    """Made-up rows in the range the model is made for, where no data are given.

    Integer inputs are drawn below the size of the model's smallest embedding; floats uniformly in
    the range of the first `Rescaling`, else from N(0, 1).
    """
    random = np.random.default_rng(seed)
    layers = list(model._flatten_layers()) if isinstance(model, keras.Model) else []
    sizes = [layer.input_dim for layer in layers if isinstance(layer, keras.layers.Embedding)]
    rescaling = first_rescaling(model) if isinstance(model, keras.Model) else None
    x = {}
    for info in inputs:
        shape = (count, *(n or 16 for n in info.shape[1:]))
        if np.dtype(info.dtype).kind != "f":
            x[info.name] = random.integers(0, min(sizes, default=2), shape).astype(info.dtype)
        elif rescaling is not None:
            x[info.name] = random.uniform(*raw_range(rescaling), shape).astype("float32")
        else:
            x[info.name] = random.standard_normal(shape).astype("float32")
    return Samples(x, None, "random", ())


def check_calibration(samples: Samples, model: Any, batch_size: int | None) -> list[str]:
    """Refuses samples that would give wrong ranges; returns what is only worth a warning.

    Args:
        samples: The rows.
        model: The Keras model, or anything else (then ranges are not checked).
        batch_size: Rows per call of the file to be made.

    Raises:
        InputError: If there are too few, an input is constant, or the values are in other units
            than the model's first `Rescaling` is made for.
    """
    fewest = max(FEWEST, batch_size or 1)
    if samples.count < fewest:
        raise InputError(
            f"`calibration` must have >= {fewest} rows. Received: {samples.count}. Ranges measured"
            f" on so few are chance; give {ENOUGH} to 500 typical rows."
        )
    said = []
    if samples.count < ENOUGH:
        said.append(f"calibration has only {samples.count} rows; {ENOUGH} or more are advised")
    for name, a in samples.x.items():
        if a.min() == a.max():
            raise InputError(
                f"`calibration` must vary. All values of input {name!r} are {a.flat[0]:g}."
            )
        if samples.count > 1 and (a == a[:1]).all():
            raise InputError(f"`calibration` must vary. All rows of input {name!r} are equal.")
    if isinstance(model, keras.Model) and len(samples.x) == 1:
        said += _check_range(next(iter(samples.x.values())), model)
    return said


def _check_range(a: np.ndarray, model: keras.Model) -> list[str]:
    rescaling = first_rescaling(model)
    if rescaling is None or _is_identity(rescaling):
        return []
    low, high = raw_range(rescaling)
    expected, span = high - low, float(a.max()) - float(a.min())
    if span < _NARROW * expected:
        raise InputError(
            f"`calibration` must be raw values of about {low:g}..{high:g}, which the model's"
            f" Rescaling layer turns into its own range. Received: {a.min():g}..{a.max():g}."
            " They look scaled already; give the values before scaling."
        )
    # A layer that standardizes is made for a few deviations more on either side.
    if a.min() < low - _FAR * expected or a.max() > high + _FAR * expected:
        return [
            f"calibration spans {a.min():g}..{a.max():g}, far outside {low:g}..{high:g}, for which"
            " the model's Rescaling layer is made"
        ]
    return []


def _is_identity(rescaling: keras.layers.Rescaling) -> bool:
    return bool(np.all(np.equal(rescaling.scale, 1)) and np.all(np.equal(rescaling.offset, 0)))


def check_covers(calibration: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> None:
    """Refuses a calibration whose units are plainly not those of the data that judge the file.

    Raises:
        InputError: If one span is less than 1/20 of the other.
    """
    for name, a in calibration.items():
        b = data[name]
        spans = float(a.max()) - float(a.min()), float(b.max()) - float(b.min())
        if min(spans) < max(spans) / 20:
            raise InputError(
                f"`calibration` and `data` must have the same units. Input {name!r} spans"
                f" {a.min():g}..{a.max():g} in calibration, {b.min():g}..{b.max():g} in data."
            )


def ranges(x: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value by input."""
    return {name: (float(a.min()), float(a.max())) for name, a in x.items()}
