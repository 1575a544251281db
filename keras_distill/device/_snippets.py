"""Code that loads a `.tflite` file on phones and servers, with its own numbers filled in."""

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
    """Writes code that loads a file, quantizes one example, and names the class.

    Args:
        file: The file; the code uses its name.
        inputs: Its inputs.
        outputs: Its outputs.
        class_names: Names of the classes; used if there are as many as the output has entries.

    Returns:
        Source by language; empty for a file with several inputs or outputs, or one that does not
        take and give numbers.

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
