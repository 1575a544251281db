"""The record of the verification of one file against another."""

from keras_distill.records._base import Record
from keras_distill.records._export import VerificationRecord


class ComparedModel(Record):
    """A model that was compared.

    Attributes:
        path: The path of the model, as given.
        bytes: Size of the file; None for a folder.
        sha256: Hash of the file; None for a folder.
    """

    path: str
    bytes: int | None
    sha256: str | None


class VerifyRecord(Record):
    """The result of `verify_tflite`.

    Attributes:
        file: The file that was verified.
        against: The reference.
        verification: The verdict and the measurements.
        warnings: Reasons why the rows or the reference may be wrong.
        versions: Versions of the packages involved.
        created: Time in UTC, ISO 8601.
    """

    file: ComparedModel
    against: ComparedModel
    verification: VerificationRecord
    warnings: tuple[str, ...] = ()
    versions: dict[str, str]
    created: str

    def __repr__(self) -> str:
        """Returns the two models and the verdict."""
        pair = f"{self.file.path} against {self.against.path}"
        return f"<VerifyRecord {pair}: {self.verification.statement}>"

    __str__ = __repr__
