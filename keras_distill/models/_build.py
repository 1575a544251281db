"""From a spec string to a Keras model that ends in logits."""

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_distill._internal import InputError, bad, check_count, is_number
from keras_distill._internal._spec import Spec
from keras_distill.models._applications import Application
from keras_distill.models._dscnn import DSCNN
from keras_distill.models._family import Family
from keras_distill.models._load import load
from keras_distill.models._mlp import MLP
from keras_distill.models._resnet import ResNet
from keras_distill.models._wrn import WRN

# kind -> (family, how it is written, what it is)
_FAMILIES: dict[str, tuple[type[Family], str, str]] = {
    "mlp": (MLP, "mlp:300x300", "fully connected, ReLU"),
    "resnet": (ResNet, "resnet:20", "CIFAR ResNets, depth 6n + 2; also resnet:8x4"),
    "wrn": (WRN, "wrn:16-2", "wide ResNets, depth 6n + 4"),
    "dscnn": (DSCNN, "dscnn", "small depthwise separable"),
    "applications": (Application, "applications:MobileNetV3Small", "any of keras.applications"),
}


def families() -> dict[str, str]:
    """How a spec of each family is written -> what it is, in a few words.

    Example:
        >>> families()["dscnn"]
        'small depthwise separable'
    """
    return {written: what for _, written, what in _FAMILIES.values()}


@dataclass(frozen=True)
class KerasFile:
    """A model that a `.keras` file holds.

    Attributes:
        path: The file.
    """

    path: Path


def parse(spec: str | os.PathLike, *, name: str = "model") -> Family | KerasFile:
    """Reads a spec without building anything, so that a mistake shows early.

    Args:
        spec: One of `families()`, with its own argument and options, or the path of a .keras file.
        name: What the user called the argument, for errors.

    Returns:
        The settings, a frozen dataclass of the family; for a file, a `KerasFile`.

    Raises:
        InputError: If there is no such family or file, or the spec does not fit the family.

    Example:
        >>> parse("mlp:30x30?dropout=0.5").units
        (30, 30)
    """
    if isinstance(spec, os.PathLike) or str(spec).endswith(".keras"):
        path = Path(spec).expanduser()
        if not path.is_file():
            raise InputError(f"{name}: no such file: {path}.")
        return KerasFile(path)
    parsed = Spec.parse(name, spec)
    if parsed.kind not in _FAMILIES:
        raise InputError(
            f"{name}: no model {parsed.kind!r}. Choose from: {', '.join(families())}, or the path"
            f" of a .keras file. Received: {name}={spec!r}"
        )
    return _FAMILIES[parsed.kind][0].parse(parsed)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Makes initial weights and dropout seeds a function of `seed`, and leaves no trace.

    Keras draws the seed of every initializer and of every dropout layer that was given none from
    Python's `random`.
    """
    if seed is None:
        yield
        return
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _check_shape(input_shape: Any) -> tuple[int, ...]:
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str) or not input_shape:
        raise bad("input_shape", "be whole numbers without the batch, as (28, 28, 1)", input_shape)
    return tuple(check_count("input_shape", n) for n in input_shape)


def _check_rescale(rescale: Any, channels: int) -> tuple:
    """Returns (scale, offset), each a float or a list of one float per channel."""
    if not isinstance(rescale, Sequence) or len(rescale) != 2:
        raise bad("rescale", "be a pair (scale, offset)", rescale)
    pair = []
    for part in rescale:
        values = part if isinstance(part, Sequence) else [part]
        if len(values) not in (1, channels) or not all(map(is_number, values)):
            raise bad("rescale", f"hold numbers, one or one per channel ({channels})", rescale)
        pair.append([float(v) for v in values] if len(values) > 1 else float(values[0]))
    return tuple(pair)


def build(
    spec: str | os.PathLike,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    rescale: Sequence | None = None,
    seed: int | None = None,
    imports: Sequence[str] = (),
) -> keras.Model:
    """Builds the model that a spec string names, or loads a `.keras` file.

    The model takes raw values: its first layer is a `Rescaling` named "normalization". Its last is
    a `Dense` named "logits", without activation.

    Args:
        spec: One of `families()`, with its own argument and options, such as "mlp:1200x1200",
            "resnet:20?width=2" or "dscnn?width=0.5"; or the path of a .keras file, which keeps its
            own layers and weights (`rescale` and `seed` are not used).
        input_shape: Shape of one example, without the batch.
        num_classes: How many logits, >= 2.
        rescale: (scale, offset) of the first layer, x * scale + offset: each one number or one per
            channel; `data.statistics(train)` gives them. None leaves values as they are. The nets
            of keras.applications bring their own and do not use it.
        seed: Of the initial weights and the dropout masks; None draws one.
        imports: Modules that register the custom layers of a .keras file.

    Returns:
        A functional model, not compiled. Equal arguments with a seed give equal weights.

    Raises:
        InputError: If an argument is not what it should be, or the net cannot take the shape.
            For a file also what `load` raises.

    Example:
        >>> model = build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
        >>> model.layers[1].name, model.layers[-1].name, model.count_params()
        ('normalization', 'logits', 1210)
    """
    family = parse(spec)
    shape = _check_shape(input_shape)
    check_count("num_classes", num_classes, at_least=2)
    if seed is not None:
        check_count("seed", seed, at_least=0)
    if isinstance(family, KerasFile):
        model = load(family.path, imports=imports)
        check_fits(model, family.path, shape, num_classes)
        return model
    own = family.own_rescale(shape)
    scale, offset = own or _check_rescale((1.0, 0.0) if rescale is None else rescale, shape[-1])
    with seeded(seed):
        inputs = keras.Input(shape, name="x")
        x = keras.layers.Rescaling(scale, offset, name="normalization")(inputs)
        outputs = family.logits(family.features(x), num_classes)
        return keras.Model(inputs, outputs, name=_model_name(spec))


def check_fits(
    model: keras.Model, path: Path, input_shape: Sequence[int], num_classes: int
) -> None:
    """Refuses a model of other data.

    Args:
        model: Any model with a graph.
        path: Its file, for the error.
        input_shape: Shape of one example, without the batch.
        num_classes: How many logits it must give.

    Raises:
        InputError: If it does not take one input of that shape and give that many outputs.
    """
    shape = tuple(input_shape)
    got, given = model.input_shape, model.output_shape
    one = isinstance(got, tuple) and isinstance(given, tuple) and len(given) == 2
    if not one or len(got) != len(shape) + 1 or given[1] != num_classes:
        fits = False
    else:
        fits = all(g in (None, s) for g, s in zip(got[1:], shape, strict=True))
    if not fits:
        raise InputError(
            f"{path}: must take {shape} and give {num_classes} logits, as the data need. It takes"
            f" {got} and gives {given} (the first number is the batch)."
        )


def _model_name(spec: str) -> str:
    """The spec with what Keras does not allow in names replaced.

    Example:
        >>> _model_name("resnet:20?width=2")
        'resnet_20_width_2'
    """
    return "".join(c if c.isascii() and (c.isalnum() or c == ".") else "_" for c in spec.strip())
