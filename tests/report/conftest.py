"""Headless Chromium for the tests that open pages."""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_distill.records import Confusion, ExploredExample, ExploredModel, ExploreRecord


class Browser:
    """A page in headless Chromium, and what it logged."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Opens a file in a window of that width."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", media="screen", features=[feature])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._tell("Emulation.setDeviceMetricsOverride", **size)
        for log in ("browser", "performance"):
            self.driver.get_log(log)  # empties it
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments):
        """Runs a script in the page; returns what it returns."""
        return self.driver.execute_script(script, *arguments)

    def messages(self) -> list[str]:
        """Returns the warnings and errors of the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Returns the addresses that the page asked for, without itself and data in the page."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        found = [params["request"]["url"] for params in sent if params["type"] != "Document"]
        return [url for url in found if not url.startswith("data:")]

    def pdf(self) -> bytes:
        """Prints the page."""
        self._tell("Emulation.clearDeviceMetricsOverride")
        self._tell("Emulation.setEmulatedMedia", media="", features=[])
        found = self._tell("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(found["data"])

    def _tell(self, command: str, **values):
        return self.driver.execute_cdp_cmd(command, values)


@pytest.fixture(scope="session")
def browser():
    if shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium and chromedriver to open the page")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="session")
def make_explored():
    """Makes a record of random logits: `make_explored(classes, examples=3, shown={})`."""

    def make(classes: int, examples: int = 3, **shown) -> ExploreRecord:
        draw = np.random.default_rng(0)
        logits = draw.normal(0, 3, (examples, 2, classes)).round(4)
        models = [
            ExploredModel(
                name=name,
                title=name,
                correct=tuple(draw.integers(0, 10, classes).tolist()),
                bins=({"examples": 3, "confidence": 0.9, "accuracy": 0.5},),
                expected_calibration_error=0.4,
            )
            for name in ("teacher", "distilled")
        ]
        return ExploreRecord(
            class_names=tuple(f"class {number}" for number in range(classes)),
            class_examples=(10,) * classes,
            models=tuple(models),
            confusions=(Confusion(label=0, predicted=1, counts=(3, 1)),),
            examples=tuple(
                ExploredExample(
                    index=number,
                    label=number % classes,
                    picked=("disagreement", "uncertain", "spread")[number % 3],
                    logits=tuple(map(tuple, logits[number].tolist())),
                    **shown,
                )
                for number in range(examples)
            ),
        )

    return make
