"""The page about specialists: the control first, and nothing stronger than its interval."""

import pytest

from keras_distill import report
from keras_distill.records import (
    ClassRow,
    CoverageRow,
    IntervalRecord,
    SpecialistsReport,
    SystemResult,
)
from keras_distill.report._specialists import verdict


def _system(name, gain, low, high):
    interval = IntervalRecord(value=gain, low=low, high=high, n=1000)
    nothing = (None,)
    return SystemResult(
        name=name, title=f"the {name}", accuracy=(0.5 + gain,), conditional=nothing,
        within=nothing, relative=None, gain=interval,
    )  # fmt: skip


def _report(*systems, **parts):
    return SpecialistsReport(
        source="made",
        examples=1000,
        class_sets=((0, 1), (1, 2)),
        left_alone=(3,),
        systems=(_system("generalist", 0.0, 0.0, 0.0), *systems),
        coverage=(
            CoverageRow(specialists=1, examples=500, generalist=0.5, ensemble=0.6, change=0.2),
        ),
        classes=tuple(
            ClassRow(class_id=k, name=f"class {k}", sets=(0,), generalist=0.5, ensemble=0.5 + d)
            for k, d in enumerate((0.1, -0.05, 0.0, 0.2))
        ),
        **parts,
    )


HELPED = _system("specialists", 0.015, 0.01, 0.02)


@pytest.mark.parametrize(
    "longer, lead, doubt",
    [
        (_system("longer", 0.021, 0.016, 0.027), "Training on beats specialists here", True),
        (_system("longer", 0.04, 0.03, 0.05), "Training on beats specialists here", False),
        (_system("longer", 0.002, -0.003, 0.006), "Specialists beat training on", False),
    ],
)
def test_the_control_comes_first(longer, lead, doubt):
    first, second = verdict(_report(HELPED, longer))
    assert first.startswith(lead) and ("The intervals overlap." in first) == doubt
    assert second == (
        "Specialists help: the accuracy is 1.5 points higher than that of the generalist (95 %"
        " interval +1.0 to +2.0 points)."
    )


@pytest.mark.parametrize(
    "gain, low, high, words",
    [
        (0.002, -0.003, 0.007, "No effect of specialists is shown"),
        (-0.02, -0.03, -0.01, "Specialists hurt here"),
    ],
)
def test_without_a_control_it_says_how_to_get_one(gain, low, high, words):
    first, second = verdict(_report(_system("specialists", gain, low, high)))
    assert first.startswith(words)
    assert "There is no control" in second and "--model longer.keras" in second


def test_the_page_shows_the_report(browser, tmp_path):
    found = _report(HELPED, _system("longer", 0.021, 0.016, 0.027), split="validation")
    page = report.write_specialists(found, tmp_path / "evaluation.html")
    text = page.read_text()
    assert "Evaluated on the validation split." in text
    assert "the longer: +2.1" in text and text.index("the longer: +2.1") < text.index(
        "the specialists: +1.5"
    )
    assert '<details class="sheet set"><summary>Specialist 0' in text
    for width in (390, 1600):
        browser.open(page, width=width)
        assert (
            browser.run(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            == 0
        )
        assert browser.messages() == [] and browser.requests() == []
