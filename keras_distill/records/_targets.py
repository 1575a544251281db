"""The records of a soft-target store: its manifest, its build, and its description."""

from typing import Annotated, Any, Literal

from pydantic import Field

from keras_distill._internal import InputError
from keras_distill.records._base import Measured, Record, SealedRecord

TARGETS_FORMAT = "keras-distill soft targets"
TARGETS_VERSION = 1

KEY_BYTES = 8
MAX_RANK = 8  # axes of one example's logits
MAX_VIEWS = 100_000
_MAX_RECORD = 1 << 30
_Count = Annotated[int, Field(ge=1, lt=2**53)]
_FileName = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.bin$")]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def shard_name(kind: str, number: int) -> str:
    """Returns the name of a shard, such as `view0-00001.bin` or `keys-00001.bin`."""
    return f"{kind}-{number:05d}.bin"


class TargetsOutput(Record):
    """One output of the teacher, as stored in each record.

    Attributes:
        name: The name of the output; None if the teacher has only one.
        shape: The shape `(..., N)` of one example's logits.
        dtype: The dtype of the logits in the file.
        top_k: Number of logits kept of each row of N, with four numbers on the rest; None for all.
    """

    name: str | None = None
    shape: tuple[_Count, ...] = Field(min_length=1, max_length=MAX_RANK)
    dtype: Literal["float16", "float32"] = "float16"
    top_k: _Count | None = None

    @property
    def classes(self) -> int:
        """The number of classes, N."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """The number of rows of N logits in one example: the product of the leading shape."""
        rows = 1
        for size in self.shape[:-1]:
            rows *= size
        return rows

    @property
    def index_bytes(self) -> int:
        """The bytes of a class index: 2 up to 65,536 classes, otherwise 4."""
        return 2 if self.classes <= 1 << 16 else 4

    @property
    def payload_bytes(self) -> int:
        """The bytes of one example. For one row in float16: 2N for dense logits.

        With top-k, k(2+2)+8, or k(4+2)+8 for more than 65,536 classes. The 8 bytes are four numbers
        on the classes left out; see `TopK`.
        """
        width = 2 if self.dtype == "float16" else 4
        if self.top_k is None:
            return self.rows * self.classes * width
        return self.rows * (self.top_k * (self.index_bytes + width) + 4 * width)


class TargetsShard(Record):
    """One file of records or of keys.

    Attributes:
        file: The name of the file in the store's folder.
        examples: Number of examples in the file.
        bytes: Size of the file.
        sha256: Checksum of the file.
    """

    file: _FileName
    examples: _Count
    bytes: _Count
    sha256: _Hash


class TopKError(Record):
    """The error of storing only k logits, measured on dense logits of the same teacher.

    Attributes:
        top_k: k.
        temperature: T.
        rest: Mean probability, at T, of the N-k classes left out.
        kl: Mean KL(teacher ‖ record) in nats, with the probability of the rest spread evenly over
            its classes. It measures all information that the record lacks.
        kl_bins: Mean KL in nats over the k classes and "any other". It is the error of a loss that
            uses only what the record holds.
    """

    top_k: _Count
    temperature: float = Field(gt=0)
    rest: Measured
    kl: Measured
    kl_bins: Measured


class TargetsTeacher(Record):
    """The source of the soft targets.

    Attributes:
        name: Display name.
        fingerprint: SHA-256 of what determines its logits; None if it cannot be known.
        temperature: T₀, the only temperature at which the logits are valid; None for any.
        from_probabilities: Whether the teacher was declared to return probabilities.
    """

    name: str
    fingerprint: str | None = None
    temperature: float | None = Field(default=None, gt=0)
    from_probabilities: bool | Literal["softmax", "sigmoid"] = False


class TargetsManifest(SealedRecord):
    """The description of a soft-target store: `manifest.json` in its folder.

    It contains nothing that may differ between two builds of the same store, such as the time or
    the machine.

    Attributes:
        format: Identifies the kind of file.
        version: Version of the format of the folder.
        teacher: The source of the soft targets.
        inputs: dtype and shape of each component of x, such as `uint8[32,32,3]`.
        outputs: The teacher's outputs, in the order in which a record holds them.
        views: Number V of augmented views per example.
        augment: Settings of the augmentation; None if the examples are not augmented.
        augment_fingerprint: Fingerprint of those settings.
        batch_size: Number of examples per batch of the teacher.
        shard_examples: Number of examples in a full shard, a multiple of `batch_size`.
        topk_error: For top-k, the error of the stored logits, measured on the first batch.
        examples: Number of examples n; None while the build is unfinished.
        shards: Files of records, view by view, in the order of the examples.
        keys: Files of keys: one key of 8 bytes per example, the same for all views.
    """

    format: Literal["keras-distill soft targets"] = TARGETS_FORMAT
    version: Literal[1] = TARGETS_VERSION
    teacher: TargetsTeacher
    inputs: tuple[str, ...]
    outputs: tuple[TargetsOutput, ...] = Field(min_length=1)
    views: int = Field(default=1, ge=1, le=MAX_VIEWS)
    augment: dict[str, Any] | None = None
    augment_fingerprint: str | None = None
    batch_size: _Count
    shard_examples: _Count
    topk_error: tuple[TopKError, ...] = Field(default=(), max_length=1000)
    examples: _Count | None = None
    shards: tuple[TargetsShard, ...] = ()
    keys: tuple[TargetsShard, ...] = ()

    def check(self) -> None:
        """Checks that the values are consistent, including all sizes; see `Record.check`."""
        names = [output.name for output in self.outputs]
        rules = {
            "`outputs` must have different names": len(set(names)) == len(names),
            "one of several `outputs` must not be unnamed": len(names) == 1 or None not in names,
            f"records must have at most {_MAX_RECORD} bytes": self.record_bytes <= _MAX_RECORD,
            "`augment` and `augment_fingerprint` must be given together": (self.augment is None)
            == (self.augment_fingerprint is None),
            "`views` must be 1 without `augment`": self.views == 1 or self.augment is not None,
            "`shard_examples` must be a multiple of `batch_size`": self.shard_examples
            % self.batch_size
            == 0,
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(f"{rule}.")
        if self.examples is not None:
            per_view = len(self.keys)
            if len(self.shards) != self.views * per_view:
                raise InputError("`shards` must have as many files for each view as `keys` has.")
            self._check_shards("keys", self.keys, KEY_BYTES)
            for view in range(self.views):
                shards = self.shards[view * per_view : (view + 1) * per_view]
                self._check_shards(f"view{view}", shards, self.record_bytes)

    def _check_shards(self, kind: str, shards: tuple[TargetsShard, ...], size: int) -> None:
        """Raises an error unless files of a kind hold all examples in records of `size` bytes."""
        left = self.examples or 0
        for number, shard in enumerate(shards):
            count = min(left, self.shard_examples)
            left -= count
            expected = (shard_name(kind, number), count, count * size)
            if not count or (shard.file, shard.examples, shard.bytes) != expected:
                raise InputError(
                    f"{shard.file} must be {expected[0]} with {count} examples in {expected[2]}"
                    f" bytes, as the other values say. Received: {shard.examples} in {shard.bytes}"
                    " bytes."
                )
        if left:
            raise InputError(
                f"`examples` must be what the files of {kind} hold. Received: {self.examples},"
                f" {left} more."
            )

    @property
    def record_bytes(self) -> int:
        """The bytes of one record, which holds one example in one view."""
        return sum(output.payload_bytes for output in self.outputs)

    @property
    def single(self) -> bool:
        """Whether the teacher has one unnamed output, so that its logits are not in a dict."""
        return self.outputs[0].name is None


class TargetsBuild(Record):
    """The measurements of the process that finished building a store.

    Attributes:
        rows: Number of examples times views that this process computed.
        rows_per_second: Speed of the build in that process: reading, the teacher, and writing.
        labeled: Number of labels that the teacher was compared with, of examples or of positions.
        accuracy: Accuracy of the teacher on these labels, 0..1; None if there are no class labels.
    """

    rows: int
    rows_per_second: float
    labeled: int
    accuracy: float | None


class TargetsInfo(Record):
    """The description of a store that `keras-distill targets info` prints.

    Attributes:
        path: The folder of the store.
        manifest: The manifest, without the lists of files.
        files: Number of files of records and keys.
        record_bytes: Bytes of one record.
        total_bytes: Bytes of all records.
        key_bytes: Bytes of all keys.
        dense_bytes: Bytes of the same records with dense logits in float16.
        topk_error: The error for several k and T, in nats.
        topk_error_of: Description of the data on which the errors were measured.
        build: The measurements of the build; None for a store that was opened.
    """

    path: str
    manifest: TargetsManifest
    files: int
    record_bytes: int
    total_bytes: int
    key_bytes: int
    dense_bytes: int
    topk_error: tuple[TopKError, ...]
    topk_error_of: str
    build: TargetsBuild | None = None
