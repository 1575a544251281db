"""Sound inputs of every kind, made once. The generator spoils copies of them."""

import json
import types
import typing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel

CLASSES, FEATURES, EXAMPLES = 3, 4, 30
TFLITE = Path(__file__).parents[1] / "golden" / "tflite"

RECIPE = """\
name = "small"
seeds = 1

[data]
source = "{data}"

[teacher]
model = "mlp:4"

[student]
model = "mlp:2"

[distillation]
alpha = 0.5
temperature = 2.0

[training]
epochs = 1
batch_size = 8
"""

SPECIALISTS = """\
generalist = "{generalist}"
source = "{data}"
clusters = 1
size = 2

[training]
epochs = 1
"""


class Good(NamedTuple):
    """Where the sound inputs are.

    Attributes:
        folder: The folder of all of them.
        model: A `.keras` file: 4 inputs, 3 logits.
        saved_model: A SavedModel folder of that model.
        data: An `.npz` file: 30 rows of 4 numbers, labels 0..2.
        store: A soft-target store of the training rows of the data.
        specialists: A folder of specialists.
        run: A folder with the record of a run.
    """

    folder: Path
    model: Path
    saved_model: Path
    data: Path
    store: Path
    specialists: Path
    run: Path


def arrays() -> dict[str, np.ndarray]:
    """The arrays of the sound `.npz` file."""
    random = np.random.default_rng(0)
    x = random.normal(size=(EXAMPLES, FEATURES)).astype(np.float32)
    y = np.arange(EXAMPLES) % CLASSES
    parts = {"train": slice(0, 18), "val": slice(18, 24), "test": slice(24, 30)}
    return {f"{n}_{split}": a[s] for n, a in (("x", x), ("y", y)) for split, s in parts.items()}


def make(folder: Path) -> Good:
    """Makes every sound input in `folder`."""
    import keras

    from keras_distill import data
    from keras_distill.specialists import SpecialistEnsemble, build_specialist
    from keras_distill.targets import SoftTargetStore

    good = Good(
        folder,
        folder / "model.keras",
        folder / "saved",
        folder / "data.npz",
        folder / "store",
        folder / "specialists",
        folder / "run",
    )
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])
    model.save(good.model)
    model.export(str(good.saved_model), verbose=False)
    np.savez(good.data, **arrays())
    splits = data.load(f"npz:{good.data}")
    SoftTargetStore.build(model, splits.train, good.store, shard_batches=1, batch_size=8)
    parts = [build_specialist(model, ids) for ids in ([0, 1], [1, 2])]
    ensemble = SpecialistEnsemble(model, parts, [[0, 1], [1, 2]])
    ensemble.save(good.specialists)
    recipe = SPECIALISTS.format(generalist=good.model, data=f"npz:{good.data}")
    (good.specialists / "recipe.toml").write_text(recipe)
    good.run.mkdir()
    (good.run / "record.json").write_text(json.dumps(run_record()))
    return good


def run_record() -> dict[str, Any]:
    """The record of a run, with one value of each kind."""
    from keras_distill.records import RunRecord

    record = example(RunRecord)
    record["recipe"] |= {"name": "small", "seeds": [0]}
    variant = record["variants"][0]
    variant["seeds"][0]["seed"] = record["chosen_seed"] = 0
    record["variants"] = [{**variant, "name": name} for name in ("alone", "distilled")]
    record["gain"] = dict(record["variants"][0]["test_accuracy"])
    record["scale"] = "full"
    entry = record["benchmark"]["entries"][0]
    entry["runtime"] = "litert"
    entry["size"] |= {"bytes": 1000, "gzip_bytes": 900}
    export = record["exports"]["exports"].pop("one")
    export["verification"] |= {"verdict": "passed", "failures": []}
    record["exports"]["exports"] = {"float32": export}
    return json.loads(RunRecord.model_validate(record).model_dump_json())


def example(kind: type[BaseModel]) -> dict[str, Any]:
    """Values for the required fields of a record."""
    return {
        name: _value(field.annotation, field.metadata)
        for name, field in kind.model_fields.items()
        if field.is_required()
    }


def _value(kind: Any, metadata: typing.Sequence[Any] = ()) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _value(arguments[0], arguments[1:])
    if origin is typing.Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return None if type(None) in arguments else _value(arguments[0])
    if origin is tuple:
        return [_value(arguments[0])]
    if origin is dict:
        return {"one": _value(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return example(kind)
    if kind is str:
        hashed = any("64" in str(getattr(item, "pattern", "") or item) for item in metadata)
        return "0" * 64 if hashed else "text"
    return {int: 2, float: 0.5, bool: False}.get(kind)
