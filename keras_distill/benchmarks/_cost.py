"""Measures the cost of distillation: plain fit, from the store, online, and keras.distillation."""

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_distill import data, models
from keras_distill._internal import InputError, _machine, _stats, bad, check_choice, check_count
from keras_distill._internal._progress import Report
from keras_distill._internal._temporary import temporary_folder
from keras_distill.benchmarks._cost_worker import SETTINGS, USUAL_VARIANTS, VARIANTS, CostWorker
from keras_distill.records import CostBuild, CostFit, CostRatio, CostRecord, CostSteps

# Variants that run the teacher in every step are measured in fewer rounds.
_EVERY = {"plain": 1, "store": 1, "online": 4, "keras": 4, "bfloat16": 1}
_WARM_UP = 4
_STEP_PAIRS = (
    ("store", "plain"),
    ("online", "plain"),
    ("keras", "plain"),
    ("store", "keras"),
    ("bfloat16", "plain"),
)
# (our setting, the setting to compare with, label). "Default settings": each as installed.
_COMPARED = (
    ("onednn", "onednn", "onednn"),
    ("tf-default", "tf-default", "tf-default"),
    ("onednn", "tf-default", "default settings"),
)


def cost(
    teacher: Any,
    student: Any,
    source: Any,
    *,
    examples: int = 2560,
    batch_size: int = 128,
    rounds: int = 100,
    epochs: int = 0,
    builds: int = 0,
    settings: Sequence[str] = SETTINGS,
    variants: Sequence[str] = USUAL_VARIANTS,
    split: str = "train",
    data_dir: Any = None,
    imports: Sequence[str] = (),
    report: Report = lambda done, total: None,
) -> CostRecord:
    """Measures the cost of a training step for each variant. The variants run alternately.

    Each oneDNN setting (TensorFlow's default, and the default of keras_distill) runs in its own
    child process. Variants that run the teacher (online, keras) are measured in every fourth round.

    Args:
        teacher: A model spec, `.keras` or `.tflite` file, or Keras model.
        student: A model spec, `.keras` file, or Keras model that outputs class logits or
            probabilities.
        source: A data spec, or an unbatched `tf.data.Dataset` of (x, class id).
        examples: Maximum number of examples per epoch.
        batch_size: Examples per step.
        rounds: Number of timed steps of the variants that do not run the teacher.
        epochs: Number of epochs of whole fits from the store and with keras.distillation, which are
            timed too.
        builds: Number of store builds. Each is timed together with `teacher.predict` on the same
            data, with the first of `settings`.
        settings: oneDNN settings: "onednn", "tf-default".
        variants: Any of "plain", "store", "online", "keras", and "bfloat16": plain training with
            `precision = "mixed_bfloat16"`, which is slow on processors without bfloat16 arithmetic.
        split: The split of a spec.
        data_dir: Folder of prepared data sets.
        imports: Modules that register custom layers of `.keras` files.
        report: Called with the number of completed rounds, builds, and epochs, and their total.

    Raises:
        InputError: If an argument is not valid, or a model cannot be trained on the data.
    """
    rounds = check_count("rounds", rounds, at_least=2)
    epochs = check_count("epochs", epochs, at_least=0)
    builds = check_count("builds", builds, at_least=0)
    for setting in settings:
        check_choice("settings", setting, SETTINGS)
    for variant in variants:
        check_choice("variants", variant, VARIANTS)
    with temporary_folder() as work:
        folder = Path(work)
        count = _prepare(folder, teacher, student, source, examples, split, data_dir, imports)
        if count < batch_size:
            raise bad("batch_size", f"be at most the number of examples, {count}", batch_size)
        with contextlib.ExitStack() as stack:
            workers = {
                setting: stack.enter_context(
                    CostWorker(setting, _own(folder, setting), batch_size, tuple(imports))
                )
                for setting in settings
            }
            possible = workers[settings[0]].variants
            there = [variant for variant in variants if variant in possible]
            bar = _Bar(report, epochs + builds + rounds + _WARM_UP)
            fits = _fits(workers, [v for v in ("store", "keras") if v in there], epochs, bar)
            first = {settings[0]: workers[settings[0]]}
            built = _builds(first, builds, bar)
            steps = _steps(workers, there, rounds, bar)
    return CostRecord(
        teacher=_name(teacher),
        student=_name(student),
        data=source if isinstance(source, str) else "a tf.data.Dataset",
        examples=count,
        batch_size=batch_size,
        steps=steps,
        fits=fits,
        builds=built,
        ratios=_step_ratios(steps) + _fit_ratios(fits) + _build_ratios(built),
        notes=tuple(
            f"{variant}: not measured, keras.distillation needs a Keras model as teacher."
            for variant in variants
            if variant not in there
        ),
        machine=_machine.describe(),
        versions=_machine.versions(),
        created=_machine.now(),
    )


