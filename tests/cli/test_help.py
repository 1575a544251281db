"""What helps a person at the prompt: help, quiet and verbose, nearest names, completion."""

import os
import subprocess
import sys

import pytest

from keras_distill.cli import main
from keras_distill.cli._app import build
from keras_distill.cli._verb import command_of


def _leaves(command, path=()):
    for name, verb in getattr(command, "commands", {}).items():
        yield from (
            _leaves(verb, (*path, name)) if hasattr(verb, "commands") else [((*path, name), verb)]
        )


LEAVES = dict(_leaves(command_of(build())))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_verb_has_short_options_and_an_example(path, capsys):
    assert main([*path, "-h"]) == 0
    text = capsys.readouterr().out
    assert "-q, --quiet" in text and "-v, --verbose" in text and "-h, --help" in text
    assert f"Example:\n    keras-distill {' '.join(path)}" in text
    assert main([*path, "--help"]) == 0
    assert capsys.readouterr().out == text
    assert "Default:" not in text  # defaults have one form, [default: …]


def test_choices_are_listed_and_defaults_shown(capsys):
    assert main(["specialists", "distill", "-h"]) == 0
    text = capsys.readouterr().out
    assert "--optimizer adam|adamw|sgd" in text and "[default: adam]" in text
    assert "[default: (a copy of the" in text


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["rnu"], "'run'"),
        (["targets", "bild"], "'build'"),
        (["run", "--teachr", "x"], "--teacher"),
        (["run", "digitz"], "`digits`"),
        (["run", "--data", "mnist_1d", "--teacher", "mlp:8", "--student", "mlp:4"], "`mnist1d`"),
        (["run", "--data", "digits", "--teacher", "mpl:8", "--student", "mlp:4"], "`mlp`"),
        (["run", "--student", "mlp:8?droput=0.5"], "`dropout`"),
        (["run", "--student", "applications:mobilenet"], "`MobileNet`"),
        (["run", "--set", "distilation.alpha=1"], "`distillation`"),
        (["run", "--optimizer", "adm"], "`adam`"),
        (["run", "--scale", "smok"], "`smoke`"),
        (["run", "--compress", "prun:0.5"], "`prune`"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_typo_is_answered_with_the_nearest_name(argv, near, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert near in error and error.count("\n") == 1
    assert "Did you mean" in error or "Possible options" in error


def test_a_usage_error_names_the_help_of_its_verb(capsys):
    assert main(["targets", "build", "--nothing"]) == 2
    assert "See: keras-distill targets build --help" in capsys.readouterr().err


def test_quiet_leaves_out_progress_and_the_next_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    init = ["init", "--data", "digits", "-o"]
    assert main([*init, "a.toml"]) == 0
    assert "Next: keras-distill plan a.toml" in capsys.readouterr().out
    assert main([*init, "b.toml", "-q"]) == 0
    captured = capsys.readouterr()
    assert "b.toml" in captured.out and "Next" not in captured.out and captured.err == ""


def _complete(words, current):
    return subprocess.run(
        [sys.executable, "-m", "keras_distill"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "_KERAS_DISTILL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": current,
        },
    )


def test_a_shell_completes_verbs_options_and_choices():
    script = subprocess.run(
        [sys.executable, "-m", "keras_distill", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert script.returncode == 0 and "_KERAS_DISTILL_COMPLETE" in script.stdout
    assert _complete("keras-distill be", "1").stdout.split() == ["benchmark"]
    assert "--teacher" in _complete("keras-distill run --teach", "2").stdout.split()
    assert _complete("keras-distill run --optimizer ada", "3").stdout.split() == ["adam", "adamw"]
