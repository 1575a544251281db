"""Charts: complete without scripts, with the colors of the page, and with their numbers."""

import re
from xml.etree import ElementTree

import pytest

from keras_distill.report import _colors
from keras_distill.report._charts import picture, to_html
from keras_distill.report._labels import place
from keras_distill.report._plots import Point, Reference, Row, Series, curves, intervals, scatter

CHARTS = {
    "curves": lambda: curves(
        [
            Series("alone", _colors.ALONE, [1, 2, 3], [80, 85, 88], [78, 84, 86], [82, 87, 90]),
            Series("distilled", _colors.DISTILLED, [1, 2, 3], [84, 89, 88.5]),
        ],
        x="epochs",
        y="accuracy, %",
        summary="Accuracy.",
        references=[Reference("teacher", _colors.TEACHER, 92)],
    ),
    "intervals": lambda: intervals(
        [
            Row("alone", _colors.ALONE, 88, 86, 90, [87, 89], "88.0 %"),
            Row("distilled", _colors.DISTILLED, 95),
        ],
        x="accuracy, %",
        summary="Accuracy.",
        reference=Reference("teacher", _colors.TEACHER, 97),
    ),
    "scatter": lambda: scatter(
        [
            Point("teacher", _colors.TEACHER, 335, 97.8, y_range=(96, 98.7), shape="square"),
            Point("int8", _colors.FILE, 5, 97, "int8: 97.0 %", x_range=(4, 6)),
        ],
        x="size, KiB",
        y="accuracy, %",
        summary="Size.",
    ),
}


def _svg(kind):
    return picture([CHARTS[kind]()], "svg").decode()


def _texts(kind):
    parts = ElementTree.fromstring(_svg(kind)).iter()
    return [part.text for part in parts if part.tag.endswith("text")]


@pytest.mark.parametrize("kind", CHARTS)
def test_a_chart_has_a_drawing_for_wide_and_for_narrow_screens(kind):
    html = to_html(CHARTS[kind]())
    wide, narrow = re.findall(r'<svg [^>]*class="(\w+)"', html)
    assert (wide, narrow) == ("wide", "narrow")
    assert html.count('role="img"') == 2 and html.count("<title>") > 0
    used = set(re.findall(r"var\((--[\w-]+)\)", html))
    assert used <= set(_colors.LIGHT) == set(_colors.DARK)
    # Every color is one of the page, so that a dark page has no dark text.
    colors = re.findall(r'(?:fill|stroke)="([^"]+)"', html)
    assert {color for color in colors if not color.startswith("var(")} <= {"none", "transparent"}
    assert set(re.findall(r'font-size="(\d+)px"', html)) == {"13"}


def test_labels_and_values_of_a_chart_are_in_it():
    texts = _texts("curves")
    assert {"alone", "distilled", "teacher", "epochs", "accuracy, %"} <= set(texts)
    assert "alone, epochs 2: 85.0 (84.0 to 87.0)" in to_html(CHARTS["curves"]())
    assert "alone: 88.0 %" in _texts("intervals")
    assert "int8: 97.0 %" in to_html(CHARTS["scatter"]())


def test_points_lie_where_their_values_are():
    html = to_html(CHARTS["scatter"]())
    marks = re.findall(r'<path [^>]*transform="translate\(([\d.]+),([\d.]+)\)"', html)
    (teacher_x, teacher_y), (file_x, file_y) = [tuple(map(float, mark)) for mark in marks][-2:]
    assert teacher_x > file_x and teacher_y < file_y  # larger, and more accurate


def test_a_file_of_its_own_has_fixed_colors():
    svg = _svg("scatter")
    assert "var(" not in svg and _colors.LIGHT["--teacher"] in svg


def _luminance(color):
    parts = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colors", [_colors.LIGHT, _colors.DARK], ids=["light", "dark"])
def test_every_color_of_text_has_a_contrast_of_at_least_4_5(colors):
    grounds = {name: [colors["--paper"], colors["--wash"]] for name in colors if "wash" not in name}
    for name in ("--line", "--paper"):
        del grounds[name]
    for name in ("--good", "--bad", "--warn"):
        grounds[name].append(colors[f"{name}-wash"])
        grounds["--ink"].append(colors[f"{name}-wash"])
    for name, found in grounds.items():
        for ground in found:
            low, high = sorted((_luminance(colors[name]), _luminance(ground)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


def test_a_long_name_of_a_row_is_wrapped_and_the_reference_does_not_cross_it():
    long = "class sets that distribute the classes evenly, as the paper does"
    rows = [Row(long, _colors.ALONE, 2, 1, 3), Row("short", _colors.ALONE, 2, 1, 3)]
    reference = Reference("generalist", _colors.TEACHER, 1.1)
    chart = intervals(rows, x="points", summary="Gain.", reference=reference)
    wide, narrow = (chart.draw(plot) for plot in (900, 286))
    assert narrow["height"] > wide["height"] == 2 * 46

    def parts(drawn):
        found = [one for one in drawn["layer"] if one["mark"].get("strokeDash")]
        return [(e["encoding"]["y"]["value"], e["encoding"]["y2"]["value"]) for e in found]

    for drawn, lines in ((wide, 1), (narrow, 2)):
        found = parts(drawn)
        assert found and found[-1][1] == drawn["height"]
        assert not [part for part in found if part[0] < 4 + 16 * lines and part[1] > 4]


def test_a_label_does_not_cover_a_point_without_a_name():
    points = [(50.0, 50.0)]
    free = place(points, ["a long name"], 300, 100)[0]
    beside = place(points, ["a long name"], 300, 100, (), [(90.0, 50.0)])[0]
    assert free.align == "left" and (beside.x, beside.y, beside.align) != tuple(free)
