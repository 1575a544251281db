"""Finds the classes in a serialized model without which its file cannot be loaded."""

import sys
from collections.abc import Iterator
from typing import Any

import keras

from keras_distill._internal import InputError

_MAX_DEPTH = 200


def serialized_objects(config: Any, what: str) -> Iterator[dict[str, Any]]:
    """Yields every serialized object in a config, at any depth.

    Args:
        config: The result of `keras.saving.serialize_keras_object`.
        what: The name of the config, for the error.

    Raises:
        InputError: If the config is nested too deeply.
    """
    stack = [(config, 0)]
    while stack:
        value, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise InputError(f"{what} is nested more than {_MAX_DEPTH} levels deep.")
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack.extend((part, depth + 1) for part in value.values())
        elif isinstance(value, list | tuple):
            stack.extend((part, depth + 1) for part in value)


def missing_class(part: dict[str, Any]) -> str | None:
    """Returns the name of an object's class if it is neither a Keras class nor registered.

    A class that was registered only after the file was written counts as registered; see
    `registered_later`.

    Args:
        part: An object from `serialized_objects`.

    Returns:
        The registered name of the class; None if the class is available.
    """
    name, module = part["class_name"], part.get("module")
    ours = module == "keras" or str(module).startswith("keras.")
    named_function = module == "builtins" and name == "function"  # such as "relu"
    if "module" not in part or ours or named_function:
        return None
    registered = part.get("registered_name") or name
    if keras.saving.get_registered_object(registered) is not None:
        return None
    return None if registered_later(part) is not None else str(registered)


def registered_later(part: dict[str, Any]) -> type | None:
    """Returns the class of an object whose file was written before the class was registered.

    The class is looked up by its name in the module that the file names, if this module has been
    imported.

    Args:
        part: An object from `serialized_objects`.

    Returns:
        The class; None if the module has no such class, or the class is not registered.
    """
    found = getattr(sys.modules.get(str(part.get("module"))), str(part["class_name"]), None)
    if not isinstance(found, type):
        return None
    name = keras.saving.get_registered_name(found)
    return found if keras.saving.get_registered_object(name) is found else None


def check_registered(model: keras.Model, what: str) -> None:
    """Checks, before a model is trained, that its file could be loaded again.

    Args:
        model: The model.
        what: Its role, as the start of a sentence, such as "The student".

    Raises:
        InputError: If the model cannot be serialized, or has a class that is not registered.

    Example:
        >>> check_registered(keras.Sequential([keras.layers.Dense(3)]), "The student")
    """
    try:
        config = keras.saving.serialize_keras_object(model)
    except (NotImplementedError, ValueError, TypeError) as error:
        raise InputError(
            f"{what} {model.name!r} cannot be saved: {' '.join(str(error).split()):.200}"
        ) from error
    for part in serialized_objects(config, f"The config of {what.lower()}"):
        if (missing := missing_class(part)) is not None:
            raise InputError(
                f"{what} {model.name!r} has the class {missing}, which is not registered, so that a"
                " file of it could not be loaded. Decorate the class with"
                " @keras.saving.register_keras_serializable() before you train."
            )
