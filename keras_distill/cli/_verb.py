"""From a typer command to a `main(argv) -> int` that never gives a traceback for bad input."""

import functools
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import typer
from typer.exceptions import TyperException

from keras_distill._internal import InputError, MissingExtraError, VerificationError, _backend

DONE, VERIFICATION_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
_PACKAGE = Path(__file__).parents[1]
_INTERRUPTED = "interrupted; long work goes on where it stopped when the command is given again."


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _fail(message: str, code: int) -> int:
    print(f"keras-distill: {message}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type, filename: str, *rest: object) -> None:
    """Our own warnings on one line; those of other packages are not the user's business."""
    if _PACKAGE in Path(filename).parents:
        print(f"keras-distill: warning: {message}", file=sys.stderr)


def uses_tensorflow(command: Callable) -> Callable:
    """A command that imports TensorFlow first, without the start-up lines it writes on stderr.

    TensorFlow's C++ code writes them past every log setting, so the file descriptor is turned away
    for the time of the import; if the import fails, what was written is shown.
    """

    @functools.wraps(command)
    def quiet(*args: object, **kwargs: object) -> object:
        sys.stderr.flush()
        stderr = os.dup(2)
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            try:
                import tensorflow as tf

                tf.get_logger().setLevel("ERROR")
            except BaseException:
                log.seek(0)
                os.write(stderr, log.read())
                raise
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
        return command(*args, **kwargs)

    return quiet


def execute(app: typer.Typer, argv: Sequence[str] | None, prog: str) -> int:
    """Runs a typer app; every end it can have becomes an exit code.

    Args:
        app: The app.
        argv: Its arguments; None takes `sys.argv[1:]`.
        prog: The name that help and usage show.

    Returns:
        0 done, 1 a verification failed, 2 bad input (one line on stderr), 130 interrupted. With
        KERAS_DISTILL_TRACEBACK=1 an unexpected error shows its traceback.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by TensorFlow at import
    try:
        _backend.check()
        warnings.showwarning = _show_warning
        command = typer.main.get_command(app)
        result = command.main(
            args=list(sys.argv[1:] if argv is None else argv), prog_name=prog, standalone_mode=False
        )
    except typer.Exit as error:
        return error.exit_code
    except TyperException as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        return _fail(f"{message}. See: {prog} --help", BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(_INTERRUPTED, INTERRUPTED)
    except VerificationError as error:
        return _fail(_line(error), VERIFICATION_FAILED)
    except (InputError, MissingExtraError) as error:
        return _fail(_line(error), BAD_INPUT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _fail(_line(error), BAD_INPUT)
    except Exception as error:
        if os.environ.get("KERAS_DISTILL_TRACEBACK") == "1":
            traceback.print_exc()
        hint = "Set KERAS_DISTILL_TRACEBACK=1 to see where."
        return _fail(f"unexpected {type(error).__name__}: {_line(error)} {hint}", BAD_INPUT)
    if result == INTERRUPTED:  # what typer makes of Ctrl-C
        return _fail(_INTERRUPTED, INTERRUPTED)
    return result if isinstance(result, int) else DONE


def verb_main(command: Callable, prog: str) -> Callable[[Sequence[str] | None], int]:
    """The `main(argv) -> int` of one typer command function."""

    def main(argv: Sequence[str] | None = None) -> int:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        return execute(app, argv, prog)

    return main
