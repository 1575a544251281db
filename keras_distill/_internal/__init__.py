"""Contains the code that all packages share: argument checks, files, statistics, and more.

Import errors and argument checks from here, and everything else from its own module.
"""

from keras_distill._internal._checks import (
    InputError,
    KerasDistillWarning,
    MissingExtraError,
    VerificationError,
    bad,
    check_batch_size,
    check_choice,
    check_count,
    check_identifier,
    check_number,
    did_you_mean,
    is_number,
    require_extra,
)

__all__ = [
    "InputError",
    "KerasDistillWarning",
    "MissingExtraError",
    "VerificationError",
    "bad",
    "check_batch_size",
    "check_choice",
    "check_count",
    "check_identifier",
    "check_number",
    "did_you_mean",
    "is_number",
    "require_extra",
]

for _class in (InputError, VerificationError, MissingExtraError, KerasDistillWarning):
    _class.__module__ = "keras_distill"  # the public name of the class
