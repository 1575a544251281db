import pytest

from keras_distill._internal._progress import Reporter, TerminalReporter, reporting


def test_a_silent_reporter_takes_everything(capsys):
    reporter = Reporter()
    reporter.stage("data", "10 examples")
    report = reporter.track("seed 0", 3)
    report(1)
    report(2, 3)
    assert capsys.readouterr() == ("", "")


def test_stages_go_to_stderr_and_bars_only_to_a_terminal(capsys):
    with TerminalReporter() as reporter:
        reporter.stage("data", "10 examples")
        reporter.track("seed 0", 3)(1)
        reporter.stage("teacher")
    out, err = capsys.readouterr()
    assert out == "" and err.split() == ["data", "10", "examples", "teacher"]


def test_a_bar_shows_parts_and_total_whenever_the_total_is_known():
    with TerminalReporter(shown=True) as reporter:
        report = reporter.track("soft targets")
        report(24, 70)
        (task,) = reporter._progress.tasks
        assert (task.completed, task.total) == (24, 70)
        reporter.track("seed 0", 4)(3)
        assert reporter._progress.tasks[1].total == 4


def test_what_a_resumed_session_finds_done_does_not_count_for_its_speed():
    with TerminalReporter(shown=True) as reporter:
        report = reporter.track("soft targets", 100)
        report(60)
        assert reporter._progress.tasks[0].speed is None
        report(70)
        assert reporter._progress.tasks[0].completed == 70


@pytest.mark.parametrize("progress", [None, False])
def test_no_bar_without_a_terminal_or_when_switched_off(progress, capsys):
    with reporting("soft targets", progress) as report:
        report(1, 2)
    assert capsys.readouterr().err == ""


def test_a_function_receives_the_progress_itself():
    seen = []
    with reporting("soft targets", lambda done, total: seen.append((done, total))) as report:
        report(1, 2)
    assert seen == [(1, 2)]


def test_a_bar_that_a_later_stage_removed_may_still_be_updated():
    with TerminalReporter(shown=True) as reporter:
        task = reporter.track("students", 3)
        reporter.stage("test")
        task(2)
