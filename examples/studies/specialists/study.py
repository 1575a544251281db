"""Trains specialists for CIFAR-100 with all controls: Tables 3 and 4 of the paper, distilling back.

    cd examples/studies/specialists
    python study.py cifar100.toml --data-dir DIR --records RECORDS
    python study.py --table records                  # the tables of README.md, from the records
    python study.py --figure records/converged       # draws curves.svg from these records

Pieces: the generalist; its specialists, with several seeds; ablations; the generalist trained for
as many more steps; generalist and specialists distilled back into one model, and the control of
distilling the generalist into itself; other models like the generalist for a plain ensemble. Each
piece resumes, and a failed piece does not affect the others. Choose settings with
`--split validation`.
"""

import argparse
import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_distill  # noqa: F401  (before TensorFlow, so that oneDNN is switched on)

# isort: split
import keras
import pilot
import specialists_tables
import tensorflow as tf
from specialists_tables import (
    DistilledTraining,
    ModelTraining,
    SpecialistsGroup,
    Study,
    StudyRecord,
    choice_name,
)

from keras_distill import VerificationError, data, models, report, specialists
from keras_distill.data import Augmentation, Splits
from keras_distill.records import DistillationResult, JobRecord, Record
from keras_distill.specialists import ClassSets
from keras_distill.training import compile_classifier
from keras_distill.work import Rounds, WorkFolder, fit_resumable

_SOFT_ALPHA = 0.5  # weight of the soft targets in their ablation
_EVALUATION_BATCH = 256


