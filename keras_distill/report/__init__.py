"""Creates self-contained HTML pages from records. Does not need TensorFlow."""

from keras_distill.report._benchmark import benchmark_picture, render_benchmark
from keras_distill.report._card import card
from keras_distill.report._compare import render_compare
from keras_distill.report._compare import results_table as compare_results
from keras_distill.report._compare import sentences as compare_sentences
from keras_distill.report._compare import settings_table as compare_settings
from keras_distill.report._page import render
from keras_distill.report._precision import render_explain
from keras_distill.report._precision_rows import (
    CALIBRATION_COLUMNS,
    CANDIDATE_COLUMNS,
    SENSITIVITY_COLUMNS,
    calibration_rows,
    candidate_rows,
    sensitivity_rows,
)
from keras_distill.report._specialists import (
    render_specialists,
    specialists_table,
    write_specialists,
)
from keras_distill.report._summary import note as run_note
from keras_distill.report._summary import table as run_table
from keras_distill.report._sweep import render_sweep
from keras_distill.report._sweep_summary import note as sweep_note
from keras_distill.report._sweep_summary import sentences as sweep_sentences
from keras_distill.report._sweep_summary import table as sweep_table
from keras_distill.report._verdict import headline_file
from keras_distill.report._verdict import sentences as run_sentences
from keras_distill.report._words import size as size_in_words
from keras_distill.report._write import write, write_card

__all__ = [
    "CALIBRATION_COLUMNS",
    "CANDIDATE_COLUMNS",
    "SENSITIVITY_COLUMNS",
    "benchmark_picture",
    "calibration_rows",
    "candidate_rows",
    "card",
    "compare_results",
    "compare_sentences",
    "compare_settings",
    "headline_file",
    "render",
    "render_benchmark",
    "render_compare",
    "render_explain",
    "render_specialists",
    "render_sweep",
    "run_note",
    "run_sentences",
    "run_table",
    "sensitivity_rows",
    "size_in_words",
    "specialists_table",
    "sweep_note",
    "sweep_sentences",
    "sweep_table",
    "write",
    "write_card",
    "write_specialists",
]
