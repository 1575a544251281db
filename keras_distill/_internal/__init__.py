"""What every package shares: argument checks, files, statistics, spec strings, machine facts.

The errors and argument checks are imported from here; everything else from its own module.
"""

from keras_distill._internal._checks import (
    InputError,
    MissingExtraError,
    VerificationError,
    bad,
    check_choice,
    check_count,
    check_identifier,
    check_number,
    is_number,
    require_extra,
)

__all__ = [
    "InputError",
    "MissingExtraError",
    "VerificationError",
    "bad",
    "check_choice",
    "check_count",
    "check_identifier",
    "check_number",
    "is_number",
    "require_extra",
]

for _error in (InputError, VerificationError, MissingExtraError):
    _error.__module__ = "keras_distill"  # the name that users catch it by