class StudyRun:
    """The pieces of a study in a working folder.

    Args:
        study: The settings.
        work: Folder of models and unfinished work.
        records: Folder of the records, one per piece, and of `study.json`.
        backend: How the specialists are trained; see `specialists.train`.
        workers: Number of specialists trained at a time.
        progress: Called with the name and the state of each piece.
    """

    def __init__(
        self,
        study: Study,
        work: Path,
        records: Path,
        *,
        backend: str = "in-turn",
        workers: int = 1,
        progress: Callable[[str, str], None] = lambda name, state: None,
    ) -> None:
        self.study, self.work, self.records = study, work, records
        self._jobs = {"backend": backend, "workers": workers, "overwrite": True}
        self._progress = progress
        self._failed: list[str] = []
        self.splits = data.load(study.source, data_dir=study.data_dir)
        for folder in (work, records):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def generalist(self) -> Path:
        """The file of the generalist."""
        return self.work / "generalist" / "model.keras"

    def train(self) -> None:
        """Makes every piece that is missing.

        Raises:
            VerificationError: If pieces failed. All that do not need them are made.
        """
        self._failed = []
        if not self._model("generalist", self.study.model, 0, self.study.generalist):
            self._raise_failures()
        sets = self.class_sets()
        groups = [self._specialists("specialist", sets, s) for s in range(self.study.seeds)]
        if self.study.ablations:
            self._ablations(sets)
        if groups[0] is not None:
            steps = sum(result.steps for result in groups[0].specialists)
            for seed in range(self.study.seeds):
                self._longer(seed, steps)
        for seed in range(min(self.study.distilled.seeds, self.study.seeds)):
            ensemble = self.work / f"specialist-s{seed}"
            if seed == 0 and groups[0] is not None:
                self._choose(ensemble)
            settings = self.distilled()
            if groups[seed] is not None:
                self._distill(f"back-s{seed}", ensemble, seed, settings)
            self._distill(f"self-s{seed}", self.generalist, seed, settings)
        for i in range(1, self.study.members + 1):
            self._model(f"member-{i}", self.study.model, i, self.study.generalist)
        self._raise_failures()

    def class_sets(self, *, even: bool | None = None) -> ClassSets:
        """Clusters of confusable classes, from the generalist's validation predictions.

        They are saved, so that a resumed study uses the sets that it started with.
        """
        study = self.study
        even = study.even if even is None else even
        settings = [_sha256(self.generalist), study.clusters, study.size, even]
        key = hashlib.sha256(json.dumps([*settings, study.cluster_temperature]).encode())
        path = self.work / f"class-sets-{key.hexdigest()[:16]}.json"
        if not path.exists():
            generalist = models.load(self.generalist)
            found = specialists.confusable_sets(
                specialists.predictions(
                    generalist, self.splits.validation, study.cluster_temperature
                ),
                study.clusters,
                size=study.size,
                even=even,
                seed=0,
            )
            path.write_text(json.dumps(found.lists()))
        return ClassSets(tuple(json.loads(path.read_text())), self.splits.num_classes)

    def distilled(self) -> DistilledTraining:
        """How ensembles are distilled back: with the choice that is best on validation data."""
        ensemble, found = self.work / "specialist-s0", {}
        for pair in self.study.distilled.choices:
            name = choice_name(*pair)
            if self._has(name, self._stamp(ensemble, self._choice(*pair))):
                record = DistillationResult.load(self.records / f"{name}.json")
                found[pair] = record.validation_accuracy
        if not found:
            return self.study.distilled
        return self._choice(*max(found, key=lambda pair: found[pair]))

    def _choice(self, alpha: float, temperature: float) -> DistilledTraining:
        changes = {"alpha": alpha, "temperature": temperature}
        return self.study.distilled.model_copy(update=changes)

    def even_sets(self) -> ClassSets | None:
        """Clusters that distribute the classes evenly; None if `class_sets` are such."""
        study = self.study
        return None if study.size is None or study.even else self.class_sets(even=True)

    def evaluate(self, split: str = "test") -> StudyRecord:
        """Evaluates all pieces on a split and writes `study.json` or `study-validation.json`.

        Args:
            split: `validation` while settings are chosen; `test` once, at the end.

        Raises:
            InputError: If the generalist or its specialists are not trained.
        """
        record = specialists_tables.evaluate(
            self.study, self.work, self.records, self.splits, split,
            class_sets=self.class_sets(), even_sets=self.even_sets(),
            chosen=(self.distilled().alpha, self.distilled().temperature),
        )  # fmt: skip
        name = "study.json" if split == "test" else f"study-{split}.json"
        record.save(self.records / name, overwrite=True)
        return record

    def _raise_failures(self) -> None:
        if self._failed:
            raise VerificationError(f"Pieces failed: {'; '.join(self._failed)}")

    def _piece(self, name: str, settings: list[Any], make: Callable[[], Record]) -> bool:
        """Makes a piece unless it exists with these settings; returns whether it exists then."""
        settings = json.loads(json.dumps(settings))
        if self._has(name, settings):
            self._progress(name, "completed before")
            return True
        try:
            record = make()
        except Exception as error:  # a failed piece must not stop the others
            self._failed.append(f"{name}: {type(error).__name__}: {error}")
            self._progress(name, "failed")
            return False
        record.save(self.records / f"{name}.json", overwrite=True)
        (self.work / f"{name}.json").write_text(json.dumps(settings))
        self._progress(name, "done")
        return True

    def _has(self, name: str, settings: list[Any]) -> bool:
        """Whether a piece exists with these settings, which are JSON values."""
        stamp = self.work / f"{name}.json"
        return stamp.exists() and json.loads(stamp.read_text()) == settings

    def _model(
        self,
        name: str,
        start: str | Path,
        seed: int,
        training: ModelTraining,
        steps: int | None = None,
    ) -> bool:
        origin = _sha256(start) if isinstance(start, Path) else start
        settings = [self.study.source, origin, seed, training.model_dump(mode="json"), steps]
        return self._piece(
            name,
            settings,
            lambda: train_model(
                self.work / name, start, self.splits, training, seed, settings, steps=steps
            ),
        )

    def _longer(self, seed: int, steps: int) -> bool:
        """The generalist trained for as many steps, with the settings of its specialists."""
        fields = set(ModelTraining.model_fields)
        training = ModelTraining(**self.study.specialist.model_dump(include=fields))
        return self._model(f"longer-s{seed}", self.generalist, seed, training, steps)

    def _specialists(
        self, prefix: str, sets: ClassSets, seed: int, **training: Any
    ) -> SpecialistsGroup | None:
        """Trains all specialists of a seed; returns their record, or None if one failed."""
        name = f"{prefix}-s{seed}"
        recipe = self.study.recipe(str(self.generalist), seed)
        changed = recipe.training.model_copy(update=training)
        recipe = recipe.model_copy(update={"training": changed})
        settings = [
            recipe.model_dump(mode="json", exclude={"generalist", "data_dir"}),
            sets.lists(),
            _sha256(self.generalist),
        ]

        def make() -> SpecialistsGroup:
            jobs: dict[str, JobRecord] = {}
            specialists.train(
                recipe,
                self.work / name,
                class_sets=sets,
                report=lambda job, kept: jobs.update({job.name: job}),
                **self._jobs,
            )
            done = [jobs[key] for key in sorted(jobs)]
            return SpecialistsGroup(
                seconds=tuple(job.seconds for job in done),
                specialists=tuple(job.result for job in done),
            )

        if not self._piece(name, settings, make):
            return None
        return SpecialistsGroup.load(self.records / f"{name}.json")

    def _ablations(self, sets: ClassSets) -> None:
        """Specialists for other class sets; without the generalist's soft targets, or with."""
        self._specialists("random", specialists.random_sets(sets, seed=0), 0)
        if even := self.even_sets():
            self._specialists("even", even, 0)
        if self.study.specialist.alpha > 0:
            self._specialists("hard", sets, 0, alpha=0.0)
        else:
            self._specialists("soft", sets, 0, alpha=_SOFT_ALPHA)

    def _choose(self, ensemble: Path) -> None:
        """Distills an ensemble with each choice of alpha and temperature."""
        for pair in self.study.distilled.choices:
            self._distill(choice_name(*pair), ensemble, 0, self._choice(*pair))

    def _stamp(self, teacher: Path, settings: DistilledTraining) -> list[Any]:
        """What identifies the distillation of a teacher, as JSON values."""
        manifest = teacher / "ensemble.json" if teacher.is_dir() else teacher
        stamp = [settings.model_dump(mode="json"), _sha256(self.generalist), _sha256(manifest)]
        return json.loads(json.dumps(stamp))

    def _distill(self, name: str, teacher: Path, seed: int, settings: DistilledTraining) -> bool:
        stamp = self._stamp(teacher, settings)
        same = choice_name(settings.alpha, settings.temperature)

        def make() -> DistillationResult:
            out = self.work / f"{name}.keras"
            if seed == 0 and self._has(same, stamp):  # the choice is this training
                shutil.copyfile(self.work / f"{same}.keras", out)
                return DistillationResult.load(self.records / f"{same}.json")
            return specialists.distill(
                teacher,
                out,
                student=self.generalist if settings.start == "generalist" else self.study.model,
                source=self.study.source,
                data_dir=self.study.data_dir,
                training=settings,
                alpha=settings.alpha,
                temperature=settings.temperature,
                crop=settings.crop,
                flip=settings.flip,
                views=settings.views,
                seed=seed + 100,
                targets=self.work / f"targets-{teacher.stem}",
                overwrite=True,
            )

        return self._piece(name, stamp, make)


