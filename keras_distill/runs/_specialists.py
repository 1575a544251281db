"""A study of specialists: every piece a job, resumable; then Tables 3 and 4 and the controls.

Pieces: the generalist; its specialists, over several seeds; the generalist trained on for as many
steps; other nets like it, for a plain ensemble; ablations; generalist + specialists distilled back
into one net, and the control of distilling the generalist into itself.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from keras_distill import models
from keras_distill._internal import VerificationError, _files
from keras_distill.records import JobRecord, TrainingSettings
from keras_distill.records._specialists_study import SpecialistsStudy, StudyRecord
from keras_distill.runs._specialist_nets import splits_of
from keras_distill.runs._specialist_tables import Tables
from keras_distill.specialists import ClassSets, confusable_sets, random_sets
from keras_distill.specialists._ensemble import GENERALIST, MANIFEST, write_manifest
from keras_distill.specialists._evaluation import softmax
from keras_distill.specialists._training import jobs_for, logits_on
from keras_distill.teachers import as_teacher
from keras_distill.work import Job, job_failures, run_jobs

_NET = "keras_distill.runs._specialist_nets:net_job"
_SOFT_ALPHA = 0.5  # of the ablation with soft targets, where the study's specialists have none


class SpecialistsRun:
    """The pieces of a study, in a working folder.

    Args:
        study: What to do.
        work: Where weights, logs and unfinished work are kept.
        results: Where the record of each piece goes (`<piece>.json`), and `study.json`.
        backend: See `run_jobs`.
        workers: Jobs at a time.
        report: Called as each job ends, or is found done.
    """

    def __init__(
        self,
        study: SpecialistsStudy,
        work: str | os.PathLike,
        results: str | os.PathLike,
        *,
        backend: str = "processes",
        workers: int = 1,
        report: Callable[[JobRecord, bool], None] = lambda record, kept: None,
    ) -> None:
        self.study = study
        self.work, self.results = Path(work).resolve(), Path(results)
        self.models = self.work / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        self._backend, self._workers, self._report = backend, workers, report
        self.seconds: dict[str, float] = {}
        self._failed: list[str] = []

    @property
    def generalist(self) -> Path:
        """The generalist's file."""
        return self.models / "generalist.keras"

    def train(self) -> None:
        """Does every piece that is not done yet.

        Raises:
            VerificationError: If pieces failed. All that do not need them are done.
        """
        self._run("generalist", [self._net("generalist", self.study.model, 0)], needed=True)
        sets = self.class_sets()
        by_seed = [self._specialists(sets, seed) for seed in range(self.study.seeds)]
        trained = [
            self._run(f"specialists of seed {seed}", jobs) for seed, jobs in enumerate(by_seed)
        ]
        if not all(r.status == "done" for r in trained[0]):
            raise VerificationError(f"Pieces failed: {'; '.join(self._failed)}")
        steps = sum(r.result["steps"] for r in trained[0])
        self._run("ablations", self._ablations(sets))
        self._run("trained on", [self._longer(seed, steps) for seed in range(self.study.seeds)])
        for seed, records in enumerate(trained):
            if all(r.status == "done" for r in records):
                self._assemble(seed, sets, records)
        self._run("distilled back", self._back())
        self._run(
            "members",
            [
                self._net(f"member-{i}", self.study.model, i)
                for i in range(1, self.study.members + 1)
            ],
        )
        if self._failed:
            raise VerificationError(f"Pieces failed: {'; '.join(self._failed)}")

    def class_sets(self) -> ClassSets:
        """The clusters, from the generalist's predictions on the validation split.

        They are written down, so that a study goes on with the sets that it began with.
        """
        return self._class_sets(self.study.even)

    def even_sets(self) -> ClassSets | None:
        """Clusters that share the classes out evenly; None where `class_sets` are no others."""
        study = self.study
        return None if study.size is None or study.even else self._class_sets(even=True)

    def _class_sets(self, even: bool) -> ClassSets:
        study = self.study
        how = [
            _files.sha256(self.generalist),
            study.clusters,
            study.size,
            even,
            study.cluster_temperature,
        ]
        key = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:16]
        path = self.work / f"class-sets-{key}.json"
        splits = splits_of(study.source, study.data_dir)
        if not path.exists():
            logits = logits_on(as_teacher(models.load(self.generalist)), splits.validation)
            probs = softmax(logits / study.cluster_temperature)
            found = confusable_sets(probs, study.clusters, size=study.size, even=even, seed=0)
            _files.write_json(path, found.lists())
        return ClassSets(tuple(json.loads(path.read_text())), splits.num_classes)

    def tables(self, split: str = "test") -> StudyRecord:
        """Everything judged on a split, and written to `study.json` (`study-validation.json`).

        Args:
            split: `validation` while something is still to be chosen; `test` once, at the end.

        Raises:
            InputError: If the generalist or its specialists are not trained.
        """
        tables = Tables(self.study, self.work, self.class_sets(), split, self.even_sets())
        record = tables.record(self.seconds)
        name = "study.json" if split == "test" else f"study-{split}.json"
        self.results.mkdir(parents=True, exist_ok=True)
        record.save(self.results / name, overwrite=True)
        return record

    def _run(self, group: str, jobs: list[Job], *, needed: bool = False) -> list[JobRecord]:
        def report(record: JobRecord, kept: bool) -> None:
            if record.status == "done":
                record.save(self.results / f"{record.name}.json", overwrite=True)
            self._report(record, kept)

        self.results.mkdir(parents=True, exist_ok=True)
        records = run_jobs(
            jobs, self.work / "jobs", backend=self._backend, workers=self._workers, report=report
        )
        self.seconds[group] = round(sum(r.seconds for r in records), 1)
        self._failed += job_failures(records)
        if needed and self._failed:
            raise VerificationError(f"Pieces failed: {'; '.join(self._failed)}")
        return records

    def _net(self, name: str, start: str, seed: int, *, places=None, **changes) -> Job:
        where = {"data_dir": self.study.data_dir, "out": str(self.models / f"{name}.keras")}
        what = {
            "source": self.study.source,
            "net": self.study.generalist.model_dump(mode="json"),
            "seed": seed,
            "checksums": [],
            **changes,
        }
        # A file is known by its checksum, wherever it stands.
        (where if start.endswith(".keras") else what)["start"] = start
        return Job(name, _NET, what, places={**where, **(places or {})})

    def _specialists(
        self, sets: ClassSets, seed: int, prefix: str = "specialist", **training
    ) -> list[Job]:
        study = self.study
        if training:
            changed = study.specialist.model_copy(update=training)
            study = study.model_copy(update={"specialist": changed})
        recipe = study.recipe(str(self.generalist), seed)
        return jobs_for(self.generalist, recipe, sets, self.models, prefix=f"{prefix}-s{seed}")

    def _ablations(self, sets: ClassSets) -> list[Job]:
        """Specialists on other class sets; without the generalist's soft targets, or with."""
        jobs = self._specialists(random_sets(sets, seed=0), 0, "random")
        if even := self.even_sets():
            jobs += self._specialists(even, 0, "even")
        if self.study.specialist.alpha > 0:
            return jobs + self._specialists(sets, 0, "hard", alpha=0.0)
        return jobs + self._specialists(sets, 0, "soft", alpha=_SOFT_ALPHA)

    def _longer(self, seed: int, steps: int) -> Job:
        """The generalist trained on as its specialists are: same optimizer, rate and steps."""
        specialist = self.study.specialist
        training = specialist.model_dump(mode="json", include=set(TrainingSettings.model_fields))
        net = {"training": training, "crop": specialist.crop, "flip": specialist.flip}
        return self._net(
            f"longer-s{seed}",
            str(self.generalist),
            seed,
            net=net,
            steps=steps,
            checksums=[_files.sha256(self.generalist)],
        )

    def ensemble(self, seed: int) -> Path:
        """The folder of generalist and specialists of a seed."""
        return self.work / f"ensemble-s{seed}"

    def _assemble(self, seed: int, sets: ClassSets, records: list[JobRecord]) -> None:
        corrections = [record.result["correction"] for record in records]
        with _files.atomic_path(self.ensemble(seed), overwrite=True) as folder:
            folder.mkdir()
            shutil.copyfile(self.generalist, folder / GENERALIST)
            files = [folder / f"specialist-{m:02d}.keras" for m in range(len(sets))]
            for record, file in zip(records, files, strict=True):
                shutil.copyfile(self.models / f"{record.name}.keras", file)
            write_manifest(folder, files, sets, self.study.top, corrections)

    def _back(self) -> list[Job]:
        back = self.study.back
        start = str(self.generalist) if back.start == "generalist" else self.study.model
        jobs = []
        for seed in range(min(back.seeds, self.study.seeds)):
            for name, teacher in (("back", self.ensemble(seed)), ("self", self.generalist)):
                manifest = teacher / MANIFEST if teacher.is_dir() else teacher
                if not manifest.exists():
                    continue
                job = self._net(
                    f"{name}-s{seed}",
                    start,
                    seed + 100,
                    net=back.net.model_dump(mode="json"),
                    places={"teacher": str(teacher)},
                    back=back.model_dump(mode="json"),
                    checksums=[_files.sha256(self.generalist), _files.sha256(manifest)],
                )
                jobs.append(job)
        return jobs
