"""What holds for every verb: no line of another package's log, and a command to go on with.

The quick verbs work on tiny inputs in this process. `pytest -m slow tests/cli/test_every_verb.py`
tries every verb, each in a process of its own.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from keras_distill.cli import main
from tests.cli.test_help import LEAVES
from tests.docs import test_commands
from tests.forked import ForkServer
from tests.fuzz import good

LOG = re.compile(
    r"^[IWEF]\d{4} |WARNING:|INFO:|ERROR:|oneDNN custom|XNNPACK delegate|AutoGraph|cuda|absl",
    re.MULTILINE,
)
FLOAT = good.TFLITE / "float.tflite"
parse = test_commands.parse  # a fixture
VERBS = [" ".join(path) for path in LEAVES]
SLOW = {"plan", "run", "sweep", "compress", "cost", *(v for v in VERBS if "specialists" in v)}
VERBS.sort(key=lambda verb: verb in SLOW)


def _argv(verb: str, s: good.Good, out: Path) -> list[str]:
    """Returns arguments with which a verb does all of its work, and writes what it can."""
    data = ["--data", f"npz:{s.data}"]
    recipe, short = str(s.folder / "recipe.toml"), ["--epochs", "1", "--batch-size", "8"]
    rest: dict[str, list[object]] = {
            "init": [*data, "-o", out / "made.toml"],
            "plan": [recipe],
            "run": [recipe, "--quantization", "float32", "-o", out / "run"],
            "sweep": [recipe, "--grid", "distillation.alpha=0.5,1", "-o", out / "sweep"],
            "compare": [s.run, s.folder / "other", "-o", out / "page.html"],
            "compress": [s.model, "--steps", "quantize", "--alpha", "0", *short, *data,
                         "--max-drop", "100", "-o", out / "small"],
            "export": [s.model, "-o", out / "file.tflite", "--max-drop", "100", *data],
            "verify": [FLOAT, "--against", s.model, *data, "--max-drop", "100"],
            "predict": [FLOAT, *data],
            "benchmark": [FLOAT, good.TFLITE / "int8.tflite", *data, "--runs", "2"],
            "device": [FLOAT, "--target", "xnnpack", *data],
            "report": [s.run, "-o", out / "page.html"],
            "recipes": [],
            "cost": ["mlp:4", "mlp:2", *data, "--rounds", "2", "--setting", "onednn"],
            "doctor": [],
            "targets build": [s.model, *data, "-o", out / "store"],
            "targets info": [s.store],
            "targets verify": [s.store, *data, "--teacher", s.model],
            "specialists train": ["--generalist", s.model, *data, "--clusters", "1", "--size", "2",
                                  *short, "-o", out / "experts"],
            "specialists evaluate": [s.specialists, "-o", out / "evaluation.json"],
            "specialists distill": [s.specialists, "-o", out / "student.keras", *short],
        }  # fmt: skip
    return [*verb.split(), *map(str, rest[verb])]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    found = good.make(tmp_path_factory.mktemp("sound"))
    shutil.copytree(found.run, found.folder / "other")
    recipe = good.RECIPE.format(data=f"npz:{found.data}")
    (found.folder / "recipe.toml").write_text(recipe)
    return found


@pytest.fixture(scope="module")
def server():
    with ForkServer() as found:
        yield found


def _judge(printed: str, made: bool, parse) -> None:
    assert not LOG.search(printed), printed
    following = re.findall(r"^Next: (.*)$", printed, re.MULTILINE)
    assert len(following) == 1 if made else len(following) <= 1, printed
    if following and not following[0].startswith("python3 -m webbrowser file://"):
        assert following[0].startswith("keras-distill ")
        assert parse(shlex.split(following[0])[1:]) == 0


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in SLOW])
def test_a_verb_prints_no_log_and_what_comes_next(verb, sound, tmp_path, capfd, parse):
    argv = _argv(verb, sound, tmp_path)
    assert main(argv) == 0
    shown = capfd.readouterr()
    _judge(f"{shown.err}\n{shown.out}", any(tmp_path.iterdir()), parse)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks as Linux does")
@pytest.mark.parametrize("verb", VERBS)
def test_a_process_of_a_verb_prints_no_log(verb, server, sound, tmp_path, parse):
    """In this process, what is logged once for each process may have been logged before."""
    files = [tmp_path / name for name in ("stdout", "stderr")]
    (tmp_path / "out").mkdir()
    process = server.start(_argv(verb, sound, tmp_path / "out"), *files, tmp_path)
    code = process.wait(300)
    shown, log = (path.read_text() for path in files)
    assert code == 0, log
    _judge(f"{log}\n{shown}", any((tmp_path / "out").iterdir()), parse)


@pytest.mark.parametrize(
    "line",
    [
        "I0000 00:00:1795684388.193583    2348 port.cc:153] oneDNN custom operations are on.",
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "WARNING:tensorflow:AutoGraph could not transform f",
    ],
)
def test_the_test_sees_a_log(line):
    assert LOG.search(f"teacher    mlp:4\n{line}\n") and not LOG.search("targets    18 rows\n")
