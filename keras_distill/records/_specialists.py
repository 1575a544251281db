"""What is kept of specialists: how to train them, what their folder holds, what they are worth."""

from typing import Annotated, Literal

from pydantic import Field

from keras_distill.records._base import Record, TomlRecord
from keras_distill.records._run import IntervalRecord
from keras_distill.records._training import TrainingSettings

ENSEMBLE_FORMAT = "keras-distill specialists"

_Count = Annotated[int, Field(ge=1)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.keras$")]


class SpecialistTraining(TrainingSettings):
    """How each specialist is trained.

    Attributes:
        epochs: Passes over the examples of its own classes; see `TrainingSettings` for the other
            settings of that class.
        share: Share of the stream that comes from its own classes.
        alpha: Weight of the generalist's soft targets; 0: labels alone.
        temperature: Of these soft targets.
        crop: Pixels by which training images move at most; 0: none.
        flip: Whether half of the training images are mirrored.
    """

    epochs: _Count = 4
    share: float = Field(default=0.5, gt=0, lt=1)
    alpha: float = Field(default=0.0, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)
    crop: int = Field(default=0, ge=0)
    flip: bool = False


class SpecialistsRecipe(TomlRecord):
    """A generalist, and the specialists to be added to it.

    Attributes:
        generalist: A `.keras` file that ends in a Dense layer over the classes.
        source: A data spec.
        data_dir: Folder of prepared TFDS data sets.
        clusters: How many class sets.
        size: Classes per set; None: the clusters as they are.
        even: Whether sets of `size` share the classes out evenly.
        cluster_temperature: At which the predictions are softened that are clustered.
        top: Specialists answer for an image if they cover one of the generalist's `top` best
            classes (n of the paper); None: all always.
        training: How each is trained.
        seed: Of each specialist's order of data.
        cluster_seed: Of the clusters, which several seeds of training share.

    Example:
        >>> recipe = SpecialistsRecipe(generalist="teacher.keras", source="digits", clusters=3)
        >>> recipe.training.share, recipe.top
        (0.5, 1)
    """

    generalist: str
    source: str
    data_dir: str | None = None
    clusters: _Count = 10
    size: int | None = Field(default=None, ge=2)
    even: bool = False
    cluster_temperature: float = Field(default=1.0, gt=0)
    top: int | None = Field(default=1, ge=1)
    training: SpecialistTraining = SpecialistTraining()
    seed: int = Field(default=0, ge=0)
    cluster_seed: int = Field(default=0, ge=0)


class SpecialistResult(Record):
    """One specialist's training.

    Attributes:
        class_ids: Its classes, in the order of its logits; the dustbin comes after them.
        seed: Of its order of data.
        steps: Training steps.
        correction: What was added to the dustbin's logit: log of the proportion of oversampling.
        loss: Training loss, epoch by epoch.
    """

    class_ids: tuple[int, ...]
    seed: int
    steps: int
    correction: float
    loss: tuple[float, ...]


class EnsemblePart(Record):
    """One specialist in a saved ensemble.

    Attributes:
        file: Its `.keras` file.
        sha256: Its checksum.
        class_ids: Its classes, in the order of its logits.
        correction: What its dustbin's logit contains of the correction for oversampling; None
            where that is not known.
    """

    file: _FileName
    sha256: _Hash
    class_ids: tuple[int, ...]
    correction: float | None = None


class EnsembleManifest(Record):
    """`ensemble.json` in the folder of a generalist with its specialists.

    Attributes:
        format: Says what the file is.
        version: Of the format of the folder.
        num_classes: N.
        top: See `SpecialistsRecipe`.
        generalist_sha256: Checksum of `generalist.keras`.
        parts: The specialists.
    """

    format: Literal["keras-distill specialists"] = ENSEMBLE_FORMAT
    version: Literal[1] = 1
    num_classes: int = Field(ge=2)
    top: int | None = Field(default=1, ge=1)
    generalist_sha256: _Hash
    parts: tuple[EnsemblePart, ...] = Field(min_length=1)


class SystemResult(Record):
    """How good a system is on the split that is judged; one entry per seed.

    Attributes:
        name: Short name.
        title: For people.
        accuracy: Top-1, share of the split, 0..1.
        conditional: Top-1 on the examples of classes that specialists cover, the answer chosen
            among those classes (Table 3 of the paper); None where there is no such example.
        within: The same set by set: examples of each set, answer chosen within it; mean over all
            pairs of an example and a set that covers it; None likewise.
        relative: Change of top-1 against the generalist, relative to it, its interval over the
            seeds of training; None where the generalist has no example right.
        gain: Change of top-1 against the generalist, share of the split, mean of the seeds;
            its interval is over the examples, the pairs of right and wrong answers.
    """

    name: str
    title: str
    accuracy: tuple[float, ...]
    conditional: tuple[float | None, ...]
    within: tuple[float | None, ...]
    relative: IntervalRecord | None
    gain: IntervalRecord


class CoverageRow(Record):
    """Table 4: examples whose class is covered by so many specialists, over all seeds.

    Attributes:
        specialists: How many cover the class.
        examples: Examples of such classes.
        generalist: Right answers of the generalist, share of these examples.
        ensemble: Right answers with the specialists, mean over the seeds.
        change: (ensemble - generalist) / generalist; None where the generalist has none right.
    """

    specialists: int
    examples: int
    generalist: float
    ensemble: float
    change: float | None


class ClassRow(Record):
    """What changed for one class.

    Attributes:
        class_id: Its number.
        name: Its name.
        sets: The specialists that cover it.
        generalist: Share of its examples that the generalist has right.
        ensemble: With the specialists, mean over the seeds.
    """

    class_id: int
    name: str
    sets: tuple[int, ...]
    generalist: float
    ensemble: float


class SpecialistsReport(Record):
    """Everything the page about specialists shows.

    Attributes:
        source: The data spec.
        split: What was judged: `test`, or `validation`, by which the sets are chosen.
        examples: Examples of the split.
        class_sets: The sets.
        left_alone: Classes that no specialist covers.
        systems: Table 3: the first is the generalist.
        coverage: Table 4.
        classes: What changed, class by class.
        images: One training image per class as base64 PNG, where the data are images; else empty.
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
