"""Trains a model for int8 on soft targets if every other int8 file loses too much."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_distill._internal import InputError, VerificationError
from keras_distill.compress import quantize_aware
from keras_distill.export import KerasSource, Session
from keras_distill.precision._recipes import INT8, Recipe
from keras_distill.precision._search import Search, Tried


class Training(NamedTuple):
    """How to train a model for int8.

    Attributes:
        data: See `compress.quantize_aware`: batches of (x, y), where y are labels or soft targets.
        settings: Keyword arguments of `compress.quantize_aware`: `teacher`, `alpha`, `temperature`,
            `epochs`, `learning_rate`, ….
    """

    data: Any
    settings: Mapping[str, Any]


def add_trained(search: Search, session: Session, training: Training) -> None:
    """Adds the int8 file of the trained model, if it would be the smallest that passes."""
    prepared = session.prepared
    if not search.is_worth([INT8]):
        search.notes.append("the model was not trained for int8: a file that passes is no larger")
        return
    if not isinstance(prepared.source, KerasSource):
        search.notes.append("the model was not trained for int8: it is no Keras model")
        return
    file, options = session.folder / "trained.tflite", prepared.options
    export = {
        "data": prepared.samples,
        "reference": prepared.source,
        "batch_size": options.batch_size,
        "io": options.io,
        "limits": options.limits,
        "timeout": options.timeout,
        "keep_failed": True,  # it is compared with the other candidates later
    }
    recipe = Recipe("int8, trained for it", INT8, integer=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantize_aware(
                prepared.source.model, training.data, file, export=export, **training.settings
            )
    except VerificationError:
        pass
    except InputError as error:
        search.add(Tried(recipe, error=str(error)))
        return
    search.conversions += 1
    search.add(Tried(recipe, file if file.exists() else None, error="it could not be converted"))
