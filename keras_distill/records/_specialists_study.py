"""A study of specialists: what to do, and what it found."""

from typing import Annotated, Literal

from pydantic import Field

from keras_distill.records._base import Record, TomlRecord
from keras_distill.records._run import IntervalRecord
from keras_distill.records._specialists import (
    SpecialistsRecipe,
    SpecialistsReport,
    SpecialistTraining,
)
from keras_distill.records._training import TrainingSettings

_Count = Annotated[int, Field(ge=1)]


class NetTraining(Record):
    """How a whole net is trained.

    Attributes:
        training: Epochs, batch size, optimizer.
        crop: Pixels by which training images move at most; 0: none.
        flip: Whether half of the training images are mirrored.
    """

    training: TrainingSettings = TrainingSettings()
    crop: int = Field(default=0, ge=0)
    flip: bool = False


class BackPart(Record):
    """How generalist and specialists are distilled back into one net.

    Attributes:
        net: Epochs, optimizer, augmentation; the store holds `views` augmented views.
        start: `generalist`: the net starts with its weights; `scratch`: with random ones.
        alpha: Weight of the soft targets.
        temperature: Of them.
        views: Augmented views in the store.
        seeds: How many nets are distilled, each from the ensemble of the same seed.
    """

    net: NetTraining = NetTraining()
    start: Literal["generalist", "scratch"] = "generalist"
    alpha: float = Field(default=0.9, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)
    views: _Count = 1
    seeds: _Count = 1


class SpecialistsStudy(TomlRecord):
    """Everything to be compared: one generalist, and what can be made of it.

    Attributes:
        name: Of the study.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        model: Spec of the generalist, of the members of the plain ensemble, and of the net that
            all is distilled back into.
        generalist: How the generalist and the members are trained.
        clusters: How many class sets.
        size: Classes per set; None: the clusters as they are.
        even: See `SpecialistsRecipe`.
        cluster_temperature: See `SpecialistsRecipe`.
        top: See `SpecialistsRecipe`.
        specialist: How each specialist is trained.
        seeds: How many times all specialists are trained.
        members: Nets beside the generalist in the plain ensemble.
        back: How all is distilled back.
    """

    name: str
    source: str
    data_dir: str | None = None
    model: str
    generalist: NetTraining = NetTraining()
    clusters: _Count = 10
    size: int | None = Field(default=None, ge=2)
    even: bool = False
    cluster_temperature: float = Field(default=1.0, gt=0)
    top: int | None = Field(default=1, ge=1)
    specialist: SpecialistTraining = SpecialistTraining()
    seeds: _Count = 3
    members: int = Field(default=3, ge=0)
    back: BackPart = BackPart()

    def recipe(self, generalist: str, seed: int) -> SpecialistsRecipe:
        """The recipe of one seed's specialists.

        Args:
            generalist: The `.keras` file.
            seed: Of their order of data.
        """
        return SpecialistsRecipe(
            generalist=generalist,
            source=self.source,
            data_dir=self.data_dir,
            clusters=self.clusters,
            size=self.size,
            even=self.even,
            cluster_temperature=self.cluster_temperature,
            top=self.top,
            training=self.specialist,
            seed=seed,
        )


class NetResult(Record):
    """One training of a whole net.

    Attributes:
        parameters: Weights in all.
        steps: Training steps.
        seconds: Wall time of the training.
        validation_accuracy: At the end, share of the validation split.
        loss: Training loss, round by round.
    """

    parameters: int
    steps: int
    seconds: float
    validation_accuracy: float
    loss: tuple[float, ...]


class StepsRecord(Record):
    """How many steps `combine` took on the split.

    Attributes:
        percentiles: "50", "90", "99", "100" to steps.
        worst_gap: The largest certificate, in nats.
    """

    percentiles: dict[str, float]
    worst_gap: float


class StudyRecord(Record):
    """What a study found.

    Attributes:
        study: What was asked for; its data folder left out.
        split: `test`, or `validation` while settings are chosen.
        report: Table 3 (the first system is the generalist), Table 4, classes.
        kept: Share of the gain of generalist + specialists that the net distilled back keeps; None
            where there is no gain.
        kept_by_self: The same share for the control, the generalist distilled into itself.
        steps: Of `combine`, seed 0.
        specialist_steps: Training steps of all specialists of one seed.
        seconds: Wall time of all jobs, by group.
        machine: Where.
        versions: Of the packages.
    """

    study: SpecialistsStudy
    split: Literal["test", "validation"]
    report: SpecialistsReport
    kept: IntervalRecord | None
    kept_by_self: IntervalRecord | None
    steps: StepsRecord
    specialist_steps: int
    seconds: dict[str, float]
    machine: str
    versions: dict[str, str]
