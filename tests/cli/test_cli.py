"""The frame of the command line: help, versions, exit codes, one line for every mistake."""

import json
import os
import subprocess
import sys

import pytest

from keras_distill.cli import main

VERBS = [
    "run",
    "sweep",
    "compare",
    "compress",
    "export",
    "predict",
    "benchmark",
    "report",
    "recipes",
    "targets",
    "verify",
    "specialists",
    "cost",
    "doctor",
]


def _run(*argv, **environment):
    return subprocess.run(
        [sys.executable, "-m", "keras_distill", *argv],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert verb in shown


def test_no_arguments_is_a_usage_error(capsys):
    assert main([]) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert verb in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    """Neither the list of verbs nor the help of any verb imports what makes a start slow."""
    code = (
        "import sys; from keras_distill.cli import main; main(['--help']);"
        f"[main([verb, '--help']) for verb in {VERBS}];"
        "heavy = {'tensorflow', 'keras', 'tf_keras', 'tensorflow_model_optimization', 'numpy',"
        " 'sklearn', 'vl_convert', 'pandas', 'scipy', 'jinja2', 'ray'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("keras-distill 0.")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["docto"], "No such command 'docto'"),
        (["doctor", "--jsn"], "No such option"),
        (["run", "nonsense"], "Unknown recipe 'nonsense'. Built in: "),
        (["run", "/nowhere/x.toml"], "Cannot read /nowhere/x.toml"),
        (["run", "--data", "digits"], "--teacher, --student (or --max-bytes) must be given"),
        (["run", "--labels", "many"], "`--labels` must be a count"),
        ([], "Missing command. See: keras-distill --help"),
        (["run", "--alpha", "much"], "Invalid value for '--alpha'"),
        (["run", "--alpha", "2"], "distillation.alpha"),
        (["run", "--teacher-epochs", "0"], "teacher.epochs"),
        (["run", "--quantization", "int8,int8"], "export.quantizations"),
        (["run", "--student", "mlp:0"], "`student` must name the units"),
        (["run", "--data", "idx:nowhere", "--teacher", "mlp:8", "--student", "mlp:4"], "no folder"),
        (["run", "--epochs", "0"], "training.epochs"),
        (["run", "--seeds", "0"], "seeds"),
        (["run", "--quantization", "int7"], "export.quantizations"),
        (["run", "--compress", "quantize,prune"], "come in the order prune, cluster, quantize"),
        (["run", "--scale", "huge"], "`scale` must be one of full, smoke"),
        (["run", "--name", "../x"], "name"),
        (["report", "/nowhere"], "Cannot read"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_another_backend_is_one_line():
    done = _run("doctor", KERAS_BACKEND="jax")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "needs Keras on TensorFlow" in done.stderr


def test_another_backend_is_an_error_in_the_library_too():
    code = "import keras_distill as kd; kd.Targets"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert "InputError: keras_distill needs Keras on TensorFlow" in done.stderr


def test_doctor_as_json_prints_nothing_else():
    done = _run("doctor", "--json")
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert facts["onednn"] == "on"
    assert facts["packages"]["keras"].startswith("3.")
    assert done.stderr == ""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_doctor_fails_where_a_package_is_missing(form, monkeypatch, capsys):
    from keras_distill.cli import doctor

    monkeypatch.setattr(doctor, "version_of", lambda package: None if package == "keras" else "1")
    assert main(["doctor", *form]) == 1


def test_doctor_says_what_the_user_set():
    facts = json.loads(_run("doctor", "--json", TF_ENABLE_ONEDNN_OPTS="0").stdout)
    assert facts["onednn"].startswith("off")


def test_recipes_lists_the_built_in_ones(capsys):
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert "digits" in shown
    assert main(["recipes", "--json"]) == 0
    assert "digits" in json.loads(capsys.readouterr().out)


def test_ctrl_c_is_exit_130(monkeypatch, capsys):

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_distill.runs.builtin_recipes", interrupted)
    assert main(["recipes"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_unless_its_traceback_is_asked_for(monkeypatch, capsys):

    def broken():
        raise ZeroDivisionError("of a kind")

    monkeypatch.setattr("keras_distill.runs.builtin_recipes", broken)
    assert main(["recipes"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["recipes", "-v"]) == main(["--verbose", "recipes"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_message_is_one_line_of_at_most_500_characters(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("".join(f"key{i} = 1\n" for i in range(300_000)))
    assert main(["run", str(path)]) == 2
    assert main(["run", "--data", "x" * 100_000, "--teacher", "mlp:4", "--student", "mlp:2"]) == 2
    assert main(["run", "\udcff" * 9]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 500
    assert lines[0].endswith("more") and " … " in lines[1]


def test_an_empty_npy_file_is_not_an_interruption(capsys, tmp_path):
    (tmp_path / "logits.npy").touch()
    argv = ["targets", "build", str(tmp_path / "logits.npy"), "--data", "digits"]
    assert main([*argv, "-o", str(tmp_path / "store")]) == 2
    err = capsys.readouterr().err
    assert "logits.npy" in err and "interrupted" not in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["logits.npy"]


@pytest.mark.parametrize("error", [EOFError(), MemoryError()])
def test_errors_that_typer_or_nobody_takes_are_one_line(monkeypatch, capsys, error):
    def broken():
        raise error

    monkeypatch.setattr("keras_distill.runs.builtin_recipes", broken)
    assert main(["recipes"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "unexpected" not in err and "interrupted" not in err
