"""Handlers of attention layers: they remove heads and reduce the head size."""

from typing import Any

import keras
import numpy as np

from keras_distill._internal._keras_private import GraphCall, attention_projections
from keras_distill._internal._types import Array
from keras_distill.shrink._trace import (
    Channels,
    Count,
    Handler,
    Role,
    Trace,
    bound_arguments,
    output,
    variables_by_name,
)

L = keras.layers


def multi_head(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """Kernels `(channels, heads, size)` of query, key, and value, and `(heads, size, channels)`."""
    layer = call.operation
    if len(call.outputs[0].shape) != len(inputs[0].shape) or np.size(_output_shape(layer)) > 1:
        return trace.unknown(call, inputs, "its output has other axes than its query")
    heads = trace.own(layer, "heads", layer.num_heads)
    keys = trace.own(layer, "key_dim", layer.key_dim)
    values = trace.own(layer, "value_dim", layer.value_dim)
    trace.whole(heads)
    trace.setting(layer, "num_heads", heads)
    trace.setting(layer, "key_dim", keys)
    trace.setting(layer, "value_dim", values)
    sizes = {"query": keys, "key": keys, "value": values, "gate": values}
    return _attention(trace, call, inputs, heads, heads, sizes)


def grouped_query(trace: Trace, call: GraphCall, inputs: list[Channels]) -> list[Channels]:
    """As `multi_head`, but several query heads share one key and value head."""
    layer = call.operation
    shared = trace.own(layer, "heads", layer.num_key_value_heads)
    heads = np.repeat(shared, layer.num_query_heads // layer.num_key_value_heads)
    size = trace.own(layer, "head_dim", layer.head_dim)
    trace.whole(shared)
    trace.setting(layer, "num_key_value_heads", shared)
    trace.setting(layer, "num_query_heads", heads)
    trace.setting(layer, "head_dim", size)
    sizes = dict.fromkeys(["query", "key", "value", "gate"], size)
    return _attention(trace, call, inputs, heads, shared, sizes)


def _output_shape(layer: Any) -> Any:
    return layer.get_config().get("output_shape") or ()


def _attention(
    trace: Trace,
    call: GraphCall,
    inputs: list[Channels],
    heads: Array,
    shared: Array,
    sizes: dict[str, Array],
) -> list[Channels]:
    layer, parts = call.operation, attention_projections(call.operation)
    given = bound_arguments(call, inputs)
    if given.get("key") is None:
        given["key"] = given["value"]
    sources: dict[str, Channels] = {r: given[r] for r in ("query", "key", "value")}
    for name in ("query_mask", "value_mask", "key_mask", "attention_mask"):
        if isinstance(given.get(name), Channels):
            trace.fix(given[name].ids)
    for role, projection in parts.items():
        if role == "output":
            continue
        x = sources["query" if role == "gate" else role]
        of_heads = heads if role in ("query", "gate") else shared
        # Without the matching entries of the key, entries of the query have no effect.
        made = Role.IN if role == "key" else Role.OUT
        weights = variables_by_name(projection)
        trace.slot(layer, weights["kernel"], 0, trace.along(x), Role.IN)
        trace.slot(layer, weights["kernel"], 1, of_heads, Role.OUT)
        trace.slot(layer, weights["kernel"], 2, sizes[role], made)
        trace.slot(layer, weights.get("bias"), 0, of_heads, Role.ALONG)
        trace.slot(
            layer, weights.get("bias"), 1, sizes[role], made if made is Role.IN else Role.ALONG
        )
        trace.count_macs(layer, weights["kernel"], x.positions)
    # The layer divides by the square root of the head size, which is now smaller. The query is
    # scaled to compensate.
    query = variables_by_name(parts["query"])
    trace.rescale(query["kernel"], sizes["query"])
    trace.rescale(query.get("bias"), sizes["query"])

    weights = variables_by_name(parts["output"])
    made = trace.own(layer, "output", call.outputs[0].shape[-1])
    trace.slot(layer, weights["kernel"], 0, heads, Role.IN)
    trace.slot(layer, weights["kernel"], 1, sizes["value"], Role.IN)
    trace.slot(layer, weights["kernel"], 2, made, Role.OUT)
    trace.slot(layer, weights.get("bias"), 0, made, Role.ALONG)
    _width(trace, layer, trace.along(sources["query"]), made)
    result = output(call, made)
    trace.count_macs(layer, weights["kernel"], result.positions)
    products = result.positions * sources["key"].positions * len(heads)
    trace.count_macs(layer, sizes["query"], products)
    trace.count_macs(layer, sizes["value"], products)
    scores = [output(call, heads, 1, index) for index in range(1, len(call.outputs))]
    return [result, *scores]


def _width(trace: Trace, layer: Any, query: Array, made: Array) -> None:
    """Without `output_shape`, MultiHeadAttention outputs as many channels as its query has."""
    if not isinstance(layer, L.MultiHeadAttention):
        trace.join(query, made)  # GroupQueryAttention has no such argument: they are always equal
        return

    def change(config: dict[str, Any], count: Count) -> None:
        if config["output_shape"] is not None or count(made) != count(query):
            config["output_shape"] = [count(made)]

    trace.edit(layer, "output_shape", change)


LAYERS: dict[type, Handler] = {
    L.MultiHeadAttention: multi_head,
    L.GroupQueryAttention: grouped_query,
}
