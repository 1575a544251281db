"""The record of a model that was made narrower: what was kept of each layer, and the check."""

from pydantic import Field

from keras_distill.records._base import Record


class ShrinkGroup(Record):
    """Units that can be removed one by one, each in all of its layers.

    Attributes:
        layers: The layers that make them.
        units: How many there were.
        kept: How many are kept.
        exact: Whether removing a unit that nothing reads changes nothing; false behind a
            normalization over channels.
    """

    layers: tuple[str, ...]
    units: int = Field(ge=1)
    kept: int = Field(ge=1)
    exact: bool


class ShrinkLayer(Record):
    """One layer before and after.

    Attributes:
        layer: Its path: `encoder/conv_1`.
        kind: Its class.
        width_before: Channels of its output.
        width_after: The same in the narrower model.
        parameters_before: Entries of its variables.
        parameters_after: The same in the narrower model.
        macs_before: Multiplications and additions for one example; a size that is not known counts
            1.
        macs_after: The same in the narrower model.
    """

    layer: str
    kind: str
    width_before: int
    width_after: int
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int


class ShrinkFixed(Record):
    """A layer that is not understood, so that its channels stay.

    Attributes:
        layer: Its name.
        kind: Its class.
        reason: Why it is not understood.
    """

    layer: str
    kind: str
    reason: str


class ShrinkRecord(Record):
    """The result of `kd.shrink`.

    Attributes:
        model: Name of the model.
        width: As given: a share, or shares by layer.
        depth: As given: the share of residual blocks that is kept.
        budget: As given, such as "params=100k".
        importance: By which units were ranked.
        multiple: Of which numbers of channels are multiples, where there are as many.
        skip: Layers whose channels stay, as given.
        parameters_before: Of the model.
        parameters_after: Of the narrower model.
        macs_before: Multiplications and additions for one example.
        macs_after: The same of the narrower model.
        bytes_before: Of all variables.
        bytes_after: The same of the narrower model.
        measured: What a budget of bytes or latency measured of the narrower model's `.tflite` file:
            bytes, or its latency relative to that of the model.
        groups: What was kept of each group of units.
        layers: Every layer with weights.
        fixed: Layers that are not understood.
        inexact: Layers that normalize over channels: their result changes a little when channels
            are removed, even such that nothing reads.
        removed_blocks: The additions of residual blocks that were dropped.
        recalibrated: Number of batch normalizations whose statistics were measured again on data.
        unchanged_difference: Between the outputs of the model and of its copy with all channels; 0.
        removed_difference: The largest relative difference between a tensor of the narrower model
            and that of the model whose removed units have no effect.
    """

    model: str
    width: float | dict[str, float] | None = None
    depth: float | None = None
    budget: str | None = None
    importance: str
    multiple: int
    skip: tuple[str, ...] = ()
    parameters_before: int
    parameters_after: int
    macs_before: int
    macs_after: int
    bytes_before: int
    bytes_after: int
    measured: float | None = None
    groups: tuple[ShrinkGroup, ...]
    layers: tuple[ShrinkLayer, ...]
    fixed: tuple[ShrinkFixed, ...] = ()
    inexact: tuple[str, ...] = ()
    removed_blocks: tuple[str, ...] = ()
    recalibrated: int = 0
    unchanged_difference: float = Field(ge=0)
    removed_difference: float = Field(ge=0)
