"""`npz:FILE`: arrays in a NumPy archive; pickled arrays are never read."""

from pathlib import Path

from keras_distill._internal import InputError, _arrays
from keras_distill._internal._types import Array
from keras_distill.data._splits import Source, Splits, from_arrays

_SPLITS = {"train": "train", "val": "validation", "test": "test"}
_KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "class_names")


def load(source: Source) -> Splits:
    """Loads `x_train`, `y_train`, and, if present, `x_val`, `y_val`, `x_test`, `y_test`.

    x contains numbers `(examples, ...)` or text. Integers stay integers, other numbers become
    float32 (see `kept_dtype`). y contains class ids or class names `(examples,)`. Without any y,
    the data are unlabeled. `class_names` (strings, one per class) is optional.

    Raises:
        InputError: If the file is not such an archive, is damaged, contains pickled arrays or
            other keys, or the arrays do not match.
    """
    spec = source.spec
    spec.read()
    path = Path(spec.argument).expanduser()
    if not spec.argument:
        raise InputError(f"{spec.text}: names no file. Write npz:FILE.")
    contents = _arrays.read_npz(path)
    unknown = sorted(set(contents) - set(_KEYS))
    if unknown or "x_train" not in contents:
        raise InputError(
            f"{path}: must contain x_train, and may contain {', '.join(_KEYS[1:])}."
            f" It contains: {', '.join(sorted(contents)) or 'nothing'}."
        )
    labeled = any(key.startswith("y_") for key in contents)
    arrays: dict[str, tuple[Array, Array | None]] = {}
    for short, split in _SPLITS.items():
        pair = (f"x_{short}", f"y_{short}")
        there = [key for key in pair if key in contents]
        if len(there) == 1 and labeled:
            raise InputError(
                f"{path}: contains {there[0]}, but not both of {pair[0]} and {pair[1]}. Give every"
                " split labels, or none."
            )
        if there:
            arrays[split] = (contents[pair[0]], contents.get(pair[1]))
    names = contents.get("class_names")
    if names is not None and (names.ndim != 1 or names.dtype.kind != "U"):
        raise InputError(f"{path}: class_names must be strings. Received: {names.dtype}.")
    return from_arrays(
        arrays,
        source,
        name=path.stem,
        class_names=None if names is None else tuple(names.tolist()),
    )
