"""Every documented command is parsed by the real parser; Python examples in the pages run."""

import functools
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from keras_distill.cli._app import build
from keras_distill.cli._verb import command_of, execute

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
    *sorted((ROOT / "saved_models").glob("*.md")),
]
# The name of the console script, not part of a package name such as keras-distill[ray].
_NAME = r"(?<![\w/'-])keras-distill(?= )"
_BLOCK = re.compile(rf"^(?: {{4}}|\$ )\s*(?:[^`\n]*&& )?({_NAME}[^\n]*)$", re.MULTILINE)
_INLINE = re.compile(rf"`({_NAME}[^`\n]*)`")
_NEXT = re.compile(rf"Next: ({_NAME}[^\"\n]*)")


def _commands(path):
    text = re.sub(r"\\\n *", "", path.read_text(encoding="utf-8"))  # one line, as for a shell
    patterns = (_BLOCK, _INLINE) if path.suffix == ".md" else (_INLINE, _NEXT)
    for pattern in patterns:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            yield pytest.param(match[1], id=f"{path.relative_to(ROOT)}:{line}")


def _without_effect(app):
    """Replaces every command by one that takes the same arguments and does nothing."""
    for command in app.registered_commands:
        command.callback = functools.wraps(command.callback)(lambda *args, **kwargs: None)
    for group in app.registered_groups:
        _without_effect(group.typer_instance)
    return app


@pytest.fixture
def parse(monkeypatch):
    """Parses a command line with the real parser, without running it; returns the exit code."""
    monkeypatch.setattr("typer.completion.install", lambda **_: ("a shell", "nowhere"))
    app = build()
    saved = [(c, c.callback) for a in _apps(app) for c in a.registered_commands]
    _without_effect(app)
    yield lambda argv: execute(app, argv, "keras-distill")
    for command, callback in saved:
        command.callback = callback


def _apps(app):
    yield app
    for group in app.registered_groups:
        yield from _apps(group.typer_instance)


def _argv(text):
    """The arguments of a documented command, without its comment."""
    text = re.sub(r"\{[^}]*\}", "VALUE", text)  # a value that the program fills in
    return shlex.split(text, comments=True)[1:]


PYTHON_FILES = [*(ROOT / "keras_distill").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
COMMANDS = [command for path in (*PAGES, *sorted(PYTHON_FILES)) for command in _commands(path)]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_is_accepted(command, parse, capsys):
    argv = _argv(command)
    if argv and all(re.fullmatch("[a-z-]+|VERB", word) and word[0] != "-" for word in argv):
        # A mention of a verb in running text leaves out its arguments.
        argv = [*[word for word in argv if word != "VERB"], "--help"]
    assert parse(argv) == 0, capsys.readouterr().err


def _examples(command, path="keras-distill"):
    for name, verb in command.commands.items():
        if hasattr(verb, "commands"):
            yield from _examples(verb, f"{path} {name}")
        else:
            text = verb.help.replace("\\\n", "")
            yield from re.findall(rf"^ +({path} {name}.*)$", text, re.MULTILINE)


EXAMPLES = list(_examples(command_of(build())))


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_example_in_the_help_of_a_verb_is_accepted(command, parse, capsys):
    assert parse(_argv(command)) == 0, capsys.readouterr().err


def test_the_test_sees_a_wrong_option(parse):
    assert parse(["cost", "--teacher", "a.keras"]) == 2
    assert len(COMMANDS) > 40 and len(EXAMPLES) >= 20


def _blocks(path, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S)


_GUIDES = [path for path in PAGES if path.is_relative_to(ROOT / "docs") and _blocks(path)]
# A line of output follows its code after an empty line, indented.
_OUTPUT = re.compile(r"^```python\n(?:(?!```).)*```\n\n {4}([^\n]*)$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", _GUIDES, ids=lambda path: path.stem)
def test_the_python_of_a_guide_runs_and_prints_what_it_says(path, tmp_path, monkeypatch, capsys):
    """In this process: every import of TensorFlow takes seconds."""
    import keras

    if path.stem == "microcontrollers":
        for module in ("tflite_micro", "ethosu"):
            pytest.importorskip(module, reason="needs keras-distill[micro]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # a guide may write a module and import it
    code = "\n".join(_blocks(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as that of a file which is not verified
        exec(compile(code, str(path), "exec"), {"__name__": "__main__"})
    expected = _OUTPUT.findall(path.read_text("utf-8"))
    assert capsys.readouterr().out.splitlines() == expected
    keras.backend.clear_session()


def test_guides_import_the_package_before_tensorflow():
    """Else oneDNN stays off, on CPUs without AVX-512."""
    for path in [*_GUIDES, ROOT / "README.md"]:
        names = re.findall(
            r"^(?:import|from) (keras_distill|keras|tensorflow)\b", "\n".join(_blocks(path)), re.M
        )
        assert names[0] == "keras_distill", path


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """With small models, the names that the README takes as given, and fewer epochs."""
    import keras

    import keras_distill as kd

    monkeypatch.chdir(tmp_path)
    splits = kd.data.load("digits")
    names = {
        "teacher": kd.models.build("mlp:32", input_shape=(8, 8, 1), num_classes=10),
        "student": kd.models.build("mlp:16", input_shape=(8, 8, 1), num_classes=10),
        "val_ds": splits.validation.batch(128),
    }
    five_lines, store = _blocks(ROOT / "README.md")
    assert "epochs=30" in five_lines and "epochs=30" in store
    exec(five_lines.replace("epochs=30", "epochs=1"), names | {"train_ds": splits.train.batch(128)})
    assert (tmp_path / "student.tflite").is_file()
    assert kd.ExportRecord.load(tmp_path / "student.tflite.json").verification.passed
    keras.backend.clear_session()
    names["kd"] = kd
    exec(store.replace("epochs=30", "epochs=1"), names | {"train_ds": splits.train})
    assert kd.SoftTargetStore.open(tmp_path / "targets").manifest.examples == 1167


@pytest.mark.slow
def test_the_first_command_of_the_readme_runs(tmp_path):
    """`keras-distill run` as written, at smoke scale."""
    assert "pip install . && keras-distill run\n" in (ROOT / "README.md").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "keras_distill", "run", "--scale", "smoke"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "saved_models/digits").iterdir()}
    assert {"record.json", "report.html", "student.keras", "student-int8.tflite"} <= made


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


_FILE_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(path):
    for target in _FILE_LINK.findall(path.read_text("utf-8")):
        if path.parent == ROOT / "docs" and target in ("reference/cli.md", "studies.md"):
            continue  # generated for the site
        assert (path.parent / target).exists(), f"{path} links to {target}"


def test_the_files_that_a_page_names_exist():
    for path in PAGES:
        for name in re.findall(
            r"`((?:keras_distill|tests|examples)/[\w./-]+)`", path.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{path} names {name}"
