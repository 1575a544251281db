"""Turns a typer command into a `main(argv) -> int` that reports bad input on one line."""

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import typer
from typer.exceptions import TyperException

from keras_distill._internal import (
    InputError,
    KerasDistillWarning,
    MissingExtraError,
    VerificationError,
    _backend,
)
from keras_distill._internal._stderr import held_stderr
from keras_distill.cli._signals import Interruption

DONE, VERIFICATION_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
P = ParamSpec("P")
R = TypeVar("R")
_LENGTH, _TAIL = 500, 120
_REMEDY = "Run the same command again to resume."


def _line(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _say(message: str) -> None:
    """Prints a message on one line of at most 500 characters; its end, the remedy, is kept."""
    line = " ".join(f"keras-distill: {message}".split())
    if len(line) > _LENGTH:
        line = f"{line[: _LENGTH - _TAIL - 3]} … {line[-_TAIL:]}"
    print(line.encode(errors="backslashreplace").decode(), file=sys.stderr)


def _show_warning(message: Warning | str, category: type, filename: str, *rest: object) -> None:
    """Prints our own warnings on one line and drops those of other packages."""
    if issubclass(category, KerasDistillWarning):
        _say(f"warning: {message}")


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up messages on stderr.

    TensorFlow's C++ code ignores every log setting while it loads. If the import fails, the
    messages are shown.
    """
    with held_stderr():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")


def uses_tensorflow(command: Callable[P, R]) -> Callable[P, R]:
    """Makes a command import TensorFlow first, as `import_tensorflow` does."""

    @functools.wraps(command)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        import_tensorflow()
        return command(*args, **kwargs)

    return quiet


def _without_eof(invoke: Callable[..., R]) -> Callable[..., R]:
    """Keeps the end of a file from typer, which takes it for an interruption of the user."""

    def guarded(context: object) -> R:
        try:
            return invoke(context)
        except EOFError as error:
            raise InputError("A file is empty or truncated.") from error

    return guarded


def execute(app: typer.Typer, argv: Sequence[str] | None, prog: str) -> int:
    """Runs a typer app and turns every outcome into an exit code.

    Args:
        app: The app.
        argv: Its arguments. None means `sys.argv[1:]`.
        prog: The program name shown in help and usage.

    Returns:
        0 on success, 1 if a verification fails, 2 on bad input (one line on stderr), 130 after
        Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. With KERAS_DISTILL_TRACEBACK=1 an unexpected
        error prints its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by TensorFlow at import
    interruption = Interruption()
    try:
        with interruption:
            message, code = _outcome(app, argv, prog)
    except KeyboardInterrupt:  # while another error was handled
        message, code = None, INTERRUPTED
    if interruption.code is not None and code != DONE:
        message, code = f"interrupted ({interruption.name}). {_REMEDY}", interruption.code
    elif code == INTERRUPTED:  # typer returns it after Ctrl-C
        message = f"interrupted. {_REMEDY}"
    if message is not None:
        _say(message)
    return code


def _outcome(app: typer.Typer, argv: Sequence[str] | None, prog: str) -> tuple[str | None, int]:
    """Runs a typer app; returns the message to print on stderr, if any, and the exit code."""
    try:
        _backend.check()
        warnings.showwarning = _show_warning
        command = typer.main.get_command(app)
        command.invoke = _without_eof(command.invoke)  # type: ignore[method-assign]
        result = command.main(
            args=list(sys.argv[1:] if argv is None else argv), prog_name=prog, standalone_mode=False
        )
    except typer.Exit as error:
        return None, error.exit_code
    except TyperException as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        return f"{message}. See: {prog} --help", BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return None, INTERRUPTED
    except MemoryError:
        return "there is not enough memory for this input.", BAD_INPUT
    except VerificationError as error:
        return _line(error), VERIFICATION_FAILED
    except (InputError, MissingExtraError) as error:
        return _line(error), BAD_INPUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return None, DONE
    except OSError as error:
        return _line(error), BAD_INPUT
    except Exception as error:
        if os.environ.get("KERAS_DISTILL_TRACEBACK") == "1":
            traceback.print_exc()
        hint = "Set KERAS_DISTILL_TRACEBACK=1 to see the traceback."
        return f"unexpected {type(error).__name__}: {_line(error)} {hint}", BAD_INPUT
    return None, result if isinstance(result, int) else DONE


def verb_main(command: Callable[..., object], prog: str) -> Callable[[Sequence[str] | None], int]:
    """Returns the `main(argv) -> int` of one typer command function."""

    def main(argv: Sequence[str] | None = None) -> int:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        return execute(app, argv, prog)

    return main
