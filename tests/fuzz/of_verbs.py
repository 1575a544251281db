"""Hostile values of every setting there is, and hostile arguments of verbs that read recipes."""

import json
import os
import types
import typing
from typing import Any

import tomli_w
from pydantic import BaseModel

from tests.fuzz import good
from tests.fuzz.kinds import VALUES, Case, Maker, damaged, edited, kind
from tests.fuzz.of_outputs import special


def _keys(record: type[BaseModel], before: str = "") -> list[str]:
    """Every dotted key of a record, and those of the records in it."""
    found = []
    for name, field in record.model_fields.items():
        found.append(f"{before}{name}")
        for part in _records_in(field.annotation):
            found += _keys(part, f"{before}{name}.")
    return found


def _records_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return [part for arg in typing.get_args(kind) for part in _records_in(arg)]
    return []  # what is in a list has no key of its own


def _changed(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    *path, last = key.split(".")
    table = values
    for step in path:
        table = table.setdefault(step, {})
    table[last] = value
    return values


def _plain(value: Any) -> Any:
    """A value that TOML can express."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_plain(part) for part in value if part is not None]
    return "" if value is None else value


def _recipe(m: Maker) -> dict[str, Any]:
    """A sound recipe but for its data, which do not exist: what is accepted ends there."""
    return {
        "name": "small",
        "seeds": 1,
        "data": {"source": "npz:nothing.npz"},
        "teacher": {"model": m.pick("mlp:4", str(m.good.model))},
        "student": {"model": "mlp:2"},
        "training": {"epochs": 1},
    }


@kind
def recipe_any_key(m: Maker) -> Case:
    """Any setting of a recipe with any value."""
    from keras_distill.records import Recipe

    values = _recipe(m)
    for _ in range(m.pick(1, 1, 2)):
        key, value = m.random.choice(_keys(Recipe)), m.random.choice(VALUES)
        if key != "data.source":
            _changed(values, key, _plain(value))
    file = m.write("recipe.toml", tomli_w.dumps(values))
    verb = m.pick(
        ["run", "--output", f"{m.out}/run"], ["sweep", "--output", f"{m.out}/sweep"], ["plan"]
    )
    return Case([verb[0], str(file), *verb[1:]], refused=True)


@kind
def settings_on_the_command_line(m: Maker) -> Case:
    """`--set KEY=VALUE` of any text."""
    from keras_distill.records import Recipe

    file = m.write("recipe.toml", tomli_w.dumps(_recipe(m)))
    key = m.pick(
        m.random.choice(_keys(Recipe)), "", ".", "a.b.c", "a." * 3000 + "b", "seeds.0", "é", "\n",
        "training.epochs.x", "variants.1000000000", "__class__", "x" * 10_000,
    )  # fmt: skip
    value = m.pick(
        *(json.dumps(value, default=str) for value in VALUES if not isinstance(value, dict)),
        "[" * 5000, "{a=" * 2000, "nan", "1_0", "1979-05-27", '"""', "'", "", "=", "mlp:4",
        "1\n[x]\ny=2",
    )  # fmt: skip
    verb = m.pick(
        ["run", "--output", f"{m.out}/run"], ["sweep", "--output", f"{m.out}/s"], ["plan"]
    )
    argv = [verb[0], str(file), *verb[1:], "--set", f"{key}={value}"]
    return Case(argv, refused=key not in ("summary", "name"))


@kind
def grids(m: Maker) -> Case:
    """Grids of too many points, of no points, and of settings that no point may have."""
    file = m.write("recipe.toml", tomli_w.dumps(_recipe(m)))
    many = ",".join(map(str, range(1, m.pick(10, 1000, 20_000))))
    grid = m.pick(
        [f"training.epochs={many}", f"distillation.temperature={many}", f"training.batch_size={many}",
         f"training.learning_rate={many}"],
        [f"data.labels={many}"], ["distillation.alpha=0,nan"], ["x=1"], [""], ["="], ["seeds=1,2"],
        ["distillation.temperature="], ["a" * 10_000 + "=1"],
        ["distillation.temperature=1"] * 50, ["student.model=mlp:2,mlp:" + "9" * 5000],
        ["data.source=npz:/dev/zero"], ["name=../x"], ["training.epochs=[1,2,(3"],
    )  # fmt: skip
    options = m.pick(
        [], ["--seeds", m.pick("0", "-1", "1000000000", "1" + "0" * 30, "x")],
        ["--workers", m.pick("0", "-1", "1" + "0" * 30)], ["--threads", m.pick("0", "1" + "0" * 30)],
        ["--backend", "x"], ["--reference", m.pick("x", "", "a=b", "=", "name=1", "x" * 10_000)],
        ["--scale", "x"],
    )  # fmt: skip
    argv = ["sweep", str(file), "--output", f"{m.out}/s", *options]
    return Case([*argv, *(part for text in grid for part in ("--grid", text))], refused=True)


