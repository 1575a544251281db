"""Creates the int8 file of a recurrent network whose loops the converter cannot calibrate."""

from keras_distill._internal import InputError
from keras_distill.export import Session, unrolled
from keras_distill.precision._recipes import INT8, Recipe
from keras_distill.precision._search import Search


def add_unrolled(search: Search, session: Session) -> None:
    """Tries int8 with unrolled loops if the converter fails on the loops themselves."""
    failed = search.tried.get(INT8)
    other = unrolled(session.prepared.source)
    if failed is None or failed.file is not None or other is None:
        return
    try:
        with Session(session.prepared._replace(source=other)) as second:
            search.convert([Recipe("int8, loops unrolled", INT8, integer=True)], second)
    except InputError as error:
        search.notes.append(f"unrolled loops were not tried: {error}")
