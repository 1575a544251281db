"""Checks of data, teacher, and student before the first step, and the first batch they need."""

import types
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad
from keras_distill._internal._elements import Targets
from keras_distill._internal._types import Outputs, Schedule, Shape
from keras_distill.losses import DistillationLoss, RegressionLoss, check_setting
from keras_distill.targets import PeekableDataset
from keras_distill.teachers import ONLY, Head, ModelReader, Teacher, outputs_by_name
from keras_distill.training._terms import (
    NOT_FINITE,
    SoftTerms,
    check_without_labels,
    layer_names,
    split,
)
from keras_distill.training._views import Pair, no_teacher


def check_alpha(alpha: Schedule) -> Schedule:
    """Returns alpha if it is in 0..1: the number, or what is known of a schedule's values.

    Raises:
        InputError: If it is not.
    """
    return check_setting("alpha", alpha, at_least=0, at_most=1)


def first_batch(x: Any, y: Any = None, batch_size: int | None = None) -> tuple[Any, Any]:
    """Returns the first batch `(x, y)` of anything `fit` takes, without consuming it.

    Args:
        x: Arrays, a `tf.data.Dataset`, a `PyDataset`, a `Rewound` generator, or another iterable
            that restarts.
        y: Labels or `Targets` of arrays.
        batch_size: Of arrays; 32 by default.
    """
    if isinstance(x, PeekableDataset):
        element = x.peek()
    elif isinstance(x, tf.data.Dataset):
        element = next(iter(x.take(1)))
    elif isinstance(x, keras.utils.PyDataset):
        element = x[0]
    elif _are_arrays(x):
        size = batch_size or 32
        element = keras.tree.map_structure(lambda a: a[:size], (x, y), none_is_leaf=False)
    else:
        iterator = iter(x)
        if iterator is x:
            raise bad("x", "be arrays, a data set, a PyDataset or a generator", x)
        element = next(iterator)
    batch_x, batch_y, _ = keras.utils.unpack_x_y_sample_weight(element)
    as_tensor = lambda value: None if value is None else tf.convert_to_tensor(value)  # noqa: E731
    return keras.tree.map_structure(as_tensor, batch_x, none_is_leaf=True), batch_y


def _are_arrays(x: Any) -> bool:
    return isinstance(x, np.ndarray | tf.Tensor | Mapping | list | tuple)


class Rewound:
    """A generator whose first batch can be read without consuming it.

    Attributes:
        first: The first batch, as the generator gave it.
    """

    def __init__(self, generator: types.GeneratorType) -> None:
        self.first = next(generator, None)
        if self.first is None:
            raise InputError("`x` is a generator that gives no batch.")
        self._rest = generator

    def __iter__(self) -> Iterator[Any]:
        return iter([self.first])

    def batches(self) -> Generator[Any, None, None]:
        """Yields all batches: Keras takes a generator."""
        yield self.first
        yield from self._rest


def rewound(x: Any) -> Any:
    """Returns x; of a generator one whose first batch can be read."""
    return Rewound(x) if isinstance(x, types.GeneratorType) else x


def for_keras(x: Any) -> Any:
    """Returns x as `keras.Model.fit` takes it."""
    return x.batches() if isinstance(x, Rewound) else x


def parts(data: Any) -> tuple[Any, Any]:
    """Returns (x, y) of `validation_data`; y is None for a data set, and without labels."""
    if not isinstance(data, list | tuple):
        return data, None
    return keras.utils.unpack_x_y_sample_weight(tuple(data))[:2]


def known_targets(x: Any, y: Any) -> Targets | None:
    """Returns what is known of y before a batch is read: anything with shapes; None if unknown."""
    if isinstance(x, tf.data.Dataset):
        y = keras.utils.unpack_x_y_sample_weight(x.element_spec)[1]
    elif not _are_arrays(x):
        return None
    return split(y)


def check_shapes(soft: SoftTerms, teacher: Outputs | None, student: Outputs | None) -> None:
    """Checks the losses on logits against shapes known before the first step.

    Args:
        soft: The losses.
        teacher: Anything with a shape, or a `TopK` of such, by output name; None if unknown.
        student: The same of the student.

    Raises:
        InputError: If an output is missing, or shapes do not fit.
    """
    if teacher is None or student is None:
        return
    for loss, only in zip(soft.losses, soft.outputs, strict=True):
        if not isinstance(loss, DistillationLoss) or layer_names(loss) != (None, None):
            continue
        for name in student if only is None else [only]:
            _check_output("teacher", teacher, name)
            _check_output("student", student, name)
            loss.validate_outputs(teacher[name], student[name])


