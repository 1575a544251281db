"""Lets `auto` choose the precision of nine trained networks.

    python examples/studies/precision/study.py --data-dir ~/tensorflow_datasets --work WORK

Trained networks are kept in the work folder, and results in `records/`: running the command again
resumes the study. It takes about half an hour on two cores. The tables are printed as Markdown.
"""

import argparse
import json
import re
import warnings
from pathlib import Path

import keras_distill as kd

# isort: split
import keras
import numpy as np
from precision_networks import CASES

from keras_distill.litert import LiteRTModel, Quantizer, Rule
from keras_distill.records import ExportRecord, PrecisionRecord, shown_score
from keras_distill.report import CANDIDATE_COLUMNS, candidate_rows

RECORDS = Path(__file__).parent / "records"
COLORED, BIASES = "CIFAR-100, resnet:8", "biases.json"
DROP, AGREEMENT = 0.3, 0.98  # points; share of predictions
COLUMNS = (
    "network", "metric", "float32", "float16, bytes", "int8: lost", "chosen", "bytes", "of float16",
    "lost", "worst class", "agreement", "latency", "files",
)  # fmt: skip


def file_of(name):
    """The name of a network as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def measured(name, work, folder):
    """Returns the record of the choice: that of the file, or of the table if nothing passes."""
    case, model_file = CASES[name], work / f"{file_of(name)}.keras"
    if not model_file.exists():
        keras.utils.set_random_seed(0)
        case.train(folder).save(model_file)
    calibration, rows = case.rows(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return kd.export_tflite(
                model_file,
                work / f"{file_of(name)}.tflite",
                quantization="auto",
                calibration=calibration,
                data=rows,
                verification_samples=len(rows[1]) // 2,
                max_drop=DROP,
                min_agreement=None if case.task == "anomalies" else AGREEMENT,
                overwrite=True,
                progress=lambda text: print(f"{name}: {text}", flush=True),
            )
        except kd.VerificationError as error:
            if error.record is None:
                raise
            print(error)
            return error.record


def biases(work, folder):
    """Measures files of CIFAR-100 with and without corrected biases, on all rows of the study."""
    calibration, (x, y) = CASES[COLORED].rows(folder)
    source, rows = work / "float32.tflite", work / "calibration.npz"
    kd.export_tflite(
        work / f"{file_of(COLORED)}.keras", source, data=(x[:500], y[:500]), overwrite=True
    )
    model = LiteRTModel(source)
    np.savez(rows, **{model.inputs[0].name: calibration.astype(model.inputs[0].dtype)})
    expected, found = model.predict(x).argmax(axis=1), []
    with Quantizer(source, rows, batch_size=1, timeout=600) as quantizer:
        for kind in ("weight-only-int8", "dynamic-int8", "int8", "weight-only-int4"):
            for correct in (False, True):
                file = work / "biases.tflite"
                quantizer.quantize(file, [Rule(kind)], float_io=True, correct=correct)
                answers = LiteRTModel(file).predict(x).argmax(axis=1)
                lost = 100 * float(np.mean(expected == y) - np.mean(answers == y))
                same = float(np.mean(expected == answers))
                found.append([kind, correct, file.stat().st_size, lost, same])
    return found


def bias_rows(records=RECORDS):
    """The rows of the table of biases."""
    found = json.loads((Path(records) / BIASES).read_text(encoding="utf-8"))
    return [
        (kind, "corrected" if correct else "", f"{size:,}", f"{lost:.2f}", f"{same:.2%}")
        for kind, correct, size, lost, same in found
    ]


def loaded(name, records=RECORDS):
    """Returns the table of a network, and the verification of its file if there is one."""
    file = Path(records) / f"{file_of(name)}.json"
    if "candidates" in json.loads(file.read_text(encoding="utf-8")):
        return PrecisionRecord.load(file), None
    record = ExportRecord.load(file)
    return record.precision, record


def row(name, table, record):
    """One line of the first table."""
    by_name = {one.name: one for one in table.candidates}
    half, eight = by_name["float16"], by_name["int8"]
    lost = "not supported" if eight.drop is None else f"{eight.drop:.2f}"
    start = (
        name,
        table.metric,
        shown_score(table.metric, table.reference),
        f"{half.bytes:,}",
        lost,
    )
    if record is None:
        return (*start, "none", "", "", "", "", "", "", str(len(by_name)))
    worst, one = record.verification.worst, by_name[table.chosen]
    worst_class = "" if worst.worst_class is None else f"{worst.worst_class.drop:.2f}"
    return (
        *start, one.name, f"{record.bytes:,}", f"{record.bytes / half.bytes:.0%}",
        f"{worst.drop:.2f}", worst_class,
        "" if worst.agreement is None else f"{worst.agreement:.2%}",
        f"{one.latency_ratio:.2f}", str(len(by_name)),
    )  # fmt: skip


def markdown(columns, rows, text=1):
    """A Markdown table."""
    line = "|" + "---|" * text + "---:|" * (len(columns) - text)
    cells = [f"| {' | '.join(row)} |" for row in [columns, *rows]]
    return "\n".join([cells[0], line, *cells[1:]]) + "\n"


def readme_tables(records=RECORDS):
    """The tables of README.md, from the records."""
    names = [name for name in CASES if (Path(records) / f"{file_of(name)}.json").exists()]
    tables = [markdown(COLUMNS, [row(name, *loaded(name, records)) for name in names])]
    for name in (COLORED, "vibration, autoencoder"):
        if name in names:
            found, _ = loaded(name, records)
            tables.append(markdown(CANDIDATE_COLUMNS, candidate_rows(found)))
        if name == COLORED and (Path(records) / BIASES).exists():
            columns = (COLORED, "biases", "bytes", "lost, points", "agreement")
            tables.append(markdown(columns, bias_rows(records), text=2))
    return tables


def main():
    """Measures what is not recorded yet, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="Folder of trained networks.")
    parser.add_argument("--data-dir", help="Folder of prepared TFDS data sets.")
    parser.add_argument("--only", nargs="*", default=list(CASES), help="Names of networks.")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    RECORDS.mkdir(exist_ok=True)
    for name in options.only:
        file = RECORDS / f"{file_of(name)}.json"
        if not file.exists():
            keras.backend.clear_session()
            measured(name, options.work, options.data_dir).save(file)
    if COLORED in options.only and not (RECORDS / BIASES).exists():
        found = json.dumps(biases(options.work, options.data_dir))
        (RECORDS / BIASES).write_text(found + "\n", encoding="utf-8")
    print("\n".join(readme_tables()))


if __name__ == "__main__":
    main()
