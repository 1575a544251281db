"""The study of the temperature runs, prints the figures and writes its plots."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples/studies/temperature/study.py"


def test_figures_and_plots(tmp_path):
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(tmp_path / "plots")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "T =  5:  0.656  0.198  0.146" in run.stdout
    assert "T = 10000:  median 1.0000" in run.stdout
    plots = sorted((tmp_path / "plots").iterdir())
    assert [plot.stem for plot in plots] == [
        "logit_matching_limit",
        "same_gradient",
        "softening",
        "uniformity",
    ]
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)
