"""What must be known before the first step: a look at the data, a build, a loss, the checks."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill._checks import InputError, bad, check_number
from keras_distill._elements import Targets
from keras_distill.losses import DistillationLoss
from keras_distill.losses.base import Setting
from keras_distill.training import hard, terms
from keras_distill.training.student import StudentReader


def check_alpha(alpha: Setting) -> Setting:
    """Returns alpha if it is in 0..1: the number, or a schedule's value at step 0.

    Raises:
        InputError: If it is not.
    """
    if callable(alpha):
        check_number("alpha(0)", float(alpha(0)), at_least=0, at_most=1)
        return alpha
    return check_number("alpha", alpha, at_least=0, at_most=1)


def first_batch(x: Any, y: Any = None, batch_size: int | None = None) -> tuple[Any, Any]:
    """The first batch `(x, y)` of anything `fit` takes, read without using it up.

    Args:
        x: Arrays, a `tf.data.Dataset`, a `PyDataset` or another iterable that starts anew.
        y: Labels or `Targets`, beside arrays.
        batch_size: Of arrays; 32 without.

    Raises:
        InputError: If x is a generator, which would lose its first batch.
    """
    if isinstance(x, tf.data.Dataset):
        element = next(iter(x.take(1)))
    elif isinstance(x, keras.utils.PyDataset):
        element = x[0]
    elif isinstance(x, np.ndarray | tf.Tensor | Mapping | list | tuple):
        size = batch_size or 32
        element = keras.tree.map_structure(lambda a: a[:size], (x, y), none_is_leaf=False)
    else:
        iterator = iter(x)
        if iterator is x:
            raise InputError(
                "A generator gives its first batch once only. Call compile(...) and build the"
                " student first, or give a tf.data.Dataset."
            )
        element = next(iterator)
    batch_x, batch_y, _ = keras.utils.unpack_x_y_sample_weight(element)
    return keras.tree.map_structure(tf.convert_to_tensor, batch_x), batch_y


def element_shapes(x: Any, y: Any) -> Targets | None:
    """What is known of y before a batch is read: anything with shapes, None where nothing is."""
    if isinstance(x, tf.data.Dataset):
        spec = x.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        return terms.split(parts[1] if len(parts) > 1 else None)
    return terms.split(y) if y is not None else None


def default_losses(y: Any, outputs: Any, reader: StudentReader, soft: terms.SoftTerms) -> Any:
    """The hard loss for a batch of labels, or a dict by output name; None without labels."""
    targets = terms.split(y)
    if targets.labels is None:
        return None

    def loss_of(name: str, labels: Any, output: Any) -> keras.losses.Loss:
        fitting = [
            loss
            for loss, only in zip(soft.losses, soft.outputs, strict=True)
            if only in (None, name)
        ]
        return hard.default_loss(labels, output, reader.head(name), fitting, targets.labelled)

    if isinstance(outputs, dict):
        if not isinstance(targets.labels, dict):
            raise InputError(
                f"Labels must be a dict by output name ({', '.join(outputs)}), or compile(loss=...)"
                " be called first."
            )
        return {n: loss_of(n, v, outputs[n]) for n, v in targets.labels.items() if n in outputs}
    return loss_of("", targets.labels, outputs)


def check_shapes(soft: terms.SoftTerms, teacher: Any, student: Any) -> None:
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
        if not isinstance(loss, DistillationLoss) or terms.layer_names(loss) != (None, None):
            continue
        for name in terms.output_names(student) if only is None else [only]:
            pair = [terms.of_output(side, name) for side in (teacher, student)]
            for role, side, part in zip(
                ("teacher", "student"), (teacher, student), pair, strict=True
            ):
                if part is None or (name == "" and isinstance(part, dict)):
                    outputs = list(side) if isinstance(side, dict) else "a single one"
                    raise bad(
                        role, f"have the output {name!r}" if name else "have one output", outputs
                    )
            loss.validate_outputs(*pair)


def shaped(shapes: Any) -> Any:
    """A shape, or a dict of shapes, as symbolic tensors."""
    if isinstance(shapes, dict):
        return {name: shaped(shape) for name, shape in shapes.items()}
    return None if shapes is None else keras.KerasTensor(shapes)


def class_weight_table(class_weight: Mapping[int, float] | None, classes: int) -> Any:
    """Weights by class `(classes,)`, 1 where none is given; None without any.

    Raises:
        InputError: If a key is no class, or a weight is negative.
    """
    if class_weight is None:
        return None
    table = np.ones(classes, np.float32)
    for key, value in class_weight.items():
        if not 0 <= int(key) < classes:
            raise bad("class_weight", f"have classes in 0..{classes - 1} as keys", key)
        table[int(key)] = check_number(f"class_weight[{key}]", value, at_least=0)
    return table


def weigh_classes(table: np.ndarray, labels: Any, labelled: Any, output: Any) -> tf.Tensor:
    """The class weight of each position, 1 where a position has no label.

    Args:
        table: Weights by class.
        labels: Class ids or one-hot rows of a single output.
        labelled: bool `(B,)`, or None.
        output: The student's output, for its shape.
    """
    mask = terms.labelled_positions(labels, output, labelled)
    if terms.is_sparse(labels, output):
        ids = terms.align(tf.cast(labels, tf.int32), len(output.shape) - 1)
    elif output.shape[-1] == 1:
        ids = terms.align(tf.cast(tf.round(labels), tf.int32), len(output.shape) - 1)
    else:
        ids = tf.argmax(labels, axis=-1, output_type=tf.int32)
    if mask is None:
        return tf.gather(table, ids)
    mask = terms.align(mask, len(ids.shape))
    return tf.where(mask, tf.gather(table, tf.where(mask, ids, 0)), 1.0)