@kind
def verified_files(m: Maker) -> Case:
    """A file and a reference, one of which is damaged, or options without sense."""
    sound = m.pick(str(good.TFLITE / "float.tflite"), str(m.good.model))
    source = m.pick(good.TFLITE / "float.tflite", good.TFLITE / "int8.tflite", m.good.model)
    bad = m.write(f"bad{source.suffix}", damaged(source.read_bytes(), m.random))
    file, against = m.pick((bad, sound), (sound, bad), (sound, "nothing.keras"), (m.files, sound))
    options = m.pick(
        [], ["--samples", m.pick("0", "-1", "1" + "0" * 30)], ["--split", "x"],
        ["--max-drop", m.pick("nan", "-1", "inf", "101")], ["--limit", m.pick("nan", "-1", "0")],
    )  # fmt: skip
    return Case(["verify", str(file), "--against", str(against), "--data", m.data, *options])


@kind
def pages(m: Maker) -> Case:
    """Records of every kind that has a page, with any part changed."""
    from keras_distill import records

    name, record = m.pick(
        ("evaluation.json", records.SpecialistsReport), ("benchmark.json", records.BenchmarkRecord),
        ("explore.json", records.ExploreRecord),
    )  # fmt: skip
    value = good.example(record)
    for _ in range(m.pick(1, 2)):
        value, _ = edited(value, m.random)
    m.write(f"run/{name}", json.dumps(value))
    if name == "explore.json":
        m.write("run/record.json", (m.good.run / "record.json").read_bytes())
    return Case(["report", f"{m.files}/run", "-o", f"{m.out}/page.html"])


@kind
def budgets(m: Maker) -> Case:
    """Budgets of `run --max-bytes` without sense."""
    base = ["run", "--data", "npz:nothing.npz", "--teacher", "mlp:4", "--output", f"{m.out}/run"]
    options = m.pick(
        ["--max-bytes", m.pick("0", "-1", "nan", "1e400", "9" * 5000 + "k", "k", "", "1kk", "١k")],
        ["--max-bytes", "10k", "--max-drop", m.pick("nan", "-1", "inf", "x")],
        ["--max-bytes", "10k", "--max-latency-ratio", m.pick("nan", "-1", "0", "inf", "1e-320")],
        ["--max-bytes", "10k", "--candidate", m.pick("", "x", "mlp:" + "9" * 5000, "shrink:nan")],
        ["--max-bytes", "10k", *(["--candidate", "mlp:2"] * 5000)],
        ["--student", m.pick("shrink:0", "shrink:2", "shrink:nan", "shrink:1e-320", "shrink:", "auto",
                             "shrink:0.5?x=1")],
        ["--student", "mlp:2", "--targets", m.pick("nothing", str(m.good.data), "/dev/null", "")],
    )  # fmt: skip
    return Case([*base, *options], refused=True)


@kind
def more_special_outputs(m: Maker) -> Case:
    """A FIFO, a socket, or a device where a newer verb writes: it stays what it is."""
    out = special(m, m.pick("special", "special.toml", "special.json"))
    model = str(m.good.model)
    argv = m.pick(
        ["run", "--data", m.data, "--teacher", "mlp:4", "--student", "mlp:2", "--output", str(out)],
        ["sweep", str(m.write("recipe.toml", tomli_w.dumps(_recipe(m)))), "--output", str(out)],
        ["init", "--data", m.data, "--output", str(out)],
        ["verify", model, "--against", model, "--data", m.data, "--output", str(out)],
    )
    return Case([*argv, "--overwrite"], refused=True)


