"""The tables of a study of specialists, from the nets that stand in its working folder."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from keras_distill import models
from keras_distill._internal import InputError, _files, _machine, check_choice
from keras_distill._internal._stats import share_kept
from keras_distill.data._streams import labels_of
from keras_distill.records import JobRecord
from keras_distill.records._run import IntervalRecord
from keras_distill.records._specialists import SpecialistsReport, SystemResult
from keras_distill.records._specialists_study import SpecialistsStudy, StepsRecord, StudyRecord
from keras_distill.runs._specialist_nets import splits_of
from keras_distill.specialists import ClassSets, active_by_top, random_sets, solve
from keras_distill.specialists._evaluation import (
    Answers,
    accuracy,
    class_rows,
    coverage_rows,
    judge,
    softmax,
)
from keras_distill.specialists._judging import class_images
from keras_distill.specialists._training import logits_on
from keras_distill.teachers import as_teacher


class Tables:
    """Judges the nets of a study that are there; each runs once on a split, its logits are kept.

    Args:
        study: The study.
        work: Its working folder.
        class_sets: Its clusters.
        split: `test` or `validation`.
        even_sets: Those of the ablation with even sets; None: there is none.
    """

    def __init__(
        self,
        study: SpecialistsStudy,
        work: Path,
        class_sets: ClassSets,
        split: str,
        even_sets: ClassSets | None = None,
    ) -> None:
        self.split = check_choice("split", split, ("test", "validation"))
        self.study, self.work = study, work
        self.sets, self.even_sets = class_sets, even_sets
        self.splits = splits_of(study.source, study.data_dir)
        self.examples = getattr(self.splits, split)
        self.labels = labels_of(self.examples)

    def record(self, seconds: dict[str, float]) -> StudyRecord:
        """The record of the study.

        Args:
            seconds: Wall time of its jobs, by group.

        Raises:
            InputError: If the generalist or its specialists are not trained.
        """
        seeds = range(self.study.seeds)
        answers = [found for seed in seeds if (found := self._answers("specialist", seed))]
        if not answers:
            raise InputError("No specialists are trained yet: nothing to judge.")
        generalist = self.logits("generalist")
        together = [a.combined() for a in answers]
        systems = self._systems(generalist, answers, together)
        back, self_back = self._one_net("back"), self._one_net("self")
        return StudyRecord(
            study=self.study.model_copy(update={"data_dir": None}),
            split=self.split,
            report=SpecialistsReport(
                source=self.study.source,
                split=self.split,
                examples=len(self.labels),
                class_sets=tuple(tuple(ids) for ids in self.sets.lists()),
                left_alone=tuple(self.sets.left_alone.tolist()),
                systems=systems,
                coverage=coverage_rows(generalist, together, self.labels, self.sets),
                classes=class_rows(
                    generalist, together, self.labels, self.sets, self.splits.class_names
                ),
                images=class_images(self.splits),
            ),
            kept=self._kept(generalist, together, back),
            kept_by_self=self._kept(generalist, together, self_back),
            steps=_steps(answers[0]),
            specialist_steps=self._specialist_steps(),
            seconds=seconds,
            machine=_machine.describe(),
            versions=_machine.versions(),
        )

    def logits(self, name: str, split: str | None = None) -> np.ndarray:
        """A net's logits on a split, float32 `(n, N)`; kept as long as the net stays the same.

        Args:
            name: Of the net.
            split: `test` or `validation`; None: the one that is judged on.
        """
        split = split or self.split
        file = self.work / "models" / f"{name}.keras"
        kept = self.work / "logits" / f"{name}-{_files.sha256(file)[:16]}-{split}.npy"
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            values = logits_on(as_teacher(models.load(file)), getattr(self.splits, split))
            with _files.atomic_path(kept) as temporary:
                np.save(temporary, values)
        return np.load(kept, allow_pickle=False)

    def _answers(
        self, prefix: str, seed: int, sets: ClassSets | None = None, split: str | None = None
    ) -> Answers | None:
        sets = self.sets if sets is None else sets
        names = [f"{prefix}-s{seed}-{m:02d}" for m in range(len(sets))]
        if any(not (self.work / "models" / f"{name}.keras").exists() for name in names):
            return None
        jobs = [JobRecord.load(self.work / "jobs" / name / "job.json") for name in names]
        # Left from other settings of the study, a net may tell other classes apart.
        if [job.result["class_ids"] for job in jobs] != sets.lists():
            return None
        return Answers(
            self.logits("generalist", split),
            tuple(self.logits(name, split) for name in names),
            sets,
            self.study.top,
            tuple(job.result["correction"] for job in jobs),
        )

    def _systems(
        self, generalist: np.ndarray, answers: list[Answers], together: list[np.ndarray]
    ) -> tuple[SystemResult, ...]:
        count, top, seeds = len(self.sets), self.study.top, range(self.study.seeds)
        best = [replace(a, top=1).combined() for a in answers] if top != 1 else []
        everywhere = [replace(a, top=None).combined() for a in answers] if top else []
        uncorrected = [a.combined(corrected=False) for a in answers]
        mean = [a.combined(mean=True) for a in answers]
        even = self._variant("even", self.even_sets) if self.even_sets else []
        randomized = self._variant("random", random_sets(self.sets, seed=0))
        many = [Answers.merged(answers).combined()] if len(answers) > 1 else []
        found = [
            ("generalist", f"generalist, {self.study.model}", [generalist]),
            ("specialists", f"generalist + {count} specialists", together),
            (
                "longer",
                "generalist trained on, same steps",
                self._nets(f"longer-s{s}" for s in seeds),
            ),
            ("plain", *self._plain_ensemble(generalist)),
            ("best", "specialists of the best class alone (the paper's)", best),
            ("all", "all specialists have a say", everywhere),
            ("many", f"specialists of all seeds, {count * len(answers)}", many),
            ("calibrated", "all parts calibrated on validation data", self._calibrated()),
            ("uncorrected", "without the dustbin's correction", uncorrected),
            ("mean", "arithmetic mean in place of KL", mean),
            ("hard", "without the generalist's soft targets", self._variant("hard", self.sets)),
            ("soft", "with the generalist's soft targets", self._variant("soft", self.sets)),
            ("random", "random class sets", randomized),
            ("even", "class sets that share the classes out evenly", even),
            ("back", f"distilled back into {self.study.model}", self._one_net("back")),
            ("self", f"control: generalist into {self.study.model}", self._one_net("self")),
        ]
        return tuple(
            judge(name, title, scores, self.labels, self.sets, generalist)
            for name, title, scores in found
            if scores
        )

    def _nets(self, names: Iterable[str]) -> list[np.ndarray]:
        there = self.work / "models"
        return [self.logits(name) for name in names if (there / f"{name}.keras").exists()]

    def _one_net(self, name: str) -> list[np.ndarray]:
        seeds = range(min(self.study.back.seeds, self.study.seeds))
        return self._nets(f"{name}-s{seed}" for seed in seeds)

    def _calibrated(self) -> list[np.ndarray]:
        labels = labels_of(self.splits.validation)
        pairs = [
            [self._answers("specialist", seed, split=split) for split in (self.split, "validation")]
            for seed in range(self.study.seeds)
        ]
        return [
            answers.calibrated(held_out, labels).combined()
            for answers, held_out in pairs
            if answers and held_out
        ]

    def _variant(self, prefix: str, sets: ClassSets) -> list[np.ndarray]:
        answers = self._answers(prefix, 0, sets)
        return [] if answers is None else [answers.combined()]

    def _plain_ensemble(self, generalist: np.ndarray) -> tuple[str, list[np.ndarray]]:
        members = self._nets(f"member-{i}" for i in range(1, self.study.members + 1))
        title = f"plain ensemble of {len(members) + 1} nets"
        return title, [np.mean([generalist, *members], axis=0)] if members else []

    def _kept(
        self, generalist: np.ndarray, together: list[np.ndarray], nets: list[np.ndarray]
    ) -> IntervalRecord | None:
        base = accuracy(generalist, self.labels)
        # The control has a net of every seed, specialists may have failed in one.
        count = min(len(together), len(nets))
        best = [accuracy(scores, self.labels) for scores in together[:count]]
        if not count or np.mean(best) <= base:
            return None
        reached = [accuracy(scores, self.labels) for scores in nets[:count]]
        return IntervalRecord.of(share_kept([base] * count, best, reached))

    def _specialist_steps(self) -> int:
        jobs = (self.work / "jobs").glob("specialist-s0-*/job.json")
        return sum(JobRecord.load(path).result["steps"] for path in jobs)


def _steps(answers: Answers) -> StepsRecord:
    probs = softmax(answers.generalist)
    active = None
    if answers.top is not None:
        active = active_by_top(probs, answers.class_sets.sets, answers.top)
    parts = [softmax(part) for part in answers.specialists]
    found = solve(probs, parts, answers.class_sets.sets, active)
    marks = (50, 90, 99, 100)
    return StepsRecord(
        percentiles={str(q): float(np.percentile(found.steps, q)) for q in marks},
        worst_gap=float(found.gap.max()),
    )
