"""The page of a run: complete, self-contained, and shown by a real browser."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from keras_distill import report
from keras_distill._internal import InputError
from keras_distill.records import RunRecord
from keras_distill.report import _summary


@pytest.fixture(scope="module")
def finished(finished_run, tmp_path_factory):
    out, record = finished_run
    return shutil.copytree(out, tmp_path_factory.mktemp("run") / "small"), record


class _Collector(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_data(self, data):
        self.text.append(data)


def _read(page):
    collector = _Collector()
    collector.feed(page)
    return collector


def test_the_page_needs_nothing_from_outside(finished):
    out, _ = finished
    page = _read((out / "report.html").read_text())
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert page.tags.count("svg") == 2 * 5  # each chart for wide and for narrow screens


def test_the_page_shows_the_record(finished):
    out, record = finished
    text = " ".join("".join(_read((out / "report.html").read_text()).text).split())
    assert f"{100 * record.teacher.test_accuracy:.1f}" in text
    for variant in record.variants:
        assert variant.title in text
        assert _summary.percent(variant.test_accuracy) in text
    for export in record.exports.exports.values():
        assert f"{export.bytes:,}" in text
    for sentence in _summary.sentences(record):
        assert sentence in text


def test_rendering_is_repeatable(finished):
    _, record = finished
    assert report.render(record) == report.render(record)


def test_names_from_the_record_are_escaped(finished):
    _, record = finished
    evil = record.model_copy(
        update={"recipe": record.recipe.model_copy(update={"summary": "<script>x</script>"})}
    )
    assert "<script>x" not in report.render(evil)


def test_rendering_imports_no_tensorflow(finished):
    out, _ = finished
    code = (
        "import sys; from keras_distill import report;"
        f"report.write({str(out)!r}, {str(out / 'again.html')!r});"
        "sys.exit(int('tensorflow' in sys.modules or 'keras' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (out / "again.html").read_text() == (out / "report.html").read_text()


def test_an_existing_page_is_not_replaced_unasked(finished):
    out, _ = finished
    with pytest.raises(InputError, match="exists"):
        report.write(out)
    assert report.write(out, overwrite=True) == out / "report.html"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"recipe": 3}', "\x00"])
def test_a_broken_record_is_one_line(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(InputError) as caught:
        report.write(tmp_path)
    assert "\n" not in str(caught.value)


def test_sentences_are_no_stronger_than_the_interval(finished):
    _, record = finished

    def said(low, high):
        gain = record.gain.model_copy(update={"value": 0.01, "low": low, "high": high})
        return _summary.sentences(record.model_copy(update={"gain": gain}))[0]

    assert "distilling helps" in said(0.001, 0.02)
    assert "no effect is shown" in said(-0.001, 0.02)
    assert "distilling hurts" in said(-0.02, -0.001)
    assert "without an interval" in said(None, None)


def test_a_failed_precision_is_named(finished):
    _, record = finished
    exports = record.exports.model_copy(update={"rejected": {"int16x8": "too far from Keras"}})
    changed = RunRecord.model_validate({**record.model_dump(), "exports": exports.model_dump()})
    assert "too far from Keras" in report.render(changed)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium to open the page")
def test_a_browser_shows_it_without_complaint(finished, tmp_path):
    out, record = finished
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-quic", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,2400",
        "--enable-logging=stderr", "--v=0",
    ]  # fmt: skip
    page = f"file://{out / 'report.html'}"
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [*command, f"--screenshot={picture}", page], capture_output=True, text=True, timeout=120
    )
    assert not re.search(r"CONSOLE.*(error|refused)", done.stderr, re.IGNORECASE)
    from matplotlib import image

    pixels = image.imread(picture)[..., :3]
    assert pixels.shape[0] == 2400
    # A blank or unstyled page has far fewer colors than one with curves, bars and text.
    colors = {tuple(p) for p in (pixels[::4, ::4].reshape(-1, 3) * 31).astype(int)}
    assert len(colors) > 60
    dumped = subprocess.run(
        [*command, "--dump-dom", page], capture_output=True, text=True, timeout=120
    )
    assert f"{100 * record.teacher.test_accuracy:.1f}" in dumped.stdout
