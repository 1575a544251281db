"""Imports the user's own modules by name."""

import importlib
import os
import re
import sys
from types import ModuleType

from keras_distill._internal import InputError, bad


def import_module(name: str, module: str) -> ModuleType:
    """Imports a module of the user, also from the current folder, as `python` does.

    Args:
        name: The name of the argument, for errors.
        module: The dotted name of the module.

    Raises:
        InputError: If it is not a module name, is not found, or raises while it is imported.

    Example:
        >>> import_module("import", "json").__name__
        'json'
    """
    if not isinstance(module, str) or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module):
        raise bad(name, "be the dotted name of a Python module", module)
    folder = os.getcwd()
    added = folder not in sys.path
    if added:
        # Last, so that a file of the current folder cannot shadow a library.
        sys.path.append(folder)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
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
