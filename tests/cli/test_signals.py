import os
import signal
import threading

import pytest

from keras_distill.cli import main
from keras_distill.cli._signals import Interruption

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """A shell's background jobs ignore SIGINT and SIGHUP, and so would the tests started by one."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _raised_during(monkeypatch, work):
    """Runs a verb whose work is `work`; returns the exit code."""
    monkeypatch.setattr("keras_distill.runs.builtin_recipes", work)
    before = {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS}
    code = main(["recipes"])
    assert {name: signal.getsignal(getattr(signal, name)) for name in SIGNALS} == before
    return code


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_a_verb_with_one_line(monkeypatch, capsys, name):
    cleaned = []

    def work():
        try:
            os.kill(os.getpid(), getattr(signal, name))
        finally:
            cleaned.append(name)

    assert _raised_during(monkeypatch, work) == SIGNALS[name]
    assert cleaned == [name]
    expected = f"keras-distill: interrupted ({name}). Run the same command again to resume.\n"
    assert capsys.readouterr().err == expected


def test_a_signal_that_became_another_error_counts(monkeypatch, capsys):
    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:  # as TensorFlow does where it calls Python
            raise ValueError("KeyboardInterrupt: while a function was called") from None

    assert _raised_during(monkeypatch, work) == 143
    err = capsys.readouterr().err
    assert "interrupted (SIGTERM)" in err and "unexpected" not in err and err.count("\n") == 1


def test_a_second_signal_does_not_disturb_the_cleaning_but_a_second_ctrl_c_does(monkeypatch):
    cleaned = []

    def work(second):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), second)
            cleaned.append(second)

    assert _raised_during(monkeypatch, lambda: work(signal.SIGTERM)) == 143
    assert cleaned == [signal.SIGTERM]
    assert _raised_during(monkeypatch, lambda: work(signal.SIGINT)) == 143
    assert cleaned == [signal.SIGTERM]


def test_ignored_signals_and_handlers_of_others_are_left_alone():
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
        assert got == [signal.SIGTERM] and interruption.code is None
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignored)


def test_outside_the_main_thread_nothing_is_changed():
    codes = []

    def inside():
        with Interruption() as interruption:
            codes.append(interruption.code)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert codes == [None]
