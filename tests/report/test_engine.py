"""The drawing engine runs in a child, whose end ends neither a page nor this process."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from keras_distill._internal import InputError
from keras_distill.report import _engine
from keras_distill.report._charts import Chart, layer, picture, to_html

SPEC = {"data": {"values": [{"a": 1}]}, "mark": "bar", "encoding": {"x": {"field": "a"}}}


class Dies:
    def draw(self, spec, kind):
        os.kill(os.getpid(), signal.SIGTRAP)


@pytest.fixture
def crash(monkeypatch):
    """Lets the engine crash, as it does under a limit of the address space."""
    starts = []
    monkeypatch.setattr(_engine, "_SERVICE", "tests.report.test_engine:Dies")
    monkeypatch.setattr(_engine, "Child", _counted(_engine.Child, starts))
    return starts


def _counted(child, starts):
    def start(service):
        starts.append(service)
        return child(service)

    return start


def _chart():
    mark = layer("bar", [{"a": 1}], x={"field": "a", "type": "quantitative"})
    return Chart("One bar & more.", lambda width: {"layer": [mark], "height": 20})


def test_drawings_of_a_block_share_one_process(monkeypatch):
    starts = []
    monkeypatch.setattr(_engine, "Child", _counted(_engine.Child, starts))
    with _engine.one_engine():
        assert _engine.draw(SPEC, "svg").startswith(b"<svg")
        with _engine.one_engine():
            assert _engine.draw(SPEC, "png").startswith(b"\x89PNG")
    assert len(starts) == 1
    with pytest.raises(ValueError, match=r"(?i)vega"):
        _engine.draw({"mark": 1}, "svg")


def test_a_crash_costs_a_page_its_drawings_and_nothing_else(crash):
    with _engine.one_engine():
        pages = [to_html(_chart()) for _ in range(2)]
    expected = (
        '<div class="chart"><p>One bar &amp; more. (There is no drawing: the drawing engine crashed'
        " (SIGTRAP).)</p></div>"
    )
    assert pages == [expected] * 2 and len(crash) == 1


def test_a_crash_is_the_reason_why_there_is_no_picture(crash):
    with pytest.raises(InputError, match=r"engine crashed \(SIGTRAP\)\. .*`ulimit -v unlimited`"):
        picture([_chart()], "png")


def test_a_limit_of_the_address_space_ends_no_process():
    code = (
        "from keras_distill.report import _engine\n"
        f"try: _engine.draw({SPEC}, 'svg')\n"
        "except _engine.DrawingError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)),
    )
    assert "the drawing engine crashed" in done.stdout
