"""The record of one independent job."""

from typing import Any, Literal

from keras_distill.records._base import Record


class JobRecord(Record):
    """How a job ended: `<folder>/<name>/job.json`.

    Attributes:
        name: The job's name.
        function: What it ran, `package.module:function`.
        fingerprint: SHA-256 of function and arguments: another one is another job.
        status: `done` or `failed`.
        result: What the function returned, a JSON value; None where it failed.
        error: Why it failed, one line; None where it did not.
        attempts: How often it was started.
        seconds: Wall time of the last attempt.
    """

    name: str
    function: str
    fingerprint: str
    status: Literal["done", "failed"]
    result: Any = None
    error: str | None = None
    attempts: int
    seconds: float
