"""Records in a notebook."""

import re

import pytest

from keras_distill.records import IntervalRecord, OutputVerification, Record


class Part(Record):
    name: str
    inner: tuple[IntervalRecord, ...] = ()
    by_name: dict[str, float] | None = None
    many: tuple[int, ...] = ()


def test_plain_values_are_rows_and_parts_are_folded():
    part = Part(name="a", inner=(IntervalRecord(value=1.5, low=None, high=None, n=1),))
    html = part._repr_html_()
    assert '<th style="text-align: left">name</th><td style="text-align: left">a</td>' in html
    assert "<details><summary>inner</summary><details><summary>0</summary>" in html
    assert ">1.5</td>" in html and "by_name</th>" in html


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "x" * 10_000])
def test_values_are_escaped_and_cut(text):
    html = Part(name=text, by_name={text: 1.0}, many=tuple(range(1000)))._repr_html_()
    assert "<script>" not in html and "and 950 more" in html
    assert len(re.sub(r"<summary>.*?</summary>|<th.*?</th>", "", html)) < 2000


def test_a_run_shows_its_results_first(finished_run):
    _, record = finished_run
    html = record._repr_html_()
    head = html[: html.index("<details>")]
    assert f"teacher {record.teacher.model}" in head and "student-int8.tflite" in head
    assert f"{record.teacher.test_accuracy:.1%}" in head and "KiB, passed" in head
    assert "<summary>all values</summary>" in html


def test_a_record_without_summary_shows_its_values():
    nothing = dict.fromkeys(("max_difference", "relative_difference", "noise"))
    html = OutputVerification(name="logits", limit=0.1, **nothing)._repr_html_()
    assert "<strong>OutputVerification</strong>" in html and ">logits</td>" in html
