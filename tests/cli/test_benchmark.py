import json
from pathlib import Path

import numpy as np
import pytest

from keras_distill.cli import main
from keras_distill.records import BenchmarkRecord

FILES = Path(__file__).parents[1] / "golden/tflite"
FLOAT, INT8 = str(FILES / "float.tflite"), str(FILES / "int8.tflite")


@pytest.fixture
def rows(tmp_path):
    """A data spec of rows that the files take."""
    random = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"x_{split}"] = random.uniform(-1, 1, (30, 4)).astype(np.float32)
        arrays[f"y_{split}"] = np.arange(30) % 3
    np.savez(tmp_path / "rows.npz", **arrays)
    return f"npz:{tmp_path / 'rows.npz'}"


def test_json(rows, capsys):
    argv = ["benchmark", FLOAT, INT8, "--data", rows, "--runs", "3", "--threads", "1,2", "--json"]
    assert main([*argv, "--samples", "10", "--split", "validation"]) == 0
    record = BenchmarkRecord.parse(json.loads(capsys.readouterr().out), source="stdout")
    assert [e.name for e in record.entries] == ["float.tflite", "int8.tflite"]
    assert [r.threads for r in record.entries[1].latency] == [1, 2]
    assert record.entries[0].quality.samples == 10 and record.split == "validation"


def test_tables_markdown_plot_and_page(rows, tmp_path, capsys):
    text, plot, page = (tmp_path / name for name in ("b.md", "b.svg", "b.html"))
    argv = ["benchmark", FLOAT, INT8, "--data", rows, "--runs", "3"]
    outputs = ["--markdown", str(text), "--plot", str(plot), "--page", str(page)]
    assert main([*argv, *outputs]) == 0
    shown = capsys.readouterr().out
    assert "int8.tflite" in shown and "Latency" in shown and "Agreement is with" in shown
    assert "**Quality**" in text.read_text()
    assert plot.read_text().startswith("<svg") and ">int8.tflite</text>" in plot.read_text()
    assert "int8.tflite is " in page.read_text()
    assert main([*argv, "--markdown", str(text)]) == 2
    assert "b.md exists" in capsys.readouterr().err


def test_targets_are_columns_of_the_tables_and_of_the_page(tmp_path, capsys):
    page, text = tmp_path / "b.html", tmp_path / "b.md"
    argv = ["benchmark", INT8, "--runs", "2", "--target", "xnnpack"]
    assert main([*argv, "--page", str(page), "--markdown", str(text)]) == 0
    assert "takes 1 of 1 int8" in capsys.readouterr().out
    assert "Where the files run" in page.read_text() and ">1 of 1<" in page.read_text()
    assert "| # | target | result |" in text.read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([FLOAT, "--target", "esp32"], "`targets` must be one of tflm, xnnpack"),
        ([FLOAT, "--plot", "p.png"], "`--plot` shows accuracy, so it needs `--data`"),
        ([FLOAT, "--data", "digits", "--plot", "p.txt"], "must end in .png, .svg, or .pdf"),
        ([FLOAT, "--threads", "many"], "`--threads` must be counts separated by commas"),
        ([FLOAT, "--runs", "1"], "`runs` must be a whole number >= 2"),
        ([FLOAT, "--data", "digits"], "rows of shape (4,)"),
        ([str(FILES / "flex.tflite")], "does not know: FlexErf"),
        (["text.tflite"], "text.tflite: not a .tflite file"),
        (["cut.tflite"], "cut.tflite"),
        ([], "Missing argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tflite").write_text("a text that was renamed")
    (tmp_path / "cut.tflite").write_bytes(Path(FLOAT).read_bytes()[:300])
    assert main(["benchmark", *argv]) == 2
    shown = capsys.readouterr()
    assert words in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert {p.name for p in tmp_path.iterdir()} == {"text.tflite", "cut.tflite"}
