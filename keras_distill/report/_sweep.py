"""The HTML page of a sweep, made from its record. Needs no TensorFlow."""

import tomli_w

from keras_distill.records import SweepRecord
from keras_distill.report import _sweep_summary as summary
from keras_distill.report._page import render_template


def render_sweep(record: SweepRecord) -> str:
    """Renders the page of a sweep as HTML that needs no other file.

    Args:
        record: The record of the sweep.
    """
    return render_template(
        "sweep.html",
        record=record,
        sentences=summary.sentences(record),
        header=summary.columns(record),
        rows=[summary.row(record, point) for point in record.points],
        names=[point.name for point in record.points],
        note=summary.note(record),
        recipe=tomli_w.dumps(record.recipe.model_dump(mode="json", exclude_none=True)),
    )
