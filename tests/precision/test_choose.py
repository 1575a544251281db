"""The smallest file that keeps the accuracy, and what happens if there is none."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import InputError, VerificationError, precision
from keras_distill.cli import main
from keras_distill.export import ExportOptions
from keras_distill.litert import Operator, Rule, read_graph
from keras_distill.precision import _recipes, _search
from keras_distill.precision._choose import Limits
from keras_distill.precision._recipes import INT4, Group, Recipe, mixtures, plain
from keras_distill.precision._sensitivity import GROUPS, neighbors
from keras_distill.records import ExportPart, ExportRecord, PrecisionRecord
from keras_distill.runs._export import export_student

QUIET = pytest.mark.filterwarnings("ignore::keras_distill.KerasDistillWarning")


@pytest.fixture
def few(monkeypatch):
    """Lets a choice try three files, so that a test takes a second."""
    monkeypatch.setattr(_search, "CONVERTED", _recipes.CONVERTED[:2])
    made = _recipes.plain
    monkeypatch.setattr(_recipes, "plain", lambda operators: made(operators)[:1])


def test_the_smallest_file_that_passes_is_written(chosen):
    table = chosen.record.precision
    by_name = {one.name: one for one in table.candidates}
    assert {"float32", "float16", "dynamic", "int8", "weight-only-int4"} < set(by_name)
    passing = [one for one in table.candidates if one.outcome in ("passed", "chosen")]
    best = by_name[table.chosen]
    assert best.outcome == "chosen" and best.bytes == min(one.bytes for one in passing)
    assert chosen.record.bytes == chosen.file.stat().st_size
    assert best.drop <= 1.0 and best.judged_drop <= 1.0
    sizes = [one.bytes for one in table.candidates if one.bytes is not None]
    assert sizes == sorted(sizes)
    assert chosen.record.verification.passed and chosen.record.precision.reference > 0.8
    assert ExportRecord.load(chosen.file.with_name("net.tflite.json")) == chosen.record


def test_other_rows_judge_than_choose(chosen):
    table, verification = chosen.record.precision, chosen.record.verification
    assert (table.chosen_on, table.judged_on) == (
        "data given, one half",
        "data given, the other half",
    )
    assert table.chosen_on_rows == table.judged_on_rows == 400
    assert (verification.source, verification.samples) == (table.judged_on, 400)


def test_the_front_is_of_bytes_and_loss(chosen):
    files = [one for one in chosen.record.precision.candidates if one.drop is not None]
    for one in files:
        beaten = any(
            other.bytes <= one.bytes
            and other.drop <= one.drop
            and (other.bytes, other.drop) != (one.bytes, one.drop)
            for other in files
        )
        assert not (one.on_front and beaten), one.name
    assert any(one.on_front for one in files)


def test_every_file_has_its_latency_and_a_line_of_progress(chosen):
    files = [one for one in chosen.record.precision.candidates if one.bytes is not None]
    assert all(one.latency_ms > 0 and one.latency_ratio > 0 for one in files)
    assert len([line for line in chosen.lines if "bytes" in line]) == len(files)
    assert chosen.record.precision.conversions >= len(files)


@QUIET
def test_nothing_is_written_if_no_file_passes(chosen, few, tmp_path):
    file = tmp_path / "net.tflite"
    with pytest.raises(VerificationError, match=r"none of .* passes\. Nearest: ") as told:
        kd.export_tflite(
            chosen.model, file, quantization="auto", data=chosen.data, max_drop=1, max_bytes=100
        )
    assert "bytes, more than 100" in str(told.value) and len(str(told.value)) < 500
    table = told.value.record
    assert isinstance(table, PrecisionRecord) and table.chosen is None
    assert table.nearest in {one.name for one in table.candidates}
    assert list(tmp_path.iterdir()) == []


@QUIET
@pytest.mark.slow
def test_the_auc_of_an_autoencoder_is_kept(autoencoder, tmp_path):
    model, data = autoencoder
    x = data[0]
    with pytest.raises(VerificationError, match=r"AUC falls by \d") as told:
        kd.export_tflite(
            model, tmp_path / "a.tflite", quantization="int8", calibration=x, data=data
        )
    output = told.value.record.verification.outputs[0]
    assert output.metric == "AUC" and output.judged.reference > 0.98
    assert output.drop > 3 and output.noise < 0.02  # by differences alone it would have passed
    record = kd.export_tflite(
        model, tmp_path / "b.tflite", quantization="auto", calibration=x, data=data
    )
    kept = record.verification.outputs[0]
    assert record.verification.passed and kept.metric == "AUC" and kept.drop <= 1
    by_name = {one.name: one for one in record.precision.candidates}
    assert by_name["int8"].outcome == "failed" and record.precision.chosen != "int8"
    assert any("AUC falls" in text for text in by_name["int8"].reasons)


@QUIET
def test_a_run_makes_the_file(chosen, few, tmp_path):
    part = ExportPart.parse({"quantizations": ["auto"], "max_drop": 100.0}, source="small.toml")
    recipe = SimpleNamespace(
        export=part, quantizations=("auto",), budget=SimpleNamespace(max_bytes=20000)
    )
    context = SimpleNamespace(
        recipe=recipe,
        scale="full",
        splits=kd.data.load("digits"),
        folder=SimpleNamespace(path=tmp_path),
        file_options={},
        reporter=SimpleNamespace(stage=lambda *words: None),
    )
    model = kd.models.build("mlp:8", input_shape=(8, 8, 1), num_classes=10)
    made = export_student(context, model)
    record = made.exports["auto"]
    assert record.file == "student-auto.tflite" and record.precision.max_bytes == 20000
    assert record.verification.source == "digits, test"
    tried = []

    def over_budget(file):
        tried.append(file.stat().st_size)
        return ["it needs too much memory"] if len(tried) == 1 else []

    other = export_student(context, model, over_budget).exports["auto"]
    assert tried == [record.bytes, other.bytes] and record.bytes < other.bytes
    refused = next(one for one in other.precision.candidates if one.bytes == record.bytes)
    assert refused.outcome == "failed" and refused.reasons == ("it needs too much memory",)
    recipe.budget.max_bytes, context.folder.path = 9, tmp_path / "small"
    (tmp_path / "small").mkdir()
    made = export_student(context, model)
    assert "bytes, more than 9" in made.rejected["auto"] and not made.exports


@QUIET
@pytest.mark.parametrize("worth", [True, False])
def test_a_model_is_trained_for_int8_where_that_helps(chosen, few, tmp_path, monkeypatch, worth):
    monkeypatch.setattr(_search.Search, "is_worth", lambda self, families: worth)
    monkeypatch.setattr(_search.Search, "_mix", lambda *arguments: None)
    x, y = chosen.data
    training = precision.Training((x, y), {"alpha": 0, "epochs": 1, "batch_size": 64})
    options = {"quantization": "auto", "data": (x, y), "max_drop": 3, "training": training}
    record = kd.export_tflite(chosen.model, tmp_path / "n.tflite", **options)
    by_name = {one.name: one for one in record.precision.candidates}
    if not worth:
        assert "int8, trained for it" not in by_name
        assert record.precision.notes == (
            "the model was not trained for int8: a file that passes is no larger",
        )
        return
    trained = by_name["int8, trained for it"]
    assert trained.outcome in ("passed", "chosen") and trained.drop <= 3
    assert trained.bytes < by_name["float16"].bytes and record.precision.notes == ()


def test_mixtures_keep_the_most_sensitive_first():
    groups = [Group((Operator(f"c{n}/conv;", "CONV_2D", f"c{n}"),)) for n in range(16)]
    made = mixtures("int8", groups)
    floats = [one for one in made if one.rules[-1].kind == "weight-only-int8"]
    assert [len(one.kept) for one in floats] == [1, 2, 4, 8]
    assert floats[1].kept == ("c0", "c1") and floats[1].rules[0].scopes is None
    assert floats[1].rules[-1].scopes == ("c0/conv;", "c1/conv;")
    assert [one.rules[-1].kind for one in made[4:]] == ["int16x8"] * 4
    assert mixtures("int8", groups[:1]) == []  # nothing would be left to quantize


def test_the_number_of_groups_is_bounded():
    for count in (1, GROUPS, GROUPS + 1, 1000):
        groups = neighbors([Operator(f"{n};", "ADD", f"{n}") for n in range(count)], GROUPS)
        assert len(groups) <= GROUPS and sum(len(g.operators) for g in groups) == count


def test_blocks_need_operators_that_have_them():
    names = [one.name for one in plain([Operator("c/conv;", "CONV_2D", "c")])]
    assert "weight-only-int4" in names and "dynamic-int4 in blocks" not in names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": None}, r"needs labeled rows: give --data SPEC"),
        ({"max_bytes": 0}, "`max_bytes` must be"),
        ({"max_bytes": 1.5}, "`max_bytes` must be"),
        ({"max_latency_ratio": 0}, "`max_latency_ratio` must be"),
        ({"max_drop": -1}, "`max_drop` must be"),
        ({"keep_failed": True}, "takes neither `keep_failed` nor `sparse`"),
        ({"data": (np.zeros((10, 32), "float32"), np.zeros(10, int))}, "40 rows or more"),
        ({"data": np.random.default_rng(0).normal(size=(80, 32))}, "must have labels"),
    ],
)
@QUIET
def test_bad_input(chosen, tmp_path, options, words):
    settings = {"data": chosen.data, **options}
    with pytest.raises(InputError, match=words) as told:
        kd.export_tflite(chosen.model, tmp_path / "n.tflite", quantization="auto", **settings)
    assert len(str(told.value)) < 500 and list(tmp_path.iterdir()) == []


def test_limits_of_auto_need_auto(chosen, tmp_path, capsys):
    with pytest.raises(InputError, match="`max_bytes` needs quantization='auto'"):
        kd.export_tflite(chosen.model, tmp_path / "n.tflite", max_bytes=5)
    chosen.model.save(tmp_path / "n.keras")
    argv = ["export", str(tmp_path / "n.keras"), "-o", str(tmp_path / "n.tflite")]
    assert main([*argv, "--max-bytes", "9"]) == 2
    assert "`--max-bytes` needs --quantization auto" in capsys.readouterr().err
    assert main([*argv, "--quantization", "auto"]) == 2
    assert "needs labeled rows" in capsys.readouterr().err
    (tmp_path / "cut.keras").write_bytes((tmp_path / "n.keras").read_bytes()[:900])
    argv[1] = str(tmp_path / "cut.keras")
    assert main([*argv, "--quantization", "auto", "--data", "digits"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.keras", "n.keras"]


def test_the_command_prints_the_table(chosen, few, tmp_path, capsys):
    arrays = {}
    for split in ("train", "val", "test"):
        arrays |= {f"x_{split}": chosen.data[0][:300], f"y_{split}": chosen.data[1][:300]}
    np.savez(tmp_path / "rows.npz", **arrays)
    chosen.model.save(tmp_path / "n.keras")
    out = tmp_path / "n.tflite"
    argv = ["export", str(tmp_path / "n.keras"), "-o", str(out), "--quantization", "auto"]
    argv.append("--calibrate")
    assert main([*argv, "--data", f"npz:{tmp_path / 'rows.npz'}", "--max-drop", "2"]) == 0
    shown = capsys.readouterr().out
    assert "weight-only-int8" in shown and "chosen" in shown and "folded into" in shown
    record = ExportRecord.parse(json.loads((tmp_path / "n.tflite.json").read_text()), source="n")
    assert record.probabilities.samples == 300
    measured = record.verification.outputs[0].measures["ECE"]
    assert measured.reference >= 0 and measured.file >= 0


@QUIET
def test_a_stripped_file_is_chosen_though_operators_are_found_by_name(
    chosen, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(_search, "CONVERTED", _recipes.CONVERTED[:1])
    monkeypatch.setattr(_recipes, "plain", lambda operators: [Recipe(INT4, INT4, (Rule(INT4),))])
    monkeypatch.setattr(_search.Search, "is_worth", lambda self, families: True)
    monkeypatch.setattr(_search, "_MORE", (INT4,))
    names = [f"{name}_{split}" for split in ("train", "val", "test") for name in "xy"]
    np.savez(tmp_path / "rows.npz", **dict(zip(names, 3 * chosen.data, strict=True)))
    chosen.model.save(tmp_path / "n.keras")
    argv = ["export", str(tmp_path / "n.keras"), "-o", str(tmp_path / "n.tflite"), "--strip"]
    argv += ["--quantization", "auto", "--data", f"npz:{tmp_path / 'rows.npz'}", "--max-drop", "1"]
    assert main(argv) == 0
    assert "1 group in weight-only-int8" in capsys.readouterr().out
    record = ExportRecord.load(tmp_path / "n.tflite.json")
    mixed = next(one for one in record.precision.candidates if one.kept)
    sizes = {one.name: one.bytes for one in record.precision.candidates}
    assert set(mixed.kept) < {"first", "logits"} and sizes[INT4] < mixed.bytes < sizes["float32"]
    assert record.bytes < chosen.record.bytes and record.verification.passed
    main_graph = read_graph(tmp_path / "n.tflite").subgraphs[0]
    assert len([t.name for t in main_graph.tensors if t.name]) == 2  # input and output


def test_probabilities_can_be_trusted_after_a_temperature():
    random = np.random.default_rng(0)
    logits = random.normal(size=(2000, 4))
    labels = np.array([random.choice(4, p=np.exp(z) / np.exp(z).sum()) for z in logits])
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(4), keras.layers.Activation("softmax")]
    )
    model.layers[0].set_weights([3 * np.eye(4), np.zeros(4)])  # three times too sure
    made = precision.calibrate(model, ExportOptions(data=(logits, labels)))
    assert made.record.temperature == pytest.approx(3, rel=0.1)
    kernel = made.model.layers[0].get_weights()[0]
    np.testing.assert_allclose(kernel, 3 / made.record.temperature * np.eye(4), rtol=1e-6)
    assert model.layers[0].get_weights()[0][0, 0] == 3  # the model given is not changed
    wrong = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, activation="relu")])
    with pytest.raises(InputError, match="last layer that computes the logits"):
        precision.divided(wrong, 2.0)


def _tried(size, ratio, drop, disagreement=0.0):
    return SimpleNamespace(bytes=size, ratio=ratio, drop=drop, disagreement=disagreement)


def test_limits_name_what_a_file_misses_and_weigh_it():
    limits = Limits(max_drop=1.0, max_bytes=1000, max_latency_ratio=1.2)
    fits = _tried(1000, 1.2, 1.0)
    slow = _tried(1000, 1.5, 1.0)
    large = _tried(1500, 1.0, 1.0)
    unmeasured = _tried(10, None, 0.0)
    assert limits.misses(fits) == [] and limits.excess(fits) == 0
    assert limits.misses(slow) == [
        "latency 1.50 times that of float32; at most 1.2 times is allowed"
    ]
    assert limits.misses(large) == ["1,500 bytes, more than 1,000"]
    assert limits.misses(unmeasured) == ["latency was not measured; at most 1.2 times is allowed"]
    assert limits.excess(slow) == pytest.approx(0.25)
    assert limits.excess(large) == pytest.approx(0.5)
    assert limits.excess(_tried(1000, 1.0, 1.0, disagreement=0.5)) == pytest.approx(0.5)
    assert Limits(1.0).misses(slow) == []
