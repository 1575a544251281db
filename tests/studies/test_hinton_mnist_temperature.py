"""The theory of the temperature is computed again, and gives what its record says."""

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def remade(studies, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theory")
    script = studies / "hinton-mnist-temperature" / "theory.py"
    run = subprocess.run(
        [sys.executable, str(script), "--out", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder


def test_the_record_of_the_theory_is_reproduced(remade, studies):
    path = "records/theory.json"
    kept = json.loads((studies / "hinton-mnist-temperature" / path).read_text())
    found = json.loads((remade / path).read_text())
    assert [round(p, 3) for p in found["softening"]["5"]] == [0.656, 0.198, 0.146]
    assert found["logit_matching_limit"]["10000"][0] == pytest.approx(1, abs=1e-4)
    assert found["same_gradient"]["difference"] < 1e-12
    for key in ("softening", "uniformity", "logit_matching_limit"):
        for t, values in kept[key].items():
            assert found[key][t] == pytest.approx(values, rel=1e-5), (key, t)


def test_plots(remade):
    plots = sorted(path for path in remade.iterdir() if path.is_file())
    assert [plot.stem for plot in plots] == [
        "logit_matching_limit",
        "same_gradient",
        "softening",
        "uniformity",
    ]
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)