def _check_output(role: str, outputs: Outputs, name: str) -> None:
    if name in outputs:
        return
    if ONLY in outputs:
        raise InputError(f"The {role} must have the output {name!r}. Received: one output only.")
    wanted = f"the output {name!r}" if name else "one output, as the other has"
    raise InputError(
        f"The {role} must have {wanted}. Received: outputs {', '.join(outputs)}. Outputs are"
        " matched by name: give the last layers of teacher and student the same names."
    )


def check_values_compared(soft: SoftTerms, heads: Mapping[str, Head] | None, role: str) -> None:
    """Refuses a regression loss on a model that ends in probabilities.

    Raises:
        InputError: If there is one.
    """
    for name, head in (heads or {}).items():
        compared = any(isinstance(loss, RegressionLoss) for loss in soft.for_output(name))
        if compared and head.kind in ("softmax", "sigmoid"):
            raise InputError(
                f"RegressionLoss compares values, and the {role}'s layer {head.layer!r} gives"
                " probabilities. Use SoftTargetLoss or MultiLabelSoftLoss."
            )


def check_pair(pair: Pair) -> None:
    """Checks everything that is known of a live teacher and a student without data.

    Raises:
        InputError: If they do not fit.
    """
    source, reader, soft = pair.source, pair.reader, pair.soft_terms
    assert source.teacher is not None  # a live teacher
    source.check_temperature(soft.losses)
    source.check_inputs(reader.input_shapes())
    check_values_compared(soft, source.teacher.heads, "teacher")
    shapes = source.teacher.output_shapes
    symbolic: Any = shapes and {name: keras.KerasTensor(s) for name, s in shapes.items()}
    check_shapes(soft, symbolic, reader.symbolic())


def new_projectors(pair: Pair, *, trained: bool) -> dict[int, tuple[keras.Layer | None, Shape]]:
    """Returns the projectors that losses on features lack, with their input shapes, by loss.

    Args:
        pair: Teacher, student, and losses.
        trained: Whether the student has an optimizer whose state a new projector would not fit.

    Raises:
        InputError: If the teacher lacks a layer, or needs another projector than there is.
    """
    made: dict[int, tuple[keras.Layer | None, Shape]] = {}
    for i, loss in enumerate(pair.soft_terms.losses):
        names = layer_names(loss)
        if names[0] is None or names[1] is None or not isinstance(loss, DistillationLoss):
            continue
        assert pair.source.teacher is not None  # losses on features need a live teacher
        teacher = _feature_shapes(pair.source.teacher, names[0])
        student = _feature_shapes(pair.reader, names[1])
        if loss.teacher_weights_name is not None:
            pair.source.teacher.layer_weights(loss.teacher_weights_name)
        projector = pair.soft_terms.projectors[i]
        if projector is None:
            made[i] = loss.projector(teacher, student), student
            unfit = trained and made[i][0] is not None
        else:
            unfit = not loss.projector_fits(projector, teacher, student)
        if unfit:
            raise InputError(
                f"The teacher's layer {names[0]!r} has features {teacher}, which need another"
                f" projector than {type(loss).__name__} has trained with. Make a new"
                " Distiller(teacher, distiller.student, ...)."
            )
    return made


def _feature_shapes(model: Teacher | ModelReader, names: str | tuple[str, ...]) -> Any:
    """Returns the shape of a layer's output, or a list for several layers."""
    if isinstance(names, tuple):
        return [model.feature_shape(name) for name in names]
    return model.feature_shape(names)


def check_first_batch(peek: Callable[[], tuple[Any, Any]], pair: Pair, *, stored: bool) -> None:
    """Checks on the first batch what no graph shows: that outputs are logits of the right shape.

    Args:
        peek: Returns the first batch `(x, y)`.
        pair: Teacher, student, and losses.
        stored: Whether the data carry soft targets, so that no live teacher will run.

    Raises:
        InputError: If they are not.
    """
    source, reader, soft = pair.source, pair.reader, pair.soft_terms
    if not stored and source.teacher is not None and source.teacher.needs_check:
        # Values of a regression may look like probabilities.
        values_only = all(isinstance(loss, RegressionLoss) for loss in soft.losses)
        logits = source.logits(peek()[0], check=not values_only)
        check_shapes(soft, logits, reader.symbolic())
    if reader.needs_check:
        outputs, _ = reader.call(peek()[0])
        reader.check(reader.logits(reader.by_name(outputs)))


