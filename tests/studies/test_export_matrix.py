"""The export matrix: small networks of it, and the text of its rows."""

import sys

import pytest

from keras_distill.records import ExportSet


@pytest.fixture(scope="module")
def matrix(load_study):
    return load_study("export-matrix")


def test_the_networks_of_the_table(matrix):
    names = {"ResNet-20", "DS-CNN", "MLP 784", "MobileNetV3Small", "transformer", "LSTM"}
    assert set(matrix.networks()) == names


def test_an_unsupported_precision_is_reported_with_its_reason(matrix):
    result = ExportSet(exports={}, rejected={"int8": "too far"}, impossible={"int16x8": "NEG"})
    assert list(matrix.rows_of("small", result)) == [
        ("small", "int8", "rejected", "", "", "too far"),
        ("small", "int16x8", "impossible", "", "", "NEG"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DS-CNN", "transformer", "LSTM"])
def test_a_network_in_every_precision(matrix, name, tmp_path, monkeypatch):
    out = tmp_path / "matrix.md"
    monkeypatch.setattr(sys, "argv", ["study.py", "--out", str(out), "--only", name])
    matrix.main()
    rows = {line.split(" | ")[1]: line for line in out.read_text().splitlines()[2:]}
    assert len(rows) == 7 and all(line.startswith(f"| {name} |") for line in rows.values())
    assert "FULLY_CONNECTED" in rows["float32"]
    if name == "transformer":
        assert "impossible" in rows["int16x8"] and "whole-number inputs" in rows["int16x8"]
    if name == "LSTM":
        assert "WHILE" in rows["float32"] and "WHILE" not in rows["int8"]
