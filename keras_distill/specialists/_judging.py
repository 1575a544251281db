"""From the folders of trained specialists to the record that the page shows."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import InputError, bad, check_choice
from keras_distill.data import Splits
from keras_distill.data._streams import labels_of
from keras_distill.records._specialists import SpecialistsRecipe, SpecialistsReport
from keras_distill.specialists._ensemble import GENERALIST, SpecialistEnsemble
from keras_distill.specialists._evaluation import Answers, class_rows, coverage_rows, judge
from keras_distill.specialists._training import logits_on
from keras_distill.teachers import as_teacher

_LARGEST_IMAGE = 256


def recipe_of(
    folder: str | os.PathLike,
    *,
    source: str | None = None,
    data_dir: str | os.PathLike | None = None,
) -> SpecialistsRecipe:
    """The recipe that stands in a folder of specialists, with other data where they are given.

    Args:
        folder: A folder that `training.train` made.
        source: A data spec; None: the recipe's.
        data_dir: Folder of prepared TFDS data sets; None: the recipe's.

    Raises:
        InputError: If there is no recipe.
    """
    path = Path(folder) / "recipe.toml"
    if not path.is_file():
        raise InputError(f"{folder} holds no trained specialists: it has no recipe.toml.")
    changes = {"source": source, "data_dir": None if data_dir is None else str(data_dir)}
    given = {key: value for key, value in changes.items() if value is not None}
    return SpecialistsRecipe.load(path).model_copy(update=given)


def report_on(
    folders: Sequence[str | os.PathLike],
    *,
    source: str | None = None,
    data_dir: str | os.PathLike | None = None,
    split: str = "test",
    nets: Sequence[str | os.PathLike] = (),
    imports: Sequence[str] = (),
) -> SpecialistsReport:
    """Judges specialists against their generalist: Tables 3 and 4, and class by class.

    Args:
        folders: Folders that `training.train` made: one generalist and class sets, several seeds.
        source: A data spec; None: the first recipe's.
        data_dir: Folder of prepared TFDS data sets; None: the first recipe's.
        split: `test` or `validation`.
        nets: `.keras` files judged beside them, such as nets distilled back.
        imports: Modules that register custom layers.

    Raises:
        InputError: If a folder is none, they differ in generalist or class sets, one is given
            twice, or a net is of other data.
    """
    check_choice("split", split, ("test", "validation"))
    recipe = recipe_of(folders[0], source=source, data_dir=data_dir)
    ensembles = [SpecialistEnsemble.load(folder, imports=imports) for folder in folders]
    first = ensembles[0]
    for folder, other in zip(folders, ensembles, strict=True):
        same_sets = other.class_sets.lists() == first.class_sets.lists()
        if not same_sets or other.generalist.fingerprint() != first.generalist.fingerprint():
            raise InputError(
                f"{folder} must have the generalist and the class sets of {folders[0]}: folders are"
                " seeds of one training."
            )
    if len({ensemble.fingerprint() for ensemble in ensembles}) < len(ensembles):
        raise bad("folders", "be different trainings", [str(folder) for folder in folders])
    splits = data.load(recipe.source, data_dir=recipe.data_dir)
    shape, classes = splits.input_shape, splits.num_classes
    models.check_fits(first.generalist.model, Path(folders[0]) / GENERALIST, shape, classes)
    judged = [
        (
            Path(net),
            models.build(Path(net), input_shape=shape, num_classes=classes, imports=imports),
        )
        for net in nets
    ]
    examples = getattr(splits, split)
    labels, sets = labels_of(examples), first.class_sets
    answers = [Answers.of(ensemble, examples) for ensemble in ensembles]
    generalist, together = answers[0].generalist, [a.combined() for a in answers]
    title = f"generalist + {len(sets)} specialists"
    systems = [
        judge("generalist", "generalist", [generalist], labels, sets, generalist),
        judge("specialists", title, together, labels, sets, generalist),
    ]
    for path, net in judged:
        scores = logits_on(as_teacher(net), examples)
        systems.append(judge(path.stem, path.name, [scores], labels, sets, generalist))
    return SpecialistsReport(
        source=recipe.source,
        split=split,
        examples=len(labels),
        class_sets=tuple(tuple(ids) for ids in sets.lists()),
        left_alone=tuple(sets.left_alone.tolist()),
        systems=tuple(systems),
        coverage=coverage_rows(generalist, together, labels, sets),
        classes=class_rows(generalist, together, labels, sets, splits.class_names),
        images=class_images(splits),
    )


def class_images(splits: Splits) -> tuple[str, ...]:
    """The first training image of each class as base64 PNG; empty where x is no small image."""
    shape = splits.input_shape
    if len(shape) != 3 or shape[-1] not in (1, 3) or max(shape[:2]) > _LARGEST_IMAGE:
        return ()
    found: dict[int, str] = {}
    for x, y in splits.train.as_numpy_iterator():
        if int(y) not in found:
            found[int(y)] = base64.b64encode(tf.io.encode_png(_pixels(x)).numpy()).decode()
        if len(found) == splits.num_classes:
            break
    return tuple(found.get(number, "") for number in range(splits.num_classes))


def _pixels(x: np.ndarray) -> np.ndarray:
    """uint8; other values are spread over 0..255."""
    if x.dtype == np.uint8:
        return x
    spread = max(float(np.ptp(x)), 1e-9)
    return ((x - x.min()) / spread * 255).astype(np.uint8)
