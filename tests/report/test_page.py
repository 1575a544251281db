"""The page of a run: complete, self-contained, and shown by a real browser."""

import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from keras_distill import report
from keras_distill._internal import InputError
from keras_distill.records import RunRecord
from keras_distill.report import _summary, _verdict


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
    assert page.tags.count("svg") > 5


def test_the_page_shows_the_record(finished):
    out, record = finished
    text = " ".join("".join(_read((out / "report.html").read_text()).text).split())
    assert f"{100 * record.teacher.test_accuracy:.1f}" in text
    for variant in record.variants:
        assert variant.title in text
        assert _summary.percent(variant.test_accuracy) in text
    for export in record.exports.exports.values():
        assert f"{export.bytes / 1024:.1f}" in text
    for sentence in _verdict.sentences(record):
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


def test_a_page_is_made_again_in_place_and_elsewhere_nothing_is_replaced_unasked(
    finished, tmp_path
):
    out, _ = finished
    page = out / "report.html"
    before = page.read_text()
    page.write_text("an older page")
    assert report.write(out) == page
    assert page.read_text() == before
    other = tmp_path / "other.html"
    other.write_text("mine")
    with pytest.raises(InputError, match="exists"):
        report.write(out, other)
    assert other.read_text() == "mine"
    assert report.write(out, other, overwrite=True) == other


def test_a_run_without_explored_examples_has_a_page(finished, tmp_path):
    out, record = finished
    record.save(tmp_path / "record.json")
    text = report.write(tmp_path).read_text()
    assert "Reliability" in (out / "report.html").read_text() and "Reliability" not in text


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
        return _verdict.gain(record.model_copy(update={"gain": gain}))

    assert said(0.001, 0.02) == (
        "Distilling helps: the student's accuracy is 1.0 point higher than alone (95 % interval"
        " +0.1 to +2.0 points, paired over 2 seeds)."
    )
    assert "No effect of distilling is shown" in said(-0.001, 0.02)
    assert "Distilling hurts here" in said(-0.02, -0.001)
    assert "no interval" in said(None, None)


def test_a_failed_precision_is_named(finished):
    _, record = finished
    exports = record.exports.model_copy(update={"rejected": {"int16x8": "too far from Keras"}})
    changed = RunRecord.model_validate({**record.model_dump(), "exports": exports.model_dump()})
    assert "too far from Keras" in report.render(changed)


def test_data_without_pictures_get_a_fitting_view(finished, make_explored):
    _, record = finished
    row = report.render(record, make_explored(3, values=(5.1, 3.5, 1.4, 0.2)))
    assert "5.1, 3.5, 1.4, 0.2" in row and "<polyline" not in row
    signal = report.render(record, make_explored(3, values=tuple(map(float, range(40)))))
    assert 'points="0.0,29.0 ' in signal and " 100.0,1.0" in signal
    tokens = report.render(record, make_explored(3))
    assert "<img" not in tokens and "<polyline" not in tokens and "example 2" in tokens
    assert "Dark knowledge" not in report.render(record)


def test_data_cannot_end_the_script_that_holds_them(finished, make_explored):
    _, record = finished
    explored = make_explored(2)
    evil = explored.model_copy(update={"class_names": ("</script><b>", "b")})
    assert "</script><b>" not in report.render(record, evil)


def _changed(record, **parts):
    """Returns the record with other parts, by path: `exports__rejected={...}`."""
    values = record.model_dump()
    for path, value in parts.items():
        *keys, last = path.split("__")
        at = values
        for key in keys:
            at = at[int(key) if key.isdigit() else key]
        at[last] = value
    return RunRecord.model_validate(values)


def _file_entry(record):
    names = [entry.name for entry in record.benchmark.entries]
    return names.index("student-int8.tflite")


def test_a_file_that_falls_below_its_student_is_shown_in_red(finished):
    _, record = finished
    student = _verdict.student_accuracy(record)
    key = f"benchmark__entries__{_file_entry(record)}__quality__accuracy"
    good = _changed(record, **{key: student - 0.009})
    assert not [b for b in _verdict.banners(good) if "falls below" in b.title]
    bad = _changed(record, **{key: student - 0.031})
    banner = next(b for b in _verdict.banners(bad) if "falls below" in b.title)
    assert banner.kind == "bad" and "3.1 points lower" in banner.text
    assert "student-int8.tflite falls below the model it came from." in report.render(bad)
    # The page is then about a file that keeps the accuracy.
    assert _verdict.headline_file(good) == "student-int8.tflite"
    assert _verdict.headline_file(bad) == "student-float32.tflite"


def test_a_file_verified_on_random_rows_is_not_called_verified(finished):
    _, record = finished
    at = "exports__exports__int8__verification"
    random = _changed(
        record, **{f"{at}__source": "random", f"{at}__verdict": "not verified on data"}
    )
    assert "was not verified on data" in _verdict.verdict(random)
    assert any("not verified on data" in b.title for b in _verdict.banners(random))
    assert 'badge warn">not verified on data' in report.render(random)
    assert "badge warn" not in report.render(record)


def test_a_smoke_run_says_so_first(finished):
    _, record = finished
    smoke = _changed(record, scale="smoke")
    assert _verdict.banners(smoke)[0].title == "A smoke run."
    assert not [b for b in _verdict.banners(record) if "smoke" in b.title]


def test_ratios_are_told_in_words(finished):
    _, record = finished
    number, teacher = _file_entry(record), record.benchmark.entries[0].size.bytes
    at = f"benchmark__entries__{number}"
    changed = _changed(
        record,
        **{
            f"{at}__size__bytes": teacher // 50,
            f"{at}__latency__0__ratio__value": 1.25,
            f"{at}__quality__accuracy": record.teacher.test_accuracy,
        },
        variants__1__seeds=[
            {**seed.model_dump(), "test_accuracy": record.teacher.test_accuracy}
            for seed in record.variants[1].seeds
        ],
    )
    text = _verdict.verdict(changed)
    assert "50x smaller and 1.2x slower than the teacher" in text or "1.3x slower" in text
    assert "the same as the teacher's" in text
