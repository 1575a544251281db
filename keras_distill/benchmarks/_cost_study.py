"""The whole account of the store, piece by piece, each saved as it comes."""

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_distill._internal import _machine
from keras_distill.benchmarks import _cost_processes, _cost_store
from keras_distill.benchmarks._cost import cost
from keras_distill.benchmarks._cost_tables import markdown
from keras_distill.records._base import Record
from keras_distill.records._cost import CostFigure, CostRecord

DATA = "tfds:cifar100"


class Pair(NamedTuple):
    """A teacher and a student, and what is asked of them.

    Attributes:
        teacher: A model spec.
        student: Another.
        rounds: Steps of each way.
        alike: The most that a fit may cost relative to keras.distillation, settings alike; None:
            no fit is timed.
        shipped: The same, each as it is shipped.
    """

    teacher: str
    student: str
    rounds: int
    alike: float | None = None
    shipped: float | None = None


PAIRS = (
    Pair("resnet:56", "resnet:20", 100, 0.65, 0.42),
    Pair("resnet:110", "resnet:8", 100, 0.35, 0.22),
    Pair("mlp:1200x1200", "mlp:800x800", 400),
)
EPOCHS, BUILDS, KILLS = 10, 7, 20


class Piece(Record):
    """A piece of the account, on disk.

    Attributes:
        name: Its name.
        seconds: How long it took.
        machine: Processor and cores.
        figures: What it found.
    """

    name: str
    seconds: float
    machine: str
    figures: tuple[CostFigure, ...]


def pieces(data_dir: str | None = None) -> dict[str, Callable[[Path, Path], list[CostFigure]]]:
    """Every piece by name: a function of a scratch folder and of the folder of results.

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
        "bytes": lambda scratch, results: _cost_store.record_bytes(scratch),
        "memory": lambda scratch, results: _memory(scratch),
        "reading": lambda scratch, results: [_cost_store.read_path(scratch)],
        "kills": lambda scratch, results: _kills(scratch),
        "student": _student,
        "top-k": lambda scratch, results: _cost_store.topk_loss(scratch),
    }


def study(
    results: Path,
    *,
    only: Sequence[str] = (),
    data_dir: str | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """Runs every piece whose result is not there yet; returns the table in Markdown.

    Args:
        results: Folder of the results, one JSON file a piece.
        only: Names of pieces to run; none: all.
        data_dir: Folder of prepared TFDS data sets.
        report: Told what happens.
    """
    results.mkdir(parents=True, exist_ok=True)
    found = []
    for name, run in pieces(data_dir).items():
        path = results / f"{name.replace(' ', '-')}.json"
        if not path.exists() and (not only or name in only):
            report(f"{name} …")
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="keras-distill-") as scratch:
                figures = tuple(run(Path(scratch), results))
            seconds = time.perf_counter() - begun
            Piece(name=name, seconds=seconds, machine=_machine.describe(), figures=figures).save(
                path
            )
            report(f"{name}: {seconds:.0f} s")
        if path.exists():
            found.append(Piece.load(path))
    figures = [figure for piece in found for figure in piece.figures]
    text = markdown(figures, ", ".join(sorted({piece.machine for piece in found})))
    (results / "table.md").write_text(text, encoding="utf-8")
    return text


def _pair(
    part: str, pair: Pair, data_dir: str | None, scratch: Path, results: Path
) -> list[CostFigure]:
    settings = {
        "steps": {"rounds": pair.rounds},
        "fit": {"rounds": 2, "epochs": EPOCHS, "ways": ("store", "keras")},
        "build": {"rounds": 2, "builds": BUILDS, "ways": ("store",), "settings": ("onednn",)},
    }[part]
    record = cost(pair.teacher, pair.student, DATA, data_dir=data_dir, **settings)
    name = f"{part}-{pair.teacher}-{pair.student}-record.json".replace(":", "-")
    record.save(results / name, overwrite=True)
    return pair_figures(record, pair.alike, pair.shipped)


def pair_figures(
    record: CostRecord, alike: float | None, shipped: float | None
) -> list[CostFigure]:
    """The ratios of one pair of models beside their targets.

    Args:
        record: What was measured.
        alike: The most that a fit may cost relative to keras.distillation, settings alike.
        shipped: The same, each as it is shipped.
    """
    figures = []
    for ratio in record.ratios:
        target, reached = "reported", None
        if ratio.name.startswith("step: store / plain"):
            target = "median <= 1.02, upper end <= 1.05"
            reached = ratio.value <= 1.02 and ratio.high <= 1.05
        elif ratio.name.startswith("fit of"):
            most = shipped if "as shipped" in ratio.name else alike
            target, reached = f"<= {most}", ratio.value <= most
        elif ratio.name.startswith("throughput"):
            target, reached = ">= 0.95", ratio.value >= 0.95
        figures.append(
            CostFigure(
                name=f"{record.teacher} -> {record.student}, {ratio.name}",
                **ratio.model_dump(exclude={"name"}),
                target=target,
                reached=reached,
            )
        )
    return figures


def _memory(scratch: Path) -> list[CostFigure]:
    small, large = (
        _cost_processes.writer_memory(scratch / str(count), count) for count in (50_000, 500_000)
    )
    growth = large / small - 1
    return [
        CostFigure(
            name="peak memory of the writer, growth from 50k to 500k records",
            value=growth,
            target="<= 0.05",
            reached=growth <= 0.05,
            note=f"{small:.0f} MiB and {large:.0f} MiB, TensorFlow included",
        )
    ]


def _kills(scratch: Path) -> list[CostFigure]:
    found = _cost_processes.killed_builds(scratch, KILLS)
    return [
        CostFigure(
            name="builds killed by SIGKILL at a random moment, resumed to the same bytes, share",
            value=found.same / found.killed,
            n=found.killed,
            target=f"{KILLS} of {KILLS}",
            reached=found.same == found.killed == KILLS,
            note=f"{found.same} of {found.killed}; {found.resumed} had shards to go on from",
        )
    ]


def _student(scratch: Path, results: Path) -> list[CostFigure]:
    found = _cost_store.same_student(scratch)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for i, (online, stored) in enumerate(zip(found.online, found.stored, strict=True)):
        epochs = range(1, len(online) + 1)
        axes.plot(epochs, online, color=f"C{i}", linewidth=4, alpha=0.35)
        axes.plot(epochs, stored, color=f"C{i}", linewidth=1)
    axes.plot([], [], color="gray", linewidth=4, alpha=0.35, label="teacher runs online")
    axes.plot([], [], color="gray", linewidth=1, label="from the store")
    axes.set(xlabel="epoch", ylabel="training loss", yscale="log")
    axes.legend(title="one color a seed")
    figure.savefig(results / "student.png", dpi=120)
    return found.figures
