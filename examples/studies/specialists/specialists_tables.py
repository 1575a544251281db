"""The settings and the record of the study of specialists, and the evaluation of its pieces."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)

# isort: split
import keras
import numpy as np
from pydantic import Field
from scipy.special import softmax

from keras_distill import InputError, metrics, models, specialists
from keras_distill.benchmarks import (
    describe_machine,
    describe_versions,
    paired_tests,
    ratio_of_means,
)
from keras_distill.data import Splits, labels_of
from keras_distill.records import (
    DistillationResult,
    IntervalRecord,
    KerasTrainingSettings,
    Record,
    SpecialistResult,
    SpecialistsRecipe,
    SpecialistsReport,
    SpecialistTraining,
    SystemResult,
    TomlRecord,
)
from keras_distill.specialists import ClassSets, EnsembleOutputs, SpecialistEnsemble

_EVALUATION_BATCH = 256


class ModelTraining(KerasTrainingSettings):
    """How a whole model is trained.

    Attributes:
        crop: Maximum shift of training images, in pixels; 0: none.
        flip: Whether to mirror half of the training images.
    """

    crop: int = Field(0, ge=0)
    flip: bool = False


class DistilledTraining(ModelTraining):
    """How generalist and specialists are distilled back into one model.

    Attributes:
        start: `generalist`: the model starts with its weights; `scratch`: with random weights.
        alpha: Weight of the soft targets.
        temperature: Temperature of the soft targets.
        choices: Pairs of alpha and temperature; the first ensemble is distilled with each, and the
            best on the validation split takes the place of `alpha` and `temperature`. Empty: those.
        views: Augmented views in the store.
        seeds: Number of models distilled, each from the ensemble of the same seed.
    """

    start: Literal["generalist", "scratch"] = "generalist"
    alpha: float = 0.9
    temperature: float = 2.0
    choices: tuple[tuple[float, float], ...] = ()
    views: int = 1
    seeds: int = 1


class Study(TomlRecord):
    """The settings of the study.

    Attributes:
        name: Name of the study.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        model: Spec of the generalist, of the members of the plain ensemble, and of the model that
            the ensemble is distilled back into.
        generalist: How the generalist and the members are trained.
        clusters: See `SpecialistsRecipe`.
        size: See `SpecialistsRecipe`.
        even: See `SpecialistsRecipe`.
        cluster_temperature: See `SpecialistsRecipe`.
        top: See `SpecialistsRecipe`.
        specialist: How each specialist is trained.
        seeds: Number of trainings of all specialists.
        ablations: Whether to train specialists for random sets, for even sets, and with the
            generalist's soft targets too.
        members: Number of models in the plain ensemble besides the generalist.
        distilled: How the ensemble is distilled back.
    """

    name: str
    source: str
    data_dir: str | None = None
    model: str
    generalist: ModelTraining = ModelTraining()
    clusters: int = 10
    size: int | None = None
    even: bool = False
    cluster_temperature: float = 1.0
    top: int | None = 1
    specialist: SpecialistTraining = SpecialistTraining()
    seeds: int = 3
    ablations: bool = True
    members: int = 3
    distilled: DistilledTraining = DistilledTraining()

    def recipe(self, generalist: str, seed: int) -> SpecialistsRecipe:
        """The recipe of the specialists of one seed.

        Args:
            generalist: The `.keras` file.
            seed: Seed of the order of their data.
        """
        shared = {"source", "data_dir", "clusters", "size", "even", "cluster_temperature", "top"}
        return SpecialistsRecipe(
            generalist=generalist,
            training=self.specialist,
            seed=seed,
            **self.model_dump(include=shared),
        )


class SpecialistsGroup(Record):
    """The specialists of one seed.

    Attributes:
        seconds: Wall time of each training.
        specialists: Their results.
    """

    seconds: tuple[float, ...]
    specialists: tuple[SpecialistResult, ...]


class StepsRecord(Record):
    """Steps of `combine` on the split.

    Attributes:
        percentiles: "50", "90", "99", "100" -> steps.
        worst_gap: The largest certificate, in nats.
    """

    percentiles: dict[str, float]
    worst_gap: float


class StudyRecord(Record):
    """The results of the study.

    Attributes:
        study: The settings, without the data folder.
        split: The evaluated split.
        report: Table 3 (the first system is the generalist), Table 4, classes.
        kept: Share of the gain of the ensemble that the distilled model keeps; None: no gain.
        kept_by_self: The same share for the control, the generalist distilled into itself.
        chosen: Alpha and temperature of the models distilled back.
        steps: Steps of `combine`, seed 0.
        specialist_steps: Training steps of all specialists of one seed.
        seconds: Wall time of all pieces, by kind.
        machine: Processor and cores.
        versions: Versions of the packages.
    """

    study: Study
    split: Literal["test", "validation"]
    report: SpecialistsReport
    kept: IntervalRecord | None
    kept_by_self: IntervalRecord | None
    chosen: tuple[float, float] | None = None
    steps: StepsRecord
    specialist_steps: int
    seconds: dict[str, float]
    machine: str
    versions: dict[str, str]


class _Pieces:
    """The pieces in a working folder, run on one split."""

    def __init__(self, study: Study, work: Path, splits: Splits, split: str) -> None:
        self.study, self.work, self.splits = study, work, splits
        self.examples = getattr(splits, split)

    def logits(self, path: Path) -> np.ndarray:
        """The logits of a `.keras` file on the split."""
        return _predict(models.load(path), self.examples)

    def models(self, paths: Iterable[Path]) -> list[np.ndarray]:
        """The logits of the files that exist."""
        return [self.logits(path) for path in paths if path.exists()]

    def ensemble(self, name: str, sets: ClassSets, split: str = "") -> EnsembleOutputs | None:
        """The outputs of an ensemble; None if it does not exist or has other class sets."""
        if not (self.work / name / "ensemble.json").exists():
            return None
        ensemble = SpecialistEnsemble.load(self.work / name)
        if ensemble.class_sets.lists() != sets.lists():
            return None
        examples = getattr(self.splits, split) if split else self.examples
        return EnsembleOutputs.of(ensemble, examples)

    def distilled(self, prefix: str) -> list[np.ndarray]:
        """The logits of the models distilled back."""
        seeds = range(min(self.study.distilled.seeds, self.study.seeds))
        return self.models(self.work / f"{prefix}-s{seed}.keras" for seed in seeds)


def _predict(model: keras.Model, examples) -> np.ndarray:
    batches = examples.map(lambda x, y: x).batch(_EVALUATION_BATCH)
    return model.predict(batches, verbose=0)


def evaluate(
    study: Study,
    work: Path,
    records: Path,
    splits: Splits,
    split: str,
    *,
    class_sets: ClassSets,
    even_sets: ClassSets | None,
    chosen: tuple[float, float] | None = None,
) -> StudyRecord:
    """Evaluates all pieces that exist.

    Args:
        study: The settings.
        work: The working folder.
        records: The records of the pieces.
        splits: The data.
        split: `test` or `validation`.
        class_sets: The clusters.
        even_sets: Class sets of the ablation with even sets; None: there is none.
        chosen: Alpha and temperature of the models distilled back.

    Raises:
        InputError: If the generalist or its specialists are not trained.
    """
    pieces = _Pieces(study, work, splits, split)
    labels = labels_of(pieces.examples)
    found = [pieces.ensemble(f"specialist-s{seed}", class_sets) for seed in range(study.seeds)]
    outputs = [one for one in found if one is not None]
    if not outputs:
        raise InputError("No specialists are trained yet. Run the study without --evaluate-only.")
    generalist, together = outputs[0].generalist, [one.combined() for one in outputs]
    back, control = pieces.distilled("back"), pieces.distilled("self")
    systems = _systems(pieces, outputs, together, back, control, class_sets, even_sets)
    group = SpecialistsGroup.load(records / "specialist-s0.json")
    return StudyRecord(
        study=study.model_copy(update={"data_dir": None}),
        split=split,
        report=SpecialistsReport(
            source=study.source,
            split=split,
            examples=len(labels),
            class_sets=tuple(tuple(ids) for ids in class_sets.lists()),
            left_alone=tuple(class_sets.left_alone.tolist()),
            systems=tuple(
                specialists.evaluate_system(name, title, scores, labels, class_sets, generalist)
                for name, title, scores in systems
                if scores
            ),
            coverage=specialists.coverage_rows(generalist, together, labels, class_sets),
            classes=specialists.class_rows(
                generalist, together, labels, class_sets, splits.class_names
            ),
            images=specialists.class_images(splits),
        ),
        kept=_kept(generalist, together, back, labels),
        kept_by_self=_kept(generalist, together, control, labels),
        chosen=chosen,
        steps=_steps(outputs[0]),
        specialist_steps=sum(result.steps for result in group.specialists),
        seconds=_seconds(records),
        machine=describe_machine(),
        versions=describe_versions(),
    )


def _systems(
    pieces: _Pieces,
    outputs: list[EnsembleOutputs],
    together: list[np.ndarray],
    back: list[np.ndarray],
    control: list[np.ndarray],
    sets: ClassSets,
    even_sets: ClassSets | None,
) -> list[tuple[str, str, list[np.ndarray]]]:
    """Name, title, and scores of each system, in the order of Table 3."""
    study, work, generalist = pieces.study, pieces.work, outputs[0].generalist
    count, seeds = len(sets), range(study.seeds)

    def ablation(name: str, class_sets: ClassSets | None) -> list[np.ndarray]:
        one = None if class_sets is None else pieces.ensemble(f"{name}-s0", class_sets)
        return [] if one is None else [one.combined()]

    members = pieces.models(
        work / f"member-{i}" / "model.keras" for i in range(1, study.members + 1)
    )
    plain = [np.mean([generalist, *members], axis=0)] if members else []
    best = [replace(one, top=1).combined() for one in outputs] if study.top != 1 else []
    everywhere = [replace(one, top=None).combined() for one in outputs] if study.top else []
    longer = pieces.models(work / f"longer-s{seed}" / "model.keras" for seed in seeds)
    pairs = [np.mean([generalist, one], axis=0) for one in longer]
    together_longer = [np.mean(longer, axis=0)] if len(longer) > 1 else []
    merged = [EnsembleOutputs.merged(outputs).combined()] if len(outputs) > 1 else []
    random = specialists.random_sets(sets, seed=0)
    return [
        ("generalist", f"generalist, {study.model}", [generalist]),
        ("specialists", f"generalist + {count} specialists", together),
        ("longer", "generalist trained longer, same steps", longer),
        ("pair", "generalist and itself trained longer, averaged: same steps", pairs),
        ("longer-all", f"{len(longer)} generalists trained longer, averaged", together_longer),
        ("plain", f"plain ensemble of {len(members) + 1} models", plain),
        ("best", "specialists of the best class only (the paper's rule)", best),
        ("all", "all specialists always active", everywhere),
        ("many", f"specialists of all seeds, {count * len(outputs)}", merged),
        ("calibrated", "all parts calibrated on validation data", _calibrated(pieces, sets)),
        (
            "uncorrected",
            "without the correction of the dustbin",
            [one.combined(corrected=False) for one in outputs],
        ),
        ("mean", "arithmetic mean instead of KL", [one.combined(mean=True) for one in outputs]),
        ("hard", "without the generalist's soft targets", ablation("hard", sets)),
        ("soft", "with the generalist's soft targets", ablation("soft", sets)),
        ("random", "random class sets", ablation("random", random)),
        ("even", "class sets that distribute the classes evenly", ablation("even", even_sets)),
        ("back", f"distilled back into {study.model}", back),
        ("self", f"control: generalist into {study.model}", control),
    ]


def _calibrated(pieces: _Pieces, sets: ClassSets) -> list[np.ndarray]:
    labels = labels_of(pieces.splits.validation)
    found = []
    for seed in range(pieces.study.seeds):
        name = f"specialist-s{seed}"
        one, held_out = pieces.ensemble(name, sets), pieces.ensemble(name, sets, "validation")
        if one and held_out:
            found.append(one.calibrated(held_out, labels).combined())
    return found


def _kept(
    generalist: np.ndarray,
    together: list[np.ndarray],
    distilled: list[np.ndarray],
    labels: np.ndarray,
) -> IntervalRecord | None:
    base = metrics.accuracy(generalist, labels)
    # The control has a model of every seed; specialists may have failed in one.
    count = min(len(together), len(distilled))
    best = [metrics.accuracy(scores, labels) for scores in together[:count]]
    if not count or np.mean(best) <= base:
        return None
    reached = [metrics.accuracy(scores, labels) for scores in distilled[:count]]
    return IntervalRecord.of(ratio_of_means(np.array(reached) - base, np.array(best) - base))


def _steps(outputs: EnsembleOutputs) -> StepsRecord:
    probs, *parts = (
        softmax(np.float64(part), axis=-1) for part in (outputs.generalist, *outputs.specialists)
    )
    sets, active = outputs.class_sets.sets, None
    if outputs.top is not None:
        active = specialists.active_by_top(probs, sets, outputs.top)
    found = specialists.solve(probs, parts, sets, active)
    marks = (50, 90, 99, 100)
    return StepsRecord(
        percentiles={str(q): float(np.percentile(found.steps, q)) for q in marks},
        worst_gap=float(found.gap.max()),
    )


def _seconds(records: Path) -> dict[str, float]:
    """Wall time by kind of piece."""
    found: dict[str, float] = {}
    for path in sorted(records.glob("*.json")):
        kind = path.stem.split("-")[0]
        if kind in ("specialist", "random", "even", "hard", "soft"):
            found[kind] = found.get(kind, 0) + sum(SpecialistsGroup.load(path).seconds)
        elif kind in ("generalist", "longer", "choice", "back", "self", "member"):
            found[kind] = found.get(kind, 0) + DistillationResult.load(path).seconds
    return {kind: round(seconds, 1) for kind, seconds in found.items()}


def markdown(record: StudyRecord) -> list[str]:
    """Tables 3 and 4 in Markdown.

    Args:
        record: The results of the study.
    """
    lines = [
        "| system | top-1, % | conditional, % | within sets, % | relative change, % | points"
        " | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_system_row(system) for system in record.report.systems]
    coverage = [
        "| specialists | examples | generalist, % | with specialists, % | relative change, % |",
        "|---|---|---|---|---|",
    ]
    for row in record.report.coverage:
        change = "" if row.change is None else f"{100 * row.change:+.1f}"
        coverage.append(
            f"| {row.specialists} | {row.examples} | {100 * row.generalist:.1f}"
            f" | {100 * row.ensemble:.1f} | {change} |"
        )
    return ["\n".join(lines), "\n".join(coverage)]


# System, the system it is compared with, and the words for both.
_COMPARED = (
    ("specialists", "longer", "specialists against training longer"),
    ("specialists", "pair", "specialists against the average with the one trained longer"),
    ("back", "self", "distilled back against the control"),
)


def comparisons(record: StudyRecord) -> str:
    """The differences of systems with several seeds, paired by seed, in Markdown.

    Args:
        record: The results of the study.
    """
    accuracy = {system.name: system.accuracy for system in record.report.systems}
    pairs = [
        (title, accuracy[ours], accuracy[theirs])
        for ours, theirs, title in _COMPARED
        if len(accuracy.get(ours, ())) == len(accuracy.get(theirs, ())) > 1
    ]
    tests = paired_tests((a, b) for _, a, b in pairs)
    lines = [
        "| compared | points (95 % interval over the seeds) | p, paired t test, Holm |",
        "|---|---|---:|",
    ]
    for (title, _, _), (gap, p) in zip(pairs, tests, strict=True):
        lines.append(
            f"| {title} | {100 * gap.value:+.2f} ({100 * gap.low:+.2f} to {100 * gap.high:+.2f})"
            f" | {p:.3f} |"
        )
    for title, share in (
        ("share of the gain that the distilled model keeps, %", record.kept),
        ("share that the control reaches, %", record.kept_by_self),
    ):
        if share is not None:
            ends = ""
            if share.low is not None and share.high is not None:
                ends = f" ({100 * share.low:.0f} to {100 * share.high:.0f})"
            lines.append(f"| {title} | {100 * share.value:.0f}{ends} |  |")
    return "\n".join(lines)


def choices(record: StudyRecord, records: Path) -> str:
    """What each choice of alpha and temperature gives on the validation split, in Markdown.

    Args:
        record: The results of the study; its choice is bold.
        records: The records of the pieces.
    """
    lines = ["| alpha | T | validation accuracy, % |", "|---:|---:|---:|"]
    for alpha, temperature in record.study.distilled.choices:
        found = DistillationResult.load(records / f"{choice_name(alpha, temperature)}.json")
        mark = "**" if (alpha, temperature) == record.chosen else ""
        shown = f"{mark}{100 * found.validation_accuracy:.2f}{mark}"
        lines.append(f"| {alpha:g} | {temperature:g} | {shown} |")
    return "\n".join(lines)


def choice_name(alpha: float, temperature: float) -> str:
    """The name of the piece that distills with these settings."""
    return f"choice-{alpha:g}-{temperature:g}"


def draw_curves(records: Path, path: Path) -> None:
    """Draws the validation accuracy of the generalist, and of its longer training after it.

    Args:
        records: The records of the pieces, which have their validation accuracies.
        path: The image to write.
    """
    from matplotlib.figure import Figure

    generalist = DistillationResult.load(records / "generalist.json")
    axes = (figure := Figure(figsize=(7, 3), layout="constrained")).subplots()
    curve = 100 * np.array(generalist.validation)
    axes.plot(np.arange(1, len(curve) + 1), curve, label="generalist")
    per_round = generalist.steps / max(1, len(curve))
    for number, file in enumerate(sorted(records.glob("longer-s*.json"))):
        found = DistillationResult.load(file)
        steps = found.steps / max(1, len(found.validation)) / per_round
        x = len(curve) + steps * np.arange(len(found.validation) + 1)
        y = [curve[-1], *(100 * np.array(found.validation))]
        axes.plot(x, y, color="C1", label=None if number else "the same, trained longer")
    axes.set_xlabel(f"rounds of {per_round:.0f} steps")
    axes.set_ylabel("validation accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def _system_row(system: SystemResult) -> str:
    means = (system.accuracy, system.conditional, system.within)
    cells = [system.title, *(f"{100 * np.mean(values):.2f}" for values in means)]
    relative, gain = system.relative, system.gain
    if system.name == "generalist" or relative is None:
        cells += ["", ""]
    else:
        ends = ""
        if relative.low is not None and relative.high is not None:
            ends = f" ({100 * relative.low:+.2f} to {100 * relative.high:+.2f})"
        cells.append(f"{100 * relative.value:+.2f}{ends}")
        cells.append(f"{100 * gain.value:+.2f} ± {100 * (gain.high - gain.value):.2f}")
    return f"| {' | '.join(cells)} | {len(system.accuracy)} |"
