import os
import subprocess
import sys
import threading
import time

import pytest

from keras_distill._internal._stderr import held_stderr


def _log(text):
    os.write(2, text)


def test_what_is_written_is_held_back(capfd):
    with held_stderr():
        _log(b"hidden\n")
    _log(b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_some_lines_are_shown_at_the_end(capfd):
    with held_stderr(lambda line: not line.startswith(b"INFO")):
        _log(b"INFO: a note\nERROR: a fault\nno end")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "ERROR: a fault\nno end"


@pytest.mark.parametrize(("error", "shown"), [(ValueError, "why\n"), (KeyboardInterrupt, "")])
def test_everything_is_shown_if_the_block_fails_but_not_if_it_is_interrupted(capfd, error, shown):
    with pytest.raises(error), held_stderr():
        _log(b"why\n")
        raise error
    assert capfd.readouterr().err == shown


def test_two_threads_do_not_lose_standard_error(capfd):
    def hold():
        with held_stderr():
            time.sleep(0.05)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with held_stderr(), held_stderr():
        _log(b"hidden\n")
    _log(b"seen\n")
    assert capfd.readouterr().err == "seen\n"


def test_a_process_without_standard_error_can_use_it():
    code = (
        "import os, sys; os.close(2); sys.stderr = None\n"
        "from keras_distill._internal._stderr import held_stderr\n"
        "with held_stderr(): print('works')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "works\n"
