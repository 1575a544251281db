"""Hostile recipes and options."""

import json
from typing import Any

from tests.fuzz import good
from tests.fuzz.kinds import Case, Maker, damaged, kind

_RECIPE_KEYS = [
    ("seeds", [10**9, 10**30, 0, -1, True, [10**30], [-1], [], [0, 0], "x", 1.5, [True]]),
    ("name", ["", "../x", "x" * 10_000, 1, "a/b", "\n", "."]),
    ("distillation.temperature", [1e-320, 0, -1, "inf", "nan", "x", True, 1e308, 1e-30]),
    ("distillation.alpha", [-1, 1.1, "nan", "x", True, 10**30]),
    ("training.epochs", [True, 0, -1, 10**9, 10**30, 1.5, "x", "nan"]),
    ("training.batch_size", [True, 0, 10**9, 10**30, 2**31, "x"]),
    ("training.learning_rate", [0, -1, "nan", "inf", True, "x", 1e300]),
    ("training.optimizer", ["x", 1, True, "adam; rm"]),
    ("training.schedule", ["x", 1, True]),
    ("training.weight_decay", [-1, "nan", "inf", "x", True, 1e300]),
    ("training.momentum", [-1, 1, "nan", True]),
    ("training.steps_per_execution", [0, True, 10**12]),
    ("teacher.model", ["", "mlp:0", "mlp:1000000x1000000", "mlp:" + "9" * 5000, "resnet:10000000004",
                       "wrn:100000-100000", "x", "resnet:20?width=100000000", "mlp:" + "x".join("4" * 9999),
                       "applications:os", "resnet:20?weight_decay=nan", 1, True, "a.keras", "dscnn?width=1e9"]),
    ("student.model", ["", "mlp:-1", "mlp:1e3", "x.tflite", "dscnn?width=0", 7, "\n", "?", "mlp:4?a=b",
                       "mlp:4?dropout=nan"]),
    ("data.labels", [True, -1, 0, 1.5, "x", "nan", 10**30, 0.0]),
    ("data.omit_classes", [1, "x", [1.5], True]),
    ("data.unlabeled", [1, True, []]),
    ("teacher.members", [0, -1, True, 10**9, "x"]),
    ("teacher.mean", ["x", 1, True]),
    ("teacher.threads", [0, True, "x"]),
    ("teacher.classes", [1, True, [1.5], [[True]], []]),
    ("teacher.class_names", [1, [1], True, []]),
    ("student.pretrained", [1, True]),
    ("distillation.views", [0, -1, True, 10**9, "x"]),
    ("distillation.top_k", [0, True, 1.5, "x"]),
    ("distillation.losses", [1, "x", [1], True]),
    ("training.warmup", [-1, "nan", "inf", True, "x"]),
    ("training.clip_norm", [0, -1, "nan", True, "x"]),
    ("training.label_smoothing", [1, -1, "nan", True, "x"]),
    ("training.patience", [0, True, 1.5]),
    ("training.precision", ["x", 1, True]),
    ("training.budget", ["x", "0s", "-1m", 40, "1e9h", "9" * 100 + "h", "", True, "٣m"]),
    ("variants", [[], ["x"], ["alone"], 1, True, ["distilled"] * 2, ["distilled", "self"]]),
    ("generations", [0, -1, True, 10**6, "x", 1.5]),
    ("export.quantizations", [[], ["x"], ["int8", "int8"], "int8", True, ["int8"] * 10**4]),
    ("export.calibration_samples", [0, True, 10**12, "x", 1.5]),
    ("export.max_drop", [-1, "nan", "inf", True, "x"]),
    ("benchmark.runs", [0, 10**30, 10**9, True, "x", 1]),
    ("compress.steps", [[], ["x"], ["cluster:100000000000"], ["cluster:1"], ["prune:2"], ["quantize", "prune"],
                        ["prune:nan"], "prune", ["prune:0.5"] * 10**4, [1], ["cluster:" + "9" * 5000],
                        ["prune:1e-320"]]),
]  # fmt: skip


