"""The record of one independent job."""

from typing import Any, Literal

from keras_distill.records._base import Record


class JobRecord(Record):
    """The outcome of a job: `<folder>/<name>/job.json`.

    Attributes:
        name: The name of the job.
        function: The function that the job runs, `package.module:function`.
        fingerprint: SHA-256 of function and arguments. A different value means a different job.
        status: `done` or `failed`.
        result: The value that the function returned, as JSON; None if the job failed.
        error: The reason for the failure, in one line; None if the job did not fail.
        attempts: Number of times the job was started.
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
