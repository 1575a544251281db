"""`mlp:UNITSxUNITS`: fully connected networks."""

import itertools
from dataclasses import dataclass
from typing import Any

import keras

from keras_distill._internal import _spec, bad
from keras_distill._internal._spec import Spec
from keras_distill.models._family import MAX_PARAMETERS, Family, regularizer

_MAX_LAYERS = 200


@dataclass(frozen=True)
class MLP(Family):
    """`Flatten`, then `Dense` with ReLU for each hidden layer, with He initialization.

    Hinton, Vinyals, Dean (2015), section 3, train their MNIST teacher with dropout and a max-norm
    constraint: `mlp:1200x1200?input_dropout=0.2&dropout=0.5&max_norm=3`. The rates and the norm
    are those of Srivastava et al. (2014, JMLR 15, appendix B.1).

    Attributes:
        units: Number of units of each hidden layer.
        input_dropout: Fraction of inputs dropped.
        dropout: Fraction of units dropped after each hidden layer.
        max_norm: Maximum norm of the weights into one hidden unit; 0 for no constraint.
        weight_decay: Factor of the L2 penalty, whose gradient is weight_decay * w.
    """

    units: tuple[int, ...]
    input_dropout: float = 0.0
    dropout: float = 0.0
    max_norm: float = 0.0
    weight_decay: float = 0.0

    @classmethod
    def parse(cls, spec: Spec) -> "MLP":
        options = spec.read(
            input_dropout=_spec.number(at_least=0, at_most=0.95),
            dropout=_spec.number(at_least=0, at_most=0.95),
            max_norm=_spec.number(above=0),
            weight_decay=_spec.number(at_least=0),
        )
        sizes = spec.argument.split("x")
        known = all(s.isascii() and s.isdigit() and len(s) < 8 for s in sizes)
        if not known or not all(0 < int(s) <= 1_000_000 for s in sizes):
            raise bad(spec.name, "name the units of each hidden layer, as mlp:300x300", spec.text)
        units = tuple(map(int, sizes))
        if len(units) > _MAX_LAYERS:
            raise bad(spec.name, f"have at most {_MAX_LAYERS} hidden layers", spec.text)
        if sum(a * b for a, b in itertools.pairwise(units)) > MAX_PARAMETERS:
            raise bad(spec.name, f"have at most {MAX_PARAMETERS} parameters", spec.text)
        return cls(units=units, **options)

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if len(x.shape) > 2:
            x = keras.layers.Flatten(name="flatten")(x)
        if self.input_dropout:
            x = keras.layers.Dropout(self.input_dropout, name="input_dropout")(x)
        norm: Any = self.max_norm  # a float, which the annotation of MaxNorm does not allow
        constraint = keras.constraints.MaxNorm(norm, axis=0) if norm else None
        for i, units in enumerate(self.units, start=1):
            x = keras.layers.Dense(
                units,
                activation="relu",
                kernel_initializer="he_normal",
                kernel_regularizer=regularizer(self.weight_decay),
                kernel_constraint=constraint,
                name=f"hidden{i}",
            )(x)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=f"dropout{i}")(x)
        return x