@kind
def folders_of_others(m: Maker) -> Case:
    """Folders of results where something else is expected, and FIFOs in them."""
    folder = m.files / "folder"
    folder.mkdir()
    name = m.pick(
        "ensemble.json", "manifest.json", "saved_model.pb", "settings.json", "record.json"
    )
    if m.random.random() < 0.5:
        os.mkfifo(folder / name)
    else:
        m.write(f"folder/{name}", m.pick("", "{}", "[]", "[" * 100_000, '{"format": 1}', "\0"))
    argv = m.pick(
        ["run", "--data", m.data, "--teacher", str(folder), "--student", "mlp:2", "--output",
         f"{m.out}/run"],
        ["run", "--data", m.data, "--targets", str(folder), "--student", "mlp:2", "--output",
         f"{m.out}/run"],
        ["sweep", str(m.write("recipe.toml", tomli_w.dumps(_recipe(m)))), "--output", str(folder)],
        ["report", str(folder), "-o", f"{m.out}/page.html"],
        ["targets", "build", str(folder), "--data", m.data, "-o", f"{m.out}/store"],
        ["specialists", "distill", str(folder), "-o", f"{m.out}/m.keras"],
        ["specialists", "evaluate", str(folder), "-o", f"{m.out}/e.json"],
        ["benchmark", str(folder)],
        ["export", str(folder), "-o", f"{m.out}/f.tflite"],
    )  # fmt: skip
    return Case(argv, refused=True)


@kind
def compared_runs(m: Maker) -> Case:
    """A sound run beside a folder that is none, or whose record is changed."""
    value = json.loads((m.good.run / "record.json").read_text())
    value, _ = edited(value, m.random)
    text = m.pick(json.dumps(value), "", "{}", "[" * 100_000, '{"recipe": null}')
    m.write("run/record.json", text)
    other = m.pick(f"{m.files}/run", f"{m.files}/nothing", str(m.good.model), "/dev/zero", "")
    runs = m.pick([str(m.good.run), other], [other, str(m.good.run)], [other], [other] * 2000)
    options = m.pick([], ["--output", f"{m.out}/page.html"], ["--reference", "x"])
    return Case(["compare", *runs, *options])


@kind
def parallel_builds(m: Maker) -> Case:
    """Options of a build by several processes without sense."""
    options = m.pick(
        ["--backend", m.pick("x", "", "ray ")],
        ["--backend", "processes", "--workers", m.pick("0", "-1", "1" + "0" * 30, "x")],
        ["--backend", "processes", "--threads", m.pick("0", "-1", "1" + "0" * 30, "x")],
        ["--threads", m.pick("0", "-1", "1" + "0" * 30, "1.5")],
        ["--backend", "processes", "--split", "x"],
    )
    teacher = m.pick(str(m.good.model), str(good.TFLITE / "float.tflite"))
    argv = ["targets", "build", teacher, "--data", m.data, "-o", f"{m.out}/store"]
    return Case([*argv, *options], refused=True)


@kind
def teachers_at_every_door(m: Maker) -> Case:
    """A file of another kind, or a damaged one, wherever a teacher is taken."""
    source = m.pick(m.good.model, good.TFLITE / "float.tflite", good.TFLITE / "int8.tflite")
    content = m.pick(damaged(source.read_bytes(), m.random), b"", b"\x89HDF\r\n\x1a\n" * 3, b"text")
    name = m.pick(
        f"a{source.suffix}", "a.h5", "a.weights.h5", "a", "a:b?c=d", "a.onnx", "-a", "a b"
    )
    path = m.pick(
        str(m.write(name, content)), f"{m.files}/{name}/x", "py:", "py:os:getcwd", "~", "."
    )
    model, data = str(m.good.model), m.data
    argv = m.pick(
        ["run", "--data", data, "--teacher", path, "--student", "mlp:2", "--epochs", "1",
         "--seeds", "1", "--scale", "smoke", "--output", f"{m.out}/run"],
        ["targets", "build", "--data", data, "-o", f"{m.out}/store", "--", path],
        ["compress", model, "--steps", "quantize", "--data", data, "--teacher", path, "--epochs",
         "1", "-o", f"{m.out}/small"],
        ["specialists", "train", "--generalist", path, "--data", data, "-o", f"{m.out}/experts"],
        ["verify", model, "--against", path, "--data", data],
    )  # fmt: skip
    return Case(argv)
