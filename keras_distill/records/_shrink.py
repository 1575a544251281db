"""The record of a model that was made narrower: the kept parts of each layer, and the checks."""

from pydantic import Field

from keras_distill.records._base import Record


class ShrinkGroup(Record):
    """A group of units; each unit can be removed from all layers of the group together.

    Attributes:
        layers: The layers that compute the units.
        units: Number of units before.
        kept: Number of units kept.
        exact: Whether removing an unused unit leaves the output unchanged. This is not so if a
            normalization over channels follows.
    """

    layers: tuple[str, ...]
    units: int = Field(ge=1)
    kept: int = Field(ge=1)
    exact: bool


class ShrinkLayer(Record):
    """One layer before and after.

    Attributes:
        layer: The path of the layer, such as `encoder/conv_1`.
        kind: The class of the layer.
        width_before: Number of channels of the output.
        width_after: The same in the narrower model.
        parameters_before: Number of parameters.
        parameters_after: The same in the narrower model.
        macs_before: Multiply-accumulate operations for one example; an unknown size counts as 1.
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
    """A layer that shrinking does not support, so that its channels are kept.

    Attributes:
        layer: The name of the layer.
        kind: The class of the layer.
        reason: The reason why it is not supported.
    """

    layer: str
    kind: str
    reason: str


class ShrinkRecord(Record):
    """The result of `kd.shrink`.

    Attributes:
        model: Name of the model.
        width: The given fraction of units to keep, or fractions by layer.
        depth: The given fraction of residual blocks to keep.
        budget: The given budget, such as "params=100k".
        importance: The method by which units were ranked.
        multiple: Numbers of channels are multiples of this number, if there are that many channels.
        skip: The given layers whose channels are kept.
        parameters_before: Number of parameters of the model.
        parameters_after: Number of parameters of the narrower model.
        macs_before: Multiply-accumulate operations for one example.
        macs_after: The same for the narrower model.
        bytes_before: Bytes of all variables.
        bytes_after: The same for the narrower model.
        measured: With a budget of bytes or latency, the measurement of the narrower model's
            `.tflite` file: its bytes, or its latency relative to that of the model.
        groups: The units kept in each group.
        layers: Every layer with weights.
        fixed: Layers that shrinking does not support.
        inexact: Layers that normalize over channels. Their outputs change slightly if channels are
            removed, even unused ones.
        removed_blocks: The additions of the residual blocks that were removed.
        recalibrated: Number of batch normalizations whose statistics were measured again on data.
        unchanged_difference: Difference between the outputs of the model and of its copy with all
            channels; 0 is expected.
        removed_difference: Largest relative difference between a tensor of the narrower model and
            the tensor of the model in which the removed units have no effect.
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