def train_model(
    out: Path,
    start: str | Path,
    splits: Splits,
    training: ModelTraining,
    seed: int,
    settings: list[Any],
    *,
    steps: int | None = None,
) -> DistillationResult:
    """Trains a model on labels alone, or resumes its training; saves `<out>/model.keras`.

    Args:
        out: The folder to write.
        start: A model spec, or the `.keras` file whose weights to start from.
        splits: The data.
        training: The training settings.
        seed: Seed of the initial weights and of the order of the data.
        settings: JSON values that identify the training.
        steps: Total training steps; None: the epochs decide.
    """
    model = models.build(
        start,
        input_shape=splits.input_shape,
        num_classes=splits.num_classes,
        rescale=data.statistics(splits.train),
        seed=seed,
    )
    with models.seeded(seed):
        trained = models.trained_as(model, training.precision)
    trainer = trained if trained is not model else keras.Model(model.inputs[0], model.outputs[0])
    per_epoch = math.ceil(splits.sizes["train"] / training.batch_size)
    if steps is not None:
        per_epoch = max(1, round(steps / training.epochs))
    rounds = Rounds(training.epochs, per_epoch)
    compile_classifier(trainer, training, rounds)
    with WorkFolder(out, {"settings": settings}, overwrite=True, what="training") as folder:
        progress = fit_resumable(
            trainer,
            lambda epoch: _batches(splits, training, seed, epoch * rounds.steps),
            rounds,
            folder.scratch / "state.npz",
            validation_data=splits.validation.batch(_EVALUATION_BATCH),
        )
        models.copy_weights(trained, model)
        model.save(folder.path / "model.keras")
        folder.finish()
    return DistillationResult(
        parameters=model.count_params(),
        steps=rounds.count * rounds.steps_per_round,
        seconds=progress.seconds,
        validation_accuracy=progress.logs["val_accuracy"][-1],
        loss=tuple(progress.logs["loss"]),
        validation=tuple(progress.logs["val_accuracy"]),
    )


