"""The table of model families, and `build(spec)`, which builds the model that a spec names.

To add a family, write a subclass of `Family` in `models/_name.py`, and add a line to `FAMILIES`.
"""

import contextlib
import os
import random
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_distill._internal import (
    InputError,
    _user_code,
    bad,
    check_count,
    did_you_mean,
    is_number,
)
from keras_distill._internal._checks import MAX_SEED
from keras_distill._internal._spec import Spec
from keras_distill._internal._types import PathLike
from keras_distill.models._applications import Application
from keras_distill.models._dscnn import DSCNN
from keras_distill.models._family import Channels, Family, Rescaling
from keras_distill.models._file_kinds import KERAS, ModelFile, model_file, names_a_file
from keras_distill.models._load import load
from keras_distill.models._mlp import MLP
from keras_distill.models._registration import check_registered
from keras_distill.models._resnet import ResNet
from keras_distill.models._wrn import WRN

# kind -> (family, form of the spec, description)
FAMILIES: dict[str, tuple[type[Family], str, str]] = {
    "mlp": (MLP, "mlp:300x300", "fully connected, ReLU"),
    "resnet": (ResNet, "resnet:20", "CIFAR ResNets, depth 6n + 2; also resnet:8x4"),
    "wrn": (WRN, "wrn:16-2", "wide ResNets, depth 6n + 4"),
    "dscnn": (DSCNN, "dscnn", "small depthwise separable"),
    "applications": (Application, "applications:MobileNetV3Small", "any of keras.applications"),
}


def families() -> dict[str, str]:
    """Returns a short description of each family, by the form of its spec.

    Example:
        >>> families()["dscnn"]
        'small depthwise separable'
    """
    return {written: what for _, written, what in FAMILIES.values()}


@dataclass(frozen=True)
class PythonModel:
    """A model that a function of the user builds.

    Attributes:
        spec: `py:package.module:function`; the function takes `input_shape` and `num_classes`.
    """

    spec: str


def is_file(spec: object) -> bool:
    """Returns whether a spec is the path of a model; family names take precedence.

    Example:
        >>> is_file("model.h5"), is_file("mlp:30"), is_file("other")
        (True, False, False)
    """
    written = spec.strip() if isinstance(spec, str) else ""
    family = re.split("[:?]", written, maxsplit=1)[0]
    return bool(written) and family not in FAMILIES and names_a_file(written)


def parse(
    spec: PathLike, *, name: str = "model", takes: Collection[str] = (KERAS,)
) -> Family | ModelFile | PythonModel:
    """Parses a spec without building a model, so that a mistake is reported early.

    Args:
        spec: One of `families()`, with its own argument and options; the path of a model; or
            `py:package.module:function`.
        name: The name of the argument, for errors.
        takes: The kinds of files that can be used; see `model_file`.

    Returns:
        The settings of the family (a frozen dataclass), a `ModelFile`, or a `PythonModel`.

    Raises:
        InputError: If the family or file does not exist, or the spec is invalid for the family.

    Example:
        >>> parse("mlp:30x30?dropout=0.5").units
        (30, 30)
    """
    if isinstance(spec, os.PathLike):
        return model_file(spec, takes, name=name)
    if str(spec).startswith("py:"):
        _user_code.function_of(name, str(spec))
        return PythonModel(str(spec))
    if is_file(spec):
        return model_file(spec, takes, name=name)
    parsed = Spec.parse(name, spec)
    if parsed.kind == "shrink":
        raise InputError(
            f"{name}: shrink:… is the student of a run, made from its teacher. Elsewhere, make it"
            f" with kd.shrink and give the .keras file. Received: {name}={spec!r}"
        )
    if parsed.kind not in FAMILIES:
        raise InputError(
            f"{name}: no model {parsed.kind!r}. Choose from: {', '.join(families())},"
            " py:package.module:function, or the path of a .keras file."
            f" Received: {name}={spec!r}.{did_you_mean(parsed.kind, FAMILIES)}"
        )
    return FAMILIES[parsed.kind][0].parse(parsed)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Makes initial weights and dropout depend only on `seed`; then restores the generator.

    Keras draws the seeds of initializers and dropout layers that have none from Python's `random`.

    Args:
        seed: The seed; None changes nothing.
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


def _check_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(input_shape, Sequence) or isinstance(input_shape, str) or not input_shape:
        raise bad("input_shape", "be whole numbers without the batch, as (28, 28, 1)", input_shape)
    return tuple(check_count("input_shape", n) for n in input_shape)


def _check_rescale(rescale: Sequence[Channels], channels: int) -> Rescaling:
    """Checks and returns (scale, offset), each a float or a list of one float per channel."""
    if not isinstance(rescale, Sequence) or len(rescale) != 2:
        raise bad("rescale", "be a pair (scale, offset)", rescale)
    pair: list[Channels] = []
    for part in rescale:
        values = part if isinstance(part, Sequence) else [part]
        if len(values) not in (1, channels) or not all(map(is_number, values)):
            raise bad("rescale", f"hold numbers, one or one per channel ({channels})", rescale)
        pair.append([float(v) for v in values] if len(values) > 1 else float(values[0]))
    return pair[0], pair[1]


