"""Tables in a narrow terminal."""

import pytest

from keras_distill.cli._console import print_table

COLUMNS = ("name", "test %", "minus ref.", "p (Holm)", "rows/s batched")
ROWS = [("DISTLoss", "48.60±31.56", "+7.00±11.64", "0.858", "5,945,190")] * 2


@pytest.mark.parametrize("width", ["20", "50", "80"])
def test_a_number_is_never_cut(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    print_table(COLUMNS, ROWS)
    shown = capsys.readouterr().out
    assert "…" not in shown
    for cell in ROWS[0][1:]:
        assert shown.count(cell) == 2
    for word in " ".join(COLUMNS).split():
        assert word in shown


def test_words_stay_whole_and_long_text_is_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("what", "steps"), [("StandardizedSoftTargetLoss of " + "word " * 20, "12")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 4 and all(len(line) <= 40 for line in lines)
    assert sum(line.split().count("word") for line in lines) == 20