def check_examples(x: Any, y: Any, student: list[Shape] | None) -> None:
    """Refuses data with which Keras would fail without a clear message.

    Args:
        x: The argument of `fit`.
        y: The argument of `fit`.
        student: Shapes of the student's inputs; None if unknown.

    Raises:
        InputError: If a data set is not batched, or arrays differ in length.
    """
    if x is None:
        raise bad("x", "be given", x)
    if isinstance(x, tf.data.Dataset):
        spec = x.element_spec
        inputs = keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec)
        if len(inputs) == 1 and student is not None and len(student) == 1:
            shape: Any = getattr(inputs[0], "shape", tf.TensorShape(None))  # pyright: ignore[reportArgumentType]
            if shape.is_fully_defined() and tuple(shape) == student[0][1:]:
                raise InputError(
                    f"`x` must be batched: its elements have the shape {tuple(shape)} of one"
                    " example. Use x.batch(64)."
                )
        return
    arrays = [a for a in keras.tree.flatten((x, y)) if isinstance(a, np.ndarray | tf.Tensor)]
    lengths = {int(array.shape[0] or 0) for array in arrays if len(array.shape)}
    if len(lengths) > 1:
        raise InputError(f"x and y must have one length. Received: {sorted(lengths)} examples.")


def check_data(known: Targets | None, pair: Pair) -> None:
    """Checks training data before a batch is read.

    Args:
        known: What is known of y; None if nothing is.
        pair: Teacher, student, and losses.

    Raises:
        InputError: If there are no soft targets and no teacher, or labels are missing, or stored
            logits do not fit.
    """
    if known is None:
        return
    if known.teacher is None and pair.source.teacher is None:
        raise no_teacher()
    if known.labels is None:
        check_without_labels(pair.alpha)
    if known.teacher is None:
        return
    check_shapes(pair.soft_terms, outputs_by_name(known.teacher), pair.reader.symbolic())
    arrays = [a for a in keras.tree.flatten(known.teacher) if isinstance(a, np.ndarray)]
    floats = [a for a in arrays if a.dtype.kind == "f"]
    if not all((a <= np.finfo(a.dtype).max).all() for a in floats):
        raise InputError(NOT_FINITE)


def check_validation(name: str, known: Targets | None, pair: Pair, *, hard: bool) -> None:
    """Refuses validation data without a loss to compute, before an epoch is spent.

    Args:
        name: The argument of `fit` that they come from.
        known: What is known of their y; None if nothing is.
        pair: Teacher, student, and losses.
        hard: Whether there is a hard loss for labels.

    Raises:
        InputError: If there is neither a hard nor a soft term.
    """
    if known is None:
        return
    live = pair.evaluate_teacher and pair.source.teacher is not None
    soft = pair.can_evaluate(known) or live
    if pair.evaluate_teacher and not soft:
        raise InputError(
            f"`{name}` must carry soft targets, or the Distiller have a teacher, with"
            " evaluate_teacher=True. Received: neither. Use set_teacher, or leave evaluate_teacher"
            " out."
        )
    if known.labels is not None and hard:
        return
    if not soft:
        what = "labels" if known.labels is None else "a hard loss, compile(loss=...),"
        raise InputError(
            f"`{name}` needs {what} or stored soft targets: without them there is no loss to"
            " compute. Received: neither. Or give the Distiller evaluate_teacher=True."
        )
    check_without_labels(pair.alpha)


def flatten_losses(losses: Any, weights: Any) -> tuple[list[Any], list[Any], list[str | None]]:
    """Returns a loss, a list, or a dict of these by output name as parallel lists.

    Args:
        losses: One loss, several, or a dict from output name to one or several.
        weights: None (all 1), or numbers and schedules in the same structure.

    Returns:
        Losses, weights, and the output each is for (None: every output).

    Raises:
        InputError: If an item is not a loss, or the structures differ.
    """
    if isinstance(losses, dict):
        if weights is not None and (not isinstance(weights, dict) or set(weights) != set(losses)):
            raise bad("distillation_loss_weights", "be a dict with the losses' keys", weights)
        found: tuple[list, list, list] = ([], [], [])
        for name, part in losses.items():
            listed, values, _ = flatten_losses(part, None if weights is None else weights[name])
            for target, more in zip(found, (listed, values, [name] * len(listed)), strict=True):
                target.extend(more)
        return found
    listed = list(losses) if isinstance(losses, list | tuple) else [losses]
    if not listed or not all(isinstance(x, keras.distillation.DistillationLoss) for x in listed):
        raise bad(
            "distillation_losses",
            "be one or more distillation losses",
            losses,
            "Use keras_distill.losses, or subclass DistillationLoss.",
        )
    if weights is None:
        weights = [1.0] * len(listed)
    weights = list(weights) if isinstance(weights, list | tuple) else [weights]
    if len(weights) != len(listed):
        raise bad("distillation_loss_weights", f"have one per loss ({len(listed)})", weights)
    for weight in weights:
        check_setting("distillation_loss_weights", weight, at_least=0)
    return listed, weights, [None] * len(listed)