def _toml(value: Any) -> str:
    if value in ("inf", "nan"):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def with_key(text: str, key: str, value: Any) -> str:
    """A TOML text with one value changed."""
    table, _, name = key.rpartition(".")
    line = f"{name} = {_toml(value)}"
    if not table:
        lines = [row for row in text.splitlines() if not row.startswith(f"{name} =")]
        return "\n".join([line, *lines]) + "\n"
    rows, where, done = [], "", False
    for row in text.splitlines():
        if row.startswith("["):
            where = row.strip("[]")
        if where == table and row.startswith(f"{name} ="):
            continue
        rows.append(row)
        if row == f"[{table}]":
            rows.append(line)
            done = True
    return "\n".join(rows if done else [*rows, f"[{table}]", line]) + "\n"


def _run(m: Maker, text: str | bytes, expect: str = "") -> Case:
    file = m.write("recipe.toml", text)
    return Case(["run", str(file), "--output", f"{m.out}/run"], refused=True, expect=expect)


@kind
def recipe_values(m: Maker) -> Case:
    """One value without sense. The data do not exist, so a recipe that is accepted ends there."""
    key, values = m.pick(*_RECIPE_KEYS)
    model = key.endswith(".model")  # specs are checked once the data are known
    text = good.RECIPE.format(data=m.data if model else "npz:nothing.npz")
    expect = "model|teacher|student" if model else key.rpartition(".")[2].rstrip("s")
    return _run(m, with_key(text, key, m.random.choice(values)), expect=expect)


@kind
def recipe_text(m: Maker) -> Case:
    """Text that is no recipe."""
    sound = good.RECIPE.format(data="npz:nothing.npz")
    text = m.pick(
        "", "\0", "x", "[", "[[[[", "a = " + "[" * 5000 + "]" * 5000, "a" * 10**6, "\ufeff" + sound,
        sound + "".join(f"key{i} = 1\n" for i in range(300_000)), b"\xff\xfe" + sound.encode("utf-16"),
        "x = " + "9" * 10_000 + "\n" + sound, "a" + ".a" * 3000 + " = 1", "\n".join(["[a]"] * 2),
        "x = 99999-99-99", sound + "\n[training.epochs]\n", "data = 1\n", "[[data]]\n" * 10,
        sound + "[training]\n", "data.source = true\n" + "name='x'\n", "x = {" + "a={" * 2000,
        "'''" * 3, sound.replace("npz:", "\\ud800"), damaged(sound.encode(), m.random),
        "a = " + "{b=" * 900 + "1" + "}" * 900, "x = '" + "y" * 3 * 10**6 + "'",
        sound + "[" + "x" * 100_000 + "]\na = 1\n", "seeds = [" + "0," * 10**6 + "]\n" + sound[sound.find("[data]"):],
    )  # fmt: skip
    return _run(m, text)


@kind
def recipe_specialists(m: Maker) -> Case:
    sound = good.SPECIALISTS.format(generalist=m.good.model, data=m.data)
    key, values = m.pick(
        ("clusters", [0, True, 10**12, 4, "x", 1.5]), ("size", [1, True, 10**12, "x", 4]),
        ("top", [0, True, 10**12, "x"]), ("seed", [-1, True, 10**30, 2**64, "x"]),
        ("cluster_temperature", [0, 1e-320, "nan", "inf", True]), ("cluster_seed", [-1, 10**30, True]),
        ("training.epochs", [True, 0, 10**12, 1.5]), ("training.share", [0, 1, "nan", True]),
        ("training.alpha", [-1, 2, "nan", True]), ("training.temperature", [0, 1e-320, "nan", True]),
        ("training.crop", [-1, True, 10**12, 1.5]), ("training.flip", [2, "x"]),
        ("training.batch_size", [0, True, 10**12]), ("generalist", ["", "x.keras", 1, "/dev/zero"]),
        ("source", ["", "x", 1]),
    )  # fmt: skip
    file = m.write("recipe.toml", with_key(sound, key, m.random.choice(values)))
    return Case(["specialists", "train", str(file), "-o", f"{m.out}/parts"], refused=True)


