"""Hostile inputs: each is refused on one line, in bounded time and memory, and nothing is left."""

import shutil
import signal

import pytest

from tests.fuzz import good, kinds, oracle, trial

SEED, GROUPS = 1, 10
NUMBERS = range(520)  # each of the kinds ten times

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what TensorFlow and NumPy say of such inputs
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return good.make(tmp_path_factory.mktemp("sound"))


def _faults(numbers, sound, folder):
    found = []
    for number in numbers:
        place = folder / f"case{number}"
        tried = trial.try_case(SEED, number, sound, place)
        shutil.rmtree(place, ignore_errors=True)
        found += [f"{number} {tried.kind}: {fault} {tried.argv}" for fault in tried.faults]
    return found


def test_the_sound_inputs_are_accepted(sound, tmp_path):
    for argv in (
        ["targets", "verify", str(sound.store), "--data", f"npz:{sound.data}"],
        ["report", str(sound.run), "-o", str(tmp_path / "page.html")],
        ["targets", "build", str(sound.model), "-o", str(tmp_path / "s"), "--data",
         f"npz:{sound.data}"],
    ):  # fmt: skip
        answer = oracle.ask(argv, tmp_path)
        assert (answer.code, answer.raised) == (0, ""), answer.err


def test_every_kind_is_tried():
    assert {trial.kind_of(SEED, number) for number in NUMBERS} == set(kinds.KINDS)
    assert len(NUMBERS) >= 400


@pytest.mark.parametrize("group", range(GROUPS))
def test_hostile_inputs(sound, tmp_path, group):
    faults = _faults(NUMBERS[group::GROUPS], sound, tmp_path)
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_2000_hostile_inputs_in_children_with_little_memory(seed):
    tried = trial.run_trials(seed, list(range(500)))
    faults = [f"{t.number} {t.kind}: {fault} {t.argv}" for t in tried for fault in t.faults]
    assert not faults, "\n".join(faults)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, 410, 7))
def test_real_processes_under_ulimit(sound, tmp_path, number):
    tried = trial.try_process(SEED, number, sound, tmp_path / "case")
    assert not tried.faults, f"{tried.kind}: {tried.faults} {tried.argv}"


def test_the_oracle_sees_what_is_wrong():
    def judged(code=2, out="", err="keras-distill: no.\n", memory=0, raised="", left=()):
        answer = oracle.Answer(code, out, err, 0.1, memory, raised)
        found = oracle.faults(answer, refused=True, expect="no", left=list(left))
        return [fault.partition(":")[0] for fault in found]

    assert judged() == []
    assert judged(code=0) == ["accepted"]
    assert judged(code=130) == ["interrupt"]
    assert judged(err="keras-distill: no\nmore\n") == ["lines"]
    warning = "keras-distill: warning: odd\n"
    assert judged(err=f"{warning}keras-distill: no\n") == []
    assert judged(err=f"{warning}{warning}") == [
        "lines",
        "reason",
    ]
    assert judged(err=f"no {'x' * 500}\n") == ["long"]
    assert judged(err="keras-distill: unexpected KeyError: no\n") == ["unexpected"]
    assert judged(err="yes\n") == ["reason"]
    assert judged(memory=3 << 30) == ["memory"]
    assert judged(code=None, raised="took longer than 20 s") == ["raised"]
    assert judged(left=["tmp/keras-distill-x"]) == ["left"]
