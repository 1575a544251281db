"""Turns a typer command into a `main(argv) -> int` that reports bad input on one line."""

import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from keras_distill._internal import (
    InputError,
    KerasDistillWarning,
    MissingExtraError,
    VerificationError,
    _backend,
    _verbosity,
)
from keras_distill._internal._stderr import held_stderr
from keras_distill._internal._verbosity import Verbosity
from keras_distill.cli._signals import Interruption

DONE, VERIFICATION_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
P = ParamSpec("P")
R = TypeVar("R")
_LENGTH, _TAIL = 500, 120
_NO_MEMORY = "there is not enough memory for this input."
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

        if _verbosity.current() is not Verbosity.VERBOSE:
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


def new_app(**settings: Any) -> typer.Typer:
    """Makes an app: plain help, and errors that `execute` turns into one line."""
    settings = {"add_completion": False, **settings}
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, **settings)


def command_of(app: typer.Typer) -> TyperCommand | TyperGroup:
    """Returns the command of an app; it and its verbs also take `-h`, `-q`, and `-v`."""
    command: Any = typer.main.get_command(app)
    command.context_settings["help_option_names"] = ["-h", "--help"]
    options = new_app()
    options.command()(_said)
    said: Any = typer.main.get_command(options)
    verbs = [command]
    while verbs:
        verb = verbs.pop()
        verbs += getattr(verb, "commands", {}).values()
        verb.params += said.params
    return command


def _chosen(context: object, option: Any, given: bool) -> None:
    if given:
        _verbosity.choose(Verbosity(option.name))


def _said(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            is_eager=True,
            expose_value=False,
            callback=_chosen,
            help="Show results, warnings, and errors only.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            is_eager=True,
            expose_value=False,
            callback=_chosen,
            help="Show the logs of TensorFlow too, and the traceback of an unexpected error.",
        ),
    ] = False,
) -> None: ...


def _usage(error: TyperException, prog: str) -> str:
    """Returns a mistake in the command line on one line, with the command that shows the help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    verb = prog if context is None else context.command_path
    return f"{message}{'' if message.endswith('?') else '.'} See: {verb} --help"


def execute(app: typer.Typer, argv: Sequence[str] | None, prog: str) -> int:
    """Runs a typer app and turns every outcome into an exit code.

    Args:
        app: The app.
        argv: Its arguments. None means `sys.argv[1:]`.
        prog: The program name shown in help and usage.

    Returns:
        0 on success, 1 if a verification fails, 2 on bad input (one line on stderr), 130 after
        Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. With `-v`, an unexpected error prints its
        traceback.
    """
    interruption = Interruption()
    try:
        with _verbosity.one_command(), interruption:
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
        command = command_of(app)
        command.invoke = _without_eof(command.invoke)  # type: ignore[method-assign]
        result = command.main(
            args=list(sys.argv[1:] if argv is None else argv), prog_name=prog, standalone_mode=False
        )
    except typer.Exit as error:
        return None, error.exit_code
    except SystemExit as error:  # of typer, after it printed or installed a shell's completion
        return None, error.code if isinstance(error.code, int) else DONE
    except TyperException as error:
        return _usage(error, prog), BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        return None, INTERRUPTED
    except MemoryError:
        return _NO_MEMORY, BAD_INPUT
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
        if _ran_out_of_memory(error):
            return _NO_MEMORY, BAD_INPUT
        if _verbosity.current() is Verbosity.VERBOSE:
            traceback.print_exc()
        hint = "Run it with -v to see the traceback."
        return f"unexpected {type(error).__name__}: {_line(error)} {hint}", BAD_INPUT
    return None, result if isinstance(result, int) else DONE


def _ran_out_of_memory(error: BaseException) -> bool:
    """Returns whether TensorFlow, if it is imported, has no memory for a tensor."""
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    return errors is not None and isinstance(error, errors.ResourceExhaustedError)


def verb_main(command: Callable[..., object], prog: str) -> Callable[[Sequence[str] | None], int]:
    """Returns the `main(argv) -> int` of one typer command function."""

    def main(argv: Sequence[str] | None = None) -> int:
        app = new_app()
        app.command()(command)
        return execute(app, argv, prog)

    return main
