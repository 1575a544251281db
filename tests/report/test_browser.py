"""Pages in a real browser: what their scripts do, what they ask for, and how they fit and print."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from keras_distill import report
from keras_distill.records import ExploreRecord, RunRecord

RESULTS = """
    const rows = [...document.querySelectorAll("#dark-knowledge .bars tbody tr")];
    return rows.map((row) => ({
        name: row.cells[0].textContent,
        shares: [1, 2].map((n) => Number(row.cells[n].dataset.share)),
        widths: [1, 2].map((n) => {
            const bar = row.cells[n].querySelector(".bar"), cell = bar.parentNode;
            return bar.getBoundingClientRect().width / cell.getBoundingClientRect().width;
        }),
    }));
"""
CHOSEN = "return document.querySelector('[aria-pressed=true]').dataset.example"
SET_TEMPERATURE = """
    const slider = document.getElementById("temperature");
    slider.value = arguments[0];
    slider.dispatchEvent(new Event("input", { bubbles: true }));
"""


@pytest.fixture(scope="module")
def page(finished_run, tmp_path_factory) -> Path:
    """The page of the finished run; a folder of its own."""
    out, _ = finished_run
    return shutil.copytree(out, tmp_path_factory.mktemp("page") / "small") / "report.html"


@pytest.fixture(scope="module")
def explored(page) -> ExploreRecord:
    return ExploreRecord.load(page.with_name("explore.json"))


def _logits(explored, number):
    names = [model.name for model in explored.models]
    example = explored.examples[number].logits
    return np.array([example[names.index("teacher")], example[names.index("distilled")]])


@pytest.mark.parametrize("temperature", [1, 4.5, 20])
def test_the_slider_moves_the_bars_to_the_softened_probabilities(
    browser, page, explored, temperature
):
    browser.open(page)
    browser.run(SET_TEMPERATURE, temperature)
    number = int(
        browser.run("return document.querySelector('[aria-pressed=true]').dataset.example")
    )
    expected = softmax(_logits(explored, number) / temperature, axis=1).T
    found = browser.run(RESULTS)
    assert [row["name"] for row in found] == list(explored.class_names)
    np.testing.assert_allclose([row["shares"] for row in found], expected, atol=1e-9)
    np.testing.assert_allclose([row["widths"] for row in found], expected, atol=0.02)


def test_before_any_script_the_bars_have_the_temperature_of_the_recipe(page, explored):
    html = page.read_text()
    shares = re.findall(r'class="share">([\d.]+) %', html)
    first = int(re.search(r'"first":(\d+)', html)[1])
    expected = 100 * softmax(_logits(explored, first) / 4.0, axis=1).T
    np.testing.assert_allclose(np.reshape(shares, (-1, 2)).astype(float), expected, atol=0.051)


def test_another_example_is_chosen_with_the_keyboard(browser, page, explored):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    pick = browser.driver.find_elements("css selector", "button.pick[aria-pressed=false]")[0]
    pick.send_keys(Keys.ENTER)
    number = int(pick.get_attribute("data-example"))
    assert pick.get_attribute("aria-pressed") == "true"
    title = browser.driver.find_element("id", "example-title").text
    example = explored.examples[number]
    assert title == f"Test example {example.index}: class {explored.class_names[example.label]}"
    found = [row["shares"] for row in browser.run(RESULTS)]
    np.testing.assert_allclose(found, softmax(_logits(explored, number) / 4.0, axis=1).T, atol=1e-9)


@pytest.mark.parametrize("column, clicks, order", [(3, 1, -1), (3, 2, 1), (1, 1, -1), (6, 1, -1)])
def test_a_click_on_a_title_sorts_the_table(browser, page, column, clicks, order):
    browser.open(page)
    head = f"#models ~ .sheet th:nth-child({column + 1})"
    for _ in range(clicks):
        browser.driver.find_elements("css selector", f"{head} button")[0].click()
    texts = browser.run(
        "return [...document.querySelectorAll('#models ~ .sheet')[0].querySelectorAll('tbody tr')]"
        f".map((row) => row.cells[{column}].textContent.trim())"
    )
    numbers = [float(re.match(r"[\d.,]+", text)[0].replace(",", "")) for text in texts if text]
    assert numbers == sorted(numbers, reverse=order < 0) and len(set(numbers)) > 1
    assert "" not in texts[: len(numbers)]  # empty cells come last
    sort = browser.driver.find_elements("css selector", head)[0].get_attribute("aria-sort")
    assert sort == ("ascending" if order > 0 else "descending")


def test_a_point_of_a_chart_shows_its_values(browser, page):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    browser.open(page)
    mark = browser.driver.find_elements("css selector", "svg.only [data-tip^=int8]")[0]
    browser.run("arguments[0].scrollIntoView({ block: 'center' })", mark)

    def shows(driver):  # a pointer that moves while the page still scrolls misses the mark
        ActionChains(driver).move_by_offset(3, 3).move_to_element(mark).perform()
        return driver.find_element("id", "tip").text.startswith("int8: ")

    assert WebDriverWait(browser.driver, 10).until(shows)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_fits_asks_for_nothing_and_reports_no_error(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    browser.run(SET_TEMPERATURE, 9)
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.run(wider) == 0
    shown = "return [...document.querySelectorAll('.chart')].map((chart) => [...chart.children]"
    shown += ".filter((svg) => getComputedStyle(svg).display !== 'none').length)"
    assert set(browser.run(shown)) == {1}  # of the drawings of each chart
    assert browser.messages() == []
    assert browser.requests() == []


def test_a_dark_page_is_dark(browser, page):
    color = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    browser.open(page, dark=False)
    light = browser.run(color)
    browser.open(page, dark=True)
    assert sum(browser.run(color)) < 100 < 600 < sum(light)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_no_violation(browser, page, width, dark):
    script = os.environ.get("AXE_CORE")
    if not script:
        pytest.skip("AXE_CORE names no axe.min.js (of the npm package axe-core)")
    browser.open(page, width=width, dark=dark)
    browser.run("for (const d of document.querySelectorAll('details')) d.open = true")
    browser.run(Path(script).read_text(encoding="utf-8"))
    found = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run().then((r) => done(r.violations))"
    )
    told = [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in found]
    assert told == []


def test_the_page_prints_whole(browser, page):
    browser.open(page)
    assert browser.pdf().startswith(b"%PDF")
    # Nothing of a table is outside the sheet in which it is printed.
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = {"width": 700, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    cut = browser.run(
        "return [...document.querySelectorAll('table, .chart svg')].filter((part) =>"
        " part.getBoundingClientRect().right > part.closest('.sheet')"
        ".getBoundingClientRect().right + 1).map((part) => part.outerHTML.slice(0, 200))"
    )
    assert cut == []
    # A heading stays with what follows it.
    breaks = "return [...document.querySelectorAll('h1, h2, h3')].map((h) => getComputedStyle(h)"
    assert set(browser.run(f"{breaks}.breakAfter)")) == {"avoid"}


def test_without_scripts_nothing_is_missing(browser, page, tmp_path):
    # Only the tooltips, the order of rows, and the choice of the example need a script.
    html = re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.DOTALL)
    plain = tmp_path / "plain.html"
    plain.write_text(html)
    browser.open(plain)
    assert (
        browser.run("return getComputedStyle(document.querySelector('.slider')).display") == "none"
    )
    assert browser.run("return document.querySelectorAll('.chart svg title').length") > 10
    text = browser.run("return document.body.innerText")
    for words in ("Dark knowledge", "verified", "Confusions that changed most", "Reliability"):
        assert words in text


def test_a_page_of_many_classes_stays_small_and_shows_the_most_likely(
    browser, page, make_explored, tmp_path
):
    record = RunRecord.load(page.with_name("record.json"))
    explored = make_explored(1000, examples=16)
    wide = tmp_path / "wide.html"
    wide.write_text(report.render(record, explored))
    assert wide.stat().st_size < 5e6
    browser.open(wide, width=390)
    browser.run(SET_TEMPERATURE, 2)
    rows = browser.run(RESULTS)
    assert len(rows) == 12
    number = int(
        browser.run("return document.querySelector('[aria-pressed=true]').dataset.example")
    )
    p = softmax(_logits(explored, number) / 2.0, axis=1)
    ids = np.argsort(-p[0], kind="stable")[:12]
    np.testing.assert_allclose([row["shares"] for row in rows], p[:, ids].T, atol=1e-9)
    assert (
        browser.run(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        == 0
    )
    assert browser.messages() == []