@kind
def options(m: Maker) -> Case:
    """Numbers without sense on the command line."""
    number = m.pick(
        "10" * 20, "-1", "0", "nan", "inf", "1e-320", "1e400", "x", "", "1" * 5000, "٣", "0x10"
    )
    whole = m.pick("1" + "0" * 30, "-1", "0", "1.5", "x", "", "1000000000000", "9" * 5000)
    data, model = m.data, str(m.good.model)
    logits = ["targets", "build", model, "-o", f"{m.out}/store", "--data", data]
    nowhere = ["run", "--data", "npz:nothing.npz", "--teacher", "mlp:4", "--student", "mlp:2",
               "--output", f"{m.out}/run"]  # fmt: skip
    argv, name = m.pick(
        ([*logits, "--top-k", whole], "top.k"),
        ([*logits, "--batch-size", m.pick("0", "-1", "x", "10" * 20)], "batch.size"),
        ([*logits, "--views", m.pick("2", "0", "-1", "10" * 20, "1000000000")], "view"),
        ([*logits, "--dtype", m.pick("float8", "", "object")], "dtype"),
        ([*logits, "--augment", m.pick("crop=1e9", "x", "flip=x", "=", "crop=nan", "rotate=inf", ",")],
         ""),
        ([*logits, "--mean", "x"], ""),
        ([*nowhere, "--temperature", m.pick("nan", "inf", "1e-320", "0", "-1", "x")], "temperature"),
        ([*nowhere, "--alpha", m.pick("nan", "inf", "2", "-1", "x")], "alpha"),
        ([*nowhere, "--epochs", whole], "epochs"),
        ([*nowhere, "--seeds", whole], "seeds"),
        ([*nowhere, "--batch-size", whole], "batch.size"),
        ([*nowhere, "--learning-rate", m.pick("nan", "inf", "0", "-1", "x")], "learning.rate"),
        ([*nowhere, "--labels", m.pick("nan", "inf", "0", "-1", "x", "1.5", "9" * 5000)], "labels"),
        ([*nowhere, "--quantization", m.pick("", "x", ",", "int8,int8")], "quantization"),
        ([*nowhere, "--compress", m.pick("", "x", ",", "cluster:100000000000")], "steps"),
        ([*nowhere, "--name", m.pick("", "../x", "x" * 3000, "\n")], "name"),
        (["run", "--data", data, "--teacher", "mlp:4", "--student", "mlp:2", "--output", f"{m.out}/run",
          "--import", m.pick("typo", "", "..x", "a b", "os.nothing")], "import"),
        ([*nowhere, "--scale", "x"], "scale"),
        (["targets", "info", str(m.good.store), "--examples", m.pick("0", "-1", "x", "10" * 20)], ""),
        (["benchmark", model, "--runs", m.pick("0", "-1", "1" + "0" * 30)], "runs"),
        (["benchmark", model, "--threads", m.pick("", "0", "-1", "x", "1,,2", "1000000000")], "threads"),
        (["benchmark", model, "--batch-size", m.pick("0", "-1", "1" + "0" * 30)], "batch.size"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--quantization", m.pick("x", "", ",", "int8,x")], ""),
        (["export", model, "-o", f"{m.out}/f.tflite", "--batch-size", m.pick("0", "-1", "1" + "0" * 30)],
         "batch.size"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--io", "x"], "io"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--timeout", m.pick("0", "-1", "nan")], "timeout"),
        (["export", model, "-o", f"{m.out}/f.tflite", "--limit", m.pick("-1", "nan", "inf")], "limit"),
        (["compress", model, "--data", data, "--alpha", "0", "-o", f"{m.out}/c", "--steps",
          m.pick("cluster:100000000000", "prune:nan", "", "x", "prune:0.5,prune:0.5")], "steps"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha",
          m.pick("nan", "2", "x", "-1")], "alpha"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--epochs", m.pick("0", "-1", "x", "1" + "0" * 30)], "epochs"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--batch-size", m.pick("0", "-1", "x", "1" + "0" * 30)], "batch.size"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--alpha", "0",
          "--learning-rate", m.pick("nan", "0", "-1", "inf")], "learning.rate"),
        (["compress", model, "--data", data, "-o", f"{m.out}/c", "--steps", "prune", "--targets",
          str(m.good.store), "--temperature", m.pick("nan", "0", "-1", "inf", "1e-320")], "temperature"),
        (["cost", "mlp:4", "mlp:2", "--data", data, "--rounds", number], ""),
    )  # fmt: skip
    return Case(argv, refused=True, expect=name and f"(?i){name.rstrip('s')}")
