"""The records of specialists: their training, the folder of an ensemble, and its evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill._internal._checks import MAX_COUNT
from keras_distill.records._base import Measured, Record, SealedRecord, TomlRecord
from keras_distill.records._run import IntervalRecord
from keras_distill.records._training_settings import (
    Count,
    KerasTrainingSettings,
    Seed,
    Temperature,
)

ENSEMBLE_FORMAT = "keras-distill specialists"

_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.keras$")]


class SpecialistTraining(KerasTrainingSettings):
    """How each specialist is trained.

    Attributes:
        epochs: Passes over the examples of the specialist's own classes.
        share: Fraction of the training stream that comes from the specialist's own classes.
        alpha: Weight of the generalist's soft targets; 0 trains on labels only.
        temperature: Temperature of these soft targets.
        crop: Maximum shift of training images, in pixels; 0 for no shift.
        flip: Whether to mirror half of the training images.

    Example:
        >>> SpecialistTraining(learning_rate=0.003).share
        0.5
    """

    epochs: Count = 4
    share: float = Field(default=0.5, gt=0, lt=1)
    alpha: float = Field(default=0.0, ge=0, le=1)
    temperature: Temperature = 2.0
    crop: int = Field(default=0, ge=0, le=MAX_COUNT)
    flip: bool = False


class SpecialistsRecipe(TomlRecord):
    """A generalist and the specialists to train for it.

    Attributes:
        generalist: A `.keras` file of a model that ends in a Dense layer over the classes.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        clusters: Number of class sets.
        size: Number of classes per set; None for the clusters that K-means finds.
        even: Whether sets of `size` distribute the classes evenly.
        cluster_temperature: Temperature of the predictions that are clustered.
        top: A specialist is active for an example if it covers one of the generalist's `top` best
            classes (n in the paper). With None, all specialists are always active.
        training: How each specialist is trained.
        seed: Seed of the order of the data.
        cluster_seed: Seed of the clustering, which is shared by trainings with several seeds.

    Example:
        >>> recipe = SpecialistsRecipe(generalist="teacher.keras", source="digits", clusters=3)
        >>> recipe.training.share, recipe.top
        (0.5, 1)
    """

    generalist: str
    source: str
    data_dir: str | None = None
    clusters: Count = 10
    size: int | None = Field(default=None, ge=2, le=MAX_COUNT)
    even: bool = False
    cluster_temperature: Temperature = 1.0
    top: Count | None = 1
    training: SpecialistTraining = SpecialistTraining()
    seed: Seed = 0
    cluster_seed: Seed = 0


class SpecialistResult(Record):
    """The training of one specialist.

    Attributes:
        class_ids: The classes of the specialist, in the order of its logits; the dustbin class
            follows them.
        seed: Seed of the order of the data.
        steps: Number of training steps.
        correction: Value added to the dustbin's logit: the logarithm of the factor by which the
            specialist's own classes were oversampled.
        loss: Training loss per epoch.
    """

    class_ids: tuple[int, ...]
    seed: int
    steps: int
    correction: float
    loss: tuple[Measured, ...]


class DistillationResult(Record):
    """The distillation of specialists back into one model.

    Attributes:
        parameters: Number of parameters of the student.
        steps: Number of training steps.
        seconds: Wall time of the training over all sessions.
        validation_accuracy: Final accuracy on the validation split, 0..1.
        loss: Training loss per round of the training.
        validation: Accuracy on the validation split per round, 0..1.
    """

    parameters: int
    steps: int
    seconds: float
    validation_accuracy: float
    loss: tuple[Measured, ...]
    validation: tuple[Measured, ...] = ()


class EnsemblePart(Record):
    """One specialist in a saved ensemble.

    Attributes:
        file: The `.keras` file of the specialist.
        sha256: Checksum of the file.
        class_ids: The classes of the specialist, in the order of its logits.
        correction: The part of the dustbin's logit that corrects for oversampling; None if unknown.
    """

    file: _FileName
    sha256: _Hash
    class_ids: tuple[int, ...]
    correction: float | None = None


class EnsembleManifest(SealedRecord):
    """The manifest `ensemble.json` in the folder of a generalist and its specialists.

    Attributes:
        format: Identifies the file.
        version: Version of the layout of the folder.
        num_classes: Number of classes N.
        top: See `SpecialistsRecipe`.
        generalist_sha256: Checksum of `generalist.keras`.
        parts: The specialists.
    """

    format: Literal["keras-distill specialists"] = ENSEMBLE_FORMAT
    version: Literal[1] = 1
    num_classes: int = Field(ge=2, le=MAX_COUNT)
    top: Count | None = 1
    generalist_sha256: _Hash
    parts: tuple[EnsemblePart, ...] = Field(min_length=1, max_length=10_000)

    def check(self) -> None:
        """Checks that the values are consistent with each other; see `Record.check`."""
        if len({part.file for part in self.parts}) < len(self.parts):
            raise InputError("`parts` must each have a file of their own.")
        for number, part in enumerate(self.parts):
            ids = set(part.class_ids)
            if len(ids) < len(part.class_ids) or not ids <= set(range(self.num_classes)):
                raise InputError(
                    f"`parts.{number}.class_ids` must be different class ids in"
                    f" 0..{self.num_classes - 1}."
                )


class SystemResult(Record):
    """The accuracy of one system, such as the generalist or the ensemble, with one entry per seed.

    Attributes:
        name: Short name.
        title: Name in tables.
        accuracy: Top-1 accuracy, 0..1.
        conditional: Top-1 accuracy on the examples of the classes that specialists cover, with
            predictions restricted to those classes (Table 3 of the paper); None if there are no
            such examples.
        within: Top-1 accuracy on the examples of each class set, with predictions restricted to the
            set: the mean over all pairs of an example and a set that covers it. None if there are
            no such examples.
        relative: Change of top-1 accuracy relative to the generalist, with its interval over the
            training seeds; None if the generalist classifies no example correctly.
        gain: Change of top-1 accuracy against the generalist as a fraction of the examples: the
            mean over the seeds, with its paired interval over the examples.
    """

    name: str
    title: str
    accuracy: tuple[float, ...]
    conditional: tuple[Measured, ...]
    within: tuple[Measured, ...]
    relative: IntervalRecord | None
    gain: IntervalRecord


class CoverageRow(Record):
    """A row of Table 4: the examples whose class is covered by a given number of specialists.

    Attributes:
        specialists: Number of specialists that cover the class.
        examples: Number of examples of such classes.
        generalist: Accuracy of the generalist on these examples.
        ensemble: Accuracy with the specialists, mean over the seeds.
        change: (ensemble - generalist) / generalist; None if the generalist classifies none of
            them correctly.
    """

    specialists: int
    examples: int
    generalist: float
    ensemble: float
    change: Measured


class ClassRow(Record):
    """The change of accuracy for one class.

    Attributes:
        class_id: The id of the class.
        name: The name of the class.
        sets: The specialists that cover the class.
        generalist: Accuracy of the generalist on examples of the class.
        ensemble: Accuracy with the specialists, mean over the seeds.
    """

    class_id: int
    name: str
    sets: tuple[int, ...]
    generalist: float
    ensemble: float


class SpecialistsReport(Record):
    """The evaluation of specialists: everything that their page shows.

    Attributes:
        source: The data spec.
        split: The evaluated split: `test`, or `validation` for choosing the class sets.
        examples: Number of labeled examples of the split.
        class_sets: The class sets.
        left_alone: Classes that no specialist covers.
        systems: Table 3; the first system is the generalist.
        coverage: Table 4.
        classes: The change per class.
        images: One training image per class as base64 PNG; empty if the data are not images.
    """

    source: str
    split: Literal["test", "validation"] = "test"
    examples: int
    class_sets: tuple[tuple[int, ...], ...]
    left_alone: tuple[int, ...]
    systems: tuple[SystemResult, ...] = Field(min_length=1)
    coverage: tuple[CoverageRow, ...]
    classes: tuple[ClassRow, ...]
    images: tuple[str, ...] = ()
