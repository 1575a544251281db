"""Splits rows into one part for choosing a file and another part for verifying it.

A file that was chosen among many on some rows has an overestimated accuracy on these rows. It is
therefore verified on rows that were not used for the choice.
"""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_distill import data as data_sources
from keras_distill._internal import InputError
from keras_distill._internal._types import Array
from keras_distill.export import ExportOptions, Prepared, Samples, Source, take

AUTO_NEEDS = "quantization='auto' measures accuracy, so it"
_FEWEST = 20  # rows of each half
_LOOK = 256


class Rows(NamedTuple):
    """The rows for a choice.

    Attributes:
        choosing: The rows on which files are compared.
        judging: The rows on which the chosen file is verified.
        splits: The splits of a data spec; None for other data.
    """

    choosing: Samples
    judging: Samples
    splits: data_sources.Splits | None


def choose_rows(source: Source, options: ExportOptions, *, what: str = AUTO_NEEDS) -> Rows:
    """Returns the rows: validation and test split of a data spec, or the halves of other data.

    Args:
        source: The model.
        options: Its `data`, `verification_samples`, and `data_dir` are used.
        what: The start of the message if there is no data.

    Raises:
        InputError: If there is no data, or too few rows.
    """
    given, splits = options.data, None
    if given is None:
        raise InputError(f"{what} needs labeled rows: give --data SPEC (in Python, data=).")
    if isinstance(given, str):
        given = data_sources.load_or_call(given, data_dir=options.data_dir)
    if isinstance(given, data_sources.Splits):
        splits = given
        choosing, judging = (
            take("data", given, source.inputs, options.verification_samples, split=split)
            for split in ("validation", "test")
        )
        return Rows(choosing, judging, splits)
    count = 2 * options.verification_samples
    taken = take("data", given, source.inputs, count, split="validation")
    if taken.rows < 2 * _FEWEST:
        raise InputError(
            f"`data` must have {2 * _FEWEST} rows or more here: half of them choose, and the others"
            f" judge. Received: {taken.rows}."
        )
    # The halves are random: if kinds of rows alternate, every second row would be of one kind.
    order = np.random.default_rng(0).permutation(taken.rows)
    first, second = np.sort(order[: taken.rows // 2]), np.sort(order[taken.rows // 2 :])
    return Rows(_part(taken, first, "one half"), _part(taken, second, "the other half"), splits)


def first_look(prepared: Prepared) -> Prepared | None:
    """Returns a small part of the rows, to detect bad files early; None if there are few rows.

    Args:
        prepared: The rows for the choice. Only class outputs are judged on a part of them.
    """
    rows, truths = prepared.samples.rows, prepared.truths
    if rows < 2 * _LOOK or any(t.metric != "accuracy" for t in truths.values()):
        return None
    picks = np.linspace(0, rows - 1, _LOOK).astype(int)
    if not all(truth.labeled[picks].any() for truth in truths.values()):
        return None
    return prepared._replace(
        samples=_part(prepared.samples, picks, f"{_LOOK} rows"),
        outputs={name: a[picks] for name, a in prepared.outputs.items()},
        reference=prepared.reference and {n: a[picks] for n, a in prepared.reference.items()},
        truths={name: truth.take(picks) for name, truth in truths.items()},
    )


def _part(samples: Samples, picks: Array, text: str) -> Samples:
    def pick(a: Any) -> Array:
        return np.asarray(a)[picks]

    y = None if samples.y is None else keras.tree.map_structure(pick, samples.y)
    x = {name: a[picks] for name, a in samples.x.items()}
    return samples._replace(x=x, y=y, source=f"{samples.source}, {text}")
