"""Structured pruning of Keras 3 models; each result is verified.

The package is callable: `kd.shrink(model, width=0.5)` is `kd.shrink.shrink(model, width=0.5)`.

How it works: `_analysis` follows the graph of the model and calls a handler for each kind of layer
(`_handlers`). The handlers determine which entries of which variable belong to which channel
(`_trace`, `_ids`). Units that occur along the same axes of variables form a group. `_importance`
ranks the units of a group and `_select` chooses the units to keep. `_rebuild` builds the narrower
model, and `_acceptance` compares it with the original one.
"""

import sys
import types
from typing import Any

from keras_distill.shrink._analysis import Analysis, Group, analyze
from keras_distill.shrink._budget import Budget
from keras_distill.shrink._depth import find_blocks
from keras_distill.shrink._handlers import register_handler
from keras_distill.shrink._measured import bytes_per_weight, export_candidate, smallest_file
from keras_distill.shrink._pipeline import Shrunk, shrunk
from keras_distill.shrink._settings import Settings, is_shrink_spec
from keras_distill.shrink._shrink import shrink
from keras_distill.shrink._trace import Channels, Role, Trace

__all__ = [
    "Analysis",
    "Budget",
    "Channels",
    "Group",
    "Role",
    "Settings",
    "Shrunk",
    "Trace",
    "analyze",
    "bytes_per_weight",
    "export_candidate",
    "find_blocks",
    "is_shrink_spec",
    "register_handler",
    "shrink",
    "shrunk",
    "smallest_file",
]


class _CallablePackage(types.ModuleType):
    """Makes `kd.shrink` callable, whether or not the package was imported before."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls `shrink`."""
        return shrink(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
