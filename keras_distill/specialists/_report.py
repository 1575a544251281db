"""Evaluates folders of trained specialists and returns the record for the report page."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import InputError, bad, check_choice
from keras_distill.data import Splits, are_images, labels_of, pictures, select
from keras_distill.records import SpecialistsReport
from keras_distill.specialists._distill import recipe_of
from keras_distill.specialists._ensemble import GENERALIST, SpecialistEnsemble
from keras_distill.specialists._evaluation import (
    EnsembleOutputs,
    class_rows,
    coverage_rows,
    evaluate_system,
)
from keras_distill.specialists._training import logits_on
from keras_distill.teachers import as_teacher


def evaluate(
    folders: Sequence[str | os.PathLike],
    *,
    source: str | None = None,
    data_dir: str | os.PathLike | None = None,
    split: str = "test",
    others: Sequence[str | os.PathLike] = (),
    imports: Sequence[str] = (),
) -> SpecialistsReport:
    """Compares specialists with their generalist: Tables 3 and 4, and accuracy per class.

    Args:
        folders: Folders that `train` wrote, with the same generalist and class sets but different
            seeds.
        source: A data spec. If None, that of the first recipe.
        data_dir: Folder of prepared TFDS data sets. If None, that of the first recipe.
        split: `test` or `validation`.
        others: `.keras` files to evaluate as well, such as models that `distill` wrote.
        imports: Modules that register custom layers.

    Raises:
        InputError: If a folder does not contain specialists, the folders differ in generalist or
            class sets, a folder is given twice, or a model does not match the data.
    """
    check_choice("split", split, ("test", "validation"))
    recipe = recipe_of(folders[0], source=source, data_dir=data_dir)
    ensembles = [SpecialistEnsemble.load(folder, imports=imports) for folder in folders]
    first = ensembles[0]
    for folder, other in zip(folders, ensembles, strict=True):
        same_sets = other.class_sets.lists() == first.class_sets.lists()
        if not same_sets or other.generalist.fingerprint() != first.generalist.fingerprint():
            raise InputError(
                f"{folder} must have the generalist and the class sets of {folders[0]}: the folders"
                " are seeds of one training."
            )
    if len({ensemble.fingerprint() for ensemble in ensembles}) < len(ensembles):
        raise bad("folders", "be different trainings", [str(folder) for folder in folders])
    splits = data.load(recipe.source, data_dir=recipe.data_dir)
    splits.need_labels("An evaluation")
    shape, classes = splits.input_shape, splits.num_classes
    generalist_teacher: Any = first.generalist  # a KerasTeacher, as created by `load`
    models.check_fits(generalist_teacher.model, Path(folders[0]) / GENERALIST, shape, classes)
    loaded = {
        Path(path): models.build(
            Path(path), input_shape=shape, num_classes=classes, imports=imports
        )
        for path in others
    }
    examples, labels = _labeled(getattr(splits, split))
    sets = first.class_sets
    outputs = [EnsembleOutputs.of(ensemble, examples) for ensemble in ensembles]
    generalist, together = outputs[0].generalist, [part.combined() for part in outputs]
    title = f"generalist + {len(sets)} specialists"
    systems = [
        evaluate_system("generalist", "generalist", [generalist], labels, sets, generalist),
        evaluate_system("specialists", title, together, labels, sets, generalist),
    ]
    for path, model in loaded.items():
        scores = [logits_on(as_teacher(model), examples)]
        systems.append(evaluate_system(path.stem, path.name, scores, labels, sets, generalist))
    return SpecialistsReport(
        source=recipe.source,
        split="validation" if split == "validation" else "test",
        examples=len(labels),
        class_sets=tuple(tuple(ids) for ids in sets.lists()),
        left_alone=tuple(sets.left_alone.tolist()),
        systems=tuple(systems),
        coverage=coverage_rows(generalist, together, labels, sets),
        classes=class_rows(generalist, together, labels, sets, splits.class_names),
        images=class_images(splits),
    )


def _labeled(examples: tf.data.Dataset) -> tuple[tf.data.Dataset, np.ndarray]:
    """Returns the labeled examples and their labels."""
    labels = labels_of(examples)
    known = labels >= 0
    return (examples, labels) if known.all() else (select(examples, known), labels[known])


def class_images(splits: Splits) -> tuple[str, ...]:
    """Returns the first training image of each class as base64 PNG; empty if there are none."""
    if not are_images(splits.input_shape):
        return ()
    found: dict[int, np.ndarray] = {}
    for x, y in splits.train.as_numpy_iterator():
        found.setdefault(int(y), x)
        if len(found) == splits.num_classes:
            break
    shown = dict(zip(found, pictures(np.stack(list(found.values()))), strict=True))
    return tuple(shown.get(number, "") for number in range(splits.num_classes))
