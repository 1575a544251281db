"""The table of handlers: which function supports which kind of layer.

To add a kind of layer, write a handler in the matching `_handlers_….py` and add a line to the table
at the end of that file. A handler calls the methods of `Trace`.
"""

from typing import Any

import keras

from keras_distill._internal import bad
from keras_distill._internal._keras_private import is_quantized, ops_class
from keras_distill.shrink import (
    _handlers_attention,
    _handlers_conv,
    _handlers_dense,
    _handlers_elementwise,
    _handlers_movement,
    _handlers_norm,
    _handlers_recurrent,
)
from keras_distill.shrink._trace import Handler

# For exactly these classes, because a subclass may override `call`.
LAYERS: dict[type, Handler] = {
    **_handlers_attention.LAYERS,
    **_handlers_conv.LAYERS,
    **_handlers_dense.LAYERS,
    **_handlers_elementwise.LAYERS,
    **_handlers_movement.LAYERS,
    **_handlers_norm.LAYERS,
    **_handlers_recurrent.LAYERS,
}

# Operations of keras.ops, by class name.
OPS: dict[str, Handler] = {**_handlers_elementwise.OPS, **_handlers_movement.OPS}

# Handlers added by `register_handler`.
REGISTERED: dict[type, Handler] = {}


def register_handler(layer_class: type[keras.Layer], handler: Handler) -> None:
    """Adds support for a kind of layer to `kd.shrink`.

    Without a handler, a custom layer is kept unchanged, and so are all channels that it reads or
    produces. The result is verified as for any other layer: if the handler is wrong, `kd.shrink`
    raises an error.

    Args:
        layer_class: The class of the layer; its subclasses need their own handlers.
        handler: `handler(trace, call, inputs) -> list[Channels]`. `inputs` has the channels of each
            input; `call.operation` is the layer. Use the methods of `Trace` to declare which axis
            of which variable is indexed by which channels (`slot`), and which argument of the
            constructor is their number (`setting`). Returns the channels of each output.

    Raises:
        InputError: If `layer_class` is not a layer class, or `handler` is not callable.

    Example:
        >>> import keras
        >>> from keras_distill.shrink import Role, register_handler
        >>> @keras.saving.register_keras_serializable("example")
        ... class Scale(keras.layers.Layer):
        ...     def build(self, shape):
        ...         self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones")
        ...     def call(self, x):
        ...         return x * self.gamma
        >>> def scale(trace, call, inputs):
        ...     ids = trace.along(inputs[0], -1)
        ...     trace.slot(call.operation, call.operation.gamma, 0, ids, Role.ALONG)
        ...     return [inputs[0]]
        >>> register_handler(Scale, scale)
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.Layer)):
        raise bad("layer_class", "be a subclass of keras.Layer", layer_class)
    if not callable(handler):
        raise bad("handler", "be a function of (trace, call, inputs)", handler)
    REGISTERED[layer_class] = handler


def handler_of(operation: Any) -> Handler | None:
    """Returns the handler of a layer or operation; None if it is not supported."""
    if is_quantized(operation):
        return None
    found = REGISTERED.get(type(operation)) or LAYERS.get(type(operation))
    if found is None and (name := ops_class(operation)) is not None:
        return OPS.get(name)
    return found
