"""What is looked at before the first step: the data's shapes, or its first batch."""

import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._internal import InputError, bad, check_number
from keras_distill._internal._elements import Targets
from keras_distill.losses import DistillationLoss, RegressionLoss
from keras_distill.losses._base import Setting, check_setting
from keras_distill.targets import first_batch as first_element
from keras_distill.teachers import Teacher
from keras_distill.teachers._base import map_outputs, named
from keras_distill.teachers._graph import layer_shape
from keras_distill.teachers._keras_teacher import check_values, heads_known
from keras_distill.training import _terms, _weights
from keras_distill.training._default_loss import default_loss
from keras_distill.training._source import TeacherSource
from keras_distill.training._student import StudentReader


def check_alpha(alpha: Setting) -> Setting:
    """Returns alpha if it is in 0..1: the number, or what is known of a schedule's values.

    Raises:
        InputError: If it is not.
    """
    return check_setting("alpha", alpha, at_least=0, at_most=1)


def first_batch(x: Any, y: Any = None, batch_size: int | None = None) -> tuple[Any, Any]:
    """The first batch `(x, y)` of anything `fit` takes, read without using it up.

    Args:
        x: Arrays, a `tf.data.Dataset`, a `PyDataset`, a `Rewound` generator or another iterable
            that starts anew.
        y: Labels or `Targets`, beside arrays.
        batch_size: Of arrays; 32 without.

    """
    if isinstance(x, tf.data.Dataset):
        element = first_element(x)
    elif isinstance(x, keras.utils.PyDataset):
        element = x[0]
    elif isinstance(x, np.ndarray | tf.Tensor | Mapping | list | tuple):
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


