"""Imports the user's own modules by name."""

import importlib
import os
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from keras_distill._internal import InputError, bad


def function_of(name: str, spec: str) -> Callable[..., Any]:
    """Imports the function of a spec `py:package.module:function`.

    The module may also be in the current folder.

    Args:
        name: The name of the argument, for error messages.
        spec: The spec.

    Raises:
        InputError: If the spec is invalid, or the module or function does not exist.

    Example:
        >>> function_of("preprocess", "py:math:floor")(1.5)
        1
    """
    kind, _, argument = spec.strip().partition(":")
    module_name, colon, function_name = argument.partition(":")
    if kind != "py" or not (module_name and colon and function_name.isidentifier()):
        raise bad(name, "be py:package.module:function", spec)
    function = getattr(import_module(name, module_name), function_name, None)
    if not callable(function):
        raise InputError(f"{spec}: {module_name} has no function {function_name!r}.")
    return function


def call(name: str, spec: str, **arguments: Any) -> Any:
    """Calls the function of a spec `py:package.module:function`.

    Args:
        name: The name of the argument, for error messages.
        spec: The spec.
        **arguments: The keyword arguments of the function.

    Raises:
        InputError: If the function does not exist or raises an exception.
    """
    function = function_of(name, spec)
    try:
        return function(**arguments)
    except Exception as error:
        called = spec.rpartition(":")[2]
        raise InputError(
            f"{spec}: {called}() failed: {type(error).__name__}: {error!s:.300}"
        ) from error


def import_module(name: str, module: str) -> ModuleType:
    """Imports a module of the user, which may also be in the current folder.

    Args:
        name: The name of the argument, for error messages.
        module: The dotted name of the module.

    Raises:
        InputError: If the name is not a valid module name, or the module is not found or raises an
            exception while it is imported.

    Example:
        >>> import_module("import", "json").__name__
        'json'
    """
    if not isinstance(module, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module):
        raise bad(name, "be the dotted name of a Python module", module)
    folder = os.getcwd()
    added = folder not in sys.path
    if added:
        # Appended, so that a file in the current folder cannot shadow a library.
        sys.path.append(folder)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{name}: {module} needs {error.name!r}, which is missing.") from error
        raise bad(
            name, "be a module that Python finds", module, f"Looked in {folder} and in sys.path."
        ) from error
    except Exception as error:
        raise InputError(
            f"{name}: importing {module} failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        if added:
            sys.path.remove(folder)