def build(
    spec: PathLike,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    rescale: Sequence[Channels] | None = None,
    seed: int | None = None,
    imports: Sequence[str] = (),
) -> keras.Model:
    """Builds the model that a spec string names, or loads a `.keras` file.

    A model of a family takes raw values: its first layer is a `Rescaling` named "normalization".
    Its last layer is a `Dense` named "logits", without activation.

    Args:
        spec: One of `families()`, with its own argument and options, such as "mlp:1200x1200",
            "resnet:20?width=2", or "dscnn?width=0.5"; the path of a .keras file, which keeps its
            own layers and weights (`rescale` and `seed` are ignored); or
            `py:package.module:function`, whose function takes `input_shape` and `num_classes` and
            returns a Keras model (`rescale` is ignored).
        input_shape: Shape of one example, without the batch axis.
        num_classes: The number of logits, >= 2.
        rescale: (scale, offset) of the first layer, which computes x * scale + offset. Each is one
            number, or one number per channel; use `data.statistics(train)` to compute them. None
            means no rescaling. The models of keras.applications have their own rescaling and ignore
            this argument.
        seed: The seed of initial weights and dropout masks; None for random ones.
        imports: Modules that register the custom layers of a .keras file.

    Returns:
        A model; for a family, it is functional and not compiled. Equal arguments with a seed give
        equal weights.

    Raises:
        InputError: If an argument is invalid, or the model does not match the input shape or the
            number of classes. For a file, also the errors of `load`.

    Example:
        >>> model = build("mlp:16", input_shape=(8, 8, 1), num_classes=10, seed=0)
        >>> model.layers[1].name, model.layers[-1].name, model.count_params()
        ('normalization', 'logits', 1210)
    """
    family = parse(spec)
    shape = _check_shape(input_shape)
    check_count("num_classes", num_classes, at_least=2)
    if seed is not None:
        check_count("seed", seed, at_least=0, at_most=MAX_SEED)
    if isinstance(family, ModelFile):
        model = load(family.path, imports=imports)
        check_fits(model, family.path, shape, num_classes)
        return model
    if isinstance(family, PythonModel):
        with seeded(seed):
            model = _user_code.call(
                "model", family.spec, input_shape=shape, num_classes=num_classes
            )
        if not isinstance(model, keras.Model):
            raise InputError(
                f"{family.spec}: must return a Keras model. It returned: {model!r:.80}"
            )
        check_fits(model, family.spec, shape, num_classes)
        check_registered(model, f"{family.spec}: the model")
        return model
    own = family.own_rescale(shape)
    offset: Any  # the annotation of Rescaling allows only one number, not one per channel
    scale, offset = own or _check_rescale((1.0, 0.0) if rescale is None else rescale, shape[-1])
    with seeded(seed):
        inputs = keras.Input(shape, name="x")
        x = keras.layers.Rescaling(scale, offset, name="normalization")(inputs)
        outputs = family.logits(family.features(x), num_classes)
        return keras.Model(inputs, outputs, name=_model_name(str(spec)))


def logit_shapes(rows: int | None, num_classes: int) -> list[tuple[int | None, int]]:
    """Returns the shapes that logits may have: two classes may have one logit.

    Args:
        rows: The number of rows; None if unknown.
        num_classes: The number of classes.

    Example:
        >>> logit_shapes(None, 10), logit_shapes(None, 2)
        ([(None, 10)], [(None, 2), (None, 1)])
    """
    return [(rows, num_classes), *([(rows, 1)] if num_classes == 2 else [])]


def check_fits(
    model: keras.Model, path: PathLike, input_shape: Sequence[int], num_classes: int
) -> None:
    """Raises an error if a model does not match the data.

    Args:
        model: A model with known input and output shapes.
        path: The file or spec of the model, for the error.
        input_shape: Shape of one example, without the batch axis.
        num_classes: The number of classes; see `logit_shapes`.

    Raises:
        InputError: If the model does not have one input of that shape and one output with these
            logits.
    """
    shape = tuple(input_shape)
    got, given = model.input_shape, model.output_shape
    one = isinstance(got, tuple) and isinstance(given, tuple) and len(given) == 2
    if not one or len(got) != len(shape) + 1 or given not in logit_shapes(None, num_classes):
        fits = False
    else:
        fits = all(g in (None, s) for g, s in zip(got[1:], shape, strict=True))
    if not fits:
        raise InputError(
            f"{path}: must have input {shape} and {num_classes} logits to fit the data. Received:"
            f" input {got}, output {given} (the first number is the batch)."
        )


def _model_name(spec: str) -> str:
    """Replaces the characters of a spec that Keras does not allow in names.

    Example:
        >>> _model_name("resnet:20?width=2")
        'resnet_20_width_2'
    """
    return "".join(c if c.isascii() and (c.isalnum() or c == ".") else "_" for c in spec.strip())
