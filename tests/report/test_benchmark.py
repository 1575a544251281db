"""The page and the plot of a benchmark."""

import pytest

from keras_distill import report
from keras_distill._internal import InputError


@pytest.fixture
def record(finished_run):
    return finished_run[1].benchmark


def _without_quality(record):
    entries = tuple(entry.model_copy(update={"quality": None}) for entry in record.entries)
    return record.model_copy(update={"entries": entries, "data": None, "split": None})


def test_the_page_compares_with_the_first_model(record, browser, tmp_path):
    teacher, *files = record.entries
    text = report.render_benchmark(record)
    for file in files:
        smaller = teacher.size.bytes / file.size.bytes
        assert f"{file.name} is {smaller:.1f}x smaller and " in text
        assert f'data-value="{file.size.bytes}" title="{file.size.bytes:,} bytes"' in text
    page = tmp_path / "benchmark.html"
    page.write_text(text)
    for width in (390, 1600):
        browser.open(page, width=width)
        assert (
            browser.run(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            == 0
        )
        assert browser.messages() == [] and browser.requests() == []


def test_without_data_it_says_so_in_red_and_plots_the_latency(record):
    text = report.render_benchmark(_without_quality(record))
    assert 'banner bad" role="note"><strong>Random data.' in text
    assert "<h2>Quality</h2>" not in text and "median latency, ms" in text


@pytest.mark.parametrize("kind, start", [("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")])
def test_a_picture_of_each_kind(record, kind, start):
    picture = report.benchmark_picture(record, kind)
    assert picture.startswith(start)
    if kind == "svg":
        assert all(entry.name in picture.decode() for entry in record.entries)
        assert b"var(" not in picture


def test_a_picture_needs_accuracies(record):
    with pytest.raises(InputError, match="Benchmark with `data`"):
        report.benchmark_picture(_without_quality(record), "png")
