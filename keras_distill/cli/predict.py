"""`keras-distill predict FILE.tflite IMAGE…`: the answers of a file for images or data."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from keras_distill._internal import InputError, bad, check_choice, check_count
from keras_distill.cli import _options
from keras_distill.cli._console import print_json, print_line, print_table
from keras_distill.cli._verb import uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill._internal._types import Array
    from keras_distill.litert import LiteRTModel

_VALUE = "value"  # of an output of one unit that is no class


class _Rows(NamedTuple):
    """The rows, a name for each, their class ids if known, and the names of the classes."""

    x: "Array"
    names: list[str]
    labels: list[int] | None
    class_names: tuple[str, ...]


@uses_tensorflow
def command(
    file: Annotated[Path, typer.Argument(help="A .tflite file, of any origin.")],
    images: Annotated[
        list[Path],
        typer.Argument(default_factory=list, show_default=False, help="Images of any size."),
    ],
    *,
    data: _options.OptionalData = None,
    data_dir: _options.DataDir = None,
    split: _options.Split = "test",
    samples: Annotated[int, typer.Option(help="Number of rows of --data, the first ones.")] = 10,
    top: Annotated[int, typer.Option(help="Number of classes to show.")] = 3,
    rescale: Annotated[
        str | None,
        typer.Option(
            metavar="SCALE[,OFFSET]",
            help="Give the file x * SCALE + OFFSET: 1/255 if it takes 0..1, 1/127.5,-1 if it takes"
            " -1..1.",
            show_default="values as they are, pixels in 0..255",
        ),
    ] = None,
    as_json: _options.Json = False,
) -> None:
    """Run a .tflite file on images or data, and show its best classes.

    Images are resized to the input of the file. The names of the classes come from the label file
    in its metadata, the record beside it, or --data.

    \b
    Example:
      keras-distill predict student-int8.tflite cat.jpg dog.png
      keras-distill predict student-int8.tflite --data digits --samples 5
    """
    from keras_distill.litert import LiteRTModel, probe

    check_count("top", top)
    check_count("samples", samples)
    if bool(images) == (data is not None):
        raise InputError("Give images or `--data`, one of the two.")
    scaling = None if rescale is None else _scaling(rescale)
    probe(file)  # in a child: a damaged file can crash the interpreter, and this process
    model = LiteRTModel(file, logits=True)
    if len(model.inputs) != 1:
        names = ", ".join(spec.name for spec in model.inputs)
        raise InputError(f"{file}: must have one input. Received: {names}.")
    shape = model.inputs[0].shape[1:]
    if data is None:
        rows = _Rows(_pixels(images, shape, file), [str(path) for path in images], None, ())
    else:
        rows = _of_data(data, data_dir, split, samples)
    x = rows.x if scaling is None else (rows.x * scaling[0] + scaling[1]).astype("float32")
    answers = _answers(model, x, rows, top)
    if as_json:
        print_json({"file": str(file), "predictions": answers})
        return
    _print(answers, top)
    if data is None and scaling is None and takes_unknown_range(model):
        print_line(
            f"Note: {file} takes float32 and has no record. It was given pixels in 0..255; if it"
            " takes 0..1, add --rescale 1/255."
        )


def _scaling(text: str) -> tuple[float, float]:
    """Reads `1/127.5,-1`.

    Example:
        >>> _scaling("1/4,-1"), _scaling("2")
        ((0.25, -1.0), (2.0, 0.0))
    """
    try:
        numbers = [_number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        numbers = []
    if len(numbers) not in (1, 2):
        raise bad("rescale", "be SCALE or SCALE,OFFSET, such as 1/255 or 1/127.5,-1", text)
    return numbers[0], numbers[1] if len(numbers) == 2 else 0.0


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    return float(Fraction(above) / Fraction(below or 1))


def _pixels(images: Sequence[Path], shape: tuple[int | None, ...], file: Path) -> "Array":
    from keras_distill import data

    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or None in shape or channels not in (1, 3):
        raise InputError(
            f"{file}: its input must be an image, (height, width, 1 or 3). Received: {shape}. Give"
            " rows that fit as `--data`, such as npz:FILE."
        )
    height, width = (size or 1 for size in shape[:2])
    pixels = data.read_images(images, (height, width, channels or 1))
    return pixels.reshape(len(pixels), *map(int, filter(None, shape)))


def _of_data(spec: str, data_dir: Path | None, split: str, samples: int) -> _Rows:
    import numpy as np

    from keras_distill import data

    check_choice("split", split, ("train", "validation", "test"))
    splits = data.load(spec, data_dir=data_dir, reads=(split,))
    found = list(getattr(splits, split).take(samples).as_numpy_iterator())
    x = np.stack([element[0] if splits.labeled else element for element in found])
    labels = [int(element[1]) for element in found] if splits.labeled else None
    return _Rows(x, [f"{split} {number}" for number in range(len(x))], labels, splits.class_names)


def _answers(model: "LiteRTModel", x: "Array", rows: _Rows, top: int) -> list[dict[str, Any]]:
    """Returns one answer for each row and output: its best classes and their probabilities."""
    found = model.predict(x)
    outputs = found if isinstance(found, Mapping) else {model.outputs[0].name: found}
    answers: list[dict[str, Any]] = []
    for name, values in outputs.items():
        if values.ndim != 2:
            raise InputError(
                f"{model.path}: output {name!r} must have one value per class, (rows, classes)."
                f" Received: {values.shape}. In Python, use kd.teachers.TFLiteTeacher or LiteRT."
            )
        shares = _probabilities(values, model.heads.get(name))
        names = _class_names(model.path, shares.shape[1], rows.class_names)
        for number, row in enumerate(shares):
            best = (-row).argsort(kind="stable")[:top]
            answer: dict[str, Any] = {"input": rows.names[number]}
            answer |= {"output": name} if len(outputs) > 1 else {}
            if rows.labels is not None:
                answer["label"] = names[rows.labels[number]]
            answer["top"] = [{"class": names[i], "value": round(float(row[i]), 6)} for i in best]
            answers.append(answer)
    return answers


def _probabilities(values: "Array", head: str | None) -> "Array":
    """Returns probabilities of logits; of a value in one unit, the value itself.

    Args:
        values: `(n, classes)`.
        head: The activation that the file ends in, before which the values were read.

    Example:
        >>> import numpy as np
        >>> _probabilities(np.zeros((1, 4), np.float32), None).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
        >>> _probabilities(np.zeros((1, 1), np.float32), "sigmoid").tolist()
        [[0.5, 0.5]]
    """
    import numpy as np
    from scipy.special import expit, softmax

    from keras_distill._internal._probabilities import cannot_be_logits

    values = values.astype(np.float64)
    if head == "sigmoid":
        p = expit(values)
        return np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p
    if head is None and (values.shape[1] == 1 or cannot_be_logits(values)):
        return values
    return softmax(values, axis=1)


def _class_names(file: Path, classes: int, of_data: tuple[str, ...]) -> tuple[str, ...]:
    from keras_distill.litert import label_file
    from keras_distill.records import ExportRecord

    record = file.with_name(f"{file.name}.json")
    recorded = ExportRecord.load(record).class_names if record.is_file() else ()
    for names in (label_file(file, classes), recorded, of_data):
        if len(names) == classes:
            return tuple(names)
    return (_VALUE,) if classes == 1 else tuple(f"class {number}" for number in range(classes))


def takes_unknown_range(model: "LiteRTModel") -> bool:
    """Returns whether nothing says which range of pixels a file was made for."""
    record = model.path.with_name(f"{model.path.name}.json")
    return model.inputs[0].dtype == "float32" and not record.exists()


def _print(answers: Sequence[Mapping[str, Any]], top: int) -> None:
    first = answers[0]
    fixed = [key for key in ("input", "output", "label") if key in first]
    columns = [*fixed, *(f"{n}. class" if n > 1 else "best class" for n in range(1, top + 1))]
    shown = columns[: len(fixed) + max(len(answer["top"]) for answer in answers)]
    rows = [
        [*(answer[key] for key in fixed), *(_cell(found) for found in answer["top"])]
        for answer in answers
    ]
    print_table(shown, rows, text_columns=shown)
    if "label" in first:
        right = sum(answer["top"][0]["class"] == answer["label"] for answer in answers)
        print_line(f"{right} of {len(answers)} are right.")


def _cell(found: Mapping[str, Any]) -> str:
    if found["class"] == _VALUE:
        return f"{found['value']:.6g}"
    return f"{found['class']} {found['value']:.1%}"


main = verb_main(command, "keras-distill predict")
