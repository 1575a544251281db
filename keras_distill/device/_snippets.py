"""Generates code that loads a `.tflite` file on phones and servers, with its numbers filled in."""

from collections.abc import Sequence
from pathlib import PurePath

from keras_distill.device._code import DTYPES, facts, fill, kotlin_literal, literal, plain
from keras_distill.records import TensorRecord

# Language -> template.
_LANGUAGES = {
    "Python": "snippet.py",
    "C++": "snippet.cc",
    "Kotlin": "snippet.kt",
    "Swift": "snippet.swift",
}


def snippets(
    file: str,
    inputs: Sequence[TensorRecord],
    outputs: Sequence[TensorRecord],
    class_names: Sequence[str] = (),
) -> dict[str, str]:
    """Generates code that loads a file, quantizes one example, and prints the class name.

    Args:
        file: The file; the code uses its name.
        inputs: The inputs of the file.
        outputs: The outputs of the file.
        class_names: Names of the classes; used if their number equals the size of the output.

    Returns:
        Source code by language; empty for a file with several inputs or outputs, or with inputs or
        outputs that are not numbers.

    Example:
        >>> x = TensorRecord(name="x", shape=(1, 4), dtype="int8", scale=0.5, zero_point=-3)
        >>> code = snippets("m.tflite", [x], [x], ["a", "b", "c", "d"])
        >>> list(code), "np.asarray(x, np.float64) / 0.5" in code["Python"]
        (['Python', 'C++', 'Kotlin', 'Swift'], True)
    """
    every = (*inputs, *outputs)
    if len(inputs) != 1 or len(outputs) != 1 or any(t.dtype not in DTYPES for t in every):
        return {}
    name = PurePath(file).name
    found = facts(outputs[0])
    classes = class_names if len(class_names) == found["size"] else ()
    values = {
        "file": plain(name),
        "file_literal": literal(name),
        "stem_literal": literal(PurePath(name).stem),
        "kotlin_file": kotlin_literal(name),
        "inputs": [facts(inputs[0])],
        "outputs": [found],
        "classes": [literal(text) for text in classes],
        "kotlin_classes": [kotlin_literal(text) for text in classes],
    }
    return {language: fill(template, **values) for language, template in _LANGUAGES.items()}