class _Bar:
    def __init__(self, report: Report, total: int):
        self._report, self._total, self._done = report, total, 0

    def advance(self) -> None:
        self._done += 1
        self._report(self._done, self._total)


def _name(model: Any) -> str:
    return model.name if isinstance(model, keras.Model) else str(model)


def _own(folder: Path, setting: str) -> Path:
    """Creates a folder with a copy of the inputs for one child process."""
    own = folder / setting
    own.mkdir()
    for file in folder.glob("*.*"):
        shutil.copyfile(file, own / file.name)
    return own


def _prepare(
    folder: Path,
    teacher: Any,
    student: Any,
    source: Any,
    examples: int,
    split: str,
    data_dir: Any,
    imports: Sequence[str],
) -> int:
    """Writes data, teacher, and student for the child processes; returns the number of examples."""
    classes = None
    if isinstance(source, str):
        check_choice("split", split, ("train", "validation", "test"))
        splits = data.load(source, data_dir=data_dir, reads=(split,))
        splits.need_labels("The measurement")
        classes, source = splits.num_classes, getattr(splits, split)
    if not isinstance(source, tf.data.Dataset):
        raise InputError(
            f"`source` must be a data spec or a tf.data.Dataset of (x, y). Received: {source!r}"
        )
    rows = list(source.take(check_count("examples", examples)).as_numpy_iterator())
    x, y = (np.stack([row[i] for row in rows]) for i in (0, 1))
    np.savez(folder / "data.npz", x=x, y=y)
    classes = classes or int(y.max()) + 1
    for role, model in (("teacher", teacher), ("student", student)):
        if role == "teacher" and str(model).endswith(".tflite"):
            shutil.copyfile(model, folder / "teacher.tflite")
            continue
        if not isinstance(model, keras.Model):
            model = models.build(
                model,
                input_shape=x.shape[1:],
                num_classes=classes,
                rescale=data.statistics(source),
                seed=0,
                imports=imports,
            )
        models.save(model, folder / f"{role}.keras")
    return len(x)


def _fits(
    workers: dict[str, CostWorker], variants: list[str], epochs: int, bar: _Bar
) -> tuple[CostFit, ...]:
    """Times whole fits. Variants and settings alternate after each epoch."""
    if not epochs:
        return ()
    build = {
        setting: worker.ask("build") if "store" in variants else 0.0
        for setting, worker in workers.items()
    }
    seconds = {(setting, variant): [] for setting in workers for variant in variants}
    for epoch in range(epochs):
        for setting, variant in _rotated(list(seconds), epoch):
            seconds[setting, variant].append(workers[setting].ask("epoch", variant=variant))
        bar.advance()
    return tuple(
        CostFit(
            setting=setting,
            variant=variant,
            epochs=tuple(values),
            build=build[setting] if variant == "store" else 0.0,
        )
        for (setting, variant), values in seconds.items()
    )


def _builds(workers: dict[str, CostWorker], builds: int, bar: _Bar) -> tuple[CostBuild, ...]:
    """Times builds and predictions alternately, after both are traced."""
    seconds = {(setting, what): [] for setting in workers for what in ("build", "predict")}
    if builds:
        for setting, what in seconds:
            workers[setting].ask(what)
    for number in range(builds):
        for setting, what in _rotated(list(seconds), number):
            seconds[setting, what].append(workers[setting].ask(what))
        bar.advance()
    return tuple(
        CostBuild(
            setting=setting,
            build=tuple(seconds[setting, "build"]),
            predict=tuple(seconds[setting, "predict"]),
        )
        for setting in (workers if builds else ())
    )


