"""What every package shares: argument checks, files, statistics, spec strings, machine facts.

The errors and argument checks are imported from here; everything else from its own module.
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
    _class.__module__ = "keras_distill"  # the name that users catch it by
