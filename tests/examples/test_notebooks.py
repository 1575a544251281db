"""Every notebook runs from top to bottom as a newcomer would run it, and shows what it says."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
_SHARE = re.compile(r"([\d.]+)%")


def _executed(path, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # a download would fail
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _text(outputs):
    shown = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join(shown)


def _share(text, name):
    """Returns the first percentage on the line that starts with `name`, 0..100."""
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(_SHARE.findall(line)[0])


def _quick_start(text, outputs):
    assert _share(text, "student distilled") > _share(text, "student alone") + 2
    assert _share(text, "its int8 file") > _share(text, "student distilled") - 2
    assert "verified on 130 rows" in text and "SoftTargetStore(" in text


def _temperature(text, outputs):
    differences = [float(d) for d in re.findall(r"largest difference ([\d.e-]+)", text)]
    assert len(differences) == 3 and max(differences) < 1e-12
    assert float(re.findall(r"at T = 200: ([\d.]+)%", text)[0]) < 5
    assert text.count("True") == 2  # the loss is the formula, and finite
    (page,) = [o["data"]["text/html"] for o in outputs if "text/html" in o.get("data", {})]
    assert 'type="range"' in page and "ROWS" not in page


def _your_model(text, outputs):
    assert "verified on 130 rows" in text
    teacher, file = map(float, re.findall(r"teacher ([\d.]+)%, int8 file ([\d.]+)%", text)[0])
    assert teacher > 90 and file > teacher - 5
    read, known = re.findall(r"(\[.*\]) (\[[\d ]+\])", text)[0]
    assert (
        sum(a == b for a, b in zip(re.findall(r"\d", read), re.findall(r"\d", known), strict=True))
        >= 8
    )


def _losses(text, outputs):
    found = re.findall(r"^(Hinton|reverse|decoupled|DIST).* ([\d.]+)%  \(", text, re.MULTILINE)
    assert len(found) == 4 and all(float(share) > 60 for _, share in found)
    assert len(re.findall(r"^T = [\d.]+: 0\.\d{3} ± 0\.\d{3}$", text, re.MULTILINE)) == 2
    assert "'sweep.csv'" in text and "'report.html'" in text


def _specialists(text, outputs):
    assert _share(text, "with specialists") > _share(text, "generalist:") - 3
    assert len(re.findall(r"^.{45} [\d.]+%$", text, re.MULTILINE)) >= 2
    assert "parameters," in text


def _microcontroller(text, outputs):
    assert "TFLM runs it: True" in text and "verified on 130 rows" in text
    assert _share(text, "validation accuracy") > 85
    (arena,) = re.findall(r"arena ([\d,]+) bytes", text)
    assert 1_000 < int(arena.replace(",", "")) < 20_000
    on_npu, operators = re.findall(r"(\d+) of (\d+) operators on the NPU", text)[0]
    assert int(on_npu) >= int(operators) - 1 > 3
    assert arena.replace(",", "") in text.replace(f"arena {arena} bytes", "")  # in the header too


CHECKS = {
    "1_quick_start": _quick_start,
    "2_temperature": _temperature,
    "3_your_model": _your_model,
    "4_losses": _losses,
    "5_specialists": _specialists,
    "6_microcontroller": _microcontroller,
}


@pytest.mark.parametrize(
    "path",
    [
        # a minute each
        pytest.param(p, id=p.stem, marks=pytest.mark.slow if p.stem[0] in "245" else ())
        for p in NOTEBOOKS
    ],
)
def test_notebook_runs_without_a_warning_and_shows_what_it_says(path, tmp_path, monkeypatch):
    if path.stem == "6_microcontroller":
        pytest.importorskip("tflite_micro", reason="keras-distill[micro] is not installed")
        pytest.importorskip("ethosu", reason="keras-distill[micro] is not installed")
    outputs = _executed(path, tmp_path, monkeypatch)
    stderr = "".join(o["text"] for o in outputs if o.get("name") == "stderr")
    # LiteRT says which delegate it uses.
    assert [line for line in stderr.splitlines() if line and not line.startswith("INFO: ")] == []
    text = _text(outputs)
    assert not re.search("warning(?!s=)", text.lower())  # `warnings=` is a field
    CHECKS[path.stem](text, outputs)


def test_all_notebooks_are_checked_and_keep_no_outputs():
    assert [path.stem for path in NOTEBOOKS] == list(CHECKS)
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert not cell.get("outputs"), f"{path} keeps outputs: clear them before committing"
            assert cell.get("execution_count") is None
        sources = [cell.source for cell in notebook.cells]
        assert "pip" in sources[2] and "find_spec" in sources[2]
        assert "GPU" in sources[1] and "offline" in sources[1]
        code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
        assert not re.search(r"keras_distill\.\w*\._|import _", code), "public names only"