def _steps(
    workers: dict[str, CostWorker], variants: list[str], rounds: int, bar: _Bar
) -> tuple[CostSteps, ...]:
    """Times single steps: one per variant in each round. Each round starts with another variant."""
    found = {(setting, variant): ([], []) for setting in workers for variant in variants}
    for number in range(-_WARM_UP, rounds):
        for setting in _rotated(list(workers), number):
            for variant in _rotated(variants, number):
                if number >= 0 and number % _EVERY[variant]:
                    continue
                ms = workers[setting].ask("step", variant=variant)
                if number >= 0:
                    found[setting, variant][0].append(number)
                    found[setting, variant][1].append(ms)
        bar.advance()
    return tuple(
        CostSteps(setting=setting, variant=variant, rounds=tuple(numbers), ms=tuple(ms))
        for (setting, variant), (numbers, ms) in found.items()
    )


def _rotated(items: list, by: int) -> list:
    """Rotates the items by `by` positions."""
    start = by % len(items) if items else 0
    return items[start:] + items[:start]


def _step_ratios(steps: Sequence[CostSteps]) -> tuple[CostRatio, ...]:
    """Returns the ratios of median step times, over the rounds in which both variants ran."""
    by = {(s.setting, s.variant): dict(zip(s.rounds, s.ms, strict=True)) for s in steps}
    ratios = []
    for ours, theirs, where in _COMPARED:
        for variant, other in _STEP_PAIRS:
            if where == "default settings" and other != "keras":
                continue
            a, b = by.get((ours, variant), {}), by.get((theirs, other), {})
            shared = sorted(a.keys() & b.keys())
            if len(shared) < 2:
                continue
            ratio = _stats.ratio_of_medians([a[r] for r in shared], [b[r] for r in shared])
            ratios.append(CostRatio(name=f"step: {variant} / {other}, {where}", **ratio._asdict()))
    return tuple(ratios)


def _fit_ratios(fits: Sequence[CostFit]) -> tuple[CostRatio, ...]:
    """Returns ratios of fits from the store, including building, to keras.distillation."""
    by = {(fit.setting, fit.variant): fit for fit in fits}
    ratios = []
    for setting, base, where in _COMPARED:
        ours, theirs = by.get((setting, "store")), by.get((base, "keras"))
        if ours is None or theirs is None:
            continue
        value, low, high = ratio_of_totals(ours.epochs, theirs.epochs, ours.build)
        name = f"fit of {len(ours.epochs)} epochs, build included: store / keras, {where}"
        ratios.append(CostRatio(name=name, value=value, low=low, high=high, n=len(ours.epochs)))
    return tuple(ratios)


def _build_ratios(builds: Sequence[CostBuild]) -> tuple[CostRatio, ...]:
    """Returns the throughput of the build divided by that of `teacher.predict`."""
    return tuple(
        CostRatio(
            name=f"throughput: build / teacher.predict, {built.setting}",
            **_stats.ratio_of_medians(built.predict, built.build)._asdict(),
        )
        for built in builds
        if len(built.build) > 1
    )


def ratio_of_totals(
    ours: Sequence[float], theirs: Sequence[float], extra: float, *, resamples: int = 2000
) -> tuple[float, float | None, float | None]:
    """Returns (extra + Σ ours) / Σ theirs with a 95 % percentile bootstrap interval.

    The first epochs, which trace the graph, occur once per fit and are not resampled. The other
    epochs are resampled in pairs.

    Args:
        ours: Seconds of each of our epochs, `(n,)`.
        theirs: Seconds of each of the other package's epochs, measured alternately with ours.
        extra: Seconds spent once before our epochs.
        resamples: Number of bootstrap resamples.

    Example:
        >>> ratio_of_totals([2.0, 1.0, 1.0], [4.0, 2.0, 2.0], extra=1.0)
        (0.625, 0.625, 0.625)
    """
    a, b = np.asarray(ours, float), np.asarray(theirs, float)
    value = float((extra + a.sum()) / b.sum())
    if len(a) < 3:
        return value, None, None
    picks = np.random.default_rng(0).integers(1, len(a), (resamples, len(a) - 1))
    ratios = (extra + a[0] + a[picks].sum(axis=1)) / (b[0] + b[picks].sum(axis=1))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return value, float(low), float(high)
