"""Measures what the soft-target store costs and saves on this machine.

    python examples/studies/store/study.py --data-dir ~/tensorflow_datasets --records RECORDS

Each measurement is saved when it ends, and running the command again resumes the study. The table
is printed as Markdown. All measurements take about an hour and a half on two cores. CIFAR-100 must
be prepared (`tfds build cifar100`).
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)

# isort: split
import store_measures
import store_processes
from matplotlib.figure import Figure as Plot
from store_measures import Figure

from keras_distill.benchmarks import cost, describe_machine
from keras_distill.records import CostRecord, Record

DATA = "tfds:cifar100"


class Pair(NamedTuple):
    """A teacher and a student with their targets.

    Attributes:
        teacher: A model spec.
        student: A model spec.
        rounds: Steps per variant.
        alike: Target for the cost of a fit relative to keras.distillation with the same oneDNN
            setting; None: no fit is timed.
        default: The same target with default settings of both.
    """

    teacher: str
    student: str
    rounds: int
    alike: float | None = None
    default: float | None = None


PAIRS = (
    Pair("resnet:56", "resnet:20", 100, 0.65, 0.42),
    Pair("resnet:110", "resnet:8", 100, 0.35, 0.22),
    Pair("mlp:1200x1200", "mlp:800x800", 400),
)
EPOCHS, BUILDS, KILLS = 10, 7, 20


class Measurement(Record):
    """One measurement of the study, on disk.

    Attributes:
        name: Its name.
        seconds: Its duration.
        machine: Processor and cores.
        figures: The measured figures.
    """

    name: str
    seconds: float
    machine: str
    figures: tuple[Figure, ...]


def measurements(data_dir: str | None = None) -> dict[str, Callable[[Path, Path], list[Figure]]]:
    """Every measurement by name: a function of a scratch folder and the folder of records.

    Args:
        data_dir: Folder of prepared TFDS data sets.
    """
    found = {
        f"{part} {pair.teacher} {pair.student}".replace(":", "-"): functools.partial(
            _pair, part, pair, data_dir
        )
        for pair in PAIRS
        for part in ("steps", "fit", "build")
        if part != "fit" or pair.alike
    }
    return found | {
        "bytes": lambda scratch, records: store_measures.record_bytes(scratch),
        "memory": lambda scratch, records: _memory(scratch),
        "reading": lambda scratch, records: [store_measures.read_path(scratch)],
        "kills": lambda scratch, records: _kills(scratch),
        "student": _student,
        "top-k": lambda scratch, records: store_measures.topk_loss(scratch),
    }


def study(
    records: Path,
    *,
    only: Sequence[str] = (),
    data_dir: str | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """Runs every measurement that has no record yet; returns the table in Markdown.

    Args:
        records: Folder of the records, one JSON file per measurement.
        only: Names of measurements to run; empty: all.
        data_dir: Folder of prepared TFDS data sets.
        report: Called with a line of progress.
    """
    records.mkdir(parents=True, exist_ok=True)
    for name, run in measurements(data_dir).items():
        path = records / f"{name.replace(' ', '-')}.json"
        if not path.exists() and (not only or name in only):
            report(f"{name} …")
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="keras-distill-") as scratch:
                figures = tuple(run(Path(scratch), records))
            seconds = time.perf_counter() - begun
            machine = describe_machine()
            Measurement(name=name, seconds=seconds, machine=machine, figures=figures).save(path)
            report(f"{name}: {seconds:.0f} s")
    return readme_tables(records)[0]


def readme_tables(records: Path) -> list[str]:
    """The table of README.md, made from a folder of records.

    Args:
        records: Folder of the records.
    """
    paths = [records / f"{name.replace(' ', '-')}.json" for name in measurements()]
    figures = [f for path in paths if path.exists() for f in Measurement.load(path).figures]
    return [markdown(figures)]


def markdown(figures: Sequence[Figure]) -> str:
    """Formats figures and their targets as a Markdown table.

    Args:
        figures: In the order of the table.
    """
    lines = ["| figure | value | 95 % interval | n | target | |", "|---|---|---|---|---|---|"]
    for figure in figures:
        known = figure.low is not None and figure.high is not None
        interval = f"{figure.low:.3f} .. {figure.high:.3f}" if known else ""
        small = 0 < abs(figure.value) < 0.01
        value = f"{figure.value:.2g}" if small else f"{figure.value:.3f}"
        mark = {True: "yes", False: "**no**", None: ""}[figure.reached]
        lines.append(
            f"| {figure.name} | {value} | {interval} | {figure.n} | {figure.target} | {mark} |"
        )
    notes = [f"- {figure.name}: {figure.note}." for figure in figures if figure.note]
    return "\n".join([*lines, "", *notes])


def _pair(
    part: str, pair: Pair, data_dir: str | None, scratch: Path, records: Path
) -> list[Figure]:
    settings = {
        "steps": {"rounds": pair.rounds},
        "fit": {"rounds": 2, "epochs": EPOCHS, "variants": ("store", "keras")},
        "build": {"rounds": 2, "builds": BUILDS, "variants": ("store",), "settings": ("onednn",)},
    }[part]
    record = cost(pair.teacher, pair.student, DATA, data_dir=data_dir, **settings)
    name = f"{part}-{pair.teacher}-{pair.student}-record.json".replace(":", "-")
    record.save(records / name, overwrite=True)
    return pair_figures(record, pair.alike, pair.default)


def pair_figures(record: CostRecord, alike: float | None, default: float | None) -> list[Figure]:
    """Compares the ratios of one pair of models with their targets.

    Args:
        record: The measured costs.
        alike: Target of a fit relative to keras.distillation with the same oneDNN setting.
        default: The same with default settings of both.
    """
    figures = []
    for ratio in record.ratios:
        target, reached = "reported", None
        if ratio.name.startswith("step: store / plain"):
            target = "median <= 1.02, upper end <= 1.05"
            reached = ratio.value <= 1.02 and ratio.high <= 1.05
        elif ratio.name.startswith("fit of"):
            most = default if "default settings" in ratio.name else alike
            target, reached = f"<= {most}", ratio.value <= most
        elif ratio.name.startswith("throughput"):
            target, reached = ">= 0.95", ratio.value >= 0.95
        figures.append(
            Figure(
                name=f"{record.teacher} -> {record.student}, {ratio.name}",
                **ratio.model_dump(exclude={"name"}),
                target=target,
                reached=reached,
            )
        )
    return figures


def _memory(scratch: Path) -> list[Figure]:
    small, large = (
        store_processes.writer_memory(scratch / str(count), count) for count in (50_000, 500_000)
    )
    growth = large / small - 1
    return [
        Figure(
            name="peak memory of the writer, growth from 50k to 500k records",
            value=growth,
            target="<= 0.05",
            reached=growth <= 0.05,
            note=f"{small:.0f} MiB and {large:.0f} MiB, TensorFlow included",
        )
    ]


def _kills(scratch: Path) -> list[Figure]:
    found = store_processes.killed_builds(scratch, KILLS)
    return [
        Figure(
            name="builds killed by SIGKILL at a random moment, byte-identical once resumed, share",
            value=found.same / found.killed,
            n=found.killed,
            target=f"{KILLS} of {KILLS}",
            reached=found.same == found.killed == KILLS,
            note=f"{found.same} of {found.killed};"
            f" {found.resumed} had finished shards to resume from",
        )
    ]


def _student(scratch: Path, records: Path) -> list[Figure]:
    found = store_measures.same_student(scratch)
    plot = Plot(figsize=(6, 4), layout="constrained")
    axes = plot.add_subplot()
    for i, (online, stored) in enumerate(zip(found.online, found.stored, strict=True)):
        epochs = range(1, len(online) + 1)
        axes.plot(epochs, online, color=f"C{i}", linewidth=4, alpha=0.35)
        axes.plot(epochs, stored, color=f"C{i}", linewidth=1)
    axes.plot([], [], color="gray", linewidth=4, alpha=0.35, label="teacher runs online")
    axes.plot([], [], color="gray", linewidth=1, label="from the store")
    axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
    axes.legend(title="one color per seed")
    plot.savefig(records / "student.png", dpi=120)
    return found.figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("saved_models/store-study"))
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument(
        "--only", nargs="*", default=[], choices=list(measurements()), metavar="NAME"
    )
    parser.add_argument("--table", action="store_true", help="only print the table of the records")
    options = parser.parse_args()
    if options.table:
        print(readme_tables(options.records)[0])
    else:
        print(study(options.records, only=options.only, data_dir=options.data_dir))


if __name__ == "__main__":
    main()
