"""`keras-distill init`: writes a recipe for your data and your teacher."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_distill.cli import _options
from keras_distill.cli._console import print_facts, print_json, print_next
from keras_distill.cli._next import are_photos, small_student
from keras_distill.cli._verb import uses_tensorflow, verb_main

if TYPE_CHECKING:
    from keras_distill.data import Splits


def _teacher(splits: "Splits") -> str:
    """Returns a spec to start with."""
    return "resnet:20" if are_photos(splits.input_shape) else "mlp:256x256"


@uses_tensorflow
def command(
    *,
    data: _options.Data,
    data_dir: _options.DataDir = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="Your teacher: model spec or file.", show_default="a spec for the data"),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="Model spec or file.", show_default="the teacher, half as wide"),
    ] = None,
    out: Annotated[Path, _options.output("The .toml file to write.")] = Path("recipe.toml"),
    overwrite: _options.Overwrite = False,
    as_json: _options.Json = False,
) -> None:
    """Write a commented recipe for your data and your teacher.

    Every setting is in the file with what it does; those that you do not need stay comments.

    \b
    Example:
      keras-distill init --data images:photos --teacher my.keras -o mine.toml
    """
    from keras_distill import data as sources
    from keras_distill import runs

    splits = sources.load(data, data_dir=data_dir, reads=())
    splits.need_labels("A recipe")
    sizes = ", ".join(f"{size} {split}" for split, size in splits.sizes.items())
    shape = "x".join(map(str, splits.input_shape))
    facts = f"{sizes} examples of shape {shape}, {splits.num_classes} classes"
    teacher = teacher or _teacher(splits)
    inherits = teacher.endswith(".keras") or not Path(teacher).suffix
    given: dict[str, Any] = {
        "data.source": data,
        "teacher.model": teacher,
        "student.model": student
        or ("shrink:0.5" if inherits else small_student(splits.input_shape)),
        "training.epochs": 30,
        "seeds": 3,
    }
    if data_dir is not None:
        given["data.data_dir"] = str(data_dir)
    recipe = runs.init(out, given, about=(f"Recipe for {data}: {facts}.",), overwrite=overwrite)
    if as_json:
        print_json(recipe)
        return
    print_facts(
        [
            ("recipe", str(out)),
            ("data", facts),
            ("teacher", str(recipe.teacher)),
            ("student", recipe.student.model),
        ]
    )
    print_next("keras-distill", "plan", str(out))


main = verb_main(command, "keras-distill init")