class Rewound:
    """A generator whose first batch was read, and is still to come.

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

    def batches(self) -> types.GeneratorType:
        """All batches, as a generator, which Keras takes."""
        yield self.first
        yield from self._rest


def rewound(x: Any) -> Any:
    """x, or a generator whose first batch may be looked at."""
    return Rewound(x) if isinstance(x, types.GeneratorType) else x


def for_keras(x: Any) -> Any:
    """x as `keras.Model.fit` takes it."""
    return x.batches() if isinstance(x, Rewound) else x


def parts(data: Any) -> tuple[Any, Any]:
    """(x, y) of `validation_data`: y is None beside a data set, and where there are no labels."""
    if not isinstance(data, list | tuple):
        return data, None
    return keras.utils.unpack_x_y_sample_weight(tuple(data))[:2]


def known_targets(x: Any, y: Any) -> Targets | None:
    """What is known of y before a batch is read: anything with shapes, None where nothing is."""
    if isinstance(x, tf.data.Dataset):
        spec = x.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        return _terms.split(parts[1] if len(parts) > 1 else None)
    if isinstance(x, np.ndarray | tf.Tensor | Mapping | list | tuple):
        return _terms.split(y)
    return None


def default_losses(y: Any, outputs: Any, reader: StudentReader, soft: _terms.SoftTerms) -> Any:
    """The hard loss for a batch of labels, or a structure of them; None without labels.

    Args:
        y: Labels or `Targets` of one batch.
        outputs: The student's outputs as it gives them, or anything with their shapes.
        reader: Of the student.
        soft: The distillation losses, which tell regression and multi-label tasks.

    Returns:
        A loss; for several outputs a list of them beside a list of labels, else a dict by name.

    Raises:
        InputError: If no loss fits, or labels do not name the outputs.
    """
    targets = _terms.split(y)
    labels = targets.labels
    if labels is None:
        return None

    def loss_of(name: str, label: Any, output: Any) -> keras.losses.Loss:
        pairs = zip(soft.losses, soft.outputs, strict=True)
        fitting = [loss for loss, only in pairs if only in (None, name)]
        head = _terms.of_output(reader.heads, name)
        return default_loss(label, output, head, fitting, targets.labeled)

    by_name = named(outputs, reader.names)
    if not isinstance(by_name, dict):
        return loss_of("", labels, by_name)
    listed = isinstance(outputs, list | tuple)
    if listed and isinstance(labels, list | tuple) and len(labels) == len(by_name):
        return [loss_of(n, v, by_name[n]) for n, v in zip(by_name, labels, strict=True)]
    if isinstance(labels, dict) and not (listed and reader.names is None):
        return {n: loss_of(n, v, by_name[n]) for n, v in labels.items() if n in by_name}
    kind = "a list in their order" if listed and reader.names is None else "a dict by output name"
    raise InputError(
        f"Labels of several outputs ({', '.join(by_name)}) must be {kind}, or compile(loss=...) be"
        f" called first. Received: {type(labels).__name__}."
    )


def check_shapes(soft: _terms.SoftTerms, teacher: Any, student: Any) -> None:
    """Checks the losses on logits against shapes known before the first step.

    Args:
        soft: The losses.
        teacher: Anything with a shape, a `TopK` of such, a dict of these, or None.
        student: The same, of the student; None where not known.

    Raises:
        InputError: If an output is missing, or shapes do not fit.
    """
    if teacher is None or student is None:
        return
    for loss, only in zip(soft.losses, soft.outputs, strict=True):
        if not isinstance(loss, DistillationLoss) or _terms.layer_names(loss) != (None, None):
            continue
        for name in _terms.names_in(student) if only is None else [only]:
            _check_output("teacher", teacher, name)
            _check_output("student", student, name)
            loss.validate_outputs(_terms.of_output(teacher, name), _terms.of_output(student, name))


def _check_output(role: str, outputs: Any, name: str) -> None:
    has = _terms.names_in(outputs)
    if name in has or (has == [""] and name == ""):
        return
    if has == [""]:
        raise InputError(f"The {role} must have the output {name!r}. Received: one output only.")
    wanted = f"the output {name!r}" if name else "one output, as the other has"
    raise InputError(
        f"The {role} must have {wanted}. Received: outputs {', '.join(has)}. Outputs are matched by"
        " name: name the layers at the end of teacher and student alike."
    )


def check_values_compared(soft: _terms.SoftTerms, heads: Any, role: str) -> None:
    """Refuses a regression loss on a model that ends in probabilities.

    Raises:
        InputError: If there is one.
    """
    for loss, only in zip(soft.losses, soft.outputs, strict=True):
        for name in [only] if only else list(heads) if isinstance(heads, dict) else [""]:
            head = _terms.of_output(heads, name)
            probabilities = head is not None and head.kind in ("softmax", "sigmoid")
            if isinstance(loss, RegressionLoss) and probabilities:
                raise InputError(
                    f"RegressionLoss compares values, and the {role}'s layer {head.layer!r} gives"
                    " probabilities. Use SoftTargetLoss or MultiLabelSoftLoss."
                )


def check_pair(source: TeacherSource, reader: StudentReader, soft: _terms.SoftTerms) -> None:
    """Everything that is known of a live teacher and a student without data.

    Raises:
        InputError: If they do not fit.
    """
    source.check_temperature(soft.losses)
    source.check_inputs(reader.input_shapes())
    check_values_compared(soft, source.teacher.heads, "teacher")
    check_shapes(soft, shaped(source.teacher.output_shapes), reader.symbolic())


def feature_shapes(
    teacher: Teacher, reader: StudentReader, soft: _terms.SoftTerms
) -> dict[int, tuple[tuple, tuple]]:
    """The shapes of teacher's and student's features, by the number of the loss that reads them.

    Raises:
        InputError: If the teacher has no such layer.
    """
    shapes = {}
    for i, loss in enumerate(soft.losses):
        names = _terms.layer_names(loss)
        if None not in names and isinstance(loss, DistillationLoss):
            student = layer_shape(reader.layers[names[1]])
            shapes[i] = teacher.feature_shape(names[0]), student
    return shapes


def look(
    peek: Callable[[], tuple[Any, Any]],
    source: TeacherSource | None,
    reader: StudentReader,
    soft: _terms.SoftTerms,
) -> None:
    """Checks on the first batch what no graph shows: that outputs are logits of the right shape.

    Args:
        peek: Gives the first batch `(x, y)`.
        source: Of a live teacher that will run, or None.
        reader: Of the student.
        soft: The losses.

    Raises:
        InputError: If they are not.
    """
    if source is not None and source.teacher is not None and source.teacher.uncertain:
        # A value to match may well look like a probability.
        values_only = all(isinstance(loss, RegressionLoss) for loss in soft.losses)
        logits = source.look(peek()[0], doubt=not values_only)
        check_shapes(soft, logits, reader.symbolic())
    if not heads_known(reader.heads):
        outputs = reader.student(peek()[0], training=False)
        check_values("student", reader.heads, reader.view(outputs, {}).logits)


def shaped(shapes: Any) -> Any:
    """A shape, or a dict of shapes, as symbolic tensors; None stays None."""
    return map_outputs(lambda s: None if s is None else keras.KerasTensor(s), shapes)


def check_arrays_finite(teacher: Any) -> None:
    """Refuses NaN and +inf in stored logits that are NumPy arrays.

    Raises:
        InputError: If there are any.
    """
    arrays = [a for a in keras.tree.flatten(teacher) if isinstance(a, np.ndarray)]
    floats = [a for a in arrays if a.dtype.kind == "f"]
    if not all((a <= np.finfo(a.dtype).max).all() for a in floats):
        raise InputError(f"{_terms.NOT_FINITE}. Check the teacher, or the stored targets.")


def check_examples(x: Any, y: Any, student: list[tuple] | None) -> None:
    """Refuses data that Keras would fail on without saying why.

    Args:
        x: What `fit` got.
        y: The same.
        student: Shapes of the student's inputs, None where not known.

    Raises:
        InputError: If a data set is not batched, or arrays differ in length.
    """
    if x is None:
        raise bad("x", "be given", x)
    if isinstance(x, tf.data.Dataset):
        spec = x.element_spec
        inputs = keras.tree.flatten(spec[0] if isinstance(spec, tuple) else spec)
        if len(inputs) == 1 and student is not None and len(student) == 1:
            shape = getattr(inputs[0], "shape", tf.TensorShape(None))
            if shape.is_fully_defined() and tuple(shape) == student[0][1:]:
                raise InputError(
                    f"`x` must be batched: its elements have the shape {tuple(shape)} of one"
                    " example. Use x.batch(64)."
                )
        return
    arrays = [a for a in keras.tree.flatten((x, y)) if isinstance(a, np.ndarray | tf.Tensor)]
    lengths = {int(array.shape[0]) for array in arrays if len(array.shape)}
    if len(lengths) > 1:
        raise InputError(f"x and y must have one length. Received: {sorted(lengths)} examples.")


def class_weight_table(class_weight: Mapping[int, float], classes: int) -> np.ndarray:
    """Weights by class `(classes,)`, 1 where none is given.

    Raises:
        InputError: If a key is no class, or a weight is negative.

    Example:
        >>> class_weight_table({1: 3.0}, 3).tolist()
        [1.0, 3.0, 1.0]
    """
    table = np.ones(classes, np.float32)
    for key, value in class_weight.items():
        if not 0 <= int(key) < classes:
            raise bad("class_weight", f"have classes in 0..{classes - 1} as keys", key)
        table[int(key)] = check_number(f"class_weight[{key}]", value, at_least=0)
    return table


def weigh_classes(
    class_weight: Mapping[int, float], labels: Any, output: Any, labeled: Any, sample_weight: Any
) -> tf.Tensor:
    """The class weight of each position, 1 where a position has no label, times sample weights.

    Args:
        class_weight: Weights by class id.
        labels: Class ids or one-hot rows of a single output.
        output: The student's output.
        labeled: bool `(B,)`, or None.
        sample_weight: Weights of the leading axes, or None.

    Raises:
        InputError: If the student has several outputs, or a key is no class.
    """
    if isinstance(output, dict | list | tuple):
        raise InputError("`class_weight` must be left out for a student with several outputs.")
    table = class_weight_table(class_weight, max(output.shape[-1], 2))
    rank = _weights.positions(output)
    mask = _weights.has_label(labels, output, labeled)
    safe = _weights.without_missing(labels, mask)
    if _weights.is_sparse(labels, output) or output.shape[-1] == 1:
        ids = _weights.align(tf.cast(tf.round(tf.cast(safe, tf.float32)), tf.int32), rank)
    else:
        ids = tf.argmax(safe, axis=-1, output_type=tf.int32)
    # An id that is no class, such as one the hard loss ignores, weighs 1.
    known = tf.logical_and(ids >= 0, ids < len(table))
    values = tf.where(known, tf.gather(table, tf.clip_by_value(ids, 0, len(table) - 1)), 1.0)
    if mask is not None:
        values = tf.where(mask, values, 1.0)
    return _weights.weigh(values, sample_weight, rank)