def _batches(
    splits: Splits, training: ModelTraining, seed: int, first_step: int
) -> tf.data.Dataset:
    """Infinite batches from a step on, the same as if they had started at step 0."""
    size = training.batch_size
    augment = Augmentation(crop=training.crop, flip=training.flip, seed=seed)
    stream = data.batches(splits.train.enumerate(), size, shuffle_seed=seed, epochs=None)

    def finish(number, batch):
        index, (x, y) = batch
        changed = training.crop or training.flip
        return (augment.apply(x, index, number) if changed else x), y

    stream = stream.enumerate().skip(first_step)
    return data.read_ahead(stream.map(finish, tf.data.AUTOTUNE))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def readme_tables(records: Path) -> list[str]:
    """The tables of README.md, made from a folder of records."""
    tables = []
    for folder in (records / "converged", records):
        if (folder / "study.json").exists():
            record = StudyRecord.load(folder / "study.json")
            systems, coverage = specialists_tables.markdown(record)
            tables.append(systems)
            if record.study.distilled.choices:
                tables.append(specialists_tables.comparisons(record))
                tables.append(specialists_tables.choices(record, folder))
            tables.append(coverage)
        if (folder / "pilot.json").exists():
            tables.append(pilot.table(json.loads((folder / "pilot.json").read_text())))
    return tables


def headlines(records: Path) -> list[tuple[str, str]]:
    """The row of the project's README that quotes this study."""
    record = StudyRecord.load(records / "converged" / "study.json")
    systems = {system.name: system for system in record.report.systems}

    def change(name: str) -> str:
        found = systems[name].relative
        return f"{100 * found.value:+.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"

    answer = f"{change('specialists')} top-1, relative; as many steps of longer training: "
    return [("Do specialists help on CIFAR-100?", answer + change("longer"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, nargs="?", help="the study, a .toml file")
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--work", type=Path, help="working folder [saved_models/STUDY]")
    parser.add_argument("--records", type=Path, help="folder of the records [WORK/records]")
    parser.add_argument("--backend", default="in-turn", help="in-turn, processes, or ray")
    parser.add_argument("--workers", type=int, default=1, help="specialists trained at a time")
    parser.add_argument("--split", default="test", help="evaluated split: test or validation")
    parser.add_argument("--evaluate-only", action="store_true", help="train nothing")
    parser.add_argument("--table", type=Path, help="only print the tables of these records")
    parser.add_argument("--figure", type=Path, help="draw the curves of a folder of records")
    options = parser.parse_args()
    if options.figure:
        specialists_tables.draw_curves(options.figure, Path(__file__).parent / "curves.svg")
        return
    if options.table:
        print(*readme_tables(options.table), sep="\n\n")
        return
    study = Study.load(options.study)
    study = study.model_copy(update={"data_dir": options.data_dir or study.data_dir})
    work = options.work or Path("saved_models") / study.name
    run = StudyRun(
        study,
        work,
        options.records or work / "records",
        backend=options.backend,
        workers=options.workers,
        progress=lambda name, state: print(f"{name}: {state}", flush=True),
    )
    if not options.evaluate_only:
        run.train()
    record = run.evaluate(options.split)
    print(*specialists_tables.markdown(record), sep="\n\n")
    page = run.records / f"study-{options.split}.html"
    report.write_specialists(record.report, page, overwrite=True)


if __name__ == "__main__":
    main()
